"""Workspaces of other tools become tasks as they are: what is read of each format, guessed, refused, and said."""

from pathlib import Path

import pytest

from server.errors import ProgramInvalid
from server.foreign.find import choose, find_drafts, find_workspaces
from server.foreign.workspace import ForeignWorkspace
from server.task.task_words import run_in_words
from tests.support.foreign import lay_out, repository
from trainer.contract import Referee


def only(name: str, root: Path) -> ForeignWorkspace:
    lay_out(name, root)
    found = find_workspaces(root)
    assert len(found) == 1
    assert found[0].task.kind is Referee.COMMAND and found[0].task.terms()
    return found[0]


def said(found: ForeignWorkspace) -> str:
    """All remarks; each is a sentence with a next step."""
    for lack in found.remarks:
        assert not lack.fatal and lack.remedy and len(lack.problem.splitlines()) == 1, lack
    return "\n".join(f"{lack.problem} ({lack.remedy})" for lack in found.remarks)


def test_a_session_in_auto_is_read_whole(tmp_path: Path) -> None:
    found = only("auto", tmp_path)
    task = found.task
    assert (found.format, task.name) == ("pi-autoresearch", "Count words faster")
    assert (task.metric.name, task.metric.unit, task.direction) == ("steps_made", "steps", "lower")
    assert (task.command, task.checks) == ("bash .auto/measure.sh", "bash .auto/checks.sh")
    assert (task.budget_seconds, task.checks_seconds, task.stop.experiments) == (600, 300, 12)
    assert task.editable == ["src/count.sh"] and task.may_edit("src/count.sh")
    assert not task.may_edit("src/fixed.sh") and not task.may_edit(".auto/measure.sh")
    assert list(task.metrics) == ["words"] and task.metrics["words"].max is None
    assert found.log == tmp_path / ".auto/log.jsonl"
    assert {".auto/prompt.md", ".auto/measure.sh", ".auto/checks.sh", ".auto/config.json"} <= set(found.files)
    assert found.goal.startswith("# Autoresearch: count words faster")
    assert "hooks are not run" in said(found) and "guessed" not in said(found)


def test_the_older_layout_is_read_and_a_direction_in_prose_is_a_guess(tmp_path: Path) -> None:
    found = only("legacy", tmp_path)
    task = found.task
    assert (task.command, task.checks, task.metric.name) == ("bash autoresearch.sh", "", "bundle_kb")
    assert task.direction == "lower"
    assert task.editable == ["src/**", "package.json"]
    editable = {
        path for path in ("src/a.js", "src/a.spec.js", "src/vendor/v.js", "src/logo.bin") if task.may_edit(path)
    }
    assert editable == {"src/a.js"}
    assert "lower numbers are better: guessed from autoresearch.md, line 4 (`direction: higher`" in said(found)
    assert "no patch can change src/logo.bin" in said(found)
    assert "the scripts need node_modules, and it is not there (install the packages" in said(found)


def test_any_file_in_auto_hides_the_older_layout_and_that_is_said(tmp_path: Path) -> None:
    lay_out("both_layouts", tmp_path)
    with pytest.raises(ProgramInvalid, match=r"There is no \.auto/measure\.sh.*autoresearch\.sh is there and ignored"):
        find_workspaces(tmp_path)
    (tmp_path / ".auto/ideas.md").unlink()
    assert find_workspaces(tmp_path)[0].task.command == "bash autoresearch.sh"


def test_codex_autoresearch_is_told_by_its_fields_and_its_commit_paths_are_the_files(tmp_path: Path) -> None:
    found = only("codex", tmp_path)
    assert found.format == "codex-autoresearch"
    assert found.task.editable == ["lib/**", "setup.cfg"]
    assert (found.task.metric.name, found.task.metric.unit, found.task.stop.experiments) == ("seconds", "s", 30)
    assert "checksPolicy and keepPolicy: not read" in said(found)


