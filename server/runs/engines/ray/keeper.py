"""One run on the cluster, followed by the child process: brought to its node, mirrored, and given up only for sure.

What Ray says of a run comes second. A result that lies on the node's disk counts, though its tenant is dead; and a
tenant that does not answer says nothing.
"""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

from server.records import Outcome
from server.runs.engines.ray import cargo, door, mirror, tenant
from server.runs.engines.ray.door import Dead, Failed, Silent
from server.runs.engines.ray.where import Where
from server.runs.engines.remote import Job
from server.runs.run_folder import RunFolder
from trainer.contract import RunFile

LOOK_SECONDS = 0.4  # between two looks at a run
_ANSWER_SECONDS = 5.0
_AGAIN_SECONDS = 2.0
_TETHER_SECONDS = 25.0  # that a run takes to end after its tenant
_WORKER_SECONDS = 3.0  # that Ray takes at most, usually, to start a worker where there is a place
_PLACES = 10
_OBEY_SECONDS = 30.0  # that a supervisor has to end a run that is cancelled
_BACK_SECONDS = 60.0  # for a node to come back after its cluster was started anew, before its run is given up


class Cargo:
    """What every run needs of us, sent to each node once."""

    def __init__(self) -> None:
        self.code = cargo.code()
        self.ref = door.put(self.code.data)


class Order:
    """What a run that is new is started with."""

    def __init__(self, seat: str, dataset: str, gpu: bool, shared: Cargo) -> None:
        self.seat, self.dataset, self.gpu, self.shared = seat, dataset, gpu, shared
        self.left = _PLACES  # nodes that it may be given to


class _Over(Exception):
    """The run has an ending."""


