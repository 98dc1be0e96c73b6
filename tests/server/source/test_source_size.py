import base64
import random
from collections.abc import Callable

import pytest

from server.errors import PatchRefused
from server.source.candidate import MOST_BYTES, MOST_GROWTH, Candidate

CODE = "".join(f"def layer_{n}(x):\n    return x * {n} + {n / 7}\n" for n in range(60))


def candidate(text: str) -> Candidate:
    return Candidate({"train.py": text})


def weights(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def test_the_size_bounds_what_a_literal_carries():
    for carried in (0, 500, 5000):
        text = f"{CODE}W = {base64.b85encode(weights(carried)).decode()!r}\n"
        assert candidate(text).compressed_bytes >= candidate(CODE).compressed_bytes + 0.98 * carried


HIDDEN: dict[str, Callable[[bytes], str]] = {
    "literal": lambda data: f"W = {base64.b85encode(data).decode()!r}",
    "comment": lambda data: f"# {data.hex()}",
    "docstring": lambda data: f'def f():\n    """{base64.b64encode(data).decode()}"""',
    "names": lambda data: "\n".join(f"w{data[at : at + 16].hex()} = 0" for at in range(0, len(data), 16)),
    "numbers": lambda data: f"W = {[byte / 255 for byte in data]}",
    "signs": lambda data: "W = [" + " ".join("+-"[byte >> bit & 1] + "1," for byte in data for bit in range(8)) + "]",
}


@pytest.mark.parametrize("hide", HIDDEN.values(), ids=HIDDEN)
def test_weights_are_refused_wherever_they_are_written(hide: Callable[[bytes], str]):
    before = candidate(CODE)
    candidate(f"{CODE}{hide(weights(500))}\n").require_modest(before, before)
    with pytest.raises(PatchRefused, match=f"an experiment may add {MOST_GROWTH}"):
        candidate(f"{CODE}{hide(weights(6000))}\n").require_modest(before, before)


def test_a_table_of_constants_and_many_lines_of_code_are_fine():
    before = candidate(CODE)
    table = f"TABLE = {[round(3e-4 * 0.98**step, 7) for step in range(300)]}\n"
    candidate(CODE + table + CODE.replace("layer", "block") * 5).require_modest(before, before)


def test_growth_in_steps_ends_at_a_ceiling():
    baseline = before = candidate(CODE)
    with pytest.raises(PatchRefused, match=f"{MOST_BYTES} are allowed"):
        for step in range(10):
            after = candidate(before.text + f"W{step} = {base64.b85encode(weights(3000, step)).decode()!r}\n")
            after.require_modest(before, baseline)
            before = after
    assert before.compressed_bytes <= MOST_BYTES


def test_a_large_baseline_may_be_changed_and_made_smaller():
    large = candidate(f"{CODE}W = {base64.b85encode(weights(20_000)).decode()!r}\n")
    candidate(large.text + "LR = 0.1\n").require_modest(large, large)
    smaller = candidate(f"{CODE}W = {base64.b85encode(weights(19_000)).decode()!r}\n")
    smaller.require_modest(large, candidate(CODE))