def test_a_twin_in_powershell_is_run_where_there_is_no_other(tmp_path: Path) -> None:
    found = only("powershell", tmp_path)
    assert found.format == "codex-autoresearch"
    assert found.task.command == "pwsh -File autoresearch.ps1"
    assert (found.task.metric.name, found.task.metric.unit) == ("ms", "ms")


def test_a_program_of_autoauto_is_read_with_its_gates_and_brought_into_runs(tmp_path: Path) -> None:
    repository("autoauto", tmp_path)
    (found,) = find_workspaces(tmp_path)
    task, place = found.task, ".autoauto/programs/faster-page"
    assert (found.format, task.name) == ("autoauto", "Program: faster page")
    assert (task.command, task.build) == (f"bash {place}/measure.sh", f"bash {place}/build.sh")
    assert (task.metric.name, task.direction, task.repeats, task.least_effect) == ("lcp_ms", "lower", 3, 0.02)
    assert (task.budget_seconds, task.stop.experiments, task.stop.plateau) == (60, 20, 6)
    assert (task.metrics["cls"].max, task.metrics["requests"].weight) == (0.1, 1.0)
    assert task.editable == ["src/**"] and not task.may_edit("src/data.js")
    assert set(task.brought) == {f"{place}/{name}.sh" for name in ("measure", "part", "build")}
    assert "git has no package.json" in said(found)
    assert found.log and found.log.name == "results.tsv"


def test_of_several_programs_somebody_chooses_one(tmp_path: Path) -> None:
    lay_out("two_programs", tmp_path)
    assert [found.format for found in find_workspaces(tmp_path)] == ["autoauto/one", "autoauto/two"]
    with pytest.raises(ProgramInvalid, match=r"several programs of autoauto here: one, two.*`format: autoauto/one`"):
        choose(tmp_path)
    chosen = choose(tmp_path, "autoauto/two")
    assert chosen and chosen.workspace().task.direction == "higher"
    with pytest.raises(ProgramInvalid, match=r"no workspace of 'autoauto/three'.*autoauto/one, autoauto/two"):
        choose(tmp_path, "autoauto/three")


def test_a_campaign_of_piloop_is_read_with_its_floor_and_its_pairs(tmp_path: Path) -> None:
    found = only("piloop", tmp_path)
    task = found.task
    assert task.command == "python3 evaluate.py --split 'a b'"
    assert (task.budget_seconds, task.metric.name, task.direction) == (900, "bytes", "lower")
    assert (task.paired, task.repeats, task.editable) == (True, 3, ["compressor.py"])
    assert (task.metrics["seconds"].max, task.metrics["entropy"].weight) == (120, 1.0)
    assert (task.stop.experiments, task.stop.hours, task.stop.plateau) == (20, 12, 50)
    assert not task.may_edit("evaluate.py")
    assert "there is no .venv" in said(found) and "margins of seconds" in said(found) and "max_tokens" in said(found)


def test_a_campaign_with_two_goals_is_refused_with_the_next_step(tmp_path: Path) -> None:
    lay_out("two_primaries", tmp_path)
    with pytest.raises(
        ProgramInvalid, match=r"several primary metrics \(accuracy, cost\).*`format: piloop`, `metric: ms`"
    ):
        find_workspaces(tmp_path)


def test_names_without_metric_are_found_and_another_letter_for_micro_is_said(tmp_path: Path) -> None:
    found = only("plain_names", tmp_path)
    assert (found.task.metric.name, found.task.metric.unit, found.task.direction) == ("combined_us", "µs", "lower")
    assert found.task.editable == ["lib/**/*.rb"]
    assert "autoresearch.sh prints combined_us, which the log or the prompt calls combined_µs" in said(found)


