"""What the text of a shell script tells: the numbers that it prints, files that it names, and what confinement bars.

A script is only looked at. What it builds while it runs nobody sees here: the run itself says so then.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from server.task.requirements import Lack

_MOST_BYTES = 1 << 20
_MOST_SCRIPTS = 20
_METRIC = re.compile(r"METRIC\s+([\w.\-µ]+)=")
_PLAIN = re.compile(r"(?:^|[\"'\s])([A-Za-z_µ][\w.µ]*)=(?:%|\$|\{|\d)")  # printf 'name=%s', echo name=$x
_PRINTS = re.compile(r"\b(?:echo|printf|print|console\.log|puts|println!?)\b")
_MADE_UP = re.compile(r"METRIC\s+[\"']?(?:\$|\{|%|\\?\()")  # names that the script makes while it runs
_HEREDOC = re.compile(r"<<-?\s*(['\"]?)(\w+)\1")
_PATH = re.compile(
    r"(?<![\w$\}/~.-])(?:\./|\$\{?(?:PWD|ROOT|REPO_ROOT|DIR|SCRIPT_DIR)\}?/)?((?:\.?[\w@+-][\w@+.-]*/)*[\w@+.-]+)"
)
_WRITTEN = re.compile(
    r"(?:>{1,2}|\b-o|--[\w-]+=(?:\w+:)?|\btee(?:\s+-a)?|\brm(?:\s+-\w+)*|\btouch|\bmkdir(?:\s+-p)?)\s*[\"']?$"
)
_ARGUMENT = re.compile(r"(?<!\\)\$(?:\{([1-9])(?::?\?[^}]*)?\}|([1-9])\b)")
_FUNCTION = re.compile(r"\s*(?:function\s+[\w-]+\s*(?:\(\))?|[\w-]+\s*\(\))\s*\{")
_SHEBANG = re.compile(r"#!\s*\S*?/(?:env\s+(?:-S\s+)?)?([\w.+-]+)\s*$", re.MULTILINE)
_SINGLE = re.compile(r"'[^']*'")


class Bar(NamedTuple):
    """Something that a confined run does not have."""

    words: re.Pattern[str]
    what: str
    allow: str  # the field that gives it; empty: nothing does
    remedy: str


_NETWORK = "`network: true`, if the run may use it"
_HOME = "`home: true`, if the run may read the operator's home folder"
_BARS = (
    Bar(
        re.compile(r"\bgit\s+(?:-\S+\s+)*push\b|\bgh\s+[a-z]+"),
        "publishes its results, but a run has neither a repository nor the operator's credentials",
        "",
        "measure here with another `command`: this one cannot be confined",
    ),
    Bar(
        re.compile(r"(?<![\w./-])git\s+(?:-\S+\s+)*[a-z][a-z-]*"),
        "calls git, but a run has the files of a commit without a repository",
        "",
        "let the script go on where git fails, or give another `command`",
    ),
    Bar(re.compile(r"(?<![\w./-])sudo\s"), "wants to be root", "", "remove `sudo`: nothing in a run can become root"),
    Bar(
        re.compile(r"(?<![\w./-])(?:docker|podman|nerdctl)\s"),
        "uses containers, which the referee cannot confine",
        "",
        "measure without containers, or give another `command`",
    ),
    Bar(
        re.compile(
            r"(?<![\w./-])(?:curl|wget|ssh|scp|aws|gcloud|gsutil|kubectl|hf|huggingface-cli)\s"
            r"|\bgit\s+(?:clone|fetch|pull)\b|\b(?:npm|pnpm|yarn|bun)\s+(?:ci|i|install|add)\b"
            r"|\b(?:pip3?|uv\s+pip)\s+install\b|\buv\s+sync\b|\bcargo\s+(?:install|fetch)\b|\bbundle\s+install\b"
            r"|\bnix(?:-shell|\s+(?:develop|shell|run))\b|\bhttps?://"
        ),
        "wants the network",
        "network",
        _NETWORK,
    ),
    Bar(
        re.compile(r"(?<!\\)\$\{?HOME\b|(?:^|[\s\"'=:(])~/|(?:^|[\s\"'=:(])/(?:home|Users|root)/"),
        "reads the operator's home folder",
        "home",
        _HOME,
    ),
)
# Tools whose packages lie in the home folder, and the file that says that a project has some.
_CACHES = (
    (
        re.compile(r"(?<![\w./-])cargo\s+(?:\+\S+\s+)?(?:b|bench|build|c|check|r|run|t|test|clippy)\b"),
        "Cargo.lock",
        "registry+",
        "cargo",
    ),
    (re.compile(r"(?<![\w./-])go\s+(?:build|test|run|generate|vet)\b"), "go.sum", "", "go"),
    (re.compile(r"(?<![\w./-])(?:mvn|\./mvnw)\s"), "pom.xml", "<dependency>", "maven"),
    (re.compile(r"(?<![\w./-])(?:gradle|\./gradlew)\s"), "build.gradle", "", "gradle"),
)


def read(root: Path, names: Iterable[str]) -> dict[str, str]:
    """The texts of scripts, and of the shell scripts that those name, by path from `root`."""
    found: dict[str, str] = {}
    left = list(names)
    while left and len(found) < _MOST_SCRIPTS:
        name = left.pop(0)
        text = _text(root / name)
        if text is not None and name not in found:
            found[name] = text
            left += [path for path in named(text) if path.endswith((".sh", ".bash"))]
    return found


def _text(path: Path) -> str | None:
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return file.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return None


def interpreter(path: Path) -> str:
    """What runs a script: its first line's program where that is no shell, else bash."""
    found = _SHEBANG.match(_text(path) or "")
    return found[1] if found and not found[1].endswith("sh") else "bash"


