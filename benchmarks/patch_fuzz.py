"""Diffs of train.py and of generated C, CSS and Markdown, written the ways that models and tools write them, applied.

    python benchmarks/patch_fuzz.py [--count 100000] [--stale 5000] [--seed 0]
    python benchmarks/patch_fuzz.py --seed 0 --case stale:17 [--dump FOLDER]

Each diff is made from edits that are known, so that the right result is known without reading a diff: "right" is that
text, "wrong" any other, "refused" none. A kind of change to a diff either leaves its place determined, so that a
refusal is a loss, or takes something away, so that a refusal is right. A stale diff meets a file that somebody else
has edited, too; the right result is `git merge-file`'s, and where it finds a conflict in the same lines, a refusal.
Seed and number make a case, whatever the cases before it: the second command makes one again, and `--dump` writes
text, patch, result and expected text of each wrong one into a folder.
"""

import argparse
import difflib
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.patch_cases import (
    NONE,
    Case,
    Edit,
    Hunk,
    Written,
    bases,
    begin,
    blocks,
    edited,
    hunks_of,
    random_edits,
    text_of,
    unified,
)
from benchmarks.patch_changes import KINDS, odd_bases
from server.errors import PatchRefused
from server.source.patch import apply
from server.source.patch_blocks import is_marker

_SHARED = 50  # cases that are made of the same texts
_HUNK = re.compile(r"^(?:Hunk|SEARCH block) [0-9]+(?: of [0-9]+)?")


class Tried(NamedTuple):
    """A case and what became of it."""

    name: str  # its part and number, as `--case` takes it
    kind: str
    written: Written
    end: str  # "right", "wrong" or "refused"
    told: str  # the result, or the refusal


class Tally:
    """What became of each kind."""

    def __init__(self) -> None:
        self.ends: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.determined = 0
        self.lost: list[Tried] = []
        self.wrong: list[Tried] = []
        self.tried: list[Tried] = []  # the last ones

    def add(self, name: str, kind: str, written: Written, determined: bool) -> None:
        """Apply the patch and note what became of it."""
        try:
            told = apply(written.text, written.patch)
        except PatchRefused as refusal:
            told = str(refusal)
            assert len(told) <= 600, f"a refusal of {len(told)} characters"
            end = "refused"
        else:
            end = "right" if told == written.expected else "wrong"
        tried = Tried(name, kind, written, end, told)
        self.tried = [*self.tried[-3:], tried]
        self.ends[kind][end] += 1
        self.determined += determined
        self.wrong += [tried] if end == "wrong" else []
        self.lost += [tried] if determined and end == "refused" else []


def fuzz(seed: int, count: int, first: int = 0) -> Tally:
    """Apply so many diffs, of each kind in turn."""
    tally, kinds = Tally(), list(KINDS)
    for number, rng, texts in _drawn(seed, "fuzz", count, first):
        base = rng.choice(texts)
        edits = random_edits(rng, base, rng.randint(1, 4))
        context = rng.choice((0, 1, 3, 3, 3))
        kind = kinds[number % len(kinds)]
        if kind == "applied before":
            context = 3
        case = Case(base, edited(base, edits), hunks_of(base, edits, context), context)
        written = KINDS[kind](case, rng)
        named = f"{kind}, {context} lines" if context < 3 else kind
        tally.add(f"fuzz:{number}", named, written, _is_determined(kind, case))
    return tally


