"""What in a repository looks like a benchmark, a test, or a build: proposals, of which nothing is run here.

The best come first: a script that is called a benchmark, then the targets of build tools, then the time of the tests.
"""

import re
from collections.abc import Iterator

from server.adopt.project import Project, inner
from server.records import Value

_INTERPRETERS = {
    "sh": "bash",
    "bash": "bash",
    "py": "python3",
    "js": "node",
    "mjs": "node",
    "cjs": "node",
    "rb": "ruby",
    "pl": "perl",
    "lua": "lua",
    "php": "php",
    "R": "Rscript",
    "r": "Rscript",
    "jl": "julia",
}
_BENCH = r"bench(?:mark)?s?|perf"
_SCRIPT = re.compile(rf"(?:.*/)?(?:[\w-]*[_-])?({_BENCH})(?:[_-][\w-]*)?\.(\w+)", re.IGNORECASE)
_BENCH_NAME = re.compile(rf"({_BENCH})([:_-].*)?|.*[:_-]({_BENCH})", re.IGNORECASE)
_TEST_NAMES = ("test", "tests", "check")
_MAKEFILES = ("GNUmakefile", "makefile", "Makefile")
_JUSTFILES = ("justfile", "Justfile", ".justfile")
_RULE = re.compile(r"^([A-Za-z0-9][\w./ -]*)::?(?!=)([^;#\n]*)", re.MULTILINE)
_FILE_NAME = re.compile(r"[\w./-]+")
_RECIPE = re.compile(r"^@?([A-Za-z_][\w-]*)(?:[ \t]+[^:\n]+)?:(?!=)", re.MULTILINE)
_COMPILED = (".c", ".cc", ".cpp", ".cxx", ".h", ".hpp")
_TEST_FILE = re.compile(r"(?:.*/)?(?:test_[^/]*|[^/]*_test)\.py")
_BENCH_OF_GO = re.compile(r"^func Benchmark\w*\(", re.MULTILINE)
_PROGRAM_OF_CMAKE = re.compile(rf"add_executable\s*\(\s*([\w.-]*(?:{_BENCH})[\w.-]*)", re.IGNORECASE)
_MOST_READ = 200  # files of Go
_NPM = "npm run --silent"


class Candidate(Value):
    """A command that could be measured, or could be a gate."""

    command: str
    why: str
    build: str = ""  # what it needs beforehand
    files: tuple[str, ...] = ()  # those that it is made of, as far as is known


class Commands(Value):
    """Those of a repository, the best first."""

    measures: list[Candidate]
    checks: list[Candidate]


def look_for_commands(project: Project, python: str = "python3") -> Commands:
    """Every candidate. `python`: the word that starts the project's interpreter."""
    benches, tests = list[Candidate](), list[Candidate]()
    for is_test, candidate in _all(project, python):
        (tests if is_test else benches).append(candidate)
    timed = [one.model_copy(update={"why": f"{one.why}; the time that the tests take"}) for one in tests]
    return Commands(measures=_once([*benches, *timed]), checks=_once(tests))


def _all(project: Project, python: str) -> Iterator[tuple[bool, Candidate]]:
    """Pairs of "it tests" and a candidate."""
    yield from ((False, script) for script in _scripts(project, python))
    yield from _make(project)
    yield from _just(project)
    yield from _npm(project)
    yield from _python(project, python)
    yield from _cargo(project)
    yield from _go(project)
    yield from _cmake(project)


def _once(found: list[Candidate]) -> list[Candidate]:
    return list({candidate.command: candidate for candidate in reversed(found)}.values())[::-1]


def _scripts(project: Project, python: str) -> Iterator[Candidate]:
    for path in project.own:
        match = _SCRIPT.fullmatch(path)
        if match is None or path.count("/") > 2 or (interpreter := _INTERPRETERS.get(match[2])) is None:
            continue
        interpreter = python if interpreter == "python3" else interpreter
        if interpreter == "bash" and (
            found := re.match(r"#!\s*/(?:usr/)?(?:bin/)?(?:env )?\S*?(zsh|ksh|fish|dash)\b", project.text(path))
        ):
            interpreter = found[1]
        yield Candidate(command=f"{interpreter} {path}", why=f"the script {path}", build=_build(project), files=(path,))


def _build(project: Project) -> str:
    """What compiles the project, where its tools say so by their usual names."""
    compiled = any(path.endswith(_COMPILED) for path in project.own)
    if compiled and any(project.has(name) for name in _MAKEFILES):
        return "make -s"
    if compiled and project.has("CMakeLists.txt"):
        return "cmake -S . -B {out} -DCMAKE_BUILD_TYPE=Release && cmake --build {out}"
    if project.has("Cargo.toml"):
        return "cargo build --release --offline --target-dir {out}"
    if "build" in inner(project.json("package.json"), "scripts"):
        return f"{_NPM} build"
    return ""