def test_a_working_folder_is_where_all_paths_begin(tmp_path: Path) -> None:
    found = only("working_dir", tmp_path)
    assert found.task.command == "cd packages/core && bash .auto/measure.sh"
    assert (found.task.editable, found.task.direction) == (["packages/core/src/a.ts"], "higher")
    assert found.task.stop.experiments == 5 and not found.task.may_edit("packages/core/.auto/measure.sh")
    assert "packages/core/.auto/prompt.md, line 8: git has no Gone.ts" in said(found)


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ('{"workingDir": "gone"}', "workingDir: there is no folder gone"),
        ('{"workingDir": "/usr"}', r"workingDir: /usr is not in this repository\. Serve that repository"),
        ('{"workingDir": 3}', "workingDir: is no path but 3"),
        ('{"workingDir": }', r"\.auto/config\.json, line 1: is not JSON"),
        ("[1]", r"\.auto/config\.json, line 1: is not a JSON object"),
    ],
)
def test_a_broken_configuration_is_refused_with_file_field_and_next_step(tmp_path: Path, told: str, why: str) -> None:
    lay_out("working_dir", tmp_path)
    (tmp_path / ".auto/config.json").write_text(told, encoding="utf-8")
    with pytest.raises(ProgramInvalid, match=why) as refused:
        find_workspaces(tmp_path)
    assert refused.value.next_step


def test_what_nobody_says_is_asked_for_one_field_after_the_other(tmp_path: Path) -> None:
    lay_out("no_direction", tmp_path)
    (draft,) = find_drafts(tmp_path)
    given: dict[str, object] = {}
    for field, why, value in (
        ("metric", "autoresearch.sh prints a, b, and nothing says which number counts", "b"),
        ("direction", "Nothing in autoresearch.md says whether lower or higher", "higher"),
        ("editable", "autoresearch.md names no file of git's that the agent may change", ["x.py"]),
    ):
        with pytest.raises(ProgramInvalid, match=f"{why}.*`format: pi-autoresearch`, `{field}: "):
            draft.workspace(given)
        given[field] = value
    task = draft.workspace(given).task
    assert (task.metric.name, task.direction, task.editable) == ("b", "higher", ["x.py"])


def test_a_script_that_cannot_be_confined_is_named_line_by_line_with_what_to_allow(tmp_path: Path) -> None:
    told = said(only("unconfinable", tmp_path))
    for words in (
        "line 5: `git push` publishes its results",
        "line 4: `git branch` calls git",
        "line 7: `curl` wants the network (`network: true`",
        "line 8: `$HOME` reads the operator's home folder (`home: true`",
        "line 9: `sudo` wants to be root",
        "line 10: `docker` uses containers",
        "line 13: it needs an argument, and is called without one (`command: bash .auto/measure.sh ARGUMENT`)",
    ):
        assert f".auto/measure.sh, {words}" in told, told


def test_scripts_that_git_does_not_have_are_pinned_and_inputs_are_linked(tmp_path: Path) -> None:
    repository("untracked", tmp_path)
    (found,) = find_workspaces(tmp_path)
    task = found.task
    assert set(task.brought) == {".auto/measure.sh", ".auto/bench.py"}  # no output, no secret, nothing that is linked
    assert task.link == [".venv", "node_modules", "target"]
    assert (
        task.command
        == 'PATH="$PWD/.venv/bin:$PATH" PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}" bash .auto/measure.sh'
    )
    assert run_in_words(task) == "runs `bash .auto/measure.sh`"
    before = task.sha256
    (tmp_path / ".auto/bench.py").write_text("print('METRIC n=1')\n", encoding="utf-8")
    assert find_workspaces(tmp_path)[0].task.sha256 != before


