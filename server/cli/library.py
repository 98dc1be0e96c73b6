"""`autoresearch library`: pages, papers and repositories beside program.md. A command imports what it needs."""

import json
import re
import sys
from collections.abc import Iterable, Mapping, Set
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from server.cli.terminal import columns, console, say
from server.paths import LIBRARY_INDEX, Home
from server.text import clip, printable

if TYPE_CHECKING:
    from server.library.adding.add import Adding, Wishes
    from server.library.document import Document
    from server.library.reading import document_files
    from server.library.store import Library

app = typer.Typer(
    help="Keep pages, papers and repositories as Markdown beside program.md, for the agent to read.",
    no_args_is_help=True,
)
_out = console()
_err = console(stderr=True)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_List = Annotated[list[str] | None, typer.Option()]
_Workspace = Annotated[Path, typer.Option(help="The folder that program.md is in.")]
_Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
_Id = Annotated[str, typer.Argument(metavar="ID", help="Id of the document, as `autoresearch library list` shows it.")]


@app.command()
def add(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE...",
            help="A web address; a file (HTML, PDF, Markdown or text); - for HTML on standard input; an arXiv id; "
            "the https address of a git repository, with @REF for a branch, tag or commit; or the folder of a git "
            "repository.",
        ),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Further files of a repository, such as 'src/**/*.py'. Repeatable."),
    ] = None,
    title: Annotated[str, typer.Option(help="Title; default: the title that the source has.")] = "",
    licence: Annotated[str, typer.Option("--licence", "--license", help="Licence, if the source names none.")] = "",
    tag: Annotated[list[str] | None, typer.Option(help="A word to find the document by. Repeatable.")] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Fetch existing documents again; without SOURCE, all of them.")
    ] = False,
    allow_address: Annotated[
        list[str] | None,
        typer.Option(metavar="CIDR|HOST", help="Allow addresses of your own network, such as 10.0.0.0/8. Repeatable."),
    ] = None,
    workspace: _Workspace = Path(),
    as_json: _Json = False,
) -> None:
    """Add sources. An existing document stays as it is, unless its source has changed."""
    from server.library.adding.add import Adding, Wishes
    from server.library.fetching.addresses import Allowed
    from server.library.fetching.reach import Reach

    library = _library(workspace)
    wished = list(dict.fromkeys(sources or (_all_sources(library) if refresh else [])))
    if not wished:
        raise typer.BadParameter("name a SOURCE")
    if title and len(wished) > 1:
        raise typer.BadParameter("--title is for one SOURCE")
    wishes = Wishes(title, licence, tuple(tag or ()), tuple(include or ()), refresh)
    adding = Adding(library, Reach(Allowed(allow_address or ())))
    if len(wished) == 1 and not as_json:
        _print_added(adding.add(wished[0], wishes).model_dump(mode="json"))
        return
    answers = _add_each(adding, wished, wishes, quiet=as_json)
    if as_json:
        _print_json(answers)
    if any(answer["state"] == "refused" for answer in answers):
        raise typer.Exit(1)


