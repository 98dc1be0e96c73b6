"""Python source as a candidate: its fingerprint and size, what a change amounts to, and its constants. Pure."""

import ast
import hashlib
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import NamedTuple, cast

from server.errors import PatchRefused
from server.source.language import Change

BOM = "\ufeff"  # Python reads a file that begins with one, ast.parse does not read such a text
_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")  # where statements have statements; a lambda's is none
_LINE_END = re.compile(r"\r\n|\r|\n")  # as the parser counts lines
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_TOKEN = re.compile(r"\w+|[^\w\s]")
_WORD = re.compile(r"\w+")
_INERT = (ast.Constant, ast.Name, ast.UnaryOp, ast.BinOp, ast.Tuple, ast.unaryop, ast.operator, ast.expr_context)
_SEEDERS = {"manual_seed", "manual_seed_all", "seed"}  # torch's, random's and numpy's
_FINGERPRINTS: dict[bytes, str] = {}  # by digests: the texts of a night would be as large as the server
_MOST_FINGERPRINTS = 1024


def _strip(node: ast.AST) -> None:
    """Drop what changes nothing but luck and looks: docstrings, prints that call nothing, calls that set a seed."""
    for name in _BLOCKS:
        if isinstance(block := getattr(node, name, None), list):
            inner = cast("list[ast.AST]", block)
            inner[:] = [one for one in inner if not (isinstance(one, ast.Expr) and _is_cosmetic(one))]
            for one in inner:
                _strip(one)
            if not inner and name == "body":
                inner.append(ast.Pass())


def _is_cosmetic(node: ast.Expr) -> bool:
    if isinstance(node.value, ast.Constant):
        return True
    if any(isinstance(inner, ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom) for inner in ast.walk(node)):
        return False  # it does more than print
    calls = [inner for inner in ast.walk(node) if isinstance(inner, ast.Call)]
    if len(calls) != 1 or calls[0] is not node.value:
        return False
    function = calls[0].func
    if isinstance(function, ast.Name):
        return function.id == "print"
    return isinstance(function, ast.Attribute) and function.attr in _SEEDERS


class Python:
    """The language of *.py. Text that is nested too deeply for Python's own parser is refused like a wrong one."""

    unit = "lines of code"

    def check(self, text: str, file: str) -> None:
        """Refuse what does not parse, or is nested too deeply to be compared with other code."""
        with _readable(file):
            fingerprint(text)
            _code_and_knobs(text)
            _require_utf8(text, file)

    def fingerprint(self, text: str) -> str:
        """The same for texts that differ in comments, layout, docstrings, prints and seeds alone."""
        with _readable():
            return fingerprint(text)

    def size(self, text: str) -> tuple[int, ...]:
        """Lines of code, however the text is laid out or commented, and tokens: code may hide in a string."""
        with _readable():
            return code_lines(text), code_tokens(text)

    def change(self, before: str, after: str) -> Change:
        """The constants at the top level that differ, and the places where else something does."""
        with _readable():
            return describe_change(before, after)

    def set_knob(self, text: str, file: str, name: str, value: str) -> str:
        """Set the last assignment of `name` at the top level to `value`, a Python literal."""
        with _readable(file):
            return set_knob(text, name, value, file)


@contextmanager
def _readable(file: str = "train.py") -> Generator[None]:
    """The one place where what Python's parser says of a text becomes a refusal."""
    try:
        yield
    except SyntaxError as error:
        quoted = (error.text or "").strip()[:160]
        problem = f"{file} would not parse: line {error.lineno}, column {error.offset}: {error.msg}: {quoted}"
        raise PatchRefused(problem, "Correct the patch and apply it again; nothing was changed.") from None
    except (ValueError, RecursionError, MemoryError) as error:
        problem = f"{file} would not parse: {type(error).__name__}: {error}."
        step = "Split its deepest expressions into several statements, and apply the patch again; nothing was changed."
        raise PatchRefused(problem, step) from None


def fingerprint(text: str) -> str:
    """The same for texts that differ in comments, layout, docstrings, prints and seeds alone. Raises SyntaxError.

    So is a value at the top level that only such calls read.
    """
    # The files of a candidate are asked about several times a call, and few of them change.
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).digest()
    known = _FINGERPRINTS.get(digest)
    if known is None:
        known = _fingerprint(text)
        if len(_FINGERPRINTS) >= _MOST_FINGERPRINTS:
            _FINGERPRINTS.clear()
        _FINGERPRINTS[digest] = known
    return known


def _fingerprint(text: str) -> str:
    dumps = ", ".join(statement.dump for statement in _statements(text))
    whole = ast.dump(ast.Module([ast.Pass()], [])).replace(ast.dump(ast.Pass()), dumps)
    return hashlib.sha256(whole.encode()).hexdigest()


