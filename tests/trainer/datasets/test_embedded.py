"""Token arrays on disk: built once, never read damaged, whatever stops or races their builder."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from server.records import Outcome
from server.runs.run_spec import RunLimits
from tests.support.builders import attempt
from tests.support.polling import PATIENCE, ended, until
from tests.support.repositories import ROOT
from tests.support.runs import local_executor, start_run
from trainer.datasets import artifact_store, embedded
from trainer.datasets.embedded import load

BUILDER = """
import hashlib, sys
from pathlib import Path
from trainer.datasets.embedded import load
print("ready", flush=True)
sys.stdin.readline()
shards = load(Path(sys.argv[1]))
for tokens in (shards.train, shards.val):
    print(hashlib.sha256(tokens.tobytes()).hexdigest())
"""
# Files cannot be longer than 100,000 bytes; what is built is.
FULL_DISK = """
import resource, sys
from pathlib import Path
from trainer.datasets import artifact_store, embedded
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
with artifact_store.building(Path(sys.argv[1])) as fresh:
    (fresh / "val.bin").write_bytes(bytes(100))
    (fresh / "train.bin").write_bytes(bytes(200_000))
"""
ARRAYS = ("train.bin", "val.bin")


def builder(folder: Path) -> subprocess.Popen[str]:
    """A process that is about to load the shards, and does at its first line of input."""
    process = subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        cwd=ROOT,
    )
    assert process.stdout and process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


def sums(home: Path) -> list[str]:
    return [hashlib.sha256((home / name).read_bytes()).hexdigest() for name in ARRAYS]


def fingerprints(folder: Path) -> dict[str, tuple[int, int]]:
    """What changes when a file is written again."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir()}


@pytest.fixture
def home(tmp_path: Path, data: Path) -> Path:
    """The folder of the arrays, in a data folder of the test's own."""
    built = load(data).train_path.parent
    return Path(shutil.copytree(built, tmp_path / "data" / built.name))


def test_what_is_intact_is_read_again_and_not_built_again(home: Path) -> None:
    before = fingerprints(home)
    first, second = load(home.parent), load(home.parent)
    assert fingerprints(home) == before
    for one, other in ((first.train, second.train), (first.val, second.val)):
        assert len(one) > 100_000 and (one == other).all() and not one.flags.writeable
    assert first.train_path == home / "train.bin" and first.fingerprint == second.fingerprint == home.name


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "one bit of the validation tokens": lambda home: flip(home / "val.bin"),
    "truncated": lambda home: (home / "train.bin").write_bytes((home / "train.bin").read_bytes()[:-2]),
    "missing": lambda home: (home / "val.bin").unlink(),
    "half a manifest": lambda home: (home / "manifest.json").write_text('{"train.bin": "'),
    "a manifest that is no mapping": lambda home: (home / "manifest.json").write_text("[]"),
    "a file in the place of the folder": lambda home: (shutil.rmtree(home), home.write_text("?")),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_what_is_damaged_is_seen(home: Path, damage: Callable[[Path], object]) -> None:
    assert artifact_store.intact(home, ARRAYS)
    damage(home)
    assert not artifact_store.intact(home, ARRAYS)


@pytest.mark.parametrize("before", ["a file", "a folder", "nothing"])
def test_what_was_built_takes_the_place_of_whatever_was_there(tmp_path: Path, before: str) -> None:
    home = tmp_path / "data" / "key"
    home.parent.mkdir()
    if before == "a file":
        home.write_text("?", encoding="utf-8")
    elif before == "a folder":
        (home / "inner").mkdir(parents=True)
    with artifact_store.building(home) as fresh:
        (fresh / "train.bin").write_bytes(b"tokens")
    assert artifact_store.intact(home, ["train.bin"])
    assert (home / "train.bin").read_bytes() == b"tokens" and not (home / "inner").exists()
    assert list(home.parent.iterdir()) == [home], "leftovers"


@pytest.mark.slow
@pytest.mark.parametrize("damaged", [pytest.param(False, marks=pytest.mark.thorough), True], ids=["nothing", "damaged"])
def test_builders_at_the_same_time_all_get_the_whole(home: Path, damaged: bool) -> None:
    whole = sums(home)
    if damaged:  # harder: the second must not take away as damaged what the first has built
        flip(home / "train.bin")
    else:
        shutil.rmtree(home.parent)
    builders = [builder(home.parent) for _ in range(2)]
    for process in builders:
        go(process)
    for process in builders:
        out, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, errors
        assert out.split() == whole
    assert sums(home) == whole
    assert [path for path in home.parent.iterdir() if path.is_dir()] == [home], "leftovers"


@pytest.mark.slow
def test_a_builder_that_is_killed_leaves_the_way_free(home: Path) -> None:
    whole = sums(home)
    shutil.rmtree(home)
    with builder(home.parent) as process:
        go(process)
        until(lambda: any(path.is_dir() for path in home.parent.iterdir()))  # it has begun
        process.kill()
    load(home.parent)
    assert sums(home) == whole


def test_a_full_disk_is_told_and_leaves_what_was_there(home: Path) -> None:
    before = fingerprints(home)
    command = [sys.executable, "-c", FULL_DISK, str(home)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", cwd=ROOT, check=False)
    assert done.returncode != 0 and "File too large" in done.stderr.splitlines()[-1]
    assert [path for path in home.parent.iterdir() if path.is_dir()] == [home] and fingerprints(home) == before


def test_a_data_folder_that_cannot_be_made_ends_the_run_with_its_path(tmp_path: Path) -> None:
    blocked = tmp_path / "data"
    blocked.write_text("a file, not a folder", encoding="utf-8")
    executor = local_executor(tmp_path / "a tag", blocked, tmp_path)
    terms = RunLimits(setup_seconds=300, evaluation_seconds=300, grace_seconds=1)
    start_run(executor, attempt(1).model_copy(update={"profile": "smoke"}), "", terms)
    result = ended(executor)
    assert (result.outcome, result.score) == (Outcome.ENV_FAIL, None)
    assert "could not be carried out" in result.reason and str(blocked) in result.reason


def test_tokens_that_were_changed_with_their_manifest_are_not_the_pinned_ones(home: Path) -> None:
    pinned = embedded._pinned  # pyright: ignore[reportPrivateUsage]
    assert pinned(home)
    (home / "val.bin").write_bytes((home / "val.bin").read_bytes()[:-2] + b"\1\0")
    (home / "manifest.json").write_text(json.dumps(dict(zip(ARRAYS, sums(home), strict=True))), encoding="utf-8")
    assert artifact_store.intact(home, ARRAYS) and not pinned(home)
