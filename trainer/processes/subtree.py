"""What lives below some processes, and what it uses, read in microseconds: for live processes that take turns.

On Linux each process has a clock of its own, to the nanosecond and with its threads that have ended; what its ended
children used is told in hundredths. Elsewhere the process table tells all, in hundredths.
"""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

_TICKS = os.sysconf("SC_CLK_TCK")
_PROCESS_CLOCK = 2  # of the kernel's encoding of a clock: CPUCLOCK_SCHED of a whole process
_CHILDRENS_FAULTS = slice(8, 9)  # and how often they touched new memory: each does
_CHILDREN = slice(13, 15)  # fields of /proc/PID/stat behind the name: what ended children used


def below(tops: Iterable[int], spared: frozenset[int] = frozenset()) -> list[int]:
    """These processes and all their descendants, parents first, without `spared` and theirs."""
    found, waiting = list[int](), [pid for pid in tops if pid not in spared]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += [child for child in _children(pid) if child not in spared]
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """What these processes have used so far, and of their children those that have ended."""
    return sum(map(_seconds, pids))


def reaped(pids: Iterable[int]) -> int:
    """Page faults of the ended children of these processes (Linux): more with each child that is waited for."""
    return sum(_fields(pid, _CHILDRENS_FAULTS) for pid in pids)


def stopped(pids: Iterable[int]) -> bool:
    """Whether none of these processes goes on (Linux; elsewhere they are taken at their word)."""
    return sys.platform != "linux" or all(_state(pid) in "TtZX" for pid in pids)


def memory_mb(pids: list[int]) -> float:
    """MiB that these processes hold together, or that one has held alone at its highest."""
    peaks = [_kilobytes(pid, "status", "VmHWM:") for pid in pids]
    shares = [_kilobytes(pid, "smaps_rollup", "Pss:") for pid in pids] if len(pids) > 1 else []
    return max([sum(shares), *peaks], default=0.0) / 1024


def _children(pid: int) -> Iterator[int]:
    if sys.platform == "linux":
        for listed in Path(f"/proc/{pid}/task").glob("*/children"):
            with suppress(OSError):  # it has ended meanwhile
                yield from map(int, listed.read_text(encoding="ascii").split())
    else:
        with suppress(psutil.Error):
            yield from (child.pid for child in psutil.Process(pid).children())


def _seconds(pid: int) -> float:
    if sys.platform != "linux":
        with suppress(psutil.Error):
            return float(sum(psutil.Process(pid).cpu_times()[:4]))
        return 0.0
    with suppress(OSError, ValueError, IndexError):
        return time.clock_gettime((~pid << 3) | _PROCESS_CLOCK) + _fields(pid, _CHILDREN) / _TICKS
    return 0.0


def _fields(pid: int, which: slice) -> int:
    """The sum of some fields of /proc/PID/stat; 0 of a process that is gone."""
    with suppress(OSError, ValueError):
        told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return sum(map(int, told[which]))
    return 0


def _state(pid: int) -> str:
    """One letter; X of a process that is gone."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    return "X"


def _kilobytes(pid: int, file: str, name: str) -> float:
    if sys.platform != "linux":
        with suppress(psutil.Error):
            return psutil.Process(pid).memory_info().rss / 1024 * (file == "status")
        return 0.0
    with suppress(OSError, ValueError, IndexError):  # gone, or not ours to read
        text = Path(f"/proc/{pid}/{file}").read_text(encoding="utf-8", errors="replace")
        return float(text.partition(name)[2].split(None, 1)[0])
    return 0.0
