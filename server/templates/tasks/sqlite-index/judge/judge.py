"""Fills a shop's database, runs the candidate's SQL in it, checks every row and counts SQLite's VM steps.

SQL is data here: the judge runs it itself, and SQLite's authorizer refuses all but indexes, ANALYZE and SELECT.
"""

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

from trainer.judging import WrongAnswer

CASES = 3  # databases in one pass
DRAWS = 3  # times that each query is run in a database, with other parameters
CUSTOMERS, ORDERS, ITEMS, PRODUCTS, DAYS = 200, 1000, 2000, 60, 365
COUNTRIES = ("AR", "BR", "DE", "FR", "IN", "JP", "KE", "NO", "US", "ZA")
TICK = 10  # steps are counted in tens
MOST_STEPS = 5_000_000  # of one statement
MOST_PAGES = 1000  # of a database
LIMITS = {sqlite3.SQLITE_LIMIT_LENGTH: 10_000, sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 20}  # no step takes long
SCHEMA = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, country TEXT, joined INTEGER);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER, day INTEGER, status TEXT, total INTEGER);
CREATE TABLE items (id INTEGER PRIMARY KEY, order_id INTEGER, product INTEGER, quantity INTEGER, price INTEGER);
"""
QUERIES = {
    "open_orders.sql": """
        SELECT id, total FROM orders WHERE customer = :customer AND status = 'open' ORDER BY day DESC, id""",
    "best_products.sql": """
        SELECT product, sum(quantity) FROM items JOIN orders ON orders.id = items.order_id
        WHERE day BETWEEN :day AND :day + 7 GROUP BY product ORDER BY sum(quantity) DESC, product LIMIT 10""",
    "silent_customers.sql": """
        SELECT id FROM customers WHERE country = :country
        AND id NOT IN (SELECT customer FROM orders WHERE day >= :day) ORDER BY id""",
    "revenue.sql": """
        SELECT country, sum(total) FROM orders JOIN customers ON customers.id = customer
        WHERE status = 'paid' AND joined >= :day GROUP BY country ORDER BY country""",
    "dear_items.sql": """
        SELECT id, price FROM items WHERE product = :product
        AND price > (SELECT avg(price) FROM items AS other WHERE other.product = items.product) ORDER BY id""",
}
_INDEXES = "indexes.sql"
_READS = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_INDEXING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_ANALYZE}
_INDEXING |= {sqlite3.SQLITE_CREATE_INDEX, sqlite3.SQLITE_REINDEX}
_ON_STATISTICS = {sqlite3.SQLITE_CREATE_TABLE, sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE}


def cases(seed: int) -> Iterator[tuple[str, tuple]]:
    """Databases. The truth is one of them, and for each query some parameters with the rows that they give."""
    draw = random.Random(seed)
    for _ in range(CASES):
        base = _database(draw)
        asked = [(name, _parameters(draw)) for name in QUERIES for _ in range(DRAWS)]
        wanted = [(name, parameters, base.execute(QUERIES[name], parameters).fetchall()) for name, parameters in asked]
        yield "send the SQL", (base, wanted)


def score(answer: object, truth: tuple) -> dict[str, float]:
    """All steps of all queries, and the size of the database with its indexes."""
    base, wanted = truth
    files = answer if isinstance(answer, dict) else {}
    for name in (_INDEXES, *QUERIES):
        if not isinstance(files.get(name), str):
            raise WrongAnswer(f"src/{name} is missing")
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        base.backup(database)
        database.execute(f"PRAGMA max_page_count = {MOST_PAGES}")
        for limit, most in LIMITS.items():
            database.setlimit(limit, most)
        steps = Steps(database)
        steps.run(_INDEXES, _INDEXING, lambda: database.executescript(files[_INDEXES]).fetchall())
        size, steps.taken = _kilobytes(database), 0
        for name, parameters, rows in wanted:
            told = steps.run(name, _READS, partial(_rows, database, files[name], parameters, len(rows) + 1))
            if told != rows:
                raise WrongAnswer(f"{name} with {parameters} gives {str(told)[:90]}, and {str(rows)[:90]} is right")
    return {"score": steps.taken, "database_kb": size}


class Steps:
    """Runs SQL that may do nothing but what it is there for, and counts its steps."""

    ALLOWED = ("one SELECT without side effects", "CREATE INDEX and ANALYZE")

    def __init__(self, database: sqlite3.Connection) -> None:
        self.database, self.taken, self.most = database, 0, 0
        database.set_progress_handler(self._tick, TICK)

    def run(self, name: str, allowed: set[int], statement: Callable[[], list]) -> list:
        self.most = self.taken + MOST_STEPS
        self.database.set_authorizer(partial(_authorize, allowed))
        try:
            return statement()
        except (sqlite3.Error, sqlite3.Warning) as error:
            told = f"it takes more than {MOST_STEPS} steps" if self.taken > self.most else str(error)
            raise WrongAnswer(f"src/{name}: {told}; allowed are {self.ALLOWED[name == _INDEXES]}") from None
        finally:
            self.database.set_authorizer(None)

    def _tick(self) -> bool:
        self.taken += TICK
        return self.taken > self.most  # true: SQLite interrupts the statement


def _authorize(allowed: set[int], action: int, subject: str | None, *_: object) -> int:
    statistics = action in _ON_STATISTICS and allowed is _INDEXING and str(subject).startswith("sqlite_")
    return sqlite3.SQLITE_OK if action in allowed or statistics else sqlite3.SQLITE_DENY


def _rows(database: sqlite3.Connection, query: str, parameters: dict, most: int) -> list:
    return database.execute(query, parameters).fetchmany(most)


def _kilobytes(database: sqlite3.Connection) -> float:
    pages, size = (database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    return pages * size / 1024


def _parameters(draw: random.Random) -> dict[str, object]:
    return {
        "customer": draw.randrange(CUSTOMERS),
        "product": draw.randrange(PRODUCTS),
        "country": draw.choice(COUNTRIES),
        "day": draw.randrange(DAYS),
    }


def _database(draw: random.Random) -> sqlite3.Connection:
    """A shop; who buys how much of what is drawn anew, and a few customers and products have most of it."""
    base = sqlite3.connect(":memory:", isolation_level=None)
    base.executescript(SCHEMA)
    skew, paid = draw.uniform(1, 1.6), draw.uniform(0.5, 0.95)
    few = lambda count: int(count * draw.random() ** skew)  # noqa: E731
    customers = [(number, draw.choice(COUNTRIES), draw.randrange(DAYS)) for number in range(CUSTOMERS)]
    orders = [
        (
            number,
            few(CUSTOMERS),
            few(DAYS),
            "paid" if draw.random() < paid else draw.choice(("open", "sent")),
            few(9999),
        )
        for number in range(ORDERS)
    ]
    items = [(number, draw.randrange(ORDERS), few(PRODUCTS), few(9) + 1, few(999)) for number in range(ITEMS)]
    base.execute("BEGIN")
    base.executemany("INSERT INTO customers VALUES (?, ?, ?)", customers)
    base.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?)", orders)
    base.executemany("INSERT INTO items VALUES (?, ?, ?, ?, ?)", items)
    base.execute("COMMIT")
    return base
