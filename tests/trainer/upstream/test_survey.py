"""What a prepare.py evaluates on is found by running its own evaluation on a model of ours."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.support.late import import_into
from trainer.upstream.survey import read_survey

if TYPE_CHECKING:
    import torch

    from trainer.upstream.hooks import OtherOrder, Survey

STAND_IN = Path(__file__).parents[2] / "fixtures" / "stand_ins" / "upstream" / "prepare.py"
TOKENS = 28


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    import_into(globals(), "torch", "trainer.upstream.hooks:OtherOrder", "trainer.upstream.hooks:Survey")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    loaded(STAND_IN).prepare()
    return tmp_path


def loaded(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("prepare_of_a_test", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def uniform(_x: torch.Tensor, y: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    assert reduction == "none"
    return torch.full(y.shape, math.log(TOKENS))


def test_rows_bytes_and_the_definition_are_prepare_pys_own(home: Path) -> None:
    prepare = loaded(STAND_IN)
    Survey(loaded(STAND_IN), 1 << 30).write(home)
    found = read_survey(home)
    assert (found.inputs.shape, len(found.sizes), found.batch, found.wanted) == ((256, 32), TOKENS, 16, 32 * 256)
    assert str(found.hidden) == f"{prepare.DATA_DIR}/{prepare.VAL_FILENAME}"
    x, y, _ = next(prepare.make_dataloader(prepare.Tokenizer.from_directory(), 16, 32, "val"))
    assert np.array_equal(found.inputs[:16], x.numpy()) and np.array_equal(found.targets[:16], y.numpy())
    theirs = prepare.evaluate_bpb(uniform, prepare.Tokenizer.from_directory(), 16)
    nats = np.full(found.targets.shape, math.log(TOKENS), dtype=np.float32)
    assert found.bits_per_byte(nats) == pytest.approx(theirs, rel=1e-6)


def test_a_long_evaluation_is_shortened_to_its_first_rows(home: Path) -> None:
    Survey(loaded(STAND_IN), 4 * TOKENS * 32 * 10).write(home)
    found = read_survey(home)
    assert (found.inputs.shape, found.batch, found.wanted) == ((10, 32), 10, 32 * 256)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("def get_token_bytes", "def sizes_of", "prepare.py has no get_token_bytes"),
        ("VAL_FILENAME", "VALIDATION", "prepare.py has no VAL_FILENAME"),
        ("(math.log(2) * total_bytes)", "total_bytes", "not the nats of its targets over their bytes"),
        ('model(x, y, reduction="none")', "model(x)", "does not ask for model"),
        ("rows[:, 1:].contiguous()", "rows[:, :-1].contiguous()", "are not the next tokens"),
        ("loader = make_dataloader(tokenizer, batch_size", "loader = make_loader(tokenizer, batch_size", "NameError"),
    ],
)
def test_a_prepare_py_of_another_kind_says_how(home: Path, old: str, new: str, why: str) -> None:
    text = STAND_IN.read_text(encoding="utf-8")
    assert old in text
    (home / "prepare.py").write_text(text.replace(old, new), encoding="utf-8")
    Survey(loaded(home / "prepare.py"), 1 << 30).write(home)
    with pytest.raises(OtherOrder, match=why):
        read_survey(home)
