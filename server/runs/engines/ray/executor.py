"""Runs on a Ray cluster: one detached actor each. Implements Executor.

The run's folder here is the truth, as on this machine: a child process mirrors what is on the node. The server starts
that process, and again where Ray has ended it; a server that is started anew follows the runs that are under way.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from secrets import token_hex
from typing import Any

from server.errors import DeviceBusy, RunnerUnavailable
from server.records import Experiment, Outcome
from server.runs.engines.ray import cargo, settings
from server.runs.engines.ray.link import Link
from server.runs.engines.ray.mirror import give_up
from server.runs.engines.remote import Handles, Job, Look, RemoteRun
from server.runs.executor import (
    Executor,
    RunHandle,
    RunRequest,
    RunSite,
    Slot,
    make_order,
    make_spec,
    startable,
    write_run_folder,
)
from server.runs.run_folder import RunFolders
from server.runs.spawn import trainer_hash
from trainer.contract import GPU_PROFILES, RunFile, SeatOrder, Spec

ENGINE = "ray"
SLOT = "slot"  # the resource of a node that one run takes, where it needs no GPU
_GPU = "GPU"
_HERE = "@/"  # how paths begin that are below a node's own folder of ours
_LOG = "ray-client.log"
_STEP = "The operator must start nodes that have it, for example: ray start --address=HEAD --resources='{\"slot\": 1}'."


@dataclass(frozen=True)
class RayEngine:
    """Makes executors. Implements Engine."""

    address: str = ""  # of the cluster's head; empty: RAY_ADDRESS, or the cluster that this machine is a node of

    @classmethod
    def of(cls, address: str) -> "RayEngine":
        """Raises RunnerUnavailable: Ray cannot be used from here."""
        settings.require()
        return cls(address)

    def __call__(self, site: RunSite) -> Executor:
        return RayExecutor(site, self.address)


class RayExecutor:
    """All runs of one study on a cluster."""

    signs = True

    def __init__(self, site: RunSite, address: str = "") -> None:
        """Begin to connect, in the background."""
        self.runs, self._site = RunFolders(site.runs), site
        self.study = study_name(site)
        self._starting: set[int] = set()  # runs that the child process has not yet taken
        self._link = Link(settings.environment(address), site.runs.parent / _LOG, self._unfinished)
        self._handles = Handles(self.runs, _Desk(self._link))
        self._link.tend()

    @property
    def slots(self) -> Sequence[Slot]:
        return tuple(Slot(str(place)) for place in range(self._count()))

    def require_free(self, profile: str, lasts: Mapping[str, Experiment]) -> Slot:
        """The first slot without a run. Raises RunnerUnavailable: the cluster does not answer, or has no such place."""
        self._link.require()
        if not offered(self._link.nodes, profile):
            self._refresh()
        if not offered(self._link.nodes, profile):
            what = "a GPU" if profile in GPU_PROFILES else 'the resource "slot"'
            raise RunnerUnavailable(f"No node of the Ray cluster has {what}.", _STEP)
        busy: list[str] = []
        for slot in self.slots:
            last = lasts.get(slot.id)
            if not (last and last.running and self.runs.of(last.number).alive()):
                return slot
            busy.append(str(last.number))
        told = f"Every slot of the Ray cluster is busy, with experiments {', '.join(busy)}."
        raise DeviceBusy(told, "Wait for the end of one, or cancel it.")

    def submit(self, request: RunRequest) -> RemoteRun:
        """Write the run folder, and have an actor made for it. Raises RunnerUnavailable: nothing was started."""
        number = request.attempt.number
        folder, job = (
            self.runs.path(number),
            Job(engine=ENGINE, name=f"{self.study}/{number:05d}", nonce=token_hex(16)),
        )
        spec = on_node(make_spec(self._site, request, folder), self.study)
        self._starting.add(number)
        try:
            return self._start(request, job, spec)
        finally:
            self._starting.discard(number)

    def _start(self, request: RunRequest, job: Job, spec: Spec) -> RemoteRun:
        number, folder = request.attempt.number, self.runs.path(request.attempt.number)
        order = SeatOrder(make_order(spec, request).decode(), job.nonce, trainer_hash(), _torch(request))
        with startable():
            dataset = make_spec(self._site, request, folder).dataset
            write_run_folder(folder, spec, request)
            job.write(folder)
        gpu = spec.profile in GPU_PROFILES
        try:
            self._link.ask("start", folder=str(folder), seat=order.to_json(), dataset=dataset, gpu=gpu)
        except RunnerUnavailable as error:
            give_up(folder, Outcome.ENV_FAIL, error.problem)
            raise
        return self._handles.begin(number, job)

    def handle(self, number: int) -> RunHandle:
        """The run of this number, whoever started it, and on whatever."""
        return self._handles.of(number)

    def close(self) -> None:
        """End the process that talks with Ray; the runs go on."""
        self._link.close()

    def _count(self) -> int:
        wanted, profile = self._site.asked
        if wanted != "auto":
            return wanted or 1
        return offered(self._link.nodes, profile) or 1

    def _refresh(self) -> None:
        self._link.nodes = self._link.ask("nodes")

    def _unfinished(self) -> list[str]:
        """The folders of runs that a child process is to follow: those of an earlier one."""
        paths = [self.runs.path(number) for number in sorted(set(self.runs.numbers()) - self._starting)]
        ends = (RunFile.RESULT, RunFile.GONE)
        found = [path for path in paths if not any((path / name).exists() for name in ends)]
        return [str(path) for path in found if (job := Job.read(path)) and job.engine == ENGINE]


class _Desk:
    """Implements Desk: the child process says in the folder what is certain, and nothing else."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def look(self, job: Job) -> Look | None:
        """Never a word of Ray's; but somebody asks, so that somebody must follow the run."""
        self._link.tend()
        return None

    def end(self, job: Job) -> None:
        """The child process ends what it has given up."""

    def close(self, job: Job) -> None:
        """It sees the ending as we do."""


def study_name(site: RunSite) -> str:
    """The same for each server of a study, and for no other study of any machine."""
    place = f"{os.uname().nodename} {site.runs}"
    return f"{site.runs.parent.name}-{sha256(place.encode()).hexdigest()[:10]}"


def offered(nodes: Sequence[Mapping[str, Any]], profile: str) -> int:
    """For how many runs at once the nodes have a place."""
    name = _GPU if profile in GPU_PROFILES else SLOT
    return int(sum(float(node["resources"].get(name, 0)) for node in nodes))


def on_node(spec: Spec, study: str) -> Spec:
    """A spec whose paths begin with "@/": the node puts its own in. Raises RunnerUnavailable."""
    dataset = ""
    if spec.dataset:
        try:
            dataset = f"{_HERE}data/{cargo.digest_of(Path(spec.dataset))}"
        except (OSError, ValueError) as error:
            told = f"The data set in {spec.dataset} cannot be sent to a node: {error}."
            raise RunnerUnavailable(told, "The operator must make it again with `autoresearch prepare`.") from error
    return replace(spec, data=f"{_HERE}data/embedded", dataset=dataset, kernels=f"{_HERE}kernels/{study}")


def _torch(request: RunRequest) -> str:
    """The version that the node must have; empty for a task, which may need none."""
    if request.task:
        return ""
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return ""