@pytest.mark.parametrize(
    "name",
    [
        ".env",
        "config/.env.local",
        "prod.env",
        ".envrc",
        ".npmrc",
        ".git-credentials",
        ".pgpass",
        "keys/id_rsa",
        "server.KEY",
        "store.p12",
        "credentials.json",
        "client_secret.json",
        "config/secrets.yaml",
        ".aws/credentials",
        "service-account.json",
        "token.txt",
    ],
)
def test_no_secret_is_brought_into_a_run(tmp_path: Path, name: str) -> None:
    repository("untracked", tmp_path)
    for path, text in ((name, "S=1\n"), (".auto/measure.sh", f"cat {name}\npython3 .auto/bench.py\n")):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    (found,) = find_workspaces(tmp_path)
    assert set(found.task.brought) == {".auto/measure.sh", ".auto/bench.py"}
    assert any(name in lack.problem and "secret" in lack.problem for lack in found.remarks)


def test_a_script_about_secrets_and_a_table_of_tokens_are_none(tmp_path: Path) -> None:
    repository("untracked", tmp_path)
    for name in ("password_strength.py", "tokens.json", "environment.json"):
        (tmp_path / name).write_text("1\n", encoding="utf-8")
    text = "python3 password_strength.py tokens.json environment.json\n"
    (tmp_path / ".auto/measure.sh").write_text(text, encoding="utf-8")
    (found,) = find_workspaces(tmp_path)
    assert {"password_strength.py", "tokens.json", "environment.json"} <= set(found.task.brought)


def test_a_folder_called_env_is_linked_where_it_is_an_environment_of_python(tmp_path: Path) -> None:
    repository("untracked", tmp_path)
    (tmp_path / "env").mkdir()
    (tmp_path / "env/prod.sh").write_text("export PASSWORD=1\n", encoding="utf-8")
    assert "env" not in find_workspaces(tmp_path)[0].task.link
    (tmp_path / "env/pyvenv.cfg").write_text("home = /usr/bin\n", encoding="utf-8")
    (tmp_path / ".auto/measure.sh").write_text("env/bin/python src/a.py\n", encoding="utf-8")
    assert "env" in find_workspaces(tmp_path)[0].task.link


def test_what_a_run_cannot_do_with_files_of_git_is_said_before(tmp_path: Path) -> None:
    lay_out("auto", tmp_path)
    text = f"cd {tmp_path.resolve()}\nbash src/count.sh | tee src/fixed.sh\necho METRIC steps_made=1\n"
    (tmp_path / ".auto/measure.sh").write_text(text, encoding="utf-8")
    told = said(find_workspaces(tmp_path)[0])
    assert ".auto/measure.sh names src/count.sh, which the agent may change (`off_limits: [src/count.sh]`" in told
    assert ".auto/measure.sh writes src/fixed.sh, which git has" in told
    assert ".auto/measure.sh names the workspace by its absolute path" in told


def test_a_build_that_writes_target_gets_none_linked(tmp_path: Path) -> None:
    repository("untracked", tmp_path)
    (tmp_path / ".auto/measure.sh").write_text("cargo bench\necho METRIC n=1\n", encoding="utf-8")
    assert find_workspaces(tmp_path)[0].task.link == [".venv", "node_modules"]


def test_the_preferred_format_is_said_and_how_to_take_another(tmp_path: Path) -> None:
    for name in ("piloop", "autoauto", "auto"):
        lay_out(name, tmp_path)
    assert [found.format for found in find_workspaces(tmp_path)] == ["pi-autoresearch", "autoauto", "piloop"]
    told = said(find_workspaces(tmp_path)[0])
    assert "piloop.toml (piloop) is also there (`format: autoauto` in program.md chooses that one)" in told
    reason = find_workspaces(tmp_path)[0].task.kind_reason
    assert reason.endswith(
        "of pi-autoresearch; autoauto and piloop are there as well, and `format` in program.md chooses"
    )
    chosen = choose(tmp_path, "piloop")
    assert chosen and chosen.format == "piloop"


def test_a_folder_without_such_files_has_none(tmp_path: Path) -> None:
    assert find_workspaces(tmp_path) == []
    (tmp_path / ".auto").mkdir()
    assert find_workspaces(tmp_path) == []