def code(text: str) -> list[tuple[int, str]]:
    """The lines that are no comment, with their numbers."""
    lines = enumerate(text.splitlines(), 1)
    return [
        (number, re.sub(r"(?:^|\s)#(?!!).*$", "", line)) for number, line in lines if not line.lstrip().startswith("#")
    ]


def comments(text: str) -> str:
    """What the script says of itself."""
    return "\n".join(line.lstrip("# \t") for line in text.splitlines() if line.lstrip().startswith("#"))


def metrics(text: str) -> tuple[list[str], bool]:
    """The names in its METRIC lines, in their order, and whether it makes others while it runs."""
    told = [line for _, line in code(text)]
    names = dict.fromkeys(name for line in told for name in _METRIC.findall(line))
    return list(names), any(_MADE_UP.search(line) for line in told)


def plain_names(text: str) -> list[str]:
    """The names that it prints as `name=value`, without METRIC."""
    lines = (line for _, line in code(text) if _PRINTS.search(line) and "METRIC" not in line)
    return list(dict.fromkeys(name for line in lines for name in _PLAIN.findall(line)))


def named(text: str) -> list[str]:
    """The paths that it names and does not write, from the folder that it runs in."""
    written_too = set(written(text))
    return [path for path, written_here in _paths(text) if not written_here and path not in written_too]


def written(text: str) -> list[str]:
    """The paths that it writes, as far as one word before them tells."""
    return [path for path, written_here in _paths(text) if written_here]


def _paths(text: str) -> list[tuple[str, bool]]:
    """What looks like a path, and whether it is written there, once each."""
    found: dict[tuple[str, bool], None] = {}
    for _, line in code(text):
        for one in _PATH.finditer(line):
            path = one[1].removeprefix("./")
            if re.search(r"\w[./]|[./]\w", path):
                found[path, bool(_WRITTEN.search(line[: one.start()]))] = None
    return list(found)


def barred(name: str, text: str, root: Path) -> Iterator[tuple[str, Lack]]:
    """What the script needs and a confined run does not have: the field that gives it, or "", and the sentence."""
    lines = code(text)
    for bar in _BARS:
        at = next(((number, found[0]) for number, line in lines if (found := bar.words.search(line))), None)
        if at is not None:
            told = f"{name}, line {at[0]}: `{at[1].strip(' ;(=:')}` {bar.what}"
            yield bar.allow, Lack(problem=told, remedy=bar.remedy, fatal=False)
    for words, lock, has, tool in _CACHES:
        number = next((number for number, line in lines if words.search(line)), 0)
        if number and (known := _text(root / lock)) is not None and has in known:
            told = f"{name}, line {number}: {tool} looks for packages in the operator's home folder"
            yield "home", Lack(problem=told, remedy=f"{_HOME}, unless they are in the repository", fatal=False)
    if number := needs_argument(text):
        told = f"{name}, line {number}: it needs an argument, and is called without one"
        yield "command", Lack(problem=told, remedy=f"`command: bash {name} ARGUMENT`", fatal=False)


def needs_argument(text: str) -> int:
    """The line that uses an argument without a default, outside functions; 0 if none does."""
    ends, inside = "", False
    for number, line in code(text):
        if ends:
            ends = "" if line.strip() == ends else ends
            continue
        if inside or _FUNCTION.match(line):
            inside = not re.match(r"\s?\s?\}", line) and not line.rstrip().endswith("}")
            continue
        if _ARGUMENT.search(_SINGLE.sub("", line)) and "set --" not in line:
            return number
        if heredoc := _HEREDOC.search(line):
            ends = heredoc[2]
    return 0
