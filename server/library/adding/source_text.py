"""Source code as Markdown: a section for each function or class, with its docstring, and the code in a fence. Pure."""

import ast
import re
import warnings
from pathlib import PurePosixPath

_LANGUAGES = {
    **dict.fromkeys(("c", "h"), "c"),
    **dict.fromkeys(("cc", "cpp", "cxx", "hpp", "hh"), "cpp"),
    **dict.fromkeys(("cu", "cuh"), "cuda"),
    **dict.fromkeys(("sh", "bash"), "bash"),
    **dict.fromkeys(("yml", "yaml"), "yaml"),
    **dict.fromkeys(("jl",), "julia"),
    **dict.fromkeys(("js", "mjs"), "javascript"),
    **dict.fromkeys(("rs",), "rust"),
    **dict.fromkeys(("py", "pyi"), "python"),
    **dict.fromkeys(("ts",), "typescript"),
    **{same: same for same in ("go", "java", "json", "lua", "r", "sql", "tex", "toml", "triton", "zig", "ini", "cfg")},
}
_LINES = 60  # of a fence: it is read and searched as one piece
_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(.+?)[ \t#]*$|^(\S.{0,200})\n(?:=+|-{3,}|~{3,})[ \t]*$", re.MULTILINE)
_SKIPPED = re.compile(r"^(?:#|```|~~~|[-*_=]{3,}\s*$|!\[|\[!\[|<|\||\.\. )")
_SENTENCE = re.compile(r"(?<!e\.g)(?<!i\.e)(?<!et al)(?<=[.!?])\s+(?=[A-Z\"'(`\[])")
_MOST_SENTENCE = 200
_MOST_LINE = 2_000  # characters that are looked at for a heading or a sentence


def language(path: str) -> str:
    """The language of a file's code, by its name; empty if it is none of a known tool."""
    return _LANGUAGES.get(PurePosixPath(path).suffix.lower().lstrip("."), "")


def as_markdown(path: str, text: str) -> str:
    """A source file as Markdown."""
    kind, lines = language(path), text.splitlines()
    if kind == "python" and (sections := _python(text, lines)):
        return f"# {path}\n\n" + "\n\n".join(sections) + "\n"
    return f"# {path}\n\n" + "\n\n".join(_pieces(lines, kind, 1)) + "\n"


def _python(text: str, lines: list[str]) -> list[str]:
    """The sections of a Python file; none where it is no Python of this version."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of a stranger's escape sequences
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    sections, at = ([_quoted(doc)] if (doc := ast.get_docstring(tree)) else []), 0
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        first = min([node.lineno, *(one.lineno for one in node.decorator_list)]) - 1
        sections += _pieces(lines[at:first], "python", 0)
        said = ast.get_docstring(node)
        sections.append(f"## `{_title(node)}`")
        sections += [_quoted(said)] if said else []
        at = node.end_lineno or first
        sections += _pieces(lines[first:at], "python", 0)
    return [*sections, *_pieces(lines[at:], "python", 0)]


def _title(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> str:
    word = "class " if isinstance(node, ast.ClassDef) else ""
    try:
        inside = [ast.unparse(one) for one in (node.bases if isinstance(node, ast.ClassDef) else [node.args])]
    except (ValueError, RecursionError):  # what can be parsed may be too deep to be written
        inside = ["…"]
    title = f"{word}{node.name}({', '.join(inside)})".replace("`", "'").replace("\n", " ")
    return title if len(title) <= _MOST_SENTENCE else f"{word}{node.name}(…)"


def _quoted(doc: str) -> str:
    """A docstring as prose: nothing in it begins a heading or a fence."""
    return "\n".join(re.sub(r"^(\s*)([#`~])", r"\1\\\2", line) for line in doc.strip().splitlines())


def _pieces(lines: list[str], kind: str, numbered_from: int) -> list[str]:
    """Code in fences of some sixty lines, parted at blank lines where there are."""
    found: list[str] = []
    start = 0
    while start < len(lines):
        end = min(start + _LINES, len(lines))
        if end < len(lines):
            blank = (at for at in range(end, start + _LINES // 2, -1) if not lines[at - 1].strip())
            end = next(blank, end)
        if code := "\n".join(lines[start:end]).strip("\n").rstrip():
            fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", code)), default=0))
            head = f"## Lines {start + numbered_from} to {end}\n\n" if numbered_from and len(lines) > _LINES else ""
            found.append(f"{head}{fence}{kind}\n{code}\n{fence}")
        start = end
    return found


def first_heading(markdown: str) -> str:
    """The first heading of a text; empty if it has none."""
    found = _HEADING.search(markdown[:20_000])
    return _plain(found[1] or found[2]) if found else ""


def first_sentence(markdown: str) -> str:
    """The first sentence of prose; empty if there is none."""
    fenced = False
    for block in re.split(r"\n\s*\n", markdown[:20_000]):
        text = block.strip()
        inside, fenced = fenced, fenced ^ (len(re.findall(r"^(?:```|~~~)", text, re.MULTILINE)) % 2 == 1)
        if inside or not text or _SKIPPED.match(text) or _HEADING.match(text):
            continue
        sentence = _SENTENCE.split(_plain(text))[0]
        return sentence if len(sentence) <= _MOST_SENTENCE else sentence[: _MOST_SENTENCE - 2].rpartition(" ")[0] + " …"
    return ""


def _plain(text: str) -> str:
    """One line of a table: links as their words, no bars."""
    words = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(text[:_MOST_LINE].split()))
    return re.sub(r"[*_]{2,}", "", words).replace("|", "\\|")
