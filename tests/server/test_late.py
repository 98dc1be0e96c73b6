"""A module that is imported late is the module, from its first use on."""

import sys
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import TypeAdapter

from server.late import as_if_missing, import_late, resolve, versions_are

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
_PARTS = {
    "__init__": "",
    "part": """
from pydantic import BaseModel
from lately.names import COUNT
COUNT.append(1)
class Base(dict): "What is made here."
class Told(BaseModel): number: int
class Failure(Exception): "What is raised here."
def fail(): raise Failure
""",
    "names": "COUNT = []\n",
    "user": """
from lately import part
from lately.part import Base, Failure, Told, fail
Either = Told | None
def annotated(one: Base, other: "None | Base" = None) -> Base | None: "Its annotations are evaluated at its import."
def caught():
    try:
        fail()
    except Failure:
        return True
""",
    "child": """
from lately.part import Base
class Child(Base): "Its base is imported for it."
""",
}


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[ModuleType]:
    """A module that imports names of one that is late."""
    (tmp_path / "lately").mkdir()
    for name, text in _PARTS.items():
        (tmp_path / "lately" / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    import_late("lately.part")
    yield import_module("lately.user")
    for name in [name for name in sys.modules if name.partition(".")[0] == "lately"]:
        del sys.modules[name]


def _runs() -> int:
    """How often the code of the late module has run."""
    return len(import_module("lately.names").COUNT)


def test_an_import_statement_runs_nothing_and_the_first_call_everything(user: ModuleType) -> None:
    assert (_runs(), type(user.part) is ModuleType) == (0, False)
    made = user.Base(a=1)
    assert (_runs(), type(user.part) is ModuleType) == (1, True)
    assert made == {"a": 1} and type(made) is user.part.Base
    assert user.part.__spec__ is sys.modules["lately.part"].__spec__


def test_a_stand_in_is_a_type_where_one_is_asked_for(user: ModuleType) -> None:
    assert _runs() == 0, "an annotation imports nothing"
    child = import_module("lately.child").Child
    assert issubclass(child, user.Base) and isinstance(child(), user.Base) and not isinstance({}, user.Base)
    assert child.__mro__[1] is user.part.Base
    assert TypeAdapter(user.Either).validate_python({"number": "2"}) == user.Told(number=2)
    assert user.Base.__name__ == "Base" and user.Base[str, int] == user.part.Base[str, int]


def test_what_is_late_is_caught_where_it_was_put_in_its_place(user: ModuleType) -> None:
    with pytest.raises(TypeError, match="BaseException"):  # the error that `resolve` is there for
        user.caught()
    resolve(user)
    assert user.caught()
    assert user.Base is user.part.Base


def test_a_name_that_does_not_exist_is_told_at_its_first_use(user: ModuleType) -> None:
    missing = user.part.Missing
    with pytest.raises(ImportError, match=r"lately\.part\.Missing"):
        missing()


def test_several_threads_run_a_module_once(user: ModuleType) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = [pool.submit(user.Base) for _ in range(32)]
    assert {type(one.result()) for one in made} == {user.part.Base}
    assert _runs() == 1


def test_only_the_versions_that_it_was_tried_with_are_imported_late() -> None:
    from server.cli.serve import _TRIED  # pyright: ignore[reportPrivateUsage]

    pinned = dict(line.split("==") for line in CONSTRAINTS.read_text("utf-8").splitlines() if "==" in line)
    assert {name: pinned[name] for name in _TRIED} == _TRIED
    assert versions_are(_TRIED) == (sys.version_info < (3, 14))
    assert not versions_are(_TRIED | {"mcp": "2.4.0"}) and not versions_are(_TRIED | {"no-such-package": "1"})


def test_a_module_may_be_missing_for_a_while_and_what_is_imported_stays(user: ModuleType) -> None:
    with as_if_missing("lately.child", "lately.user"):
        with pytest.raises(ModuleNotFoundError):
            import_module("lately.child")
        assert import_module("lately.user") is user
    assert import_module("lately.child").Child