def code_lines(text: str) -> int:
    """Lines of code, however the text is laid out or commented. Raises SyntaxError."""
    return sum(len(statement.lines) or 1 for statement in _statements(text))


def code_tokens(text: str) -> int:
    """Words and signs of the code, and each character of its strings. Raises SyntaxError."""
    return sum(statement.tokens for statement in _statements(text))


def _parse(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the parser finds odd is the agent's business
        # Given a file name, Python quotes the line of that file, if there is one here.
        return ast.parse(text.removeprefix(BOM))


def line_count(text: str) -> int:
    """Lines as Python counts them: a form feed ends none."""
    return len(_LINE.findall(text))


def _require_utf8(text: str, file: str) -> None:
    """Refuse a text that Python would read otherwise, because its first lines name another encoding than UTF-8."""
    first = [line for line in _LINE_END.split(text, maxsplit=2)[:2] if "coding" in line]
    if not first:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if ast.dump(ast.parse(text.encode())) == ast.dump(_parse(text)):
                return
        problem = "Python would run a different text"
    except SyntaxError as error:
        problem = f"Python says {error.msg!r}"
    raise PatchRefused(
        f"{file} is UTF-8 and says that it is not ({first[0].strip(BOM + ' ')[:100]!r}): {problem}.",
        "Remove that comment, or write utf-8 in it.",
    )


class _Statement(NamedTuple):
    """One statement at the top level, without what is cosmetic in it."""

    dump: str
    lines: list[str]  # of code, each behind the name of what it stands in; none of a constant, which has one
    tokens: int  # words, signs, and each character of its strings
    knob: tuple[str, str] | None  # a constant and its value
    sets: str  # the name that it gives a value, if it does nothing else; else empty
    names: frozenset[str]  # that it may read
    cosmetic: frozenset[str]  # names that were read by what was dropped from it


@lru_cache(maxsize=2)  # of a patch, its fingerprint and what it changes are asked for
def _statements(text: str) -> list[_Statement]:
    """The statements at the top level that are not cosmetic; nobody changes the list. Raises SyntaxError."""
    places: list[list[int]] = []  # the first and the last line of each, those of one line together
    nodes, lines = _parse(text).body, _LINE_END.split(text.removeprefix(BOM))
    for node in nodes:
        first = min(one.lineno for one in (node, *getattr(node, "decorator_list", ())))
        if places and (first <= places[-1][1] or lines[first - 2].endswith("\\")):  # the line before goes on here
            places[-1][1] = node.end_lineno or first
        else:
            places.append([first, node.end_lineno or first])
    found = [one for first, last in places for one in _analysed("\n".join(lines[first - 1 : last]))]
    return _without_unread(found, frozenset()) or [_analyse(ast.Pass())]


def _without_unread(statements: list[_Statement], cosmetic: frozenset[str]) -> list[_Statement]:
    """Without what is cosmetic as a whole, and without values that only cosmetic code has read, such as a seed's."""
    read = frozenset[str]().union(*(one.names for one in statements))
    cosmetic = cosmetic.union(*(one.cosmetic for one in statements)) - read
    kept = [one for one in statements if one.dump and one.sets not in cosmetic]
    gone = frozenset[str]().union(*(one.names for one in statements if one.sets in cosmetic))
    return kept if not gone else _without_unread(kept, cosmetic | gone)


@lru_cache(maxsize=512)  # a patch changes few of them
def _analysed(source: str) -> list[_Statement]:
    """The statements of some whole lines; nobody changes the list. Of a cosmetic one there is nothing to dump."""
    return [
        _Statement("", [], 0, None, "", frozenset(), _read(node))
        if isinstance(node, ast.Expr) and _is_cosmetic(node)
        else _analyse(node)
        for node in _parse(source).body
    ]


def _analyse(node: ast.stmt) -> _Statement:
    whole = _read(node)
    _strip(node)
    sets, names = _set_alone(node), _read(node)
    name, dump, code, owner = _knob(node), ast.dump(node), ast.unparse(node), getattr(node, "name", "")
    lines, knob = [f"{owner}: {line}" for line in code.splitlines() if line.strip()], None
    if name and isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
        lines, knob = [], (name, ast.unparse(node.value))
    strings = [one.value for one in ast.walk(node) if isinstance(one, ast.Constant)]
    tokens = len(_TOKEN.findall(code)) + sum(len(one) for one in strings if isinstance(one, str | bytes))
    return _Statement(dump, lines, tokens, knob, sets, names, whole - names)


def _set_alone(node: ast.stmt) -> str:
    """The name to which a statement gives a value made of constants and names; empty if it does anything else."""
    if not isinstance(node, ast.Assign) or len(node.targets) != 1 or not isinstance(node.targets[0], ast.Name):
        return ""
    return node.targets[0].id if all(isinstance(one, _INERT) for one in ast.walk(node.value)) else ""


def _read(node: ast.stmt) -> frozenset[str]:
    """The names that a statement may read, also as an attribute, by a text, or where a function declares them."""
    found = set[str]()
    for one in ast.walk(node):
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load):
            found.add(one.id)
        elif isinstance(one, ast.Attribute):
            found.add(one.attr)
        elif isinstance(one, ast.Global):
            found.update(one.names)
        elif isinstance(one, ast.Constant) and isinstance(one.value, str):
            found.update(_WORD.findall(one.value))
    return frozenset(found)