def _drawn(seed: int, part: str, count: int, first: int) -> Iterator[tuple[int, random.Random, list[list[str]]]]:
    """The numbers of the cases, each with its own draws and the texts to choose from."""
    for number in range(first, first + count):
        yield number, random.Random(f"{seed} {part} {number}"), _texts(seed, part, number // _SHARED)


@lru_cache(maxsize=1)
def _texts(seed: int, part: str, group: int) -> list[list[str]]:
    rng = random.Random(f"{seed} texts of {part} {group}")
    return bases(rng) + odd_bases(rng)


def _is_determined(kind: str, case: Case) -> bool:
    """Whether the text alone says where each hunk goes: its lines stand there once, in any layout."""
    if kind in NONE or kind == "a hunk twice" or _reads_otherwise(kind, case):
        return False
    return _stand_once(case.base, case.hunks)


def _reads_otherwise(kind: str, case: Case) -> bool:
    """Whether a line of the file says something else in such a patch: a list item without its blank is one that goes.

    So is a file's own marker of a block among markers that are not the usual ones.
    """
    kept = [line[1:] for hunk in case.hunks for line in hunk.body if line[0] == " "]
    lines = [line[1:] for hunk in case.hunks for line in hunk.body]
    return (kind == "no blank before context" and any(line[:1] in ("-", "+") for line in kept)) or (
        kind == "other markers" and any(is_marker(line) or line.strip() == "=" * 7 for line in lines)
    )


def _stand_once(texts: list[str], hunks: list[Hunk]) -> bool:
    base = [line.strip() for line in texts]
    for hunk in hunks:
        old = [line[1:].strip() for line in hunk.body if line[0] != "+"]
        if not any(old) or sum(base[at : at + len(old)] == old for at in range(len(base))) != 1:
            return False
    return True


def stale(seed: int, count: int, first: int = 0) -> Tally:
    """Apply so many diffs to files that somebody else has edited, and judge them by `git merge-file`."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        for number, rng, texts in _drawn(seed, "stale", count, first):
            base = rng.choice(texts)
            # Whoever moves a line away, and not the lines around it, moves what is known by that line alone.
            ours, theirs = (random_edits(rng, base, rng.randint(1, 3), copies) for copies in (True, False))
            context = rng.choice((0, 1, 3, 3))
            expected = _merged(Path(folder), base, edited(base, theirs), edited(base, ours))
            if expected is None and not _overlap(base, ours, theirs):
                continue  # merge-file finds neighbouring lines a conflict, where each edit has its one place
            hunks = hunks_of(base, ours, context)
            once = _stand_once(base, hunks)  # without context or numbers, nothing tells a copy from what was meant
            written = {"stale": unified(hunks)} if once or context else {}
            if once and not any(hunk.body[0] == "-" for hunk in hunks):  # a blank line that comes first may be spurious
                written |= {"stale blocks": blocks(hunks), "stale Begin Patch": begin(hunks)}
            for kind, patch in written.items():
                case = Written(patch, text_of(edited(base, theirs)), expected, text_of(base))
                tally.add(f"stale:{number}", f"{kind}, {context} lines", case, False)
    return tally


def _overlap(base: list[str], ours: list[Edit], theirs: list[Edit]) -> bool:
    return any(
        all(one.start < other.end and other.start < one.end for other in _slides(base, edit))
        for one in ours
        for edit in theirs
    )


def _slides(base: list[str], edit: Edit) -> list[Edit]:
    """The edit, and all that make the same text: lines go above as well as below the same ones."""
    same = [edit]
    if edit.new:
        return same
    start, end, _ = edit
    while end < len(base) and base[start] == base[end]:
        start, end = start + 1, end + 1
        same.append(Edit(start, end, []))
    start, end, _ = edit
    while start > 0 and base[start - 1] == base[end - 1]:
        start, end = start - 1, end - 1
        same.append(Edit(start, end, []))
    return same


def _merged(folder: Path, base: list[str], theirs: list[str], ours: list[str]) -> str | None:
    """What git makes of both; None for a conflict."""
    paths = [folder / name for name in ("theirs", "base", "ours")]
    for path, lines in zip(paths, (theirs, base, ours), strict=True):
        path.write_text(text_of(lines), encoding="utf-8")
    done = subprocess.run(["git", "merge-file", "-p", *paths], capture_output=True, check=False)
    return done.stdout.decode() if done.returncode == 0 else None


def main() -> None:
    """Print the counts of each kind; exit with 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--stale", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", help="one case to make again and show, for example stale:17")
    parser.add_argument("--dump", type=Path, help="a folder that each wrong result, or the one case, is written to")
    options = parser.parse_args()
    if options.case:
        part, _, number = options.case.partition(":")
        shown = {"fuzz": fuzz, "stale": stale}[part](options.seed, 1, int(number)).tried
    else:
        shown = _run(options.seed, options.count, options.stale)
    for tried in shown:
        _show(tried, options.seed)
        if options.dump:
            _dump(tried, options.dump)
    raise SystemExit(any(tried.end == "wrong" for tried in shown))


def _run(seed: int, count: int, stale_count: int) -> list[Tried]:
    """Print what became of each kind; return the wrong ones."""
    began = time.monotonic()
    tallies = fuzz(seed, count), stale(seed, stale_count)
    print(f"{'kind':40}{'right':>8}{'refused':>9}{'wrong':>7}")
    for tally in tallies:
        for kind, ends in sorted(tally.ends.items()):
            print(f"{kind:40}{ends['right']:>8}{ends['refused']:>9}{ends['wrong']:>7}")
    lost, determined = tallies[0].lost, tallies[0].determined
    wrong = [tried for tally in tallies for tried in tally.wrong]
    print(f"refused though the text says where: {len(lost)} of {determined} ({_percent(len(lost), determined)} %)")
    for cause, cases in _by_cause(lost):
        print(f"  {_percent(len(cases), determined)} %  {cause}, for example {', '.join(cases[:3])}")
    print(f"wrong: {len(wrong)}; {time.monotonic() - began:.0f} s, seed {seed}")
    return wrong


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / max(whole, 1):.2f}"


def _by_cause(lost: list[Tried]) -> list[tuple[str, list[str]]]:
    """The names of the refused cases by the words of their refusal without what it quotes, the most frequent first."""
    causes: defaultdict[str, list[str]] = defaultdict(list)
    for tried in lost:
        words = re.sub(
            r"[0-9]+(?:, [0-9]+)*", "N", re.sub(r"^(?:Hunk|SEARCH block) [0-9]+(?: of [0-9]+)?", "", tried.told)
        )
        causes[re.split(r"[.:;]\s", words)[0].strip()[:80]].append(tried.name)
    return sorted(causes.items(), key=lambda cause: -len(cause[1]))


def _show(tried: Tried, seed: int) -> None:
    written, told = tried.written, tried.told
    got = told if tried.end == "refused" else _changes(written.text, told)
    right = "a refusal" if written.expected is None else _changes(written.text, written.expected)
    print(f"--- {tried.end}: --seed {seed} --case {tried.name} ({tried.kind})")
    print(f"{written.patch}\n--- result\n{got}\n--- expected\n{right}")


def _dump(tried: Tried, folder: Path) -> None:
    """Write what the case is made of, and what came out, as files."""
    here = folder / f"{tried.name}-{tried.kind}".replace(":", "-").replace(" ", "_").replace(",", "")
    here.mkdir(parents=True, exist_ok=True)
    came = {"refusal" if tried.end == "refused" else "result": tried.told}
    for name, text in {**tried.written._asdict(), **came}.items():
        if text:
            (here / name).write_text(text, encoding="utf-8", newline="")


def _changes(before: str, after: str) -> str:
    return "\n".join(difflib.unified_diff(before.split("\n"), after.split("\n"), lineterm="", n=1))[:1500]


if __name__ == "__main__":
    main()
