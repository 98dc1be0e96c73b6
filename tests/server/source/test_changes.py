"""What an attempt changed: places and knobs, whatever the constants."""

import pytest

from server.source.python_source import describe_change

BEFORE = """
import torch

LR = 0.02  # a knob
SHAPE = (3, 128)


class Model(torch.nn.Module):
    def forward(self, x):
        return torch.relu(self.up(x)) * 2.0


def train(optimiser, batch):
    optimiser.step()
    for row in batch:
        print(row)
"""


def test_a_knob_is_told_by_name_and_value() -> None:
    made = describe_change(BEFORE, BEFORE.replace("0.02", "0.03").replace("(3,", "(4,"))
    assert made.knobs == {"LR": "0.02 → 0.03", "SHAPE": "(3, 128) → (4, 128)"}
    assert (made.places, made.category) == ([], "knob")


def test_the_same_place_with_another_constant_is_the_same_place() -> None:
    three, four = (describe_change(BEFORE, BEFORE.replace("* 2.0", f"* {value}")) for value in ("3.0", "4.0"))
    assert three.places and three.places == four.places
    assert describe_change(BEFORE, BEFORE.replace("relu", "tanh")).places != three.places


@pytest.mark.parametrize(
    ("old", "new", "category"),
    [
        ("relu", "gelu", "architecture"),
        ("optimiser.step()", "optimiser.step(closure=None)", "optimiser"),
        ("for row in batch", "for row in reversed(batch)", "data order"),
        (" * 2.0", "", "architecture"),
        ("    optimiser.step()\n", "", "simplification"),
        ("# a knob", "# the rate", "other"),
    ],
)
def test_an_idea_has_a_kind(old: str, new: str, category: str) -> None:
    assert old in BEFORE and describe_change(BEFORE, BEFORE.replace(old, new)).category == category


def test_a_change_is_the_same_forwards_and_backwards_but_for_the_values() -> None:
    after = BEFORE.replace("relu", "tanh").replace("0.02", "0.5")
    there, back = describe_change(BEFORE, after), describe_change(after, BEFORE)
    assert there.features.keys() == back.features.keys()
    assert back.knobs == {"LR": "0.5 → 0.02"}