_MOST = 64  # places remembered of one attempt; who changes more has written another program
_CATEGORIES = (  # of what surrounds a changed line; the first that fits
    ("optimiser", re.compile(r"optim|muon|adam|momentum|\blr\b|rate|schedule|decay", re.IGNORECASE)),
    ("architecture", re.compile(r"module|attention|block|model|embed|norm|init|forward|head", re.IGNORECASE)),
    ("data order", re.compile(r"row|batch|data|token|order|shuffle", re.IGNORECASE)),
)


def describe_change(before: str, after: str) -> Change:
    """What was done to `before` to make `after`. Raises SyntaxError."""
    (old, old_knobs), (new, new_knobs) = _code_and_knobs(before), _code_and_knobs(after)
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


@lru_cache(maxsize=4)  # the incumbent's is asked for with each patch
def _code_and_knobs(text: str) -> tuple[Counter[str], dict[str, str]]:
    """Lines of code, each behind the name of what it stands in, and the constants at the top level."""
    statements = _statements(text)
    return Counter(line for one in statements for line in one.lines), dict(one.knob for one in statements if one.knob)


def _knob(node: ast.stmt) -> str | None:
    """The name of a constant: in capitals, set once, at the top level."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    names = [name.id for target in targets for name in _names_in(target)]
    return names[0] if len(names) == 1 and names[0].isupper() else None


def _names_in(target: ast.expr) -> Iterator[ast.Name]:
    return (inner for inner in ast.walk(target) if isinstance(inner, ast.Name))


def _place(line: str) -> str:
    bared = re.sub(r"\b\d[\w.]*|'[^']*'|\"[^\"]*\"", "_", " ".join(line.split()))
    return f"{zlib.crc32(bared.encode()):08x}"


def set_knob(text: str, name: str, value: str, file: str = "train.py") -> str:
    """`text` with the constant `name`, which it sets at its top level, at `value`: a literal, or `0.3 if GPU else 0.1`.

    A constant set alone is changed in place; one set together with others gets a line of its own below.

    Raises:
        PatchRefused: there is no such constant, or the value is no literal.
    """
    if text.startswith(BOM):  # Python counts columns without it
        return BOM + set_knob(text.removeprefix(BOM), name, value, file)
    try:
        _require_plain(ast.parse(value.lstrip(" \t"), mode="eval").body)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        step = "Give a literal, or one of two as in `0.3 if GPU else 0.1`."
        raise PatchRefused(f"{value!r} is not a number, string, tuple or other literal.", step) from None
    found = [node for node in ast.parse(text).body if name in _is_named(node)]
    if not found:
        raise PatchRefused(f"{file} sets no {name} at its top level.", "Call read_train() to see its constants.")
    node, lines = found[-1], _LINE.findall(text)
    assert node.end_lineno is not None
    single = isinstance(node, ast.AnnAssign) or (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name))
    if not single or not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
        ending = "\n" if lines[node.end_lineno - 1].endswith(("\n", "\r")) else ""
        lines[node.end_lineno - 1] += f"{'' if ending else chr(10)}{name} = {value}{ending}"
        return "".join(lines)
    return _replace(lines, node.value, value)


def _require_plain(value: ast.expr) -> None:
    """Raises ValueError: neither a literal nor one of two, by a name that is true on some machines."""
    if isinstance(value, ast.IfExp) and isinstance(value.test, ast.Name):
        ast.literal_eval(value.body)
        ast.literal_eval(value.orelse)
    else:
        ast.literal_eval(value)


def _is_named(node: ast.stmt) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}


def _replace(lines: list[str], node: ast.expr, value: str) -> str:
    """Columns are counted in bytes of UTF-8."""
    assert node.end_lineno is not None and node.end_col_offset is not None
    first, last = lines[node.lineno - 1].encode(), lines[node.end_lineno - 1].encode()
    line = first[: node.col_offset].decode() + value + last[node.end_col_offset :].decode()
    return "".join([*lines[: node.lineno - 1], line, *lines[node.end_lineno :]])