def _add_each(adding: "Adding", sources: list[str], wishes: "Wishes", quiet: bool) -> list[dict[str, Any]]:
    """Add one after the other, and go on where one fails."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    from server.errors import AutoresearchError
    from server.library.fetching.sources import without_secrets

    answers: list[dict[str, Any]] = []
    shown = _err.is_terminal and not quiet
    parts = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*parts, console=_err, transient=True, disable=not shown) as progress:
        task = progress.add_task("", total=len(sources))
        for told in sources:
            progress.update(task, description=clip(printable(without_secrets(told)), 50))
            try:
                answer: dict[str, Any] = adding.add(told, wishes).model_dump(mode="json")
            except (AutoresearchError, OSError) as error:
                problem = getattr(error, "problem", str(error))
                step = getattr(error, "next_step", "Free space or restore access there, then call again.")
                answer = {"source": without_secrets(told), "state": "refused", "problem": problem, "next_step": step}
            answers.append(answer)
            progress.advance(task)
            if not quiet:
                _print_added(answer)
    return answers


def _print_added(answer: Mapping[str, Any]) -> None:
    if answer["state"] == "refused":
        _err.print(Text.assemble(("refused    ", "red"), printable(answer["problem"])))
        _err.print(f"           → {printable(answer['next_step'])}")
        return
    files = f"{answer['documents']} files, " if answer["documents"] > 1 else ""
    told = f"{printable(answer['id'])}: {clip(printable(answer['title']))} ({files}{answer['words']:,} words)"
    _out.print(Text.assemble((f"{answer['state']:<10} ", "green"), told))


def _all_sources(library: "Library") -> list[str]:
    """The sources that can be fetched again."""
    return sorted({one.source for one in library.documents()} - {"stdin"})


@app.command("list")
def list_documents(workspace: _Workspace = Path(), as_json: _Json = False) -> None:
    """List the documents; a repository is one line."""
    library = _library(workspace)
    found = library.documents()
    others = _by_hand(library, {document.id for document in found})
    if as_json:
        _print_json(
            [document.model_dump(mode="json") for document in found] + [text.entry._asdict() for text in others]
        )
        return
    if not found and not others:
        say(_out, "The library is empty: `autoresearch library add SOURCE` adds a page, a paper or a repository.")
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("id", "kind", "words", "licence", "fetched", "title"):
        whole = name == "id"  # which is copied
        table.add_column(name, justify="right" if name == "words" else "left", overflow="fold", no_wrap=whole)
    for document in _rows(found):
        fields = (document.id, document.kind, f"{document.words:,}", document.licence, document.fetched[:10])
        title = clip(printable(document.title), 80) + ("  [tables or mathematics lost]" if document.lossy else "")
        table.add_row(*(printable(field) for field in fields), title)
    for one in (text.entry for text in others):
        fields = (one.id, one.kind or "by hand", f"{one.words:,}", one.licence, one.fetched[:10], clip(one.title, 80))
        table.add_row(*(printable(field) for field in fields))
    _out.print(table, soft_wrap=False, width=columns(_out))


def _by_hand(library: "Library", known: Set[str]) -> list["document_files.Text"]:
    """The documents that `add` has not written: the agent reads them like the others."""
    from server.library.reading import document_files

    found = list[document_files.Text]()
    for file in document_files.files(library.folder):
        if file.id not in known:
            with suppress(OSError):  # gone meanwhile
                found.append(document_files.read(file))
    return found


def _rows(found: Iterable["Document"]) -> list["Document"]:
    """The documents, with all of a repository as its index."""
    rows: dict[str, Document] = {}
    for one in found:
        folder = one.id.partition("/")[0]
        index = one.id.endswith("/INDEX")
        before = rows.get(folder)
        words = one.words + (before.words if before else 0)
        shown = one if index or before is None else before
        rows[folder] = shown.model_copy(update={"id": folder if one.commit else one.id, "words": words})
    return list(rows.values())


@app.command()
def search(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="Words to search for, as in a search engine.")],
    limit: Annotated[int, typer.Option(min=1, max=50, help="How many passages to show.")] = 8,
    workspace: _Workspace = Path(),
    as_json: _Json = False,
) -> None:
    """Search the passages of all documents, best first. It works offline."""
    from server.library.reading.index import Index

    hits = Index(_library(workspace).folder).search(query, limit)
    if as_json:
        _print_json([hit._asdict() for hit in hits])
        return
    for hit in hits:
        place = f"{hit.id}: {hit.heading}" if hit.heading else hit.id
        _out.print(Text(printable(place), style="bold"))
        _out.print(_CONTROLS.sub("", hit.text).strip() + "\n")
    if not hits:
        _out.print("No passage has any of these words.")


@app.command()
def show(name: _Id, workspace: _Workspace = Path(), as_json: _Json = False) -> None:
    """Print a document as Markdown; of a repository, its index."""
    library = _library(workspace)
    is_folder = "@" in name and "/" not in name
    name = f"{name}/INDEX" if is_folder else name.removesuffix(".md")
    others = _by_hand(library, {document.id for document in library.documents()})
    if written := next((text for text in others if text.entry.id == name), None):
        about, markdown = written.entry._asdict(), f"{written.body}\n"
    else:
        document, markdown = library.get(name)
        about = document.model_dump(mode="json")
    if as_json:
        _print_json({**about, "markdown": markdown})
    else:
        sys.stdout.write(_CONTROLS.sub("", markdown))


@app.command()
def remove(name: _Id, workspace: _Workspace = Path(), as_json: _Json = False) -> None:
    """Remove a document, or a repository with all of its files."""
    library = _library(workspace)
    name = name.removesuffix(".md").rstrip("/")
    if not library.folder.is_dir():
        library.get(name)  # raises
    with library.changing():
        removed = library.remove(name)
    if as_json:
        _print_json({"removed": removed})
    else:
        _out.print(f"removed {printable(name)}" + (f": {len(removed)} files" if len(removed) > 1 else ""))


@app.command()
def reindex(workspace: _Workspace = Path(), as_json: _Json = False) -> None:
    """Rebuild a damaged search index. Each search updates the index by itself."""
    from server.library.reading.index import Index

    folder = _library(workspace).folder
    (folder / LIBRARY_INDEX).unlink(missing_ok=True)
    passages = Index(folder).refresh() if folder.is_dir() else 0
    if as_json:
        _print_json({"passages": passages})
    else:
        _out.print(f"{passages:,} passages")


def _library(workspace: Path) -> "Library":
    """The library of a workspace. Raises WorkspaceUnusable: it is none."""
    from server.errors import WorkspaceUnusable
    from server.library.store import Library

    root = workspace.resolve()
    if not any((root / name).exists() for name in ("program.md", ".git", Home(root).library.name)):
        raise WorkspaceUnusable(
            f"{root} is not a workspace: it has no program.md.", "Call it in a workspace, or name one with --workspace."
        )
    return Library(Home(root).library)


def _print_json(told: object) -> None:
    text = json.dumps(told, indent=2, ensure_ascii=(sys.stdout.encoding or "").lower() not in ("utf-8", "utf8"))
    sys.stdout.write(text + "\n")
