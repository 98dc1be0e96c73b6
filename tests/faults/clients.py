"""Clients and operators that do what they should not."""

import json
import sys
from typing import Any

import anyio
import pytest

from tests.faults.catalogue import NotHere, fault
from tests.faults.night import Night, Refused

_ACTING = {"keep": {"reason": "x"}, "discard": {"reason": "x"}, "cancel_experiment": {"reason": "x"}}
_PATCH = "<<<<<<< SEARCH\nRATE = 1e-6\n=======\nRATE = 0.01\n>>>>>>> REPLACE"
_DESCRIPTORS = 22  # a server that waits for a call has sixteen
_HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "fault", "version": "1"}},
}


@fault("keep, discard, cancel and patches where they are not legal")
async def wrong_moves(night: Night) -> None:
    async with night.agent() as agent:
        for tool, given in ({**_ACTING, "apply_patch": {"patch": _PATCH}, "wait_experiment": {}}).items():
            with pytest.raises(Refused):
                await agent.call(tool, **given)
        await agent.start()
        for tool, given in (
            ("keep", _ACTING["keep"]),
            ("discard", _ACTING["discard"]),
            ("apply_patch", {"patch": _PATCH}),
            ("run_experiment", {"description": "once more"}),
            ("sweep", {"changes": [{"RATE": 1}], "description": "rates"}),
        ):
            with pytest.raises(Refused):
                await agent.call(tool, **given)
        assert (await agent.finish())["verdict"] == "baseline"
        for tool, given in _ACTING.items():
            with pytest.raises(Refused):
                await agent.call(tool, **given)
    await night.recover()


@fault("arguments of the wrong type, unknown, missing, and of 50 MB")
async def wrong_arguments(night: Night) -> None:
    async with night.agent() as agent:
        for tool, given in (
            ("run_experiment", {}),
            ("run_experiment", {"description": 7}),
            ("run_experiment", {"description": "a run", "budget": 1e9}),
            ("run_experiment", {"description": "x" * 50_000_000}),
            ("apply_patch", {"patch": ["x"]}),
            ("apply_patch", {"patch": "x" * 50_000_000}),
            ("history", {"limit": -1}),
            ("history", {"experiment": 10**30}),
            ("note", {"text": ""}),
            ("no_such_tool", {}),
        ):
            with pytest.raises(Exception, match=r"."):
                await agent.call(tool, **given)
        await agent.experiment()
    await night.recover()


@fault("lines that are not JSON-RPC, on a server that goes on")
async def malformed(night: Night) -> None:
    lines: list[Any] = [
        b"\xff\xfe\x00",
        b"{",
        b"[]",
        b"null",
        b"7",
        b'{"jsonrpc":"1.0"}',
        b"[" * 100_000,
        b"x" * 5_000_000,
    ]
    command = [sys.executable, *night.command()]
    async with await anyio.open_process(command, stderr=None) as process:
        assert process.stdin and process.stdout
        for line in lines:
            await process.stdin.send(line + b"\n")
        await process.stdin.send(json.dumps(_HELLO).encode() + b"\n")
        told = b""
        with anyio.fail_after(30):
            while b'"serverInfo"' not in told:
                told += await process.stdout.receive()
        assert process.returncode is None
        await process.stdin.aclose()
        with anyio.fail_after(10):
            await process.wait()
    await night.recover()


@fault("program.md without sense in the middle of a night, and repaired")
async def senseless(night: Night) -> None:
    program = night.repository / "program.md"
    async with night.agent() as agent:
        await agent.experiment()
        for text in (
            "---\nbudget_seconds: [\n---\n",
            "---\nbudget_seconds: -1\n---\n",
            "---\nno_such: 1\n---\n",
        ):
            program.write_text(text, encoding="utf-8")
            with pytest.raises(Refused, match=r"program\.md"):
                await agent.start()
        program.unlink()
        with pytest.raises(Refused, match=r"program\.md"):
            await agent.start()
        night.write_program()
        assert (await agent.experiment())["val_bpb"] is not None
    await night.recover()


@fault("a server that runs out of file descriptors")
async def descriptors(night: Night) -> None:
    refusals = 0
    async with night.agent(command=f"ulimit -n {_DESCRIPTORS}; ") as agent:
        for _ in range(3):
            try:
                await agent.experiment()
            except Refused as refusal:
                refusals += 1
                assert "open files" in str(refusal), refusal
    assert refusals
    await night.recover()


@fault("a clock that jumps a day ahead and two days back while a run is on")
async def clock(night: Night) -> None:
    shim = night.folder / "clock.so"
    source = night.folder / "clock.c"
    source.write_text(_CLOCK, encoding="utf-8")
    built = await anyio.run_process(["cc", "-shared", "-fPIC", "-o", str(shim), str(source), "-ldl"], check=False)
    if built.returncode:
        raise NotHere("no C compiler")
    offset = night.folder / "offset"
    offset.write_text("0")
    night.write_program("stop: {hours: 8}\n")
    async with night.agent(LD_PRELOAD=str(shim), CLOCK_OFFSET=str(offset)) as agent:
        await agent.experiment()
        for jump in (86_400, -172_800):
            await agent.start()
            await night.until_running()
            offset.write_text(str(jump))
            assert (await agent.finish())["val_bpb"] is not None
        told = (await agent.call("history"))["rows"]
        assert [row["experiment"] for row in told] == list(range(len(told), 0, -1)), told
        assert sum("lane" not in row for row in told) == 3, told
    await night.recover()


_CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long jump(void) {
    long found = 0;
    const char *path = getenv("CLOCK_OFFSET");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (file) { if (fscanf(file, "%ld", &found) != 1) found = 0; fclose(file); }
    return found;
}
int clock_gettime(clockid_t id, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int done = real(id, at);
    if (id == CLOCK_REALTIME) at->tv_sec += jump();
    return done;
}
time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"""
