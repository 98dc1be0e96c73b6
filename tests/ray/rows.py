"""The rows of the failure table: each injects one failure into a run, and says what must hold afterwards."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from server.errors import RunnerUnavailable
from server.records import Outcome
from server.runs.engines.remote import RemoteRun
from tests.ray.bench import Bench, ended, until
from trainer.contract import RunFile


@dataclass(frozen=True)
class Row:
    """One kind of failure."""

    name: str
    inject: Callable[[Bench], None]
    networks: bool = False  # whether it needs networks that can be cut
    short: bool = False  # whether it is in the short form


ROWS: list[Row] = []
_LONG = "sleep 300"  # a run of a trial that ends it


def row(name: str, networks: bool = False, short: bool = False) -> Callable[[Callable[[Bench], None]], None]:
    def added(inject: Callable[[Bench], None]) -> None:
        ROWS.append(Row(name, inject, networks, short))

    return added


@row("a run is cancelled")
def _cancelled(bench: Bench) -> None:
    run = bench.start(_LONG)
    node = bench.node(run)
    run.cancel("enough")
    result = ended(run)
    assert result.outcome is Outcome.CANCELLED and "enough" in result.reason, result
    _nothing_left(bench, run, node)


@row("a run that waits for a node is cancelled")
def _cancelled_in_queue(bench: Bench) -> None:
    full = [bench.start(_LONG) for _ in range(2)]
    for run in full:
        bench.node(run)
    waits = bench.start()
    until(lambda: "waiting for a node" in waits.progress().stage)
    waits.cancel("not needed")
    result = ended(waits)
    assert result.outcome is Outcome.CANCELLED and "not needed" in result.reason, result
    for run in full:
        run.cancel("the end")
        assert ended(run).outcome is Outcome.CANCELLED


@row("a run takes over the actor of the run before it, which ends if none follows")
def _taken_over(bench: Bench) -> None:
    bench.works()
    workers = [bench.cluster.pids(node, "ray::Tenant") for node in (1, 2)]
    assert sum(map(len, workers)) == 1, workers
    run = bench.start(_LONG)
    node = bench.node(run)
    assert [bench.cluster.pids(node, "ray::Tenant") for node in (1, 2)] == workers, "the same process"
    bench.end_command(run, node)
    assert ended(run).outcome is Outcome.FINISHED
    until(lambda: not any(bench.cluster.pids(node, "ray::Tenant") for node in (1, 2)), 30.0, "the slot is given back")


@row("a run that waits for a node gets that of a run that ends")
def _waits_for_a_place(bench: Bench) -> None:
    full = [bench.start(_LONG) for _ in range(2)]
    nodes = [bench.node(run) for run in full]
    waits = bench.start("true")
    until(lambda: "waiting for a node" in waits.progress().stage)
    for run, node in zip(full, nodes, strict=True):
        bench.end_command(run, node)
        assert ended(run).outcome is Outcome.FINISHED
    assert ended(waits).outcome is Outcome.FINISHED


@row("the server's process that talks with Ray is killed")
def _child_killed(bench: Bench) -> None:
    run = bench.start(_LONG)
    node = bench.node(run)
    child = next(one for one in psutil.Process().children() if "server.runs.engines.ray.child" in one.cmdline())
    child.kill()
    bench.end_command(run, node)
    assert ended(run).outcome is Outcome.FINISHED


@row("the server is killed")
def _server_killed(bench: Bench) -> None:
    run = bench.start(_LONG)
    node = bench.node(run)
    bench.executor.close()
    bench.executor = bench.open()
    bench.end_command(run, node)
    again = bench.executor.handle(int(run.folder.path.name))
    assert ended(again).outcome is Outcome.FINISHED


@row("the server is killed before the run has reached a node")
def _server_killed_early(bench: Bench) -> None:
    full = [bench.start(_LONG) for _ in range(2)]
    nodes = [bench.node(one) for one in full]
    waits = bench.start()
    until(lambda: "waiting for a node" in waits.progress().stage)
    bench.executor.close()
    bench.executor = bench.open()
    again = bench.executor.handle(int(waits.folder.path.name))
    assert ended(again).outcome is Outcome.LOST
    for one, node in zip(full, nodes, strict=True):
        bench.end_command(one, node)
        assert ended(bench.executor.handle(int(one.folder.path.name))).outcome is Outcome.FINISHED


@row("Ray's worker is killed", short=True)
def _worker_killed(bench: Bench) -> None:
    run = bench.start(_LONG)
    node = bench.node(run)
    (worker,) = bench.cluster.pids(node, "ray::Tenant")
    os.kill(worker, signal.SIGKILL)
    result = ended(run)
    assert result.outcome in (Outcome.CANCELLED, Outcome.LOST), result
    _nothing_left(bench, run, node)


@row("the supervisor is killed")
def _supervisor_killed(bench: Bench) -> None:
    run = bench.start(_LONG)
    node = bench.node(run)
    for process in bench.processes(run, node):
        if "trainer.supervisor" in process.cmdline():
            process.kill()
    result = ended(run)
    assert result.outcome is Outcome.LOST and "died" in result.reason, result
    _nothing_left(bench, run, node)


@row("a supervisor that hangs is cancelled")
def _hangs(bench: Bench) -> None:
    run = bench.start(_LONG)
    node = bench.node(run)
    for process in bench.processes(run, node):
        if "trainer.supervisor" in process.cmdline():
            process.suspend()
    run.cancel("it hangs")
    result = ended(run)
    assert result.outcome is Outcome.CANCELLED and "it hangs" in result.reason, result
    _nothing_left(bench, run, node)


@row("the tether is killed")
def _tether_killed(bench: Bench) -> None:
    run = bench.start(_LONG)
    node = bench.node(run)
    tethers = [one for one in bench.processes(run, node) if "trainer.node.tether" in one.cmdline()]
    first = min(tethers, key=lambda one: one.create_time())
    first.kill()
    assert ended(run).outcome in (Outcome.CANCELLED, Outcome.LOST)
    _nothing_left(bench, run, node)


@row("a run meets its time limit")
def _time_limit(bench: Bench) -> None:
    run = bench.start(_LONG, budget=1.0)
    result = ended(run)
    assert result.outcome is Outcome.TIMEOUT, result


@row("a run is submitted twice")
def _submitted_twice(bench: Bench) -> None:
    run = bench.start(_LONG)
    node = bench.node(run)
    other = Bench(bench.place / "again", bench.cluster)
    other.executor.study = bench.executor.study  # another server, which takes itself for this one
    try:
        twice = other.request(int(run.folder.path.name), "true")
        try:
            other.executor.submit(twice)
        except RunnerUnavailable as error:
            assert "is active on the cluster" in str(error), error
        else:
            raise AssertionError("the second one was taken")
        gone = other.executor.handle(twice.attempt.number).result()
        assert gone and gone.outcome is Outcome.ENV_FAIL, gone
    finally:
        other.executor.close()
    bench.end_command(run, node)
    assert ended(run).outcome is Outcome.FINISHED
    _nothing_left(bench, run, node)


@row("raylet is killed")
def _raylet_killed(bench: Bench) -> None:
    run = bench.start(_LONG)
    node = bench.node(run)
    for pid in bench.cluster.pids(node, "raylet/raylet"):
        os.kill(pid, signal.SIGKILL)
    result = ended(run)
    assert result.outcome in (Outcome.LOST, Outcome.CANCELLED), result
    _nothing_left(bench, run, node)
    _revive(bench, node)


@row("a node is killed")
def _node_killed(bench: Bench) -> None:
    run = bench.start(_LONG)
    node = bench.node(run)
    other = bench.start(_LONG)
    elsewhere = bench.node(other)
    assert elsewhere != node
    bench.cluster.kill(node)
    result = ended(run)
    assert result.outcome is Outcome.LOST and "gone" in result.reason, result
    bench.end_command(other, elsewhere)
    assert ended(other).outcome is Outcome.FINISHED
    _revive(bench, node)


@row("the network is cut for a moment", networks=True)
def _blink(bench: Bench) -> None:
    run = bench.start(_LONG)
    node = bench.node(run)
    bench.cluster.cut(node)
    time.sleep(2.5)
    assert run.result() is None, "nothing is certain"
    bench.cluster.heal(node)
    bench.end_command(run, node)
    result = ended(run)
    assert result.outcome is Outcome.FINISHED, result


@row("the network is cut", networks=True)
def _cut(bench: Bench) -> None:
    run = bench.start(_LONG)
    node = bench.node(run)
    bench.cluster.cut(node)
    result = ended(run)
    assert result.outcome is Outcome.LOST and "gone" in result.reason, result
    bench.works()  # on the other node
    bench.cluster.heal(node)
    _nothing_left(bench, run, node)
    _revive(bench, node)


@row("the head is killed, and started anew")
def _head_killed(bench: Bench) -> None:
    run = bench.start(_LONG)
    node = bench.node(run)
    bench.cluster.kill(0)
    _nothing_left(bench, run, node)  # a node without a head ends itself, and its runs with it
    assert run.result() is None, "nothing is certain while no cluster answers"
    _start_anew(bench)
    result = ended(run)
    assert result.outcome in (Outcome.LOST, Outcome.CANCELLED), result


@row("the head is killed, and the run's result lies on its node")
def _head_killed_late(bench: Bench) -> None:
    run = bench.start(_LONG)
    node = bench.node(run)
    bench.cluster.kill(0)
    for pid in _children("server.runs.engines.ray.child"):
        os.kill(pid, signal.SIGKILL)
    bench.end_command(run, node)
    until(lambda: (bench.on_node(run, node) / RunFile.RESULT).exists(), what="a result on the node")
    _start_anew(bench)
    result = ended(run)
    assert result.outcome is Outcome.FINISHED, result


def _children(name: str) -> list[int]:
    return [one.pid for one in psutil.Process().children() if name in one.cmdline()]


def _nothing_left(bench: Bench, run: RemoteRun, node: int) -> None:
    """No process of the run lives."""
    until(lambda: not bench.processes(run, node), what=f"processes: {bench.processes(run, node)}")


def _start_anew(bench: Bench) -> None:
    """The operator starts the cluster again."""
    for node in range(3):
        bench.cluster.kill(node)
    for node in range(3):
        bench.cluster.start(node)


def _revive(bench: Bench, node: int) -> None:
    """The operator starts the node again."""
    bench.cluster.kill(node)
    bench.cluster.start(node)
