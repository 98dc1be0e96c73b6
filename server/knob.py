"""Turning a constant of a text by its name. Pure."""

import ast

from server.errors import PatchRefused


def turn(text: str, name: str, value: str) -> str:
    """`text` with the constant `name`, which it sets at its top level, at `value`, a Python literal.

    A constant set alone is changed in place; one set together with others gets a line of its own below.

    Raises:
        PatchRefused: there is no such constant, or the value is no literal.
    """
    try:
        ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise PatchRefused(f"{value!r} is not a number, string, tuple or other literal.", "Give a literal.") from None
    found = [node for node in ast.parse(text).body if name in _names(node)]
    if not found:
        raise PatchRefused(f"train.py sets no {name} at its top level.", "Call read_train() to see its constants.")
    node, lines = found[-1], text.splitlines(keepends=True)
    assert node.end_lineno is not None
    single = isinstance(node, ast.AnnAssign) or (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name))
    if not single or not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
        ending = "\n" if lines[node.end_lineno - 1].endswith("\n") else ""
        lines[node.end_lineno - 1] += f"{'' if ending else chr(10)}{name} = {value}{ending}"
        return "".join(lines)
    return _replace(lines, node.value, value)


def _names(node: ast.stmt) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}


def _replace(lines: list[str], node: ast.expr, value: str) -> str:
    """Columns are counted in bytes of UTF-8."""
    assert node.end_lineno is not None and node.end_col_offset is not None
    first, last = lines[node.lineno - 1].encode(), lines[node.end_lineno - 1].encode()
    line = first[: node.col_offset].decode() + value + last[node.end_col_offset :].decode()
    return "".join([*lines[: node.lineno - 1], line, *lines[node.end_lineno :]])
