"""What goes wrong on a cluster, injected for real. After each, the loop goes on and everything holds."""

import os
import signal
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import psutil

import trainer
from server.runs.engines.remote import ANSWER_SECONDS
from tests.faults.night import Refused
from tests.slurm.cluster import slurm
from tests.slurm.night import JobNight
from tests.support.polling import PATIENCE
from trainer.contract import SeatOrder

Injection = Callable[[JobNight], Awaitable[None]]
FAULTS: dict[str, Injection] = {}  # with the server that serves all of them
SERVERS: dict[str, Injection] = {}  # with servers of their own
_UNJUDGED = ("cancelled", "lost")


def fault(name: str, alone: bool = False) -> Callable[[Injection], Injection]:
    """Add a function to a table. It gets a night with a baseline, whose cluster is well."""

    def add(inject: Injection) -> Injection:
        (SERVERS if alone else FAULTS)[name] = inject
        return inject

    return add


@contextmanager
def broken() -> Generator[list[bool]]:
    """Around a client whose server is killed: it breaks in many ways, once the list says that the server was."""
    killed: list[bool] = []
    try:
        yield killed
    except (Exception, BaseExceptionGroup):
        if not killed:
            raise


def took(what: str, begun: float) -> None:
    """Say how long something took."""
    print(f"           {what} after {time.monotonic() - begun:.1f} s", flush=True)


@fault("server -9 in a run: it goes on, and the next server takes it up", alone=True)
async def server(night: JobNight) -> None:
    with broken() as killed:
        async with night.under_way() as agent:
            killed.append(bool(night.kill("server")))
            await agent.finish()
    row = night.last()
    assert row.running and night.processes("trainer.supervisor")
    async with night.agent() as agent:
        night.end_command()
        await agent.finish()
    assert night.last().number == row.number
    night.require_score()


@fault("server -9 while the job waits for a node", alone=True)
async def server_waiting(night: JobNight) -> None:
    slurm("scontrol", "update", "nodename=n1,n2", "state=drain", "reason=test")
    with broken() as killed:
        async with night.agent() as agent:
            await agent.start()
            night.cluster.until(lambda: night.stage().startswith("waiting for a node: "))
            killed.append(bool(night.kill("server")))
            await agent.finish()
    assert night.last().running
    slurm("scontrol", "update", "nodename=n1,n2", "state=resume")
    async with night.agent() as agent:
        await agent.finish()
    night.require_score()


@fault("cancel of a run: by the file, within seconds")
async def cancel(night: JobNight) -> None:
    async with night.under_way() as agent:
        begun = time.monotonic()
        await agent.call("cancel_experiment", reason="enough")
        await agent.finish()
        took("cancelled", begun)
    assert "enough" in night.require_unjudged("cancelled")


@fault("cancel of a job that waits for a node: it is taken out of the queue")
async def cancel_waiting(night: JobNight) -> None:
    slurm("scontrol", "update", "nodename=n1,n2", "state=drain", "reason=test")
    async with night.session() as agent:
        await agent.start()
        night.cluster.until(lambda: night.stage().startswith("waiting for a node: "))
        await agent.call("cancel_experiment", reason="enough")
        await agent.finish()
    assert "enough" in night.require_unjudged("cancelled")
    assert night.job().name not in slurm("squeue", "-h", "-o", "%j")


@fault("cancel that the supervisor does not answer (SIGSTOP): scancel ends the job")
async def cancel_unanswered(night: JobNight) -> None:
    async with night.under_way() as agent:
        for process in night.processes("trainer.supervisor"):
            process.send_signal(signal.SIGSTOP)
        begun = time.monotonic()
        await agent.call("cancel_experiment", reason="enough")
        await agent.finish()
        took("ended", begun)
        assert time.monotonic() - begun > ANSWER_SECONDS / 2, "the supervisor was not given time to answer"
    night.require_unjudged(*_UNJUDGED)
    night.cluster.until(lambda: not night.processes())


@fault("scancel by hand: cancelled, and not held against the idea")
async def scancel(night: JobNight) -> None:
    async with night.under_way() as agent:
        begun = time.monotonic()
        slurm("scancel", f"--name={night.job().name}")
        await agent.finish()
        took("cancelled", begun)
    assert "SIGTERM" in night.require_unjudged("cancelled")


@fault("slurmd -9: Slurm calls the node down, and the run goes on to its score")
async def node_daemon(night: JobNight) -> None:
    async with night.under_way() as agent:
        node, begun = night.node(), time.monotonic()
        for process in night.cluster.daemons(f"-N {node}"):
            process.kill()
        night.cluster.until(lambda: night.cluster.state(node).startswith("down") or not night.last().running)
        took("down", begun)
        assert night.last().running
        night.end_command()
        await agent.finish()
    night.require_score()


@fault("a node dies with all that is on it: lost, once Slurm says so, and the loop goes on")
async def node_dead(night: JobNight) -> None:
    async with night.under_way() as agent:
        begun = time.monotonic()
        night.cluster.kill_node(night.node())
        await agent.finish()
        took("lost", begun)
    assert "NODE_FAIL" in night.require_unjudged("lost")


