"""What must not grow with the square of a text, on machines of any speed and however busy they are."""

import gc
from collections.abc import Callable

_QUICK = 1.0  # CPU seconds; what takes less needs no second look
_MOST = 10.0
_EIGHTFOLD = 20.0  # of eight times the text: what grows with its square takes 64 times as long


def require_even(seconds: Callable[[int], float], size: int) -> None:
    """`seconds`: the CPU seconds that a text of a given size takes. Fails where they are many and grow unevenly."""
    gc.disable()  # a collection takes as long as everything that the tests hold
    try:
        whole = seconds(size)
        if whole > _QUICK:
            whole = min(whole, seconds(size), seconds(size))
            assert whole < max(_QUICK, _EIGHTFOLD * min(seconds(size // 8) for _ in range(3)))
            assert whole < _MOST
    finally:
        gc.enable()
