"""train.py's set-up where a device knows or holds less than hoped, on a CPU that is made to fail as a GPU would."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.late import import_into

if TYPE_CHECKING:
    import torch
    from torch import Tensor

TEXT = (Path(__file__).parents[2] / "train.py").read_text(encoding="utf-8")
FAILS = {r'if device.type == "cpu":\n                raise': "if False:\n                raise"}  # as on a GPU


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    import_into(globals(), "torch")


class Started(Exception):
    """Set-up is over."""


class Session:
    """The facts of a run on the smallest profile; no referee is asked."""

    profile = "smoke"
    budget_seconds = 1.0
    sequence_length = 16
    vocab_size = 512
    replica = False
    due = False
    tokens: Tensor | None = None

    def __init__(self) -> None:
        self.device = torch.device("cpu")

    def start(self) -> Tensor:
        if self.tokens is None:
            raise Started
        return self.tokens

    def training(self) -> bool:
        return False

    def submit(self, model: torch.nn.Module) -> None:
        assert isinstance(model, torch.nn.Module)


def set_up(changes: dict[str, str] | None = None, **facts: Any) -> Any:
    """train.py after its set-up, or at its end where it is given tokens; each pattern of `changes` is in it once."""
    text, module = TEXT.replace("from trainer import Session\n", ""), ModuleType("train")
    for pattern, value in (changes or {}).items():
        text, count = re.subn(pattern, value, text)
        assert count == 1, pattern
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
    module.__dict__["Session"] = lambda: made(facts)
    try:
        exec(compile(text, "train.py", "exec", dont_inherit=True), module.__dict__)
    except Started:
        pass
    return module


def made(facts: dict[str, Any]) -> Session:
    session = Session()
    for name, value in facts.items():
        setattr(session, name, value)
    return session


def starved_above(train: Any, rows: int) -> Callable[[Tensor], Tensor]:
    """The loss of a device that holds so many rows at once."""

    def loss(batch: Tensor) -> Tensor:
        if len(batch) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB.")
        return train.eager_loss(batch)

    return loss


@pytest.mark.parametrize("rows", [1, 2])
def test_micro_batches_are_halved_until_they_fit_and_nothing_is_learnt(
    rows: int, capsys: pytest.CaptureFixture[str]
) -> None:
    train = set_up(FAILS)
    before = {name: value.clone() for name, value in train.model.state_dict().items()}
    train.loss_of = starved_above(train, rows)
    train.warm_up()
    assert train.micro_rows == rows and train.BATCH_ROWS == train.MICRO_ROWS == 4
    assert f"micro-batches of {rows} rows, the batch stays 4" in capsys.readouterr().out
    assert all(torch.equal(value, before[name]) for name, value in train.model.state_dict().items())
    assert not any(optimiser.state for optimiser in train.updates)


def test_a_batch_in_parts_is_the_same_step() -> None:
    losses: list[float] = []
    for rows in (4, 1):
        train = set_up({r"(?m)^PRECISION = .*$": "PRECISION = torch.float32"})
        batch = torch.arange(4 * 17).reshape(4, 17)
        losses += [train.train_step([batch[at : at + rows] for at in range(0, 4, rows)], 1.0)[0] for _ in range(2)]
    assert losses[:2] == pytest.approx(losses[2:], rel=1e-4)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_device_that_is_full_in_the_optimisers_step_begins_afresh(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each optimiser fails in turn with its state half made; the next try must find none, and a scaler that is new."""
    train = set_up(FAILS | {r"(?m)^PRECISION = .*$": f"PRECISION = torch.{precision}"})
    for optimiser in train.updates:
        fail_once_half_way(optimiser, monkeypatch)
    train.warm_up()
    assert train.micro_rows == 1 and not any(optimiser.state for optimiser in train.updates)
    assert all(parameter.isfinite().all() for parameter in train.model.parameters())
    train.train_step([torch.arange(4 * 17).reshape(4, 17)], 1.0)


