"""What a train.py is, apart from how it is written down. Pure."""

import ast
import hashlib
import warnings

_SEEDERS = {"manual_seed", "manual_seed_all", "seed"}  # torch's, random's and numpy's


class _Bare(ast.NodeTransformer):
    """Drops what changes nothing but luck and looks: docstrings, prints that call nothing, calls that set a seed."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) or _is_cosmetic(node) else node


def _is_cosmetic(node: ast.Expr) -> bool:
    calls = [inner for inner in ast.walk(node) if isinstance(inner, ast.Call)]
    if len(calls) != 1 or calls[0] is not node.value:
        return False
    function = calls[0].func
    if isinstance(function, ast.Name):
        return function.id == "print"
    return isinstance(function, ast.Attribute) and function.attr in _SEEDERS


def fingerprint(text: str) -> str:
    """The same for texts that differ in comments, layout, docstrings, prints and seeds alone. Raises SyntaxError."""
    return hashlib.sha256(ast.dump(bare(text)).encode()).hexdigest()


def code_lines(text: str) -> int:
    """Lines of code, however the text is laid out or commented. Raises SyntaxError."""
    return len(ast.unparse(bare(text)).splitlines())


def bare(text: str) -> ast.Module:
    """The syntax tree without what changes nothing but luck and looks. Raises SyntaxError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the parser finds odd is the agent's business
        tree = ast.parse(text)
    for node in ast.walk(_Bare().visit(tree)):
        if getattr(node, "body", None) == []:
            vars(node)["body"] = [ast.Pass()]
    return ast.fix_missing_locations(tree)


def sha256(text: str) -> str:
    """The sha256 of a text, hex."""
    return hashlib.sha256(text.encode()).hexdigest()
