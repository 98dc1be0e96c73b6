"""Which files a prompt means, in the many ways in which people write lists."""

import pytest

from server.foreign.scope import read, resolve

FILES = (
    "README.md",
    "Cargo.toml",
    "src/a.rs",
    "src/b.rs",
    "src/deep/c.rs",
    "src/deep/d.spec.ts",
    "tests/t.rs",
    "crates/kernel/src/analyze.rs",
    "crates/kernel/src/lib.rs",
    "crates/cli/src/lib.rs",
    "crates/cli/src/runs/one.rs",
)


def scoped(scope: str, off: str = "") -> tuple[list[str], list[str], list[str]]:
    found = read(
        f"# x\n\n## Files in Scope\n{scope}\n\n## Off Limits\n{off}\n\n## Constraints\n- `README.md` stays\n", FILES
    )
    return found.editable, found.off_limits, [name for name, _ in found.unknown]


@pytest.mark.parametrize(
    ("scope", "editable"),
    [
        ("- `src/a.rs` — hot; calls `src/b.rs`", ["src/a.rs"]),
        ("- `src/a.rs` / `src/b.rs` — both", ["src/a.rs", "src/b.rs"]),
        ("- src/a.rs, src/b.rs: both", ["src/a.rs", "src/b.rs"]),
        ("* **`src/a.rs`** (hot)\n  and `src/b.rs` in a line that goes on", ["src/a.rs"]),
        ("1. [src/a.rs](src/a.rs) - linked", ["src/a.rs"]),
        ("| `src/a.rs` | the `src/b.rs` of old |", ["src/a.rs"]),
        ("- `./src/` - all of it", ["src/**"]),
        ("- `src/**` - all of it", ["src/**"]),
        ("- `src/{a,b}.rs`", ["src/a.rs", "src/b.rs"]),
        ("- Other `src/*.rs` files only when needed", ["src/*.rs"]),
        ("Code lives in `crates/kernel/`:\n\n- `analyze.rs` — found by its end", ["crates/kernel/src/analyze.rs"]),
        ("- `runs/` — a folder found by its end", ["crates/cli/src/runs/**"]),
        ("- `lib.rs` — there are two", []),
        ("Only `src/a.rs`, in a sentence.", ["src/a.rs"]),
        ("### Hot\n- `src/a.rs`\n### Cold\n- `src/b.rs`", ["src/a.rs", "src/b.rs"]),
    ],
)
def test_the_files_in_scope(scope: str, editable: list[str]) -> None:
    assert scoped(scope)[0] == editable


def test_names_that_git_does_not_have_are_told_and_words_are_not() -> None:
    assert scoped("- `src/gone.rs` — was there\n- whatever helps\n- `lib.rs` — which?")[2] == ["src/gone.rs", "lib.rs"]


@pytest.mark.parametrize(
    ("off", "limits"),
    [
        ("- Do not modify `tests/`, `README.md` or thresholds", ["tests/**", "README.md"]),
        ("- Test files (`*.spec.ts`) stay", ["**/*.spec.ts"]),
        ("- `src/a.rs` is in both lists: the scope counts", []),
        ("- the meaning of the program", []),
    ],
)
def test_what_is_off_limits(off: str, limits: list[str]) -> None:
    assert scoped("- `src/a.rs`", off)[1] == limits


def test_labels_within_one_section_tell_them_apart() -> None:
    text = "# x\n## Scope\n- Files: `src/a.rs`, src/b.rs\n- Off-limits: tests/**\n"
    found = read(text, FILES)
    assert (found.editable, found.off_limits) == (["src/a.rs", "src/b.rs"], ["tests/**"])


@pytest.mark.parametrize("word", ["/etc/passwd", "~/x", "../x", "", ".git/config", ".autoresearch/x", "a\\b"])
def test_what_is_not_below_the_top_is_no_file(word: str) -> None:
    assert resolve(word, FILES) == []


def test_paths_begin_at_the_working_folder_first() -> None:
    assert resolve("src/lib.rs", FILES, "crates/cli") == ["crates/cli/src/lib.rs"]
    assert resolve("src/a.rs", FILES, "crates/cli") == ["src/a.rs"]
