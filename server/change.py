"""What an attempt changed, so that a later one can be told from it: constants apart from structure. Pure."""

import ast
import re
import zlib
from collections import Counter
from collections.abc import Iterator

from server.experiment import Value
from server.structure import bare

_MOST = 64  # places remembered of one attempt; who changes more has written another program
_CATEGORIES = (  # of what surrounds a changed line; the first that fits
    ("optimiser", re.compile(r"optim|muon|adam|momentum|\blr\b|rate|schedule|decay", re.IGNORECASE)),
    ("architecture", re.compile(r"module|attention|block|model|embed|norm|init|forward|head", re.IGNORECASE)),
    ("data order", re.compile(r"row|batch|data|token|order|shuffle", re.IGNORECASE)),
)


class Change(Value):
    """The difference between two texts. A place is a line of code without its constants, hashed."""

    knobs: dict[str, str]  # constant at the top level → "before → after"
    places: list[str]  # where else something changed
    category: str  # knob, simplification, optimiser, architecture, data order or other

    @property
    def features(self) -> dict[str, str]:
        """Everything that a similar attempt has in common with this one, and the values where there are some."""
        return {**{f"knob {name}": value for name, value in self.knobs.items()}, **dict.fromkeys(self.places, "")}


def change(before: str, after: str) -> Change:
    """What was done to `before` to make `after`. Raises SyntaxError."""
    (old, old_knobs), (new, new_knobs) = _read(before), _read(after)
    knobs = {
        name: f"{old_knobs.get(name, 'none')} → {new_knobs.get(name, 'none')}"
        for name in {**old_knobs, **new_knobs}
        if old_knobs.get(name) != new_knobs.get(name)
    }
    gone, come = old - new, new - old
    places = sorted({_place(line) for line in (gone + come)})
    return Change(knobs=knobs, places=places[:_MOST], category=_category(knobs, gone, come))


def _category(knobs: dict[str, str], gone: Counter[str], come: Counter[str]) -> str:
    if not gone and not come:
        return "knob" if knobs else "other"
    if not come:
        return "simplification"
    votes = Counter(next((name for name, words in _CATEGORIES if words.search(line)), "other") for line in gone + come)
    return votes.most_common(1)[0][0]


def _read(text: str) -> tuple[Counter[str], dict[str, str]]:
    """Lines of code, each behind the name of what it stands in, and the constants at the top level."""
    lines, knobs = Counter[str](), dict[str, str]()
    for node in bare(text).body:
        name = _knob(node)
        if name and isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
            knobs[name] = ast.unparse(node.value)
        else:
            owner = getattr(node, "name", "")
            lines.update(f"{owner}: {line}" for line in ast.unparse(node).splitlines() if line.strip())
    return lines, knobs


def _knob(node: ast.stmt) -> str | None:
    """The name of a constant: in capitals, set once, at the top level."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    names = [name.id for target in targets for name in _names(target)]
    return names[0] if len(names) == 1 and names[0].isupper() else None


def _names(target: ast.expr) -> Iterator[ast.Name]:
    return (inner for inner in ast.walk(target) if isinstance(inner, ast.Name))


def _place(line: str) -> str:
    bared = re.sub(r"\b\d[\w.]*|'[^']*'|\"[^\"]*\"", "_", " ".join(line.split()))
    return f"{zlib.crc32(bared.encode()):08x}"