def fail_once_half_way(optimiser: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first step allocates one part of the state and then finds no memory."""
    step, failed = optimiser.step, False

    def starved(*args: Any, **kwargs: Any) -> Any:
        nonlocal failed
        if failed:
            return step(*args, **kwargs)
        failed, first = True, optimiser.param_groups[0]["params"][0]
        optimiser.state[first]["step"] = torch.zeros(())
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB.")

    monkeypatch.setattr(optimiser, "step", starved)


def test_what_does_not_fit_by_single_rows_is_out_of_memory() -> None:
    train = set_up(FAILS)
    train.loss_of = starved_above(train, 0)
    with pytest.raises(torch.OutOfMemoryError):
        train.warm_up()


def test_a_compiler_that_fails_is_done_without_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    train = set_up(FAILS)

    def compiled(_: Tensor) -> Tensor:
        raise RuntimeError("Triton is not installed")

    train.loss_of = compiled
    train.warm_up()
    assert train.loss_of is train.eager_loss and train.micro_rows == 4
    assert "eager: torch.compile failed: RuntimeError: Triton is not installed" in capsys.readouterr().out


def test_a_mistake_is_no_lack_of_a_compiler() -> None:
    train = set_up(FAILS)

    def mistaken(_: Tensor) -> Tensor:
        raise ValueError("a slip")

    train.loss_of = train.eager_loss = mistaken
    with pytest.raises(ValueError, match="a slip"):
        train.warm_up()


def test_on_a_cpu_every_failure_is_one() -> None:
    train = set_up()
    train.loss_of = starved_above(train, 1)
    with pytest.raises(torch.OutOfMemoryError):
        train.warm_up()


def test_a_replica_does_not_warm_up() -> None:
    broken = {r"    rehearsed = 0\n": "    raise LookupError\n"}
    set_up(broken, replica=True)
    with pytest.raises(LookupError):
        set_up(broken)


FLOAT16 = {r"(?m)^PRECISION = .*$": "PRECISION = torch.float16"}


def test_in_float16_it_learns_as_in_float32() -> None:
    curves: list[list[float]] = []
    for changes in (FLOAT16, {r"(?m)^PRECISION = .*$": "PRECISION = torch.float32"}):
        train = set_up(changes)
        batch = torch.arange(4 * 17).reshape(4, 17)
        curves.append([train.train_step([batch], 1.0)[0] for _ in range(6)])
    assert curves[0] == pytest.approx(curves[1], rel=0.02) and curves[0][-1] < curves[0][0] - 1


def too_large(gradient: Tensor) -> Tensor:
    return gradient * float("inf")


def test_a_step_whose_gradients_float16_cannot_hold_is_left_out() -> None:
    train = set_up(FLOAT16)
    before = train.model.head.weight.detach().clone()
    train.model.head.weight.register_hook(too_large)
    train.train_step([torch.arange(4 * 17).reshape(4, 17)], 1.0)
    assert torch.equal(train.model.head.weight, before) and train.scaler.get_scale() == 2.0**11


def test_rows_are_cut_from_tokens_of_the_whole_range() -> None:
    tokens = (torch.arange(400) * 125).to(torch.uint16)
    train = set_up(tokens=tokens, vocab_size=50_000)
    rows = train.next_rows(20)
    assert rows.dtype == torch.int64 and rows.shape == (20, 17) and int(rows.max()) > 2**15
    assert torch.equal(rows.diff(dim=1), torch.full((20, 16), 125))


def counted(**facts: Any) -> Any:
    """train.py on the profile that counts n-grams, at its end, with the counts of a text of two documents."""
    tokens = torch.randint(1, 30, (2_000,), generator=torch.Generator().manual_seed(1))
    tokens[[0, 900]] = 0
    return set_up(tokens=tokens.to(torch.uint16), profile="cpu", vocab_size=32, budget_seconds=60.0, **facts)


def test_a_model_with_counts_gives_probabilities_and_sees_no_later_token() -> None:
    model = counted().model
    row = torch.randint(1, 30, (2, 17), generator=torch.Generator().manual_seed(2))
    changed = row.clone()
    changed[:, 9:] = 31 - changed[:, 9:]
    with torch.no_grad():
        before, after = model(row), model(changed)
    torch.testing.assert_close(before.exp().sum(2), torch.ones(2, 17))
    torch.testing.assert_close(before[:, :9], after[:, :9])
    assert not torch.allclose(before[:, 9:], after[:, 9:])


def test_counts_of_a_text_give_seen_ngrams_more_than_unseen_ones() -> None:
    train = counted()
    text = train.read(train.pool)
    row = text[None, 100:110]
    ngrams = train.model.ngrams
    last = ngrams.expected(row, ngrams(row), torch.eye(32))[0, -1]  # the mean of unit vectors: probabilities
    assert last[text[110]] > last.median() and float(last.sum()) == pytest.approx(1.0, abs=1e-4)


def test_a_loss_from_all_of_the_vocabulary_is_that_of_the_probabilities() -> None:
    model = counted().model  # its 32 tokens are all among those that a step takes
    row = torch.randint(1, 30, (2, 18), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        told = model(row[:, :-1]).gather(2, row[:, 1:, None])
        assert float(model(row[:, :-1], row[:, 1:])) == pytest.approx(-float(told.mean()), rel=1e-5)


def test_counts_are_loaded_into_a_model_that_counted_another_text() -> None:
    whole, empty = counted().model, set_up(profile="cpu", vocab_size=32, budget_seconds=60.0).model
    empty.load_state_dict(whole.state_dict())
    row = torch.arange(1, 18)[None]
    with torch.no_grad():
        torch.testing.assert_close(empty(row), whole(row))
