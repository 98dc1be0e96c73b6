"""Each class of machines is computed to hold what train.py asks of it, and to train it in five minutes."""

import importlib
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from server.runs.hardware import Machine
from server.runs.profile_choice import PLANS, default_profile
from trainer.contract import GPU_PROFILES, ProfileName
from trainer.run.profiles import PROFILES

SLOW = {"GTX 1050 Ti", "A2", "A100 40 GB", "M1 Max, 64 GB"}  # of their classes, and told so in the table
METAL_SHARE = 0.7  # of a Mac's memory that Metal gives to a process, about
# Where the least memory is. Computing the size of a class takes seconds: the others are for `make attack`.
USUAL = {"gpu-4gb"}


CLASSES: list[ParameterSet] = [
    pytest.param(name, marks=() if name in USUAL else pytest.mark.thorough) for name in PLANS if name != "gpu-small"
]


@pytest.fixture(scope="module")
def table() -> Any:
    """benchmarks/hardware_table.py: it imports torch, for seconds, and every process of tests collects this file."""
    return importlib.import_module("benchmarks.hardware_table")


def test_the_profiles_are_the_trainers() -> None:
    assert set(ProfileName) == set(PROFILES)
    assert {name for name, profile in PROFILES.items() if profile.device == "cuda"} == GPU_PROFILES


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSES)
def test_a_class_fits_into_the_smallest_memory_of_its_cards(table: Any, name: str) -> None:
    of = table.size_of_class(name)
    smallest = min(card.memory_gb for card in table.CARDS if card.profile == name)
    assert of.needed_gb <= smallest * (METAL_SHARE if PROFILES[name].device == "mps" else 1)
    plan = PLANS[name]
    assert (plan.depth, plan.width) == (of.depth, of.width) and plan.needed_gb == pytest.approx(of.needed_gb, abs=0.1)
    assert of.micro_rows <= of.batch_tokens // PROFILES[name].sequence_length


def machine(card: Any) -> Machine:
    return Machine(
        gpu=card.name if card.capability else None,
        gpu_memory_gb=card.memory_gb if card.capability else None,
        driver=None,
        cpu="arm",
        cores=8,
        memory_gb=card.memory_gb,
        platform="macOS-15.1",
        gpu_kind=card.capability,
    )


@pytest.mark.parametrize("name", CLASSES)
def test_each_card_gets_its_class_and_can_train_its_model(table: Any, name: str) -> None:
    of = table.size_of_class(name)
    for card in [card for card in table.CARDS if card.profile == name]:
        assert default_profile(machine(card)) == name, card
        assert table.enough(card, of) == (card.name not in SLOW), card
        assert card.name in SLOW or table.tokens(card, of) >= PLANS[name].steps * of.batch_tokens, card


def test_the_memory_of_a_train_py_is_computed_without_a_gpu(table: Any) -> None:
    found = table.size("gpu-small", machine=(2, 128, 64, 4, 4))
    weights = 4 * found.parameters / 2**30
    logits = 4 * 512 * 8192 * 4 / 2**30
    assert found.batch_tokens == 4 * 512 and found.needed_gb > found.peak_gb
    # Gradients and two moments of most parameters are as large as the weights; some kinds of logits live at a time.
    assert 3 * weights + 3 * logits < found.peak_gb < 5 * weights + 12 * logits, found
    with pytest.raises(RuntimeError, match="shape"):
        table.size("gpu-small", machine=(2, 128, 48, 4, 4))


@pytest.mark.thorough
def test_the_page_has_the_tables_as_they_are_computed(table: Any) -> None:
    text = table.PAGE.read_text(encoding="utf-8")
    assert table.page(text) == text, "renew it: python benchmarks/hardware_table.py --write"