def _make(project: Project) -> Iterator[tuple[bool, Candidate]]:
    makefile = next((name for name in _MAKEFILES if project.has(name)), "")
    compiles = any(path.endswith(_COMPILED) for path in project.own)
    needs: dict[str, list[str]] = {}
    for targets, told in _RULE.findall(project.text(makefile)) if makefile else ():
        for target in targets.split():
            needs.setdefault(target, []).extend(told.split())
    for target, words in needs.items():
        if target not in _TEST_NAMES and not _BENCH_NAME.fullmatch(target):
            continue
        # What the target needs is made before it is timed. A name with a variable is known to make alone.
        named = words if words and all(map(_FILE_NAME.fullmatch, words)) else []
        build = " ".join(["make -s", *named]) if named or compiles else ""
        why = f"{makefile} has the target {target}"
        candidate = Candidate(command=f"make -s {target}", why=why, build=build, files=(makefile,))
        yield target in _TEST_NAMES, candidate


def _just(project: Project) -> Iterator[tuple[bool, Candidate]]:
    justfile = next((name for name in _JUSTFILES if project.has(name)), "")
    for recipe in dict.fromkeys(_RECIPE.findall(project.text(justfile)) if justfile else ()):
        if recipe in _TEST_NAMES or _BENCH_NAME.fullmatch(recipe):
            why = f"{justfile} has the recipe {recipe}"
            yield recipe in _TEST_NAMES, Candidate(command=f"just {recipe}", why=why, files=(justfile,))


def _npm(project: Project) -> Iterator[tuple[bool, Candidate]]:
    scripts = inner(project.json("package.json"), "scripts")
    build = f"{_NPM} build" if "build" in scripts else ""
    for name, told in scripts.items():
        nothing = not isinstance(told, str) or "no test specified" in told
        if nothing or not re.fullmatch(r"[\w:.-]+", name):
            continue
        if name in _TEST_NAMES or _BENCH_NAME.fullmatch(name):
            why = f"package.json has the script {name}"
            candidate = Candidate(command=f"{_NPM} {name}", why=why, build=build, files=("package.json",))
            yield name in _TEST_NAMES, candidate


def _python(project: Project, python: str) -> Iterator[tuple[bool, Candidate]]:
    about = project.toml("pyproject.toml")
    told = project.text("pyproject.toml") + "".join(
        project.text(path)
        for path in project.own
        if re.fullmatch(r"requirements[\w.-]*\.txt|setup\.(py|cfg)|tox\.ini", path)
    )
    for tool in (("poe", "tasks"), ("taskipy", "tasks"), ("pdm", "scripts")):
        for name, command in inner(about, "tool", *tool).items():
            if isinstance(command, str) and (name in _TEST_NAMES or _BENCH_NAME.fullmatch(name)):
                why = f"pyproject.toml has {name} in tool.{'.'.join(tool)}"
                yield name in _TEST_NAMES, Candidate(command=command, why=why, files=("pyproject.toml",))
    if re.search(r"pytest[-_]benchmark", told):
        command = f"{python} -m pytest -q --benchmark-only"
        yield False, Candidate(command=command, why="the project names pytest-benchmark")
    tests = [path for path in project.own if _TEST_FILE.fullmatch(path)]
    if tests and ("pytest" in told or any("def test" in project.text(path) for path in tests[:5])):
        yield True, Candidate(command=f"{python} -m pytest -q", why=f"there are tests, such as {tests[0]}")


def _cargo(project: Project) -> Iterator[tuple[bool, Candidate]]:
    if not project.has("Cargo.toml"):
        return
    if project.toml("Cargo.toml").get("bench") or any(
        re.fullmatch(r"(.*/)?benches/.*\.rs", one) for one in project.own
    ):
        tail = "--offline --target-dir {out}"
        why, files = "Cargo.toml has benchmarks", ("Cargo.toml",)
        yield (
            False,
            Candidate(command=f"cargo bench -q {tail}", build=f"cargo bench -q --no-run {tail}", why=why, files=files),
        )
    yield True, Candidate(command="cargo test -q --offline", why="Cargo.toml", files=("Cargo.toml",))


def _go(project: Project) -> Iterator[tuple[bool, Candidate]]:
    if not project.has("go.mod"):
        return
    tests = [path for path in project.own if path.endswith("_test.go")]
    cache = "GOCACHE={out}/cache"
    if any(_BENCH_OF_GO.search(project.text(path)) for path in tests[:_MOST_READ]):
        yield (
            False,
            Candidate(
                command=f"{cache} go test -run '^$' -bench . ./...",
                build=f"{cache} go test -run '^$' ./...",
                why="there are benchmarks in tests of Go",
                files=("go.mod",),
            ),
        )
    if tests:
        yield True, Candidate(command=f"{cache} go test ./...", why="there are tests of Go", files=("go.mod",))


def _cmake(project: Project) -> Iterator[tuple[bool, Candidate]]:
    for path in (one for one in project.own if one.rpartition("/")[2] == "CMakeLists.txt"):
        for program in _PROGRAM_OF_CMAKE.findall(project.text(path)):
            folder = path.rpartition("/")[0]
            command = "/".join(filter(None, ("{out}", folder, program)))
            yield False, Candidate(command=command, why=f"{path} makes {program}", build=_build(project), files=(path,))
    if "enable_testing" in project.text("CMakeLists.txt"):
        command = "ctest --test-dir {out} --output-on-failure"
        yield True, Candidate(command=command, why="CMakeLists.txt has tests", build=_build(project))
