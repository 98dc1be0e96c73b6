"""The prompt `setup`: the interview of `autoresearch adopt`, by an agent, or by the client's own form.

Where the client can show a form, its human answers there. Else the agent gets the questions and asks. Either way it
ends with the `adopt` command line to run: this server starts nothing for a repository that it does not serve.
"""

import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from anyio import to_thread
from mcp.server.mcpserver import Context
from mcp_types import ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequiredResult
from mcp_types.version import is_version_at_least

from server.adopt.adoption import PROGRAM, questions
from server.adopt.interview import Given, Question, command_line, option, plain_questions
from server.errors import Unavailable
from server.text import printable

_KEY = "setup"
_ROUNDS = "2026-07-28"  # the first version of the protocol in which a prompt asks by its answer
_MOST = 4000  # characters of an answer
_RUNS = (
    "It runs the command some times within about a minute, confined, finds the metric and its noise, and writes "
    f"{PROGRAM}. Show the human what it says. Where it fails, it says what to change: change that option and run it "
    "again. Commit only if the human agrees (--commit). Then run `autoresearch doctor` in that folder."
)
Setup = Callable[[Context[None, Any], str], Awaitable[str | InputRequiredResult]]


def setup_prompt(root: Path) -> Setup:
    """The prompt of a server whose workspace is at `root`."""

    async def setup(ctx: Context[None, Any], folder: str = "") -> str | InputRequiredResult:
        """Set up a study for a goal of your own in a folder: what is measured, how, and on which files."""
        return await _interview(ctx, await to_thread.run_sync(partial(_look, root, folder)))

    return setup


class _Place(NamedTuple):
    """Where a study is to be set up."""

    name: str
    asked: list[Question]
    options: list[str]  # of the call, beside the answers


def _look(root: Path, folder: str) -> _Place | str:
    """The place, or why there can be none. `folder`: empty for the workspace at `root`."""
    if folder and Path(folder).absolute() != root.absolute():
        # Nothing is told of other folders: who calls may have no other way to look into them.
        return _Place(folder, plain_questions(), [])
    try:
        options = ["--print"] if (root / PROGRAM).exists() else []  # which is never overwritten
        return _Place(str(root.resolve()), questions(root), options)
    except Unavailable as error:
        return f"No study can be set up in {root} yet. {error.problem} {error.next_step}"


async def _interview(ctx: Context[None, Any], place: _Place | str) -> str | InputRequiredResult:
    """What the agent is told, or the form that the client shows first."""
    if isinstance(place, str):
        return place
    rounds = ctx.protocol_version is not None and is_version_at_least(ctx.protocol_version, _ROUNDS)
    if not _has_forms(ctx) or not (rounds or ctx.session.can_send_request):
        return _instructions(place)
    request = ElicitRequestFormParams(
        message=f"A study of your own in {place.name}", requested_schema=_form(place.asked)
    )
    if rounds:
        answer = (ctx.input_responses or {}).get(_KEY)
        if not isinstance(answer, ElicitResult):
            return InputRequiredResult(input_requests={_KEY: ElicitRequest(params=request)})
    else:
        answer = await ctx.session.elicit_form(
            request.message, request.requested_schema, related_request_id=ctx.request_id
        )
    if answer.action != "accept":
        return "The human has closed the form: ask whether they want to set up a study, and what should become better."
    return _answered(place, answer.content or {})


def _has_forms(ctx: Context[None, Any]) -> bool:
    """Whether the client shows forms; one that says no more than `elicitation` does."""
    told = ctx.client_capabilities
    forms = told.elicitation if told else None
    return forms is not None and (forms.form is not None or forms.url is None)


def _form(asked: Sequence[Question]) -> dict[str, Any]:
    """The questions as a schema of flat strings, which is all that a form may be."""
    fields: dict[str, Any] = {}
    for one in asked:
        fields[one.name] = {"type": "string", "title": one.text, "maxLength": _MOST}
        fields[one.name] |= {"description": printable(one.about)} if one.about else {}
        fields[one.name] |= {"default": one.default} if one.default else {}
    return {"type": "object", "properties": fields, "required": ["goal", "command"]}


def _answered(place: _Place, content: Mapping[str, Any]) -> str:
    """What comes after a form."""
    told = {one.name: content.get(one.name) for one in place.asked}
    answers = {  # an answer that was emptied says none of what was proposed
        one.name: str(told[one.name])[:_MOST]
        for one in place.asked
        if told[one.name] or (told[one.name] is not None and one.default)
    }
    call = command_line(place.name, [*Given().words(answers), *place.options, "--yes"])
    return f"The human has answered. Run this in a shell, or have the human run it:\n\n    {call}\n\n{_RUNS}"


def _instructions(place: _Place) -> str:
    """What an agent does where the client shows no form."""
    lines = [
        f"Help the human to set up a study for a goal of their own in {place.name}. Ask these questions in one "
        "message, with what is proposed. The proposals were found in the repository's files; nothing of it was run. "
        "An empty answer leaves the option out.",
        "",
    ]
    for one in place.asked:
        proposed = f" Proposed: {shlex.quote(printable(one.default))}." if one.default else ""
        about = f" ({printable(one.about)})" if one.about else ""
        lines.append(f"- {one.text}{proposed}{about} Answer: {option(one.name)}")
    call = " ".join([command_line(place.name, place.options), "--goal '...' --command '...'", "--yes"])
    return "\n".join([*lines, "", f"Then run, with the answers: {call}", _RUNS])
