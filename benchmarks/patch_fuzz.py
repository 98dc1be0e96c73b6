"""Diffs of train.py and of generated C, CSS and Markdown, written the ways that models and tools write them, applied.

    python benchmarks/patch_fuzz.py [--count 100000] [--stale 5000] [--seed 0]

Each diff is made from edits that are known, so that the right result is known without reading a diff: "right" is that
text, "wrong" any other, "refused" none. A kind of change to a diff either leaves its place determined, so that a
refusal is a loss, or takes something away, so that a refusal is right. A stale diff meets a file that somebody else
has edited, too; the right result is `git merge-file`'s, and where it finds a conflict in the same lines, a refusal.
"""

import argparse
import difflib
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

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


class Tally:
    """What became of each kind."""

    def __init__(self) -> None:
        self.ends: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.determined, self.lost = 0, 0
        self.wrong: list[tuple[str, Written, str]] = []

    def add(self, kind: str, written: Written, determined: bool) -> None:
        """Apply the patch and note what became of it."""
        try:
            result = apply(written.text, written.patch)
        except PatchRefused as refusal:
            assert len(str(refusal)) <= 600, f"a refusal of {len(str(refusal))} characters"
            end = "refused"
        else:
            end = "right" if result == written.expected else "wrong"
            if end == "wrong":
                self.wrong.append((kind, written, result))
        self.ends[kind][end] += 1
        self.determined += determined
        self.lost += determined and end == "refused"


def fuzz(seed: int, count: int) -> Tally:
    """Apply so many diffs, of each kind in turn."""
    rng, tally, kinds = random.Random(seed), Tally(), list(KINDS)
    texts = bases(rng) + odd_bases(rng)
    for number in range(count):
        if number % 50 == 49:
            texts = bases(rng) + odd_bases(rng)
        base = rng.choice(texts)
        edits = random_edits(rng, base, rng.randint(1, 4))
        context = rng.choice((0, 1, 3, 3, 3))
        kind = kinds[number % len(kinds)]
        if kind == "applied before":
            context = 3
        case = Case(base, edited(base, edits), hunks_of(base, edits, context), context)
        written = KINDS[kind](case, rng)
        tally.add(f"{kind}, {context} lines" if context < 3 else kind, written, _is_determined(kind, case))
    return tally


def _is_determined(kind: str, case: Case) -> bool:
    """Whether the text alone says where each hunk goes: its lines stand there once, in any layout."""
    if kind in NONE or kind == "a hunk twice":
        return False
    return _stand_once(case.base, case.hunks)


def _stand_once(texts: list[str], hunks: list[Hunk]) -> bool:
    base = [line.strip() for line in texts]
    for hunk in hunks:
        old = [line[1:].strip() for line in hunk.body if line[0] != "+"]
        if not any(old) or sum(base[at : at + len(old)] == old for at in range(len(base))) != 1:
            return False
    return True


def stale(seed: int, count: int) -> Tally:
    """Apply so many diffs to files that somebody else has edited, and judge them by `git merge-file`."""
    rng, tally = random.Random(seed), Tally()
    texts = bases(rng) + odd_bases(rng)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            if number % 50 == 49:
                texts = bases(rng) + odd_bases(rng)
            base = rng.choice(texts)
            # Whoever moves a line away, and not the lines around it, moves what is known by that line alone.
            ours, theirs = (random_edits(rng, base, rng.randint(1, 3), copies) for copies in (True, False))
            context = rng.choice((0, 1, 3, 3))
            expected = _merged(Path(folder), base, edited(base, theirs), edited(base, ours))
            if expected is None and not _overlap(ours, theirs):
                continue  # merge-file finds neighbouring lines a conflict, where each edit has its one place
            hunks = hunks_of(base, ours, context)
            once = _stand_once(base, hunks)  # without context or numbers, nothing tells a copy from what was meant
            written = {"stale": unified(hunks)} if once or context else {}
            if once and not any(hunk.body[0] == "-" for hunk in hunks):  # a blank line that comes first may be spurious
                written |= {"stale blocks": blocks(hunks), "stale Begin Patch": begin(hunks)}
            for kind, patch in written.items():
                tally.add(f"{kind}, {context} lines", Written(patch, text_of(edited(base, theirs)), expected), False)
    return tally


def _overlap(ours: list[Edit], theirs: list[Edit]) -> bool:
    return any(a.start < b.end and b.start < a.end for a in ours for b in theirs)


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
    parser.add_argument("--show", type=int, default=0, help="wrong results to print")
    options = parser.parse_args()
    began = time.monotonic()
    tallies = fuzz(options.seed, options.count), stale(options.seed, options.stale)
    print(f"{'kind':40}{'right':>8}{'refused':>9}{'wrong':>7}")
    for tally in tallies:
        for kind, ends in sorted(tally.ends.items()):
            print(f"{kind:40}{ends['right']:>8}{ends['refused']:>9}{ends['wrong']:>7}")
    lost, determined = tallies[0].lost, tallies[0].determined
    wrong = [case for tally in tallies for case in tally.wrong]
    print(f"refused though the text says where: {lost} of {determined} ({100 * lost / max(determined, 1):.2f} %)")
    print(f"wrong: {len(wrong)}; {time.monotonic() - began:.0f} s, seed {options.seed}")
    for kind, written, result in wrong[: options.show]:
        got, right = (_changes(written.text, text or "") for text in (result, written.expected))
        print(f"--- {kind}\n{written.patch}\n--- result\n{got}\n--- expected\n{right}")
    raise SystemExit(bool(wrong))


def _changes(before: str, after: str) -> str:
    return "\n".join(difflib.unified_diff(before.split("\n"), after.split("\n"), lineterm="", n=1))[:1500]


if __name__ == "__main__":
    main()
