"""What another tool's scripts find around them and git does not have: folders to link, files to bring along."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path

from server.foreign import scripts
from server.task.requirements import Lack

_INPUTS = (".venv", "venv", "env", "node_modules", "vendor", "data", "datasets", "models", "target")
_NESTED = ("*/node_modules", "*/*/node_modules")
_MOST_NESTED = 40
_BUILDS = re.compile(r"(?<![\w./-])(?:cargo\s+(?:\+\S+\s+)?(?:b|bench|build|c|check|r|run|t|test)\b|mvn\s)")
_TOOLS = re.compile(
    r"(?:^|[;&|(`]|\b(?:if|then|do|else|exec|time|env|!)\s)\s*(?:\w+=\S*\s+)*"
    r"(uv|poetry|node|npm|npx|pnpm|yarn|bun|deno|cargo|rustc|go|ruby|bundle|julia|php|java|mvn|gradle|dotnet|swift|zig|"
    r"cmake|make|ninja|gcc|g\+\+|clang|hyperfine|jq|rg|shellcheck|R|Rscript|lua|nix-shell|nix|pwsh|xcodebuild)\s"
)
_NODE = re.compile(r"(?<![\w./-])(?:npm|npx|pnpm|yarn|node|bun)\s")
_UV = re.compile(r"(?<![\w./-])uv\s+run\b")
_MOST_BYTES = 4 << 20  # of a file that is brought along
_MOST_BROUGHT = 100
_SECRETS = re.compile(
    r"(?:.*/)?(?:\.(?:ssh|aws|gnupg|kube|docker)/.*|\.env(?:rc|\..*)?|[^/]*\.env|\.npmrc|[._]netrc|\.pypirc|\.pgpass"
    r"|\.git-credentials|\.htpasswd|id_[a-z0-9]+|[^/]*\.(?:pem|key|p12|pfx|jks|keystore|kdbx|ppk)"
    r"|\.?(?:api[_-]?|access[_-]?|auth[_-]?)?token(?:\.(?:txt|json))?|service[_-]?account[^/]*\.json"
    r"|[^/]*(?:credential|secret|password)s?(?:[._-][^/]*)?\.(?:json|ya?ml|toml|ini|cfg|conf|txt)"
    r"|\.?(?:credentials?|secrets?|passwords?))",
    re.IGNORECASE,
)
_RECORDS = re.compile(r"(?:.*/)?(?:log|runs|autoresearch|results)\.(?:jsonl|tsv)|.*\.log")
_ENVIRONMENT = "env"  # often one of Python, and as often a folder of settings


def links(root: Path, files: Collection[str], texts: Iterable[str], below: str = "") -> list[str]:
    """Folders with inputs that git does not have, to be linked.

    `target` is left out where the scripts build there: a link can only be read.
    """
    told = "\n".join(texts)
    found: list[str] = []
    for base in dict.fromkeys(("", below)):
        top = root / base
        nested = (path.relative_to(root).as_posix() for pattern in _NESTED for path in top.glob(pattern))
        names = (f"{base}/{name}" if base else name for name in _INPUTS)
        found += [name for name in (*names, *islice(nested, _MOST_NESTED)) if _is_input(root, name, files)]
    found = [name for name in dict.fromkeys(found) if not any(name.startswith(f"{other}/") for other in found)]
    if _BUILDS.search(told):
        found = [name for name in found if name.rpartition("/")[2] != "target"]
    return found


def _is_input(root: Path, name: str, files: Collection[str]) -> bool:
    if name.rpartition("/")[2] == _ENVIRONMENT and not (root / name / "pyvenv.cfg").is_file():
        return False
    return (root / name).is_dir() and not any(file == name or file.startswith(f"{name}/") for file in files)


def missing(root: Path, texts: Iterable[str], below: str = "") -> Iterator[Lack]:
    """What the scripts look for in the workspace and is not there: an environment of Python, packages of Node.js."""
    told, top = "\n".join(texts), root / below
    if re.search(r"(?<![\w/])\.venv/bin/", told) and not any((place / ".venv").is_dir() for place in (root, top)):
        yield _missing(".venv", "make it: python -m venv .venv, or uv sync")
    if _NODE.search(told) and not any((place / "node_modules").is_dir() for place in (root, top)):
        with suppress(OSError, ValueError):
            named = json.loads((top / "package.json").read_bytes())
            if named.get("dependencies") or named.get("devDependencies"):
                yield _missing("node_modules", "install the packages: npm ci")


def without_programs(name: str, text: str) -> Iterator[Lack]:
    """The tools that a script begins a command with and PATH does not have; what is linked may bring them along."""
    words = dict.fromkeys(found for _, line in scripts.code(text) for found in _TOOLS.findall(line))
    if gone := [word for word in words if shutil.which(word) is None and f"command -v {word}" not in text]:
        told = f"{name} runs {', '.join(gone)}, and there is no such program on PATH"
        yield Lack(problem=told, remedy="install it for the server's account", fatal=False)


def _missing(name: str, how: str) -> Lack:
    return Lack(problem=f"the scripts need {name}, and it is not there", remedy=how, fatal=False)


def variables(root: Path, linked: Iterable[str], texts: Iterable[str]) -> str:
    """Assignments in front of a command, for `sh`: a linked environment of Python is used, and uv leaves it alone.

    Where the environment has this repository installed as an editable one, its packages are the run's, not the
    checkout's.
    """
    venvs = [name for name in linked if (root / name / "pyvenv.cfg").is_file()]
    told: list[str] = []
    if venvs:
        told.append(f'PATH="$PWD/{venvs[0]}/bin:$PATH"')
        own = [path for name in venvs for path in _installed_from(root, name)]
        if own:
            places = ":".join(f"$PWD/{path}" if path else "$PWD" for path in dict.fromkeys(own))
            told.append(f'PYTHONPATH="{places}${{PYTHONPATH:+:$PYTHONPATH}}"')
    if any(_UV.search(text) for text in texts):
        told += ["UV_NO_SYNC=1", "UV_OFFLINE=1"]
    return "".join(f"{word} " for word in told)


def _installed_from(root: Path, venv: str) -> Iterator[str]:
    """The folders of the repository from which an environment takes packages, from the top."""
    top = str(root.resolve())
    for site in sorted((root / venv).glob("lib/python*/site-packages")):
        for path in [*sorted(site.glob("*.pth")), *sorted(site.glob("__editable___*_finder.py"))]:
            text = ""
            with suppress(OSError):
                text = path.read_text(encoding="utf-8", errors="replace")
            for found in re.findall(rf"{re.escape(top)}(/[^\s'\",:]*)?", text):
                inner = found.strip("/")
                if (inner == venv or inner.startswith(f"{venv}/")) or not re.fullmatch(r"[\w./-]*", inner):
                    continue
                yield inner if path.suffix == ".pth" else inner.rpartition("/")[0]


def wanted(texts: Mapping[str, str]) -> list[str]:
    """The scripts and the files that these may read, by path, whether they are there or not."""
    found = dict.fromkeys(texts)
    for script, text in texts.items():
        folder = os.path.dirname(script)
        for path in scripts.named(text):
            found |= dict.fromkeys([path, f"{folder}/{path}" if folder else path])
    return list(found)


def brought(root: Path, files: Collection[str], paths: Iterable[str], linked: Collection[str]) -> dict[str, str]:
    """Those of the paths that git does not have and a run needs, each with its sha256.

    Args:
        linked: folders that a run sees as they are.
    """
    found: dict[str, str] = {}
    for path in paths:
        if path in files or len(found) >= _MOST_BROUGHT or any(path.startswith(f"{name}/") for name in linked):
            continue
        if sha256 := _sha256(root, path):
            found[path] = sha256
    return found


def secrets(root: Path, files: Collection[str], paths: Iterable[str]) -> list[str]:
    """Those of the paths that are there, look like secrets, and are not in git: no run gets them."""
    return [path for path in paths if path not in files and _SECRETS.fullmatch(path) and (root / path).is_file()]


def _sha256(root: Path, path: str) -> str:
    """The hash of a file that may be brought along; empty where it may not, or is none."""
    place = root / path
    if path.startswith("/") or ".." in path.split("/") or ".git" in path.split("/"):
        return ""
    if _SECRETS.fullmatch(path) or _RECORDS.fullmatch(path) or _through_link(root, path):
        return ""
    try:
        if not place.is_file() or place.stat().st_size > _MOST_BYTES:
            return ""
        return hashlib.sha256(place.read_bytes()).hexdigest()
    except OSError:
        return ""


def _through_link(root: Path, path: str) -> bool:
    parts = Path(path).parts
    return any((root / Path(*parts[:end])).is_symlink() for end in range(1, len(parts) + 1))
