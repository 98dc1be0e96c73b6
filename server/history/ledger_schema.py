"""The tables of a ledger, and the formats that were written. Pure."""

FORMAT = 3
UNCHAINED = 2  # the format before the chain
SCHEMA = """
CREATE TABLE IF NOT EXISTS experiments (
    number INTEGER PRIMARY KEY,
    verdict TEXT NOT NULL,
    kept INTEGER NOT NULL,
    purpose TEXT NOT NULL,
    of INTEGER,
    fingerprint TEXT NOT NULL,
    document TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_verdict ON experiments (verdict, number);
CREATE INDEX IF NOT EXISTS by_purpose ON experiments (purpose, number);
CREATE INDEX IF NOT EXISTS repeats ON experiments (of, number) WHERE of IS NOT NULL;
CREATE INDEX IF NOT EXISTS by_code ON experiments (fingerprint, number);
CREATE TABLE IF NOT EXISTS changes (
    feature TEXT NOT NULL,
    number INTEGER NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (feature, number)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS changed ON changes (number);
CREATE INDEX IF NOT EXISTS kept_last ON experiments (number) WHERE kept;
CREATE TABLE IF NOT EXISTS chain (
    place INTEGER PRIMARY KEY,
    number INTEGER NOT NULL,
    copy TEXT NOT NULL,
    columns TEXT NOT NULL,
    mark TEXT NOT NULL,
    link TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS linked ON chain (number, place);
CREATE INDEX IF NOT EXISTS marked ON chain (mark, number) WHERE mark != '';
"""
VERSION = f"PRAGMA user_version = {FORMAT}"