class Keeper(Thread):
    """Follows one run until it has an ending in its folder."""

    def __init__(
        self,
        folder: Path,
        handle: door.Handle | None,
        order: Order | None,
        pace: Callable[[], float],
        pass_on: Callable[[door.Handle, bool], None],
    ) -> None:
        """Follow a run.

        Args:
            handle: a new tenant, or one whose previous run is over; None: it is searched for.
            order: None: an earlier process has brought the run to its node.
            pace: seconds between two looks.
            pass_on: takes the tenant of a run that is over, and whether it has a GPU.
        """
        super().__init__(daemon=True, name=folder.name)
        job = Job.read(folder)
        assert job is not None
        self._folder, self._handle, self._order, self._pace = RunFolder(folder), handle, order, pace
        self._pass_on, self._gpu = pass_on, order.gpu if order else None
        self._job, self._where = job, Where.of(job)
        self._cancelled: float | None = None  # since when the node knows that the run is to end
        self._stage, self._since = "", time.monotonic()
        self.leaving = False  # whether the run's ending is here, and its tenant is being told

    @property
    def waits(self) -> bool:
        """Whether the run waits for a place on a node; a tenant that may be just starting does not count."""
        late = time.monotonic() - self._since > _WORKER_SECONDS
        return late and self.is_alive() and self._order is not None and not self._where.node

    def run(self) -> None:
        while True:
            try:
                self._follow()
            except _Over:
                return
            except Dead as error:
                self._handle = None
                self._order = self._order if self._may_go_elsewhere() else None
                _log(self._job.name, error)
            except Silent:
                pass
            except Exception as error:  # a full disk here, a node that misbehaves: nothing is certain
                _log(self._job.name, error)
            time.sleep(_AGAIN_SECONDS)

    def _follow(self) -> None:
        """Until the run is over. Raises _Over, and what the door raises."""
        if self._handle is None:
            self._search() if self._order is None else self._ask_for_another(self._order)
        if self._order:
            self._move_in(self._order)
            self._order = None
        elif not self._where.node or not self._hello()["begun"]:
            door.end(self._tenant)
            self._lost("The server ended before this run began on a node", begun=False)
        while True:
            self._pass_cancel_on()
            files, alive = self._call("look", mirror.seen(self._folder.path), self._pace())
            self.leaving = bool(files.keys() & set(tenant.LAST))
            if mirror.receive(self._folder.path, files):
                result = self._folder.result()  # what a node cannot run, it cannot the next time
                fit = result is not None and result.outcome not in (Outcome.ENV_FAIL, Outcome.LOST)
                self._leave(self._gpu if fit else None)
            if not alive and not files.keys() & set(tenant.LAST):
                self._after_tether()

    def _may_go_elsewhere(self) -> bool:
        """Whether nothing can have begun yet: Ray has given the run to a node that had just died."""
        return self._order is not None and not self._where.node and not self._folder.cancelled and self._order.left > 0

    def _ask_for_another(self, order: Order) -> None:
        order.left -= 1
        made = door.create(self._job.name, order.gpu)
        try:
            door.claim(self._job.name, made)
        except (door.Taken, Silent) as error:  # Ray does not know yet that the one before is dead
            door.end(made)
            raise Silent from error
        self._handle = made

    def _move_in(self, order: Order) -> None:
        """Bring everything to the node that Ray chooses, and start the run."""
        self._say("waiting for a node of the Ray cluster")
        found = self._hello("take", self._job.name)
        self._where = self._where.at(found["node"], next((n for n in door.nodes() if n.id == found["node"]), None))
        self._job = self._job.model_copy(update={"id": str(self._where)})
        self._job.write(self._folder.path)  # from here on it may have begun there
        self._say(f"on its way to {self._where.told}")
        try:
            self._call("install", order.shared.ref, order.shared.code.digest, seconds=60)
            if order.dataset:
                self._bring_data(Path(order.dataset))
            files = cargo.folder(self._folder.path, self._job.model_dump_json())
            why = self._call("begin", door.put(files), order.seat, order.shared.code.digest, seconds=60)
        except Failed as error:
            why = str(error)
        if why:
            door.end(self._tenant)
            self._give_up(Outcome.ENV_FAIL, f"{self._where.told} cannot run this: {why}. No idea was judged.")

    def _bring_data(self, place: Path) -> None:
        data = cargo.DataSet(place)
        while (state := self._call("claim_data", data.digest)) == "wait":
            self._pass_cancel_on()
            time.sleep(1)
        if state == "have":
            return
        self._say(f"its data set is on the way to {self._where.told}")
        for name, part in data.parts():
            self._call("receive", data.digest, name, part, seconds=60)
            self._pass_cancel_on()
        if why := self._call("seal_data", data.digest, data.sums, seconds=600):
            raise Failed(why)

    def _hello(self, method: str = "hello", *words: str) -> dict[str, Any]:
        """Where the tenant is; it is waited for its place."""
        ref = door.ask(self._tenant, method, *words)
        while True:
            try:
                return door.answer(ref, _ANSWER_SECONDS / 5)
            except Silent:
                if self._order is not None:
                    self._end_in_queue()
                if door.lost(ref):
                    raise

    def _end_in_queue(self) -> None:
        if self._folder.cancelled and not self._where.node:
            door.end(self._tenant)
            self._give_up(Outcome.CANCELLED, f"Cancelled in the cluster's queue: {self._reason()}")

    def _call(self, method: str, *words: object, seconds: float = _ANSWER_SECONDS) -> Any:
        """The answer of the tenant, for which it is waited through any silence: asking twice could do twice."""
        ref = door.ask(self._tenant, method, *words)
        while True:
            try:
                return door.answer(ref, seconds)
            except Silent:
                if door.lost(ref):
                    raise

    def _pass_cancel_on(self) -> None:
        if self._cancelled and time.monotonic() - self._cancelled > _OBEY_SECONDS:
            door.end(self._tenant)  # a supervisor that hangs: the tether ends what is left
            raise Dead("it did not answer a cancel")
        if self._folder.cancelled and self._cancelled is None:
            if self._order is not None:  # nothing has begun, or is certain to have
                door.end(self._tenant)
                raise Dead("cancelled")
            self._call("cancel", self._reason())
            self._cancelled = time.monotonic()

    def _leave(self, gpu: bool | None = None) -> None:
        """The run's ending is here: the node may forget it. `gpu`: what the tenant has; None: it ends in any case."""
        self._tidy_up()
        with suppress(Silent, Dead, Failed):
            door.answer(door.ask(self._tenant, "leave"), _ANSWER_SECONDS)
            if gpu is not None:
                with suppress(Exception):  # it ends by itself
                    self._pass_on(self._tenant, gpu)
                raise _Over  # from here on it is not this run's
        with suppress(Exception):
            door.end(self._tenant)
        raise _Over

    def _after_tether(self) -> None:
        """Neither tether nor lease, and no ending: look once more, as it may have come in between."""
        files, _ = self._call("look", mirror.seen(self._folder.path))
        while files and not mirror.receive(self._folder.path, files):
            before = mirror.seen(self._folder.path)
            files, _ = self._call("look", before)
            if not files.keys() & {*tenant.GROWING, *tenant.LAST}:
                break
        told = f"The supervisor of this run died on {self._where.told} without a result; the idea was not judged."
        mirror.give_up(self._folder.path, Outcome.LOST, told, self._where.host)
        self._leave()

    def _search(self) -> None:
        """The tenant of this name; or, where Ray is certain that there is none, what the run has left on its node."""
        same = self._where.cluster in ("", door.cluster_id())
        if same and (found := door.find(door.holder(self._job.name))) is not None:
            self._handle = found
            return
        if not self._where.node:
            self._lost("This run never reached a node of the Ray cluster", begun=False)
        self._collect(same)

    def _collect(self, same: bool) -> None:
        """Fetch what lies on the node of a tenant that is dead. Raises _Over, Silent."""
        deadline = time.monotonic() + _BACK_SECONDS
        while True:
            there = next((node for node in door.nodes() if self._where.is_at(node, same)), None)
            if there is not None:
                with suppress(Dead):
                    self._fetch(there)
            if same and there is None:
                self._lost(f"Ray says that {self._where.told} is gone")
            if time.monotonic() > deadline:
                told = "The Ray cluster was started again" if not same else f"{self._where.told} cannot be asked"
                self._lost(f"{told}, and left no result")
            time.sleep(_AGAIN_SECONDS)

    def _fetch(self, node: door.Node) -> None:
        """Bring here what is on the node. Raises _Over; Dead: the node is gone as well."""
        while True:
            before = mirror.seen(self._folder.path)
            ref = door.ask_node(node.id, tenant.collect, self._job.name, before, _TETHER_SECONDS)
            files = _patiently(ref, _TETHER_SECONDS + _ANSWER_SECONDS)
            over = bool(files) and mirror.receive(self._folder.path, files)
            if over or not files or not files.keys() & set(tenant.GROWING):
                break
        self._tidy(node)
        if over:
            self._finish()
        self._lost(f"Ray lost its worker on {self._where.told}, and no result is there", begun=files is not None)

    def _tidy(self, node: door.Node) -> None:
        with suppress(Silent, Dead, Failed):
            door.answer(door.ask_node(node.id, tenant.remove, self._job.name), _ANSWER_SECONDS)

    def _lost(self, why: str, begun: bool = True) -> None:
        """Nothing will come any more. What was cancelled, and had not begun or does not answer, is cancelled."""
        if self._folder.cancelled and self._cancelled:
            self._give_up(Outcome.CANCELLED, f"Cancelled, and ended by force: {self._reason()}")
        if self._folder.cancelled and not begun:
            self._give_up(Outcome.CANCELLED, f"Cancelled before it began on a node: {self._reason()}")
        self._give_up(Outcome.LOST, f"{why}; the idea was not judged.")

    def _finish(self) -> None:
        self._tidy_up()
        raise _Over

    def _tidy_up(self) -> None:
        with suppress(Exception):  # it costs space, and no run
            cargo.lighten(self._folder)
        with suppress(Exception):
            door.forget(self._job.name)

    def _give_up(self, outcome: Outcome, why: str) -> None:
        mirror.give_up(self._folder.path, outcome, why, self._where.host)
        self._finish()

    def _say(self, stage: str) -> None:
        if stage != self._stage:
            self._stage = stage
            with suppress(OSError):
                mirror.say(self._folder.path, stage)

    @property
    def _tenant(self) -> door.Handle:
        assert self._handle is not None
        return self._handle

    def _reason(self) -> str:
        with suppress(OSError):
            return (self._folder.path / RunFile.CANCEL).read_text(encoding="utf-8", errors="replace")
        return ""


def _patiently(ref: door.Ref, seconds: float) -> Any:
    """The answer of a node, for which it is waited while Ray does not call the node dead."""
    while True:
        try:
            return door.answer(ref, seconds)
        except Silent:
            if door.lost(ref):
                raise


def _log(name: str, error: Exception) -> None:
    sys.stderr.write(f"{name}: {type(error).__name__}: {error}\n")
    sys.stderr.flush()
