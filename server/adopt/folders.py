"""Which files of a repository an agent may change, which are off limits, and what git does not have. Proposals only."""

import re
from collections import Counter

from server.adopt.project import Project
from server.records import Value
from trainer.text import glob_matches

_SOURCES = ("src", "lib", "source", "app", "pkg", "internal", "cmd", "include", "core")
_CODE = (
    "py pyx c h cc cpp cxx hpp hxx rs go js mjs cjs ts tsx jsx java kt scala cs swift m rb php lua pl r jl zig nim hs "
    "ml ex exs erl clj sql f90 f s asm cu wgsl glsl"
).split()
_TESTS = re.compile(
    r"(?:.*/)?(tests?|spec|specs|__tests__|testdata)/.*|(?:.*/)?(test_[^/]*|[^/]*[._-](test|spec))\.\w+"
)
_NO_SOURCE = re.compile(
    r"(?:.*/)?(tests?|specs?|__tests__|docs?|examples?|bench(mark)?(es|s)?|scripts?|tools?|ci|data|\.[^/]+)/.*"
    r"|(setup|conf|conftest|noxfile|fabfile|tasks)\.py|[^/]*\.config\.\w+|(?:.*/)?[^/]*bench[^/]*\.\w+|prepare\.py"
)
_CI = (".github/**", ".gitlab-ci.yml", ".circleci/**", ".travis.yml", "azure-pipelines.yml", "Jenkinsfile", ".ci/**")
_LOCKS = (
    "package-lock.json yarn.lock pnpm-lock.yaml bun.lockb uv.lock poetry.lock pdm.lock Pipfile.lock Cargo.lock go.sum "
    "Gemfile.lock composer.lock mix.lock flake.lock"
).split()
_BINARY = (
    "png jpg jpeg gif ico webp bmp pdf woff woff2 ttf otf eot zip gz xz bz2 zst tar 7z so dylib dll exe bin o a wasm "
    "npz npy pt onnx safetensors pkl sqlite sqlite3 db parquet mp3 mp4 wav ogg jar class pyc pyd"
).split()
_TEST_FOLDERS = ("tests", "test", "spec", "__tests__")
_MOST = 20  # globs
_LINKS = (".venv", "venv", "node_modules")


class Folders(Value):
    """Globs and paths, as program.md has them."""

    editable: list[str]
    off_limits: list[str]
    link: list[str]  # of what git does not have and commands usually need


def look_for_folders(project: Project) -> Folders:
    """What the repository's shape proposes."""
    editable = _editable(project)
    return Folders(editable=editable, off_limits=_off_limits(project, editable), link=links(project))


def links(project: Project) -> list[str]:
    """Environments that lie in the repository and are not in git."""
    tracked = {path.partition("/")[0] for path in project.paths if not project.is_new(path)}
    return [name for name in _LINKS if name not in tracked and (project.root / name).is_dir()]


def _editable(project: Project) -> list[str]:
    code = [path for path in project.own if _extension(path) in _CODE and not _NO_SOURCE.fullmatch(path)]
    code = [path for path in code if not _TESTS.fullmatch(path)]
    below = Counter(path.partition("/")[0] for path in code if "/" in path)
    if usual := [folder for folder in _SOURCES if below[folder]]:
        return [f"{folder}/**" for folder in usual]
    if crates := sorted({found[1] for path in code if (found := re.match(r"((?:crates|packages)/[^/]+/src)/", path))}):
        return [f"{crate}/**" for crate in crates]
    packages = [folder for folder in below if project.has(f"{folder}/__init__.py")]
    if packages:
        return [f"{folder}/**" for folder in packages]
    tops = Counter(_extension(path) for path in code if "/" not in path)
    if tops and tops.total() >= below.total():
        few = [path for path in code if "/" not in path]
        return few if len(few) <= 3 else [f"*.{extension}" for extension, _ in tops.most_common(2)]
    return [f"{folder}/**" for folder, _ in below.most_common(2)]


def _off_limits(project: Project, editable: list[str]) -> list[str]:
    """Tests, CI and lock files, as far as they are there; within `editable` tests beside the code, and binary files."""
    found = [f"{folder}/**" for folder in _TEST_FOLDERS if any(one.startswith(f"{folder}/") for one in project.paths)]
    found += [glob for glob in (*_CI, *_LOCKS) if any(glob_matches([glob], path) for path in project.paths)]
    ours = [path for path in project.paths if glob_matches(editable, path) and not glob_matches(found, path)]
    beside = dict.fromkeys(_beside(path) for path in ours if _TESTS.fullmatch(path))
    binary = dict.fromkeys(f"**/*.{_extension(path)}" for path in ours if _extension(path) in _BINARY)
    return [*found, *beside, *binary][:_MOST]


def _beside(path: str) -> str:
    """A glob for tests like this one."""
    if inside := re.match(r"(.*?/(?:tests?|specs?|__tests__|testdata))/", path):
        return f"{inside[1]}/**"
    name = path.rpartition("/")[2]
    if name.startswith("test_"):
        return f"**/test_*.{_extension(name)}"
    mark = re.search(r"[._-](?:test|spec)\.\w+$", name)
    return f"**/*{mark[0]}" if mark else path


def _extension(path: str) -> str:
    name = path.rpartition("/")[2]
    return name.rpartition(".")[2].lower() if "." in name.lstrip(".") else ""
