"""A machine in trouble: a process that no signal ends, too little memory, a driver that does not answer."""

import os
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import psutil

from tests.faults.catalogue import NotHere, fault
from tests.faults.night import PATIENCE, Agent, Night
from tests.support.fakes import driver

_CHILD = "import os, time\nif os.fork() == 0:\n    time.sleep(600)"
_THREAD = (
    "import os, threading, time\nif os.fork() == 0:\n"
    "    threading.Thread(target=time.sleep, args=(600,)).start()\n    time.sleep(600)"
)
_STARVING = """
import os, select, time
heard, told = os.pipe()
if os.fork() == 0:
    while True:
        os.write(told, b".")
        time.sleep(0.05)
silent = 0
while silent < 30:  # train.py may not look at the state of another process
    spoke = select.select([heard], [], [], 0.1)[0]
    silent = 0 if spoke and os.read(heard, 4096) else silent + 1
raise MemoryError
"""
_MEMORY = 1 << 30  # bytes: enough for a server and a run, and not for this:
_GREEDY = "hoard = bytearray(4 << 30)"


@contextmanager
def _group(night: Night, controller: str) -> Generator[Path]:
    """A control group of the night's own (version 1). Raises NotHere."""
    path = Path("/sys/fs/cgroup") / controller / night.folder.name
    try:
        path.mkdir()
    except OSError as error:
        raise NotHere(f"no control group of {controller}: {error.strerror}") from error
    try:
        yield path
    finally:
        path.rmdir()


@contextmanager
def _frozen(group: Path, process: psutil.Process, thread: int = 0) -> Generator[None]:
    """In state D, as one that waits for a driver: SIGKILL is noted, and does nothing until the end of it."""
    (group / ("tasks" if thread else "cgroup.procs")).write_text(str(thread or process.pid), encoding="ascii")
    (group / "freezer.state").write_text("FROZEN", encoding="ascii")
    try:
        yield
    finally:
        (group / "freezer.state").write_text("THAWED", encoding="ascii")
        psutil.wait_procs([process], timeout=PATIENCE)


@asynccontextmanager
async def _stuck(night: Night, agent: Agent, group: Path, train: str = _CHILD) -> AsyncGenerator[psutil.Process]:
    """A run is on, and one of its processes is in state D."""
    await agent.start(train)
    found: list[psutil.Process] = []
    with anyio.fail_after(PATIENCE):
        while not found:  # of other processes: no event tells
            found = [one for one in night.processes("trainer.launch") if _launched(one.parent())]
            await anyio.sleep(0.01)
    with _frozen(group, found[0]):
        yield found[0]


def _launched(process: psutil.Process | None) -> bool:
    """Whether it runs train.py: such a process has a session of its own, unlike the one that it was forked from."""
    return process is not None and "trainer.launch" in process.cmdline() and os.getsid(process.pid) == process.pid


@fault("a process of train.py in state D: no signal ends it")
async def uninterruptible(night: Night) -> None:
    with _group(night, "freezer") as group:
        async with night.agent() as agent:
            await agent.experiment()
            async with _stuck(night, agent, group) as process:
                told = await agent.finish()
                assert (told["status"], told["cause"]) == ("env_fail", "unkillable"), told
                assert told["figures"]["unkillable"] == str(process.pid) and process.is_running()
                await agent.call("discard", reason="not its fault")
                assert (await agent.experiment())["val_bpb"] is not None  # on a CPU it is in nobody's way
    await night.recover()


@fault("a process in state D that a preflight leaves behind that proves nothing")
async def left_by_preflight(night: Night) -> None:
    program = night.repository / "program.md"
    text = program.read_text(encoding="utf-8").replace("preflight: false", "preflight: true")
    program.write_text(text, encoding="utf-8")
    with _group(night, "freezer") as group:
        async with night.agent() as agent:
            await agent.experiment()
            async with _stuck(night, agent, group, _STARVING) as process:
                told = await agent.finish()
                assert (told["status"], told["cause"]) == ("env_fail", "unkillable"), told
                assert told["figures"]["unkillable"] == str(process.pid)
    await night.recover()


@fault("a process in state D that a killed supervisor leaves behind")
async def left_behind(night: Night) -> None:
    with _group(night, "freezer") as group:
        async with night.agent() as agent:
            await agent.experiment()
            async with _stuck(night, agent, group) as process:
                night.kill("supervisor")
                told = await agent.finish()
                assert told["status"] == "lost" and told["figures"]["unkillable"] == str(process.pid), told
    await night.recover()


@fault("a thread in state D that a killed supervisor leaves behind, its process's first one dead")
async def thread_left_behind(night: Night) -> None:
    with _group(night, "freezer") as group:
        async with night.agent() as agent:
            await agent.experiment()
            await agent.start(_THREAD)
            found: list[psutil.Process] = []
            with anyio.fail_after(PATIENCE):
                while not found:
                    found = [one for one in night.processes("trainer.launch") if one.num_threads() == 2]
                    await anyio.sleep(0.01)
            (thread,) = [one.id for one in found[0].threads() if one.id != found[0].pid]
            with _frozen(group, found[0], thread):
                night.kill("supervisor")
                told = await agent.finish()
                assert told["status"] == "lost" and told["figures"]["unkillable"] == str(found[0].pid), told
    await night.recover()


@fault("the kernel out of memory: it ends train.py, and nothing else")
async def starved(night: Night) -> None:
    with _group(night, "memory") as group:
        (group / "memory.limit_in_bytes").write_text(str(_MEMORY), encoding="ascii")
        async with night.agent(command=f"echo $$ > {group}/cgroup.procs; ") as agent:
            await agent.experiment()
            server = night.server().pid
            await agent.start(_GREEDY)
            told = await agent.finish()
            assert (told["status"], told["cause"]) == ("oom", "kernel_oom"), told
            assert night.server().pid == server
            await agent.call("discard", reason="too large")
            assert (await agent.experiment())["val_bpb"] is not None
        await night.recover()


@fault("a GPU driver that never answers")
async def hanging(night: Night) -> None:
    if (environment := driver(night.folder, "hang")) is None:
        raise NotHere("no Linux, or no C compiler")
    async with night.agent(**environment) as agent:
        assert (await agent.call("status"))["environment"]["gpu"] is None
        assert (await agent.experiment())["val_bpb"] is not None
    await night.recover()
