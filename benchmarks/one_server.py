"""How many runs at once one server can look after: its own work, without the runs'.

    python benchmarks/one_server.py [--slots 1 8 64 512]

For each number of slots a study has as many runs under way, whose folders are those of jobs on other machines. Measured
is CPU time, which a busy machine changes little: of a beat, in which all of them are looked at; of a run's whole way
through ledger and git (row, commit, refs, result, decision); and of the queue with as many runs that wait. The runs are
stand-ins: no process is started, and an engine's answer is at hand. Every fiftieth row of the largest is timed.
"""

import argparse
import platform
import resource
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from server.cli.scaffold import create
from server.records import Experiment, Outcome, Result, Score
from server.runs.engines.remote import Job, Look, RemoteRun, Standing
from server.runs.executor import RunRequest, RunSite, Slot
from server.runs.run_folder import RunFolders
from server.serve_options import ServeOptions
from server.study.study import Study
from trainer.contract import RunFile, utc_now


class AtHand:
    """An engine that answers at once, for ever that the job runs. Implements Desk."""

    def look(self, job: Job) -> Look:
        return Look(Standing.RUNNING, time.monotonic())

    def end(self, job: Job) -> None: ...

    def close(self, job: Job) -> None: ...


class Elsewhere:
    """Runs that nobody carries out. Implements Executor."""

    signs, count = False, 1

    def __init__(self, site: RunSite) -> None:
        self.runs, self._runs = RunFolders(site.runs), dict[int, RemoteRun]()

    @property
    def slots(self) -> Sequence[Slot]:
        return [Slot(str(place)) for place in range(self.count)]

    def require_free(self, profile: str, lasts: Mapping[str, Experiment]) -> Slot:
        return next(slot for slot in self.slots if not ((last := lasts.get(slot.id)) and last.running))

    def submit(self, request: RunRequest) -> RemoteRun:
        folder, job = self.runs.path(request.attempt.number), Job.of("stand-in", request.attempt.number)
        folder.mkdir(parents=True)
        job.write(folder)
        (folder / RunFile.STARTED).touch()
        (folder / RunFile.BEAT).write_text("1", encoding="ascii")
        return self.handle(request.attempt.number)

    def handle(self, number: int) -> RemoteRun:
        folder = self.runs.path(number)
        job = Job.read(folder) or Job.of("stand-in", number)
        return self._runs.setdefault(number, RemoteRun(folder, job, AtHand()))


def spent(work: Callable[[], object], times: int = 1) -> float:
    """CPU milliseconds of this process, each time."""
    begun = time.process_time()
    for _ in range(times):
        work()
    return 1000 * (time.process_time() - begun) / times


def score(study: Study, number: int, value: float) -> None:
    """Leave a result in a run's folder."""
    found = Score(name="val_bpb", value=value, unit="bits per byte", details={"val_tokens": 10, "val_bytes": 30})
    result = Result(outcome=Outcome.FINISHED, reason="", score=found, finished_at=utc_now())
    (study.runs.path(number) / RunFile.RESULT).write_text(result.model_dump_json(), encoding="utf-8")


def fill(study: Study, count: int) -> list[int]:
    """Have `count` runs under way, of candidates that differ in a number. Returns theirs."""
    first = study.run("the baseline")
    score(study, first.number, 2.0)
    study.settle()
    if study.phase().value != "idle":
        study.keep("the first")
    attempt = study.ledger.get(1)
    assert attempt
    numbers: list[int] = []
    for place in range(count):
        number = study.next_number()
        made = attempt.attempt.model_copy(
            update={
                "number": number,
                "baseline": False,
                "lane": f"lane-{place}",
                "slot": str(place),
                "concurrency": count,
            }
        )
        study.begin(made, None)
        study.executor.submit(RunRequest(attempt=made, limits=study.request(made, study.incumbent(), "").limits))
        numbers.append(number)
    return numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, nargs="+", default=[1, 8, 64, 512])
    print(f"{platform.platform(terse=True)}, Python {platform.python_version()}; CPU milliseconds")
    for count in parser.parse_args().slots:
        Elsewhere.count = count
        with tempfile.TemporaryDirectory() as folder:
            create(Path(folder) / "w", "")
            study = Study(Path(folder) / "w", "bench", ServeOptions(profile="cpu"), Elsewhere)
            begun = time.process_time()
            numbers = fill(study, count)
            started = 1000 * (time.process_time() - begun) / (count + 1)
            beat = spent(study.settle, 5)
            asked = spent(study.slots.vacant, 5)
            some = numbers[: min(count, 10)]
            for number in some:
                score(study, number, 2.1)
            ended = spent(study.settle) / len(some)
            print(
                f"{count:4} under way: a beat {beat:8.1f}   begun {started:6.1f} a run   result {ended:6.1f} a run   "
                f"queue {asked:6.2f}   memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB at most",
                flush=True,
            )
            study.close()


if __name__ == "__main__":
    main()
