"""What a glob of program.md has, for server and trainer alike."""

import pytest

from trainer.text import glob_matches


@pytest.mark.parametrize(
    ("glob", "path", "found"),
    [
        ("src/**", "src/a", True),
        ("src/**", "src/a/b.c", True),
        ("src/**", "src", False),
        ("src/**", "lib/src/a", False),
        ("*.c", "a.c", True),
        ("*.c", "src/a.c", False),
        ("**/*.c", "a.c", True),
        ("**/*.c", "src/x/a.c", True),
        ("src/*/a.c", "src/x/a.c", True),
        ("src/*/a.c", "src/x/y/a.c", False),
        ("src/**/a.c", "src/a.c", True),
        ("src/**/a.c", "src/x/y/a.c", True),
        ("?.c", "a.c", True),
        ("?.c", "/.c", False),
        ("[ab].c", "b.c", True),
        ("[!ab].c", "b.c", False),
        ("[!ab].c", "c.c", True),
        ("a.c", "abc", False),
        ("a+(b).c", "a+(b).c", True),
        ("Ä/*.txt", "Ä/ö.txt", True),
        ("src", "src/x/a.c", True),
        ("src", "src2", False),
        ("./src/", "src/x/a.c", True),
        ("data/test[0-9].csv", "data/test7.csv", True),
        ("data/[!a].csv", "data//.csv", False),
        ("app/[id]/page.tsx", "app/[id]/page.tsx", True),
        ("app/[id]/page.tsx", "app/i/page.tsx", True),
    ],
)
def test_a_glob_matches_whole_paths_and_a_star_one_part(glob: str, path: str, found: bool) -> None:
    assert glob_matches(["other", glob], path) is found
