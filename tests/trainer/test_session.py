"""What is asked of torch before a line of train.py runs, with a stand-in for the device's properties."""

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from tests.support.late import import_into

if TYPE_CHECKING:
    import torch

    from trainer.session import machine

WHEEL = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    import_into(globals(), "torch", "trainer.session:machine")


@pytest.mark.parametrize(
    ("capability", "built_for", "known"),
    [
        ((7, 5), WHEEL, True),
        ((8, 9), WHEEL, True),  # sm_86 runs on it
        ((9, 0), WHEEL, True),
        ((12, 1), WHEEL, True),
        ((12, 0), ["sm_80", "compute_90"], True),  # translated when it starts
        ((9, 0), ["sm_90a"], True),
        ((6, 1), WHEEL, False),
        ((7, 0), WHEEL, False),
        ((12, 0), ["sm_80", "sm_90"], False),
    ],
)
def test_a_gpu_without_kernels_is_named(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], built_for: list[str], known: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "the card")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: built_for)
    told = machine("cuda")["missing"]
    assert (told == "") == known
    assert known or f"no kernels for the card (sm_{capability[0]}{capability[1]})" in told


@pytest.mark.parametrize(("kind", "known"), [("gfx942:sramecc+:xnack-", True), ("gfx1010", False)])
def test_amds_kinds_are_known_by_name(monkeypatch: pytest.MonkeyPatch, kind: str, known: bool) -> None:
    monkeypatch.setattr(torch.version, "hip", "6.4")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "the card")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(gcnArchName=kind))  # pyright: ignore
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["gfx90a", "gfx942", "gfx1100"])
    assert (machine("cuda")["missing"] == "") == known


def test_torch_does_not_begin_on_a_gpu_before_train_py_does(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: begun.append("driver") or True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: begun.append("context") or "the card")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (6, 1))
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: WHEEL)
    assert "no kernels for the card (sm_61)" in machine("cuda")["missing"] and begun == []


@pytest.mark.parametrize("error", [RuntimeError, SystemExit])
def test_a_question_without_an_answer_is_left_to_train_py(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def broken() -> bool:
        raise error

    monkeypatch.setattr(torch.cuda, "is_available", broken)
    assert machine("cuda")["missing"] == ""


def test_a_torch_that_sees_no_gpu_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert machine("cuda")["missing"].startswith("torch sees no GPU")