@fault("slurmstepd -9: the folder is believed, and the run has its score")
async def step_daemon(night: JobNight) -> None:
    async with night.under_way() as agent:
        hit = night.cluster.step_daemons(night.node())
        assert hit
        for process in hit:
            process.kill()
        psutil.wait_procs(hit, timeout=PATIENCE)
        night.end_command()
        await agent.finish()
    night.require_score()


@fault("slurmstepd, seat and supervisor -9: lost, though Slurm says that the job runs")
async def step_and_all(night: JobNight) -> None:
    async with night.under_way() as agent:
        begun = time.monotonic()
        night.cluster.kill_jobs(night.node())
        await agent.finish()
        took("lost", begun)
    night.require_unjudged("lost")


@fault("the supervisor -9: lost by its seat's word, within seconds")
async def supervisor(night: JobNight) -> None:
    async with night.under_way() as agent:
        begun = time.monotonic()
        night.kill_all("supervisor")
        await agent.finish()
        took("lost", begun)
    assert "died on n" in night.require_unjudged("lost")
    night.cluster.until(lambda: not night.processes())


@fault("the seat -9: the supervisor ends the run")
async def seat(night: JobNight) -> None:
    async with night.under_way() as agent:
        night.kill_all("node.seat")
        await agent.finish()
    night.require_unjudged(*_UNJUDGED)
    night.cluster.until(lambda: not night.processes())


@fault("slurmctld -9 in a run: nothing is lost, the run has its score, and the next is refused until it is back")
async def controller(night: JobNight) -> None:
    async with night.under_way() as agent:
        for process in night.cluster.daemons("slurmctld"):
            process.kill()
        night.end_command()
        await agent.finish()
        night.require_score()
        try:
            await agent.start()
        except Refused as refused:
            assert "Slurm does not answer" in str(refused), refused
        else:
            raise AssertionError("a run was started without Slurm")


@fault("slurmctld -9 right after the submission, and up again: the run is carried out once")
async def controller_at_start(night: JobNight) -> None:
    async with night.session() as agent:
        await agent.start("5")
        for process in night.cluster.daemons("slurmctld"):
            process.kill()
        night.cluster.start_controller()
        await agent.finish()
    assert night.last().score or night.require_unjudged("lost")
    assert len(night.processes("trainer.supervisor")) == 0


@fault("the same job submitted again: the folder is not started a second time")
async def twice(night: JobNight) -> None:
    async with night.under_way() as agent:
        (running,) = night.processes("trainer.node.seat")
        words, folder = running.cmdline()[:5], night.run_folder()
        order = SeatOrder("{}", night.job().nonce, "x").to_json()  # as of a requeue: the same start of the same run
        script = f"exec {' '.join(words)} '{folder}' 0 <<'END'\n{order}\nEND"
        path = Path(str(trainer.__file__)).parents[1]
        job = slurm("sbatch", "--parsable", f"--export=ALL,PYTHONPATH={path}", "-o", "/dev/null", "--wrap", script)
        night.cluster.until(lambda: "ExitCode=75:0" in slurm("scontrol", "-o", "show", "job", job.strip()))
        night.end_command()
        await agent.finish()
    night.require_score()


@fault("the time limit of Slurm's is reached: the run ends, and is not held against the idea")
async def time_limit(night: JobNight) -> None:
    async with night.under_way() as agent:
        begun = time.monotonic()
        slurm("scontrol", "update", f"jobid={night.job().id}", "timelimit=1")
        await agent.finish()
        took("ended", begun)
    night.require_unjudged(*_UNJUDGED)
    night.cluster.until(lambda: not night.processes())


@fault("state=down of the node: the run ends, and is not held against the idea")
async def state_down(night: JobNight) -> None:
    async with night.under_way() as agent:
        begun = time.monotonic()
        slurm("scontrol", "update", f"nodename={night.node()}", "state=down", "reason=test")
        await agent.finish()
        took("ended", begun)
    night.require_unjudged(*_UNJUDGED)
    night.cluster.heal()
    night.cluster.until(lambda: not night.processes())


@fault("the controller refuses the job: the run ends with Slurm's words, and no idea is judged")
async def refused(night: JobNight) -> None:
    slurm("scontrol", "update", "partitionname=main", "state=inactive")
    async with night.session() as agent:
        try:
            await agent.start()
            raise AssertionError("a run was started in a partition that takes none")
        except Refused as refused:
            assert "Slurm does not accept the run: " in str(refused), refused
        finally:
            slurm("scontrol", "update", "partitionname=main", "state=up")
    night.require_unjudged("env_fail")


@fault("the server killed before its sbatch: the run is given up, or carried out once", alone=True)
async def never_submitted(night: JobNight) -> None:
    slow = night.folder / "slow"
    slow.mkdir(exist_ok=True)
    script = '#!/bin/sh\ncase "$*" in *export-file*) kill -9 $PPID; exit 1;; esac\nexec /usr/bin/sbatch "$@"\n'
    (slow / "sbatch").write_text(script, encoding="ascii")
    (slow / "sbatch").chmod(0o755)
    with broken() as killed:
        async with night.agent(PATH=f"{slow}:{os.environ['PATH']}") as agent:
            killed.append(True)  # by the sbatch that it will call
            await agent.start()
    assert night.last().running
    async with night.agent() as agent:
        await agent.finish()
    assert "no job of this run" in night.require_unjudged("lost")
