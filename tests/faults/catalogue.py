"""The list of faults: each a name, how often it is tried, and what is done to a night."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.faults.night import Night

Injection = Callable[[Night], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """One kind of thing that goes wrong."""

    name: str
    inject: Injection  # raises AssertionError when something that must hold did not
    trials: int = 1
    short: bool = False  # part of the default tests


FAULTS: list[Fault] = []


class NotHere(Exception):
    """This machine cannot show it, and says why."""


def fault(name: str, trials: int = 1, short: bool = False) -> Callable[[Injection], Injection]:
    """Add a function to the list. It gets a fresh night for every trial."""

    def add(inject: Injection) -> Injection:
        FAULTS.append(Fault(name, inject, trials, short))
        return inject

    return add
