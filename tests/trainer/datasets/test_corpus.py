"""The corpus, its tokenizer and the shards: every byte that a score is divided by."""

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.datasets.corpus import ARCHIVE, CorpusDamaged, Document, Split, documents
from trainer.datasets.embedded import TOKENIZER, load, rows
from trainer.datasets.tokenizer import Tokenizer

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))  # all of Unicode; a lone surrogate is no text
DOCUMENTS = documents()
SHIPPED = Tokenizer.load(TOKENIZER)
# Scores of two releases compare only while these stay: they are the tokens that runs learn from and are scored on.
PINNED = {
    "train.bin": "c551d52424bcd4585de23fa73a96fbb2f289fb3b0a41e43f99351662384bfd19",
    "val.bin": "f75489103d007a8be1e739d29c690142b3d7ca6a95795cabcae101dbaf802592",
}


def of(split: Split) -> list[Document]:
    return [document for document in DOCUMENTS if document.split is split]


def size(texts: list[Document]) -> int:
    return sum(len(document.text.encode()) for document in texts)


def spelt(tokens: np.ndarray[tuple[int], np.dtype[np.uint16]], bos: int) -> list[str]:
    """The documents of a shard, each without the BOS that starts it."""
    starts = np.flatnonzero(tokens == bos)
    assert starts[0] == 0
    return [SHIPPED.decode(document[1:].tolist()) for document in np.split(tokens, starts[1:])]


def test_the_splits_share_no_text_and_leave_none_out() -> None:
    hashes = {split: {hashlib.sha256(document.text.encode()).digest() for document in of(split)} for split in Split}
    assert {split: len(found) for split, found in hashes.items()} == {"train": 1775, "val": 90, "holdout": 95}
    assert len(set[bytes]().union(*hashes.values())) == len(DOCUMENTS) == 1960
    for split in Split:  # a split of one author only would score something else
        assert Counter(document.source for document in of(split)).keys() == {"bible", "shakespeare"}


def test_the_data_readme_says_what_the_archive_holds() -> None:
    page = (ARCHIVE.parent / "README.md").read_text(encoding="utf-8")
    packed = ARCHIVE.read_bytes()
    unpacked = size(DOCUMENTS) + 3 * (len(DOCUMENTS) - 1)  # a separator has three bytes
    for said in (hashlib.sha256(packed).hexdigest(), f"{len(packed):,} bytes", f"{unpacked:,} bytes"):
        assert said in page


@pytest.mark.parametrize(("length", "ending"), [(0, b""), (-1, b""), (-1, b"\0"), (None, b"\0")])
def test_a_damaged_archive_is_refused_and_named(tmp_path: Path, length: int | None, ending: bytes) -> None:
    archive = tmp_path / "classics.txt.xz"
    archive.write_bytes(ARCHIVE.read_bytes()[:length] + ending)
    with pytest.raises(CorpusDamaged, match=r"classics\.txt\.xz is damaged.*Restore it from git"):
        documents(archive)


@given(TEXTS)
def test_any_text_comes_back_and_each_of_its_bytes_is_counted_once(text: str) -> None:
    tokens = SHIPPED.encode(text)
    assert SHIPPED.decode(tokens) == text
    assert SHIPPED.token_bytes[tokens].sum() == len(text.encode())
    assert SHIPPED.bos not in tokens


@given(st.binary(max_size=64))
def test_bytes_that_are_no_text_decode_as_python_decodes_them(raw: bytes) -> None:
    assert SHIPPED.decode(raw) == raw.decode("utf-8", errors="replace")  # the first 256 tokens are the bytes


@given(st.lists(st.integers(0, SHIPPED.vocab_size - 1), max_size=32))
def test_bos_has_no_text_and_no_bytes_wherever_it_stands(tokens: list[int]) -> None:
    without = [token for token in tokens if token != SHIPPED.bos]
    interleaved = [mixed for token in tokens for mixed in (SHIPPED.bos, token)]
    assert SHIPPED.decode(interleaved) == SHIPPED.decode(without)
    assert SHIPPED.token_bytes[interleaved].sum() == SHIPPED.token_bytes[without].sum()


