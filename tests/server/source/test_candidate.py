"""A candidate is a frozen mapping from path to text, and its hash is what people can compute with their own tools."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from server.source.candidate import Candidate

BOTH = {"model/net.py": "x = 'ü'\n", "README.md": "two\r\nlines"}


def test_the_hash_of_one_file_is_that_of_its_text() -> None:
    one = Candidate({"train.py": "x = 'ü'\n"})
    assert one.sha256 == hashlib.sha256("x = 'ü'\n".encode()).hexdigest()
    assert one.text == one["train.py"] == "x = 'ü'\n"


def test_the_hash_of_several_files_is_that_of_what_sha256sum_prints(tmp_path: Path) -> None:
    for path, text in BOTH.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(text.encode())
    printed = subprocess.run(["sha256sum", *sorted(BOTH)], cwd=tmp_path, capture_output=True, check=True).stdout
    assert Candidate(BOTH).sha256 == hashlib.sha256(printed).hexdigest()


def test_equal_files_are_one_candidate_in_any_order() -> None:
    one, other = Candidate(BOTH), Candidate(dict(reversed(BOTH.items())))
    assert one == other and hash(one) == hash(other) and one.sha256 == other.sha256 and list(one) == sorted(BOTH)
    swapped = Candidate(dict(zip(BOTH, reversed(BOTH.values()), strict=True)))
    assert one != swapped and one.sha256 != swapped.sha256


def test_another_text_makes_another_candidate() -> None:
    one = Candidate(BOTH)
    other = one.with_file("README.md", "new")
    assert dict(one) == BOTH and other["README.md"] == "new" and other["model/net.py"] == one["model/net.py"]


def test_what_is_no_single_text_is_not_taken_for_one() -> None:
    with pytest.raises(ValueError, match="too many"):
        _ = Candidate(BOTH).text
    with pytest.raises(ValueError, match="at least one"):
        Candidate({})
