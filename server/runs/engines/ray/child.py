"""The process that talks with a Ray cluster, for one server: `python -P -B -m server.runs.engines.ray.child`.

It reads requests on its standard input, one JSON object a line, and answers on its standard output. Ray ends a process
whose cluster is gone for a minute: then the server starts another. It ends with its server.

    {"id": 1, "op": "start", "folder": ..., "seat": ..., "dataset": ..., "gpu": false}   a new run, of the folder's job
    {"id": 2, "op": "follow", "folders": [...]}   runs of an earlier process
    {"id": 3, "op": "nodes"}                      what the cluster offers
    {"id": 4, "op": "examine"}                    what every node says of itself
"""

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from threading import Lock, Thread, Timer
from typing import Any, TextIO

from server.runs.engines.ray import door
from server.runs.engines.ray.door import Silent, Taken, Unreachable
from server.runs.engines.ray.keeper import LOOK_SECONDS, Cargo, Keeper, Order
from server.runs.engines.ray.node_word import ask_all
from server.runs.engines.ray.settings import ADDRESS
from server.runs.engines.ray.where import Where
from server.runs.engines.remote import Job

_PER_RUN_SECONDS = 0.01  # that a look at each of many runs may take of ours
_LEAVE_SECONDS = 3.0
_SPARE_SECONDS = 2.0  # for which a tenant keeps its slot without a run; its own patience is longer
_TURN_SECONDS = 60.0  # of a tenant's life, after which it takes no other run: another server's may wait for the slot


class Refused(Exception):
    """What the server reads as the reason."""


class Spares:
    """Tenants whose run is over, for the next runs: a worker of Ray's takes a second to start."""

    def __init__(self) -> None:
        self._lock, self._found, self._stays = Lock(), dict[int, tuple[door.Handle, bool]](), count()

    def add(self, handle: door.Handle, gpu: bool) -> None:
        """Keep a tenant for a moment."""
        stay = next(self._stays)
        late = Timer(_SPARE_SECONDS, self._end, [stay])
        late.daemon = True
        with self._lock:
            late.start()
            self._found[stay] = handle, gpu

    def take(self, gpu: bool) -> door.Handle | None:
        """One that has, or has not, a GPU; None: there is none."""
        with self._lock:
            stay = next((stay for stay, (_, has) in self._found.items() if has == gpu), None)
            return None if stay is None else self._found.pop(stay)[0]

    def end_all(self) -> None:
        """Give every slot back."""
        for stay in list(self._found):
            self._end(stay)

    def _end(self, stay: int) -> None:
        with self._lock:
            found = self._found.pop(stay, None)
        if found:
            with suppress(Exception):
                door.end(found[0])


class Child:
    """The requests of one server."""

    def __init__(self, out: TextIO) -> None:
        self._out, self._lock = out, Lock()
        self._cargo = Cargo()
        self._keepers: dict[str, Keeper] = {}
        self._spares = Spares()

    def serve(self, requests: TextIO) -> None:
        """Until the server is gone."""
        self.tell({"ready": self._nodes({}), "cluster": door.cluster_id()})
        for line in requests:
            Thread(target=self._answer, args=[json.loads(line)], daemon=True).start()
        self._join_leaving()  # their slots would be taken for some seconds more
        self._spares.end_all()

    def tell(self, message: dict[str, Any]) -> None:
        with self._lock:
            self._out.write(json.dumps(message) + "\n")
            self._out.flush()

    def _answer(self, asked: dict[str, Any]) -> None:
        does: dict[str, Callable[[dict[str, Any]], object]] = {
            "start": self._start,
            "follow": self._follow,
            "nodes": self._nodes,
            "examine": self._examine,
        }
        try:
            told = {"told": does[asked["op"]](asked)}
        except Refused as refused:
            told = {"refused": str(refused)}
        except Silent:
            told = {"refused": "the Ray cluster does not answer"}
        except Exception as error:  # the server would wait for ever
            told = {"refused": f"{type(error).__name__}: {error}"}
        self.tell({"id": asked["id"], **told})

    def _start(self, asked: dict[str, Any]) -> None:
        folder = Path(asked["folder"])
        job = Job.read(folder)
        if job is None:
            raise Refused(f"{folder} names no job")
        job.model_copy(update={"id": str(Where(door.cluster_id()))}).write(folder)
        handle = self._spare(asked["gpu"]) or door.create(job.name, asked["gpu"])
        try:
            door.claim(job.name, handle)
        except (Taken, Silent) as error:
            door.end(handle)
            if isinstance(error, Silent):
                raise
            raise Refused(f"a run of this name is active on the cluster: {job.name}") from error
        self._keep(folder, handle, Order(asked["seat"], asked["dataset"], asked["gpu"], self._cargo))

    def _follow(self, asked: dict[str, Any]) -> None:
        for folder in map(Path, asked["folders"]):
            if str(folder) not in self._keepers and Job.read(folder) is not None:
                self._keep(folder, None, None)

    def _keep(self, folder: Path, handle: door.Handle | None, order: Order | None) -> None:
        keeper = Keeper(folder, handle, order, self._pace, self._pass_on)
        self._keepers[str(folder)] = keeper
        keeper.start()

    def _spare(self, gpu: bool) -> door.Handle | None:
        """A tenant whose run is over; None: there is none."""
        if (found := self._spares.take(gpu)) is None:
            self._join_leaving()
            found = self._spares.take(gpu)
        return found

    def _join_leaving(self) -> None:
        """Wait for the tenants of runs whose ending is here, for some seconds in all."""
        deadline = time.monotonic() + _LEAVE_SECONDS
        for keeper in list(self._keepers.values()):
            if keeper.leaving:
                keeper.join(max(0.0, deadline - time.monotonic()))

    def _pass_on(self, handle: door.Handle, gpu: bool) -> None:
        """Keep a tenant whose run is over for the next run, or end it: then Ray gives its slot to a run that waits."""
        late = time.monotonic() - handle.made > _TURN_SECONDS
        if late or any(keeper.waits for keeper in list(self._keepers.values())):
            door.end(handle)
        else:
            self._spares.add(handle, gpu)

    def _pace(self) -> float:
        return max(LOOK_SECONDS, _PER_RUN_SECONDS * sum(one.is_alive() for one in self._keepers.values()))

    def _nodes(self, _asked: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {"id": node.id, "host": node.host, "address": node.address, "resources": node.resources}
            for node in door.nodes()
            if node.alive
        ]

    def _examine(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        return ask_all(self._cargo.code, float(asked["patience"]))


def main() -> None:
    """Serve the process that started us."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what Ray prints is no answer
    address = os.environ.pop(ADDRESS, "") or "auto"
    try:
        begun = time.monotonic()
        door.connect(address)
        child = Child(out)
    except (Unreachable, Silent, OSError) as error:
        out.write(json.dumps({"unreachable": str(error) or "the Ray cluster does not answer"}) + "\n")
        out.flush()
        raise SystemExit(1) from error
    sys.stderr.write(f"connected after {time.monotonic() - begun:.1f} s\n")
    child.serve(sys.stdin)
    os._exit(0)  # the runs go on; Ray's own way to the end takes seconds


if __name__ == "__main__":
    main()
