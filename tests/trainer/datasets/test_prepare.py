"""Data sets made of a folder or a download: what they hold, and that a night runs on them."""

import json
import os
import random
import subprocess
import sys
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest

from server.task.dataset import find
from tests.support.file_server import Shelf, served, sha256
from tests.support.repositories import ROOT
from trainer.datasets import prepared
from trainer.datasets.builder import BuildOrder, build
from trainer.datasets.corpus import Split
from trainer.datasets.documents import documents
from trainer.datasets.encoding import encode
from trainer.datasets.errors import DataUnavailable
from trainer.datasets.presets import PRESETS
from trainer.datasets.splits import Splits
from trainer.datasets.tokenizer import Tokenizer

WORDS = "the cat sat on a mat and saw some dogs run over green hills while rain fell from many dark clouds".split()
VOCAB = 300


def texts(count: int) -> list[str]:
    """Little stories, all different."""
    draw = random.Random(7)
    return [f"Story {number}.\n" + " ".join(draw.choices(WORDS, k=120)) + "." for number in range(count)]


def command(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`autoresearch prepare`, as a user runs it."""
    return subprocess.run(
        [sys.executable, "-m", "server.cli", "prepare", *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, **environment},
        cwd=ROOT,
    )


def spelt(home: Path, split: Split) -> list[str]:
    """The documents of a split."""
    tokenizer = Tokenizer.load(home / "tokenizer.json")
    tokens = np.fromfile(home / f"{split}.bin", dtype="<u2")
    starts = np.flatnonzero(tokens == tokenizer.bos)
    assert starts[0] == 0
    return [tokenizer.decode(document[1:].tolist()) for document in np.split(tokens, starts[1:])]


def made(home: Path, stories: list[str]) -> prepared.Card:
    order = BuildOrder("stories", VOCAB, {"here": "0"}, lambda: stories, sum(map(len, stories)))
    return build(home, order, lambda _, texts: iter(texts))


@pytest.fixture(scope="session")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a prepared data set of 400 stories, ten a file, and a file that holds all of them again."""
    workspace = tmp_path_factory.mktemp("stories")
    (workspace / "program.md").write_text("", encoding="utf-8")
    folder = workspace / "my texts" / "inner"
    folder.mkdir(parents=True)
    for number in range(0, 400, 10):
        ten = "<|endoftext|>".join(texts(400)[number : number + 10])
        (folder / f"{number}.txt").write_text(ten, encoding="utf-8")
    again = "<|endoftext|>".join(text.replace(" ", "  ") for text in texts(400))
    (workspace / "my texts" / "again.txt").write_text(again, encoding="utf-8")
    done = command(workspace / "my texts", "--workspace", workspace, "--name", "stories", "--vocab", str(VOCAB))
    assert done.returncode == 0, done.stderr
    assert "copies of validation texts were dropped" in done.stderr and "serve --data stories" in done.stderr
    return workspace


@pytest.fixture
def home(stories: Path) -> Path:
    return stories / ".autoresearch" / "data" / "stories"


@pytest.mark.slow
def test_every_document_is_in_one_split_and_copies_of_those_that_score_are_gone(home: Path) -> None:
    found = {split: [" ".join(text.split()) for text in spelt(home, split)] for split in Split}
    plain = {" ".join(text.split()) for text in texts(400)}
    assert set[str]().union(*found.values()) == plain
    score = found[Split.VAL] + found[Split.HOLDOUT]
    assert len(set(score)) == len(score) and len(found[Split.VAL]) > 5 < len(found[Split.HOLDOUT])
    assert not set(found[Split.TRAIN]) & set(score)
    assert len(found[Split.TRAIN]) == 2 * (400 - len(score)), "copies among the training documents stay"
    card = json.loads((home / "dataset.json").read_text(encoding="utf-8"))
    assert card["duplicates"] == len(score)
    assert card["documents"] == {split.value: len(found[split]) for split in Split}
    assert card["tokens"] == {split.value: (home / f"{split}.bin").stat().st_size // 2 for split in Split}


def test_the_tokenizer_and_the_training_order_come_of_the_training_text(home: Path) -> None:
    tokenizer, order = Tokenizer.load(home / "tokenizer.json"), spelt(home, Split.TRAIN)
    assert tokenizer.vocab_size == VOCAB
    numbers = [int(text.split()[1].rstrip(".")) for text in order]
    assert numbers != sorted(numbers) and abs(np.corrcoef(numbers, range(len(numbers)))[0, 1]) < 0.2, "not shuffled"


def test_the_splits_do_not_depend_on_the_order_of_the_documents(tmp_path: Path) -> None:
    one, other = made(tmp_path / "one", texts(100)), made(tmp_path / "other", texts(100)[::-1])
    assert one.documents == other.documents and one.fingerprint != other.fingerprint
    assert set(spelt(tmp_path / "one", Split.VAL)) == set(spelt(tmp_path / "other", Split.VAL))


def test_a_split_that_is_full_stays_so_and_copies_are_still_dropped() -> None:
    splits = Splits(total=1, most=2000)
    for text in texts(400) * 2:
        splits.draw(text)
    assigned = list(splits.assigned(texts(400) * 2))
    score = [text for split, text in assigned if split is not Split.TRAIN]
    assert 2000 <= splits.sizes[Split.VAL] < 3000 and len(set(score)) == len(score) == splits.duplicates
    assert not {text for split, text in assigned if split is Split.TRAIN} & set(score)


def test_text_that_changes_between_the_two_readings_is_refused(tmp_path: Path) -> None:
    readings = iter([texts(100), texts(100)[1:]])
    order = BuildOrder("stories", VOCAB, {"here": "0"}, lambda: next(readings), 1)
    with pytest.raises(DataUnavailable, match="was changed while it was read"):
        build(tmp_path / "set", order, lambda _, texts: iter(texts))
    assert [path.name for path in tmp_path.iterdir()] == [".set.lock"]


def test_many_processes_write_what_one_writes(tmp_path: Path) -> None:
    stories = texts(4000)  # more than one process is given at a time
    Tokenizer.train(stories[:100], VOCAB).save(tmp_path / "tokenizer.json")
    for name, total in (("alone", 0), ("together", 1 << 30)):
        (tmp_path / name).mkdir()
        drawn = zip(cycle(Split), stories, strict=False)
        counts = encode(drawn, tmp_path / "tokenizer.json", tmp_path / name, total)
        assert {split: (tmp_path / name / f"{split}.bin").stat().st_size // 2 for split in Split} == counts
    for split in Split:
        files = [(tmp_path / name / f"{split}.bin").read_bytes() for name in ("alone", "together")]
        assert files[0] == files[1] != b""


def test_what_was_made_of_the_same_is_not_made_again_unless_it_is_damaged(tmp_path: Path) -> None:
    first = made(tmp_path / "set", texts(100))
    before = (tmp_path / "set").stat().st_ino
    assert made(tmp_path / "set", texts(100)) == first and (tmp_path / "set").stat().st_ino == before
    (tmp_path / "set" / "val.bin").write_bytes(b"")
    assert made(tmp_path / "set", texts(100)) == first and (tmp_path / "set" / "val.bin").stat().st_size > 0


def test_a_long_text_is_cut_at_blank_lines_and_nothing_is_lost(tmp_path: Path) -> None:
    paragraphs = [" ".join(WORDS[n % 7 :] * 5) for n in range(2000)]
    (tmp_path / "book.txt").write_text("\n\n".join(paragraphs), encoding="utf-8")
    pieces = list(documents(tmp_path / "book.txt"))
    assert "\n\n".join(pieces).split() == "\n\n".join(paragraphs).split()
    assert all(8_000 < len(piece) < 17_000 for piece in pieces[:-1]) and len(pieces) > 50
    assert {part for piece in pieces for part in piece.split("\n\n")} == set(paragraphs)


def test_a_text_without_any_space_or_line_is_cut_and_encoded_in_bounded_time(tmp_path: Path) -> None:
    text = "".join(random.Random(3).choices("ACGT", k=100_000))
    (tmp_path / "dna.txt").write_text(text, encoding="utf-8")
    pieces = list(documents(tmp_path / "dna.txt"))
    assert "".join(pieces) == text and len(pieces) > 5
    tokenizer = Tokenizer.train(pieces[:1], VOCAB)
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text and len(tokens) < len(text) / 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere is neither a data set nor a folder"),
        (["{empty}"], "There is no .txt or .parquet file"),
        (["{few}", "--name", "few"], "3 documents are too few"),
        (["{few}", "--name", "climbmix"], "'climbmix' cannot be the name"),
        (["{few}", "--name", "../x"], "cannot be the name"),
        ([str(Path(np.__file__).parent.parent)], "is where train.py may read"),
    ],
)
def test_what_cannot_be_prepared_is_one_sentence(tmp_path: Path, arguments: list[str], words: str) -> None:
    for name in ("empty", "few"):
        (tmp_path / name).mkdir()
    for number, text in enumerate(texts(3)):
        (tmp_path / "few" / f"{number}.txt").write_text(text, encoding="utf-8")
    (tmp_path / "program.md").write_text("", encoding="utf-8")
    filled = [word.format(empty=tmp_path / "empty", few=tmp_path / "few") for word in arguments]
    done = command(*filled, "--workspace", tmp_path)
    assert done.returncode == 1 and words in done.stderr and "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if "━" not in line]) == 2, done.stderr
    assert not list((tmp_path / ".autoresearch" / "data").glob("*/dataset.json"))


def test_a_missing_reader_is_told_before_anything_is_downloaded(tmp_path: Path) -> None:
    script = f"import sys; sys.modules['pyarrow'] = None; sys.path.insert(0, {str(ROOT)!r})\n" + (
        "from trainer.prepare import main; main(['tinystories-mini', sys.argv[1]])"
    )
    run = [sys.executable, "-P", "-c", script, str(tmp_path)]
    done = subprocess.run(run, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 1 and "pip install 'autoresearch-mcp[data]'" in done.stderr
    assert not (tmp_path / "downloads").exists()


@pytest.mark.slow
def test_a_preset_is_downloaded_and_prepared(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"n": range(300), "text": texts(300)}), tmp_path / "x.parquet", row_group_size=50)
    body = (tmp_path / "x.parquet").read_bytes()
    (tmp_path / "program.md").write_text("", encoding="utf-8")
    preset = PRESETS["tinystories-mini"]
    with served(Shelf({})) as shelf:
        arguments = ("tinystories-mini", "--workspace", tmp_path, "--vocab", str(VOCAB))
        (url,) = [url.removeprefix("https://huggingface.co") for url in preset.urls(9)]
        shelf.files, shelf.statuses, shelf.cuts, shelf.stated = {url: body}, [503], [10_000], sha256(body)
        done = command(*arguments, HF_ENDPOINT=shelf.url)
        assert done.returncode == 0, done.stderr
        assert len(shelf.asked) == 2
    card = find("tinystories-mini", tmp_path / ".autoresearch" / "data")
    assert "training tokens" in card.detail
    again = command(*arguments, HF_ENDPOINT="http://127.0.0.1:1")  # all is there: no network is needed
    assert again.returncode == 0, again.stderr
    (tmp_path / "texts").mkdir()
    parquet.write_table(pyarrow.table({"story": texts(3)}), tmp_path / "texts" / "x.parquet")
    wrong = command(tmp_path / "texts", "--workspace", tmp_path)
    assert wrong.returncode == 1 and "has no column `text`, but story" in wrong.stderr


def test_without_a_network_it_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "program.md").write_text("", encoding="utf-8")
    done = command("climbmix", "--workspace", tmp_path, "--retries", "0", HF_ENDPOINT="http://127.0.0.1:1")
    assert done.returncode == 1 and "refused" in done.stderr and "mirror" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_names_every_preset() -> None:
    said = command("--help", COLUMNS="400").stdout
    assert not [name for name in ("embedded", *PRESETS) if name not in said]
