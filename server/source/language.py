"""What a kind of source text knows about itself: whether it is valid, the same, smaller, and what its constants are."""

from typing import Protocol

from server.records import Value


class Change(Value):
    """The difference between two texts. A place is a line of code without its constants, hashed."""

    knobs: dict[str, str]  # constant at the top level → "before → after"
    places: list[str]  # where else something changed
    category: str  # knob, simplification, optimiser, architecture, data order or other

    @property
    def features(self) -> dict[str, str]:
        """Everything that a similar attempt has in common with this one, and the values where there are some."""
        return {**{f"knob {name}": value for name, value in self.knobs.items()}, **dict.fromkeys(self.places, "")}


class Language(Protocol):
    """The hooks. Each raises PatchRefused for a text that it cannot read, and no other error."""

    unit: str  # what `size` counts

    def check(self, text: str, file: str) -> None:
        """Refuse a text that is not valid, or that another hook could not read."""
        ...

    def fingerprint(self, text: str) -> str:
        """The same, hex, for texts that do the same for certain."""
        ...

    def size(self, text: str) -> tuple[int, ...]:
        """How much there is to read, in units of the language; layout and comments do not count.

        A text is smaller where the first is, and no other is larger.
        """
        ...

    def change(self, before: str, after: str) -> Change:
        """What was done to `before` to make `after`."""
        ...

    def set_knob(self, text: str, file: str, name: str, value: str) -> str:
        """The text with a constant at another value. Raises PatchRefused: there is none, or the value is none."""
        ...