def test_part_of_a_character_counts_its_raw_bytes_not_those_of_the_replacement_character() -> None:
    plain = Tokenizer([])
    tokens = plain.encode("é")
    assert plain.token_bytes[tokens].tolist() == [1, 1]
    assert [len(plain.decode([token]).encode()) for token in tokens] == [3, 3]


def test_a_lone_surrogate_is_no_text() -> None:
    with pytest.raises(UnicodeEncodeError):
        SHIPPED.encode("\ud800")


def test_every_token_of_the_shipped_vocabulary_is_as_long_as_what_it_was_merged_from() -> None:
    assert SHIPPED.vocab_size == 4096 and SHIPPED.bos == 4095
    assert SHIPPED.token_bytes[SHIPPED.bos] == 0
    assert (SHIPPED.token_bytes[: SHIPPED.bos] > 0).all()
    words = " ".join(document.text for document in of(Split.VAL)[:9])
    for token in set(SHIPPED.encode(words)):
        text = SHIPPED.decode([token])
        assert "\ufffd" in text or SHIPPED.token_bytes[token] == len(text.encode())


def test_learning_is_deterministic_and_a_smaller_vocabulary_is_a_prefix(tmp_path: Path) -> None:
    texts = [document.text for document in of(Split.VAL)[:3]]
    paths = [tmp_path / name for name in ("one", "two", "small")]
    for path, vocabulary in zip(paths, (320, 320, 300), strict=True):
        Tokenizer.train(texts, vocabulary).save(path)
    one, two, small = (path.read_text(encoding="utf-8") for path in paths)
    assert one == two
    assert one.startswith(small.removesuffix("\n]}\n"))
    with pytest.raises(ValueError, match="too short"):
        Tokenizer.train(["ab"], 300)


@pytest.mark.slow
@pytest.mark.parametrize("vocabulary", [310, pytest.param(SHIPPED.vocab_size, marks=pytest.mark.thorough)])
def test_the_shipped_tokenizer_is_learnt_from_the_training_documents_alone(tmp_path: Path, vocabulary: int) -> None:
    """A smaller vocabulary is a prefix. With the validation documents the 48th merge would already be another."""
    Tokenizer.train((document.text for document in of(Split.TRAIN)), vocabulary).save(tmp_path / "again")
    again = (tmp_path / "again").read_text(encoding="utf-8")
    assert TOKENIZER.read_text(encoding="utf-8").startswith(again.removesuffix("\n]}\n"))
    assert vocabulary < SHIPPED.vocab_size or again == TOKENIZER.read_text(encoding="utf-8")


def test_the_file_of_the_tokenizer_is_what_its_checksum_pins(tmp_path: Path) -> None:
    assert hashlib.sha256(TOKENIZER.read_bytes()).hexdigest() == SHIPPED.sha256
    SHIPPED.save(tmp_path / "tokenizer.json")
    assert (tmp_path / "tokenizer.json").read_bytes() == TOKENIZER.read_bytes()


def test_the_shards_hold_the_documents_of_their_splits_and_nothing_else(data: Path) -> None:
    shards = load(data)
    assert spelt(shards.val, shards.bos) == [document.text for document in of(Split.VAL)]
    assert Counter(spelt(shards.train, shards.bos)) == Counter(document.text for document in of(Split.TRAIN))
    assert shards.token_bytes[shards.val].sum() == size(of(Split.VAL)) == 365_318
    assert shards.token_bytes[shards.train].sum() == size(of(Split.TRAIN))


def test_the_tokens_are_those_of_every_other_release(data: Path) -> None:
    home = load(data).train_path.parent
    assert {name: hashlib.sha256((home / name).read_bytes()).hexdigest() for name in PINNED} == PINNED


@given(st.lists(st.integers(0, 9), min_size=2, max_size=40), st.integers(1, 12))
def test_every_token_but_the_first_is_a_target_exactly_once(tokens: list[int], length: int) -> None:
    bos = 99
    made = rows(np.array(tokens, dtype=np.uint16), length, bos)
    assert made.shape[1] == length + 1 and made.dtype == np.uint16
    assert [target for target in made[:, 1:].flatten().tolist() if target != bos] == tokens[1:]
    assert (made[1:, 0] == made[:-1, -1]).all() and made[0, 0] == tokens[0]
    assert made.size - len(made) < len(tokens) - 1 + length, "a row of nothing but filling"
