"""What is proposed as a command, a gate, a build and files, by the files of a repository: nothing of it is run."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from server.adopt.candidates import Commands, look_for_commands
from server.adopt.folders import Folders, look_for_folders
from server.adopt.project import Project
from tests.support.commands import write_tree


def project(folder: Path, files: Mapping[str, str], new: tuple[str, ...] = ()) -> Project:
    write_tree(folder, files)
    return Project(folder, [path for path in files if path not in new], new)


def commands(folder: Path, files: Mapping[str, str]) -> Commands:
    return look_for_commands(project(folder, files))


def folders(folder: Path, files: Mapping[str, str]) -> Folders:
    return look_for_folders(project(folder, files))


C = {"src/a.c": "int main(void) { return 0; }\n"}
GO = 'package a\nimport "testing"\nfunc BenchmarkA(b *testing.B) {}\n'


@pytest.mark.parametrize(
    ("files", "command", "build"),
    [
        ({"bench.sh": "echo 1\n"}, "bash bench.sh", ""),
        ({"scripts/bench_json.py": ""}, "python3 scripts/bench_json.py", ""),
        ({"benchmarks/run-bench.mjs": ""}, "node benchmarks/run-bench.mjs", ""),
        ({"tools/perf.rb": ""}, "ruby tools/perf.rb", ""),
        ({"bench.sh": "#!/usr/bin/env zsh\n"}, "zsh bench.sh", ""),
        ({"Makefile": "all: a\n\nbench: all d.txt # x\n\t./a\n", **C}, "make -s bench", "make -s all d.txt"),
        ({"Makefile": "all: a\nbench: $(BIN)\n\t./a\n", **C}, "make -s bench", "make -s"),
        ({"Makefile": "bench:\n\techo 1\nX := bench\n"}, "make -s bench", ""),
        ({"justfile": "set shell := ['sh']\n\nbench n='3':\n  echo {{n}}\n"}, "just bench", ""),
        (
            {"package.json": '{"scripts": {"build": "tsc", "bench:json": "node b.js"}}'},
            "npm run --silent bench:json",
            "npm run --silent build",
        ),
        ({"pyproject.toml": "[tool.poe.tasks]\nbench = 'python -m b'\n"}, "python -m b", ""),
        (
            {"pyproject.toml": "[project]\ndependencies = ['pytest-benchmark']\n"},
            "python3 -m pytest -q --benchmark-only",
            "",
        ),
        (
            {"Cargo.toml": "[package]\nname = 'a'\n", "benches/a.rs": ""},
            "cargo bench -q --offline --target-dir {out}",
            "cargo bench -q --no-run --offline --target-dir {out}",
        ),
        (
            {"go.mod": "module a\n", "a_test.go": GO},
            "GOCACHE={out}/cache go test -run '^$' -bench . ./...",
            "GOCACHE={out}/cache go test -run '^$' ./...",
        ),
        (
            {"CMakeLists.txt": "add_executable( json_bench a.c )\n", "a.c": ""},
            "{out}/json_bench",
            "cmake -S . -B {out} -DCMAKE_BUILD_TYPE=Release && cmake --build {out}",
        ),
    ],
)
def test_a_benchmark_is_found_with_what_builds_it(
    tmp_path: Path, files: dict[str, str], command: str, build: str
) -> None:
    first = commands(tmp_path, files).measures[0]
    assert (first.command, first.build) == (command, build)


@pytest.mark.parametrize(
    ("files", "checks"),
    [
        ({"Makefile": "test:\n\techo\n"}, "make -s test"),
        (
            {"package.json": '{"scripts": {"test": "node --test"}}'},
            "npm run --silent test",
        ),
        ({"tests/test_a.py": "def test_a():\n    pass\n"}, "python3 -m pytest -q"),
        ({"Cargo.toml": ""}, "cargo test -q --offline"),
        ({"CMakeLists.txt": "enable_testing()\n"}, "ctest --test-dir {out} --output-on-failure"),
    ],
)
def test_tests_are_a_gate_and_their_time_is_a_last_proposal(tmp_path: Path, files: dict[str, str], checks: str) -> None:
    found = commands(tmp_path, {**files, "bench.py": ""})
    assert [one.command for one in found.checks] == [checks]
    assert [one.command for one in found.measures] == ["python3 bench.py", checks]


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"README.md": "bench.sh", "src/a.py": "x = 1\n"},
        {"node_modules/a/bench.js": "", "vendor/bench.sh": ""},
        {"a/b/c/bench.sh": "", "workbench.ts": "", "benchmark.md": ""},
        {"package.json": '{"scripts": {"test": "echo \\"Error: no test specified\\" && exit 1"}}'},
        {"package.json": '{"scripts": ["bench"]}', "pyproject.toml": "tool = 1\n[", "Makefile": "bench := 1\n"},
        {"package.json": "[" * 100_000, "Cargo.toml.orig": ""},
        {"package.json": '{"scripts": {"bench; rm -rf /": "x", "test": 3}}'},
    ],
)
def test_nothing_is_made_of_what_is_no_benchmark(tmp_path: Path, files: dict[str, str]) -> None:
    assert commands(tmp_path, files) == Commands(measures=[], checks=[])


def test_a_link_out_of_the_repository_is_not_read(tmp_path: Path) -> None:
    write_tree(tmp_path, {"outside/Makefile": "bench:\n", "repository/a": ""})
    (tmp_path / "repository" / "Makefile").symlink_to(tmp_path / "outside" / "Makefile")
    assert look_for_commands(Project(tmp_path / "repository", ["a", "Makefile"])).measures == []


@pytest.mark.parametrize(
    ("files", "editable"),
    [
        (["src/a.c", "lib/b.c", "tests/a.c", "docs/conf.py"], ["src/**", "lib/**"]),
        (["json/__init__.py", "json/a.py", "tests/test_a.py", "setup.py"], ["json/**"]),
        (["crates/a/src/a.rs", "crates/b/src/b.rs", "Cargo.toml"], ["crates/a/src/**", "crates/b/src/**"]),
        (["sort.py", "bench.py", "test_sort.py", "README.md"], ["sort.py"]),
        ([f"{name}.go" for name in "abcde"] + ["a_test.go", "go.mod"], ["*.go"]),
        (["main/a.js", "main/b.js", "other/c.js", "bench/d.js"], ["main/**", "other/**"]),
        (["schema.sql", "bench.sh"], ["schema.sql"]),
        (["README.md", "bench.sh"], []),
    ],
)
def test_source_folders_are_proposed_as_editable(tmp_path: Path, files: list[str], editable: list[str]) -> None:
    assert folders(tmp_path, dict.fromkeys(files, "")).editable == editable


def test_tests_ci_locks_and_binary_files_are_off_limits(tmp_path: Path) -> None:
    files = ["src/a.py", "src/test_a.py", "src/deep/tests/b.py", "src/logo.png", "tests/c.py", "uv.lock"]
    found = folders(tmp_path, dict.fromkeys([*files, ".github/workflows/ci.yml"], ""))
    assert found.off_limits == [
        "tests/**",
        ".github/**",
        "uv.lock",
        "**/test_*.py",
        "src/deep/tests/**",
        "**/*.png",
    ]


def test_an_environment_that_git_does_not_have_is_linked(tmp_path: Path) -> None:
    (tmp_path / ".venv").mkdir()
    (tmp_path / "node_modules").mkdir()
    assert look_for_folders(project(tmp_path, {"a.py": "", "node_modules/a.js": ""})).link == [".venv"]
