"""What is under test: the text of each editable file, by path. Pure."""

import hashlib
import zlib
from collections.abc import Iterator, Mapping
from functools import cached_property

from server.errors import PatchRefused
from server.source.language import Change, Language, Text
from server.source.python_source import Python

_MOST = 64  # places remembered of one attempt
MOST_GROWTH = 4096  # compressed bytes that an experiment may add to what the incumbent has
MOST_BYTES = 16384  # compressed, unless the baseline is large itself: 630 full lines of code have no more


class Candidate(Mapping[str, str]):
    """A frozen mapping from path to text, sorted by path; paths are relative, with "/" between their parts."""

    def __init__(self, files: Mapping[str, str]) -> None:
        """Raises ValueError: there is no file."""
        if not files:
            raise ValueError("a candidate has at least one file")
        self._files = {path: files[path] for path in sorted(files)}

    @cached_property
    def sha256(self) -> str:
        """The tree's hash, hex. Raises UnicodeEncodeError for a text that is no UTF-8.

        Of one file it is the sha256 of the text, as rows of the ledger have it. Of several files it is the sha256 of
        what `sha256sum` prints for them: "<sha256>  <path>" and a line feed for each, in the order of their paths.
        """
        if len(self) == 1:
            return sha256(self.text)
        return sha256("".join(f"{sha256(text)}  {path}\n" for path, text in self.items()))

    @property
    def text(self) -> str:
        """The text of a candidate of one file. Raises ValueError: it has several."""
        (text,) = self.values()
        return text

    def with_file(self, path: str, text: str) -> "Candidate":
        """The candidate with another text at `path`."""
        return Candidate({**self, path: text})

    def without(self, path: str) -> "Candidate":
        """The candidate without the file at `path`. Raises PatchRefused: then no file is left."""
        if len(self) == 1:
            raise PatchRefused(f"{path} is the only editable file: it cannot be deleted.", "Change its text.")
        return Candidate({name: text for name, text in self.items() if name != path})

    def check(self, before: "Candidate | None" = None) -> None:
        """Raises PatchRefused: a file is not valid in its language.

        Args:
            before: files that are as they were there are valid, and so is one that was no valid one there: the
                language may be a newer one than the server's.
        """
        for path, text in self.items():
            if before is None or (text != before.get(path) and _is_valid(path, before.get(path, ""))):
                language_of(path).check(text, path)

    @cached_property
    def compressed_bytes(self) -> int:
        """What the text can carry at most. Raises UnicodeEncodeError for a text that is no UTF-8.

        train.py can read its own text, so weights that an earlier run has learnt can come back as a literal, a comment
        or a name. Code, prose and tables of constants compress well, numbers that look random do not.
        """
        return len(zlib.compress("\0".join(self.values()).encode(), 9))

    def require_modest(self, incumbent: "Candidate", baseline: "Candidate") -> None:
        """Refuse a text that could carry much more than the incumbent's. One that is no larger is never refused.

        Raises:
            PatchRefused: with the sizes, in compressed bytes.
        """
        size, grown = self.compressed_bytes, self.compressed_bytes - incumbent.compressed_bytes
        most = max(MOST_BYTES, baseline.compressed_bytes + MOST_GROWTH)
        if grown > MOST_GROWTH:
            raise PatchRefused(
                f"The candidate's text has {size} bytes when it is compressed, {grown} more than the incumbent's; "
                f"an experiment may add {MOST_GROWTH}.",
                "Remove learnt weights and other data from the text: each run may learn only from its tokens. Split "
                "a large rewrite over several experiments.",
            )
        if grown > 0 and size > most:
            raise PatchRefused(
                f"The candidate's text has {size} bytes when it is compressed; {most} are allowed.",
                "Remove data, comments or code from it, and apply the patch again.",
            )

    @cached_property
    def fingerprint(self) -> str:
        """The same, hex, for candidates whose code is the same.

        Of one file it is what its language says, of several the sha256 over "<fingerprint>  <path>" lines. A file that
        is not valid in its language counts as plain text.
        """
        codes = {path: _fingerprint(path, text) for path, text in self.items()}
        if len(codes) == 1:
            return codes.popitem()[1]
        return sha256("".join(f"{code}  {path}\n" for path, code in codes.items()))

    def simpler_than(self, other: "Candidate") -> bool:
        """Whether there is less code in one language, and more in none. A text that cannot be read is not simpler."""
        alike = {path for path, text in self.items() if other.get(path) == text}
        try:
            ours, theirs = self._sizes(alike), other._sizes(alike)
        except PatchRefused:
            return False
        pairs = [(ours.get(unit, (0, 0)), theirs.get(unit, (0, 0))) for unit in {**ours, **theirs}]
        grown = any(mine > yours for pair in pairs for mine, yours in zip(*pair, strict=False))
        return not grown and any(mine[0] < yours[0] for mine, yours in pairs)

    def changed_from(self, before: "Candidate") -> Change:
        """What was done to `before` to make this; a file that is missing on a side counts as empty there.

        A file that cannot be read in its language counts as plain text.
        """
        if len(self) == 1 and self.keys() == before.keys():
            ((path, text),) = self.items()
            return _change(path, before[path], text)
        made = [
            (_change(path, before.get(path, ""), self.get(path, "")), path)
            for path in sorted({*self, *before})
            if self.get(path) != before.get(path)
        ]
        # The same name, or the same line, in another file is another one.
        knobs = {f"{path}:{name}": told for change, path in made for name, told in change.knobs.items()}
        places = sorted({f"{path}:{place}" for change, path in made for place in change.places})
        category, *others = {change.category for change, _ in made} or {"other"}
        return Change(knobs=knobs, places=places[:_MOST], category="other" if others else category)

    def with_knobs(self, path: str, knobs: Mapping[str, str]) -> "Candidate":
        """The candidate with constants of one file set. Raises PatchRefused: it has none of a name, or a bad value."""
        text = self[path]
        for name, value in knobs.items():
            text = language_of(path).set_knob(text, path, name, value)
        return self.with_file(path, text)

    def with_constants(self, knobs: Mapping[str, str]) -> "Candidate":
        """The candidate with constants set, whichever file has them; PATH:NAME says whose constant it is.

        Raises PatchRefused: there is none of a name, or a bad value.
        """
        made = self
        for name, value in knobs.items():
            path, constant = made._place(name)
            made = made.with_knobs(path, {constant: value})
        return made

    def _place(self, name: str) -> tuple[str, str]:
        """The file that has a constant, and its name there. Raises PatchRefused."""
        path, colon, constant = name.rpartition(":")
        if colon and path in self:
            return path, constant
        if len(self) == 1:
            return next(iter(self)), name
        having = [path for path, text in self.items() if _has_knob(path, text, name)]
        if len(having) == 1:
            return having[0], name
        python = [path for path in self if language_of(path) is _PYTHON]
        if not python:
            raise PatchRefused(
                "No editable file is Python: the server cannot find constants in them.",
                "Change them with apply_patch(patch).",
            )
        where = f"{' and '.join(having)} set {name}" if having else f"No editable Python file sets {name}"
        step = f"Write it with its file, such as {(having or python)[0]}:{name}."
        raise PatchRefused(f"{where} at the top level.", step)

    def _sizes(self, aside: set[str]) -> dict[str, tuple[int, ...]]:
        """By the unit that each language counts in, of all files but those `aside`."""
        sizes: dict[str, tuple[int, ...]] = {}
        for path, text in self.items():
            if path in aside:
                continue
            language = language_of(path)
            size = language.size(text)
            before = sizes.get(language.unit, (0,) * len(size))
            sizes[language.unit] = tuple(map(sum, zip(before, size, strict=True)))
        return sizes

    def __getitem__(self, path: str) -> str:
        return self._files[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __hash__(self) -> int:
        return hash(tuple(self.items()))

    def __repr__(self) -> str:
        return f"Candidate({', '.join(self)})"


_PYTHON = Python()
_TEXT = Text()


def language_of(path: str) -> Language:
    """What knows the files of this name."""
    return _PYTHON if path.endswith(".py") else _TEXT


def _is_valid(path: str, text: str) -> bool:
    try:
        language_of(path).check(text, path)
    except PatchRefused:
        return False
    return True


def _fingerprint(path: str, text: str) -> str:
    try:
        return language_of(path).fingerprint(text)
    except PatchRefused:
        return _TEXT.fingerprint(text)


def _change(path: str, before: str, after: str) -> Change:
    try:
        return language_of(path).change(before, after)
    except PatchRefused:
        return _TEXT.change(before, after)


def _has_knob(path: str, text: str, name: str) -> bool:
    try:
        language_of(path).set_knob(text, path, name, "0")
    except PatchRefused:
        return False
    return True


def sha256(text: str) -> str:
    """The sha256 of a text, hex."""
    return hashlib.sha256(text.encode()).hexdigest()
