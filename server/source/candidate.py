"""What is under test: the text of each editable file, by path. Pure."""

import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property


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


def sha256(text: str) -> str:
    """The sha256 of a text, hex."""
    return hashlib.sha256(text.encode()).hexdigest()
