"""The progress page, an MCP App: what the server says of it, and what a browser makes of it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp_types import TextResourceContents

from server.api.app import PANEL_URI, create, panel_page
from server.api.schemas import HistoryReply
from server.metric import Metric
from server.records import Experiment, Purpose, Verdict
from server.reporting.summary import table_row
from server.study.study import Study
from tests.support import app_host
from tests.support.builders import experiment

TESTS = Path(__file__).parent
PAGE = (TESTS.parents[2] / "server" / "templates" / "progress.html").read_text(encoding="utf-8")
HOSTILE = "</script><script>parent.hacked = 1</script><img src=x onerror='parent.hacked = 1'> & \u202egnp.exe"
browser = app_host.needs_browser


async def test_status_and_history_and_no_other_tool_show_the_page(study: Study) -> None:
    async with Client(create(study)) as client:
        tools = (await client.list_tools()).tools
        bound = {tool.name: tool.meta for tool in tools if tool.meta}
        extensions = client.server_capabilities.extensions or {}
    assert bound == {tool: {"ui": {"resourceUri": PANEL_URI}} for tool in ("status", "history")}
    assert "io.modelcontextprotocol/ui" in extensions


async def test_the_page_is_one_small_text_that_may_reach_no_domain(study: Study) -> None:
    async with Client(create(study)) as client:
        (content,) = (await client.read_resource(PANEL_URI)).contents
    assert isinstance(content, TextResourceContents) and content.text == PAGE
    assert content.mime_type == "text/html;profile=mcp-app"
    assert content.meta and content.meta["ui"]["csp"] == {"connectDomains": [], "resourceDomains": []}
    assert len(PAGE.encode()) < 15 * 1024


def test_the_app_draws_with_the_code_of_the_page() -> None:
    shared = (TESTS.parents[2] / "server" / "watch" / "page" / "plot.js").read_text(encoding="utf-8")
    assert f"\n// The file plot.js of the page:\n{shared}// The end of plot.js.\n" in PAGE


def test_the_page_names_nothing_outside_itself_and_makes_no_markup_of_what_it_is_told() -> None:
    assert not re.search(r"https?:|//[a-z]+\.|\bsrc\b|\bhref\b|url\(|@import|\bimport\b|fetch\(|XMLHttp|Socket", PAGE)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|Function\(|DOMParser", PAGE)


def test_the_page_knows_the_metric_and_shows_its_name_as_text() -> None:
    assert panel_page(Metric("val_bpb", "lower")) == PAGE
    page = panel_page(Metric('"><script>', "higher"))
    assert 'data-metric="&quot;&gt;&lt;script&gt;" data-direction="higher">' in page
    page = panel_page(Metric("latency", "lower", 'µs" onload="', "log", places=None))
    assert '<html lang="en" data-unit="µs&quot; onload=&quot;" data-metric="latency"' in page


async def test_the_page_asks_for_history_as_the_tool_takes_it(study: Study) -> None:
    asked = re.search(r'name: "history", arguments: { limit: LIMIT, offset }', PAGE)
    limit = re.search(r"LIMIT = (\d+)", PAGE)
    assert asked and limit
    async with Client(create(study)) as client:
        answer = await client.call_tool("history", {"limit": int(limit[1]), "offset": int(limit[1])})
    assert answer.structured_content and {"rows", "total"} <= answer.structured_content.keys()


def made(number: int) -> Experiment:
    """One of a night of 207: every fortieth is kept, the last but one crashes, the last one runs."""
    if number == 207:
        found = experiment(number, Verdict.WORSE)
        return found.model_copy(update={"result": None, "judgement": None})
    if number == 1 or number % 40 == 0:
        found = experiment(number, Verdict.IMPROVED, 1 - number / 10_000, kept=True)
    elif number % 17 == 0 or number == 206:
        found = experiment(number, Verdict.CRASHED, kept=False)
    elif number % 23 == 0:
        found = experiment(number, Verdict.REFERENCE, 0.99)
        repeat = found.attempt.model_copy(update={"purpose": Purpose.REFERENCE, "of": 1})
        return found.model_copy(update={"attempt": repeat})
    else:
        found = experiment(number, Verdict.WORSE, 3.0 if number == 50 else 1.005 - number / 10_000, kept=False)
    attempt = found.attempt.model_copy(update={"description": f"{HOSTILE} {number}" if number % 2 == 0 else "an idea"})
    return found.model_copy(update={"attempt": attempt})


NIGHT = [made(number) for number in range(207, 0, -1)]  # newest first


def told(page: Sequence[Experiment]) -> dict[str, Any]:
    """A result of history()."""
    reply = HistoryReply(next_actions=[], total=len(NIGHT), rows=[table_row(found) for found in page])
    return {"content": [], "structuredContent": reply.model_dump(mode="json")}


def shown(folder: Path, **host: Any) -> dict[str, Any]:
    """What a host of the app saw of it in a browser."""
    given: dict[str, Any] = {"html": PAGE, "result": told(NIGHT[:20]), "point": [], "context": {"theme": "dark"}}
    return app_host.shown(folder, given | host)


@browser
def test_a_whole_night_is_drawn_whatever_call_brought_the_page_up_and_words_stay_words(tmp_path: Path) -> None:
    pages = {offset: told(NIGHT[offset : offset + 200]) for offset in (0, 200)}
    seen = shown(tmp_path, pages=pages, point=["kept", "failed"], then={"theme": "light"})
    drawn = [found for found in NIGHT if found.attempt.of is None]
    marks = {kind: len(places) for kind, places in seen["marks"].items()}
    assert marks == {
        "kept": 6,
        "discarded": sum(found.decision is not None and not found.kept and found.value is not None for found in drawn),
        "failed": sum(found.result is not None and found.value is None for found in drawn),
        "undecided": 0,
        "running": 1,
    }
    assert "6 kept" in seen["title"] and "0.9999 → 0.9800" in seen["title"] and seen["note"] == ""
    assert [cells[0] for cells in seen["rows"]] == [f"#{found.number}" for found in drawn]

    corners = re.fullmatch(r"M[\d.]+,[\d.]+(?:H[\d.]+V[\d.]+){5}H([\d.]+)", seen["best"])
    assert corners and float(corners[1]) == pytest.approx(seen["marks"]["running"][0][0])  # past what failed since
    heights = [y for _, y in seen["marks"]["kept"]]
    assert max(heights) - min(heights) > 100  # the run that diverged flattens nothing, and lies above all others
    assert min(y for _, y in seen["marks"]["discarded"]) < min(heights)
    assert seen["tips"] == [f"#200 kept 0.9800 {HOSTILE} 200", f"#206 crashed  {HOSTILE} 206"]
    assert not seen["hacked"] and "img" not in seen["elements"]


@browser
def test_where_higher_is_better_a_run_that_diverged_lies_below_all_others(tmp_path: Path) -> None:
    """The night of above with scores as far from 2 on the other side."""
    night = told(NIGHT[:200])
    for row in night["structuredContent"]["rows"]:
        if row["val_bpb"] is not None:
            row["val_bpb"] = 4 - row["val_bpb"]
    seen = shown(tmp_path, html=panel_page(Metric("accuracy", "higher")), result=night)
    heights = [y for _, y in seen["marks"]["kept"]]
    assert max(heights) - min(heights) > 100 and "accuracy" in seen["title"]
    assert max(y for _, y in seen["marks"]["discarded"]) > max(heights)


@browser
def test_what_may_be_luck_is_told_apart_and_the_headline_is_the_servers(tmp_path: Path) -> None:
    way = "0.9999 → 0.9800 ± 0.0005 (−0.0199 ± 0.0007)"
    said = f"{way}, measured again by 2 runs; the best single score of a keep was 0.9795"
    night = told(NIGHT[:200])
    night["structuredContent"]["headline"] = said
    standings = {200: "sure", 160: "noise", 120: "provisional"}
    for row in night["structuredContent"]["rows"]:
        row["standing"] = standings.get(row["experiment"], "")
    seen = shown(tmp_path, result=night, point=["noise"])
    assert seen["head"] == "0.9999 → 0.9800 ± 0.0005" and "0.9999 → 0.9800 ± 0.0005" in seen["title"]
    assert "1 kept, within the noise" in seen["legend"] and "1 kept, provisional" in seen["legend"]
    assert len(seen["marks"]["kept"]) == 5 and seen["tips"][0].startswith("#160 kept, within the noise 0.98")


@browser
def test_the_page_speaks_the_hosts_protocol_and_follows_its_theme(tmp_path: Path) -> None:
    variables = {"--color-background-primary": "light-dark(#fefefe, #010203)"}
    context = {"theme": "dark", "styles": {"variables": variables}, "containerDimensions": {"height": 480}}
    seen = shown(tmp_path, context=context, then={"theme": "light"})
    assert (seen["paper"], seen["after"]) == ("rgb(1, 2, 3)", "rgb(254, 254, 254)")
    assert seen["note"] == "Call history(limit=200) for the rest."  # this host lets the page call no tool
    assert seen["ping"]["result"] == seen["teardown"]["result"] == {} and seen["unknown"]["error"]["code"] == -32601
    methods = [message.get("method") for message in seen["heard"]]
    assert methods[:3] == ["ui/initialize", "ui/notifications/initialized", "ui/notifications/size-changed"]
    heights = [message["params"]["height"] for message in seen["heard"] if message.get("method") == methods[2]]
    assert 400 < heights[-1] <= 480
