"""Each class of machines is computed to hold what train.py asks of it, and to train it in five minutes."""

import pytest
from _pytest.mark import ParameterSet

from benchmarks import hardware_table
from benchmarks.hardware_table import CARDS, Card
from server.runs.hardware import Machine
from server.runs.profile_choice import PLANS, default_profile
from trainer.contract import GPU_PROFILES, ProfileName
from trainer.run.profiles import PROFILES

SLOW = {"GTX 1050 Ti", "A2", "A100 40 GB", "M1 Max, 64 GB"}  # of their classes, and told so in the table
METAL_SHARE = 0.7  # of a Mac's memory that Metal gives to a process, about
SMALLEST = {
    name: min(card.memory_gb for card in CARDS if card.profile == name) for name in PLANS if name != "gpu-small"
}
# Where the least memory is. Computing the size of a class takes seconds: the others are for `make attack`.
USUAL = {"gpu-4gb"}


def of_class(profile: str, given: str | Card) -> ParameterSet:
    """`given`, by default only where it is of a usual class."""
    marks = () if profile in USUAL else pytest.mark.thorough
    return pytest.param(given, marks=marks, id=given.name if isinstance(given, Card) else str(given))


def test_the_profiles_are_the_trainers() -> None:
    assert set(ProfileName) == set(PROFILES)
    assert {name for name, profile in PROFILES.items() if profile.device == "cuda"} == GPU_PROFILES


@pytest.mark.parametrize("name", [of_class(name, name) for name in SMALLEST])
def test_a_class_fits_into_the_smallest_memory_of_its_cards(name: str) -> None:
    of = hardware_table.size_of_class(name)
    assert of.needed_gb <= SMALLEST[name] * (METAL_SHARE if PROFILES[name].device == "mps" else 1)
    plan = PLANS[name]
    assert (plan.depth, plan.width) == (of.depth, of.width) and plan.needed_gb == pytest.approx(of.needed_gb, abs=0.1)
    assert of.micro_rows <= of.batch_tokens // PROFILES[name].sequence_length


@pytest.mark.parametrize("card", [of_class(card.profile, card) for card in CARDS])
def test_a_card_gets_its_class_and_can_train_its_model(card: Card) -> None:
    machine = Machine(
        gpu=card.name if card.capability else None,
        gpu_memory_gb=card.memory_gb if card.capability else None,
        driver=None,
        cpu="arm",
        cores=8,
        memory_gb=card.memory_gb,
        platform="macOS-15.1",
        gpu_kind=card.capability,
    )
    of = hardware_table.size_of_class(card.profile)
    assert default_profile(machine) == card.profile
    assert hardware_table.enough(card, of) == (card.name not in SLOW)
    if card.name not in SLOW:
        assert hardware_table.tokens(card, of) >= PLANS[card.profile].steps * of.batch_tokens


@pytest.mark.thorough
def test_the_page_has_the_tables_as_they_are_computed() -> None:
    text = hardware_table.PAGE.read_text(encoding="utf-8")
    assert hardware_table.page(text) == text, "renew it: python benchmarks/hardware_table.py --write"
