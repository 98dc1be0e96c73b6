"""Units in which the referee tells what it has read itself: seconds and memory."""

from trainer.contract import MetricSource

_PER_SECOND = {"ms": 1e3, "us": 1e6, "µs": 1e6, "μs": 1e6, "ns": 1e9}
_PER_MEGABYTE = {"kb": 1024.0, "kib": 1024.0, "gb": 1 / 1024, "gib": 1 / 1024}


def per_unit(source: str, unit: str) -> float:
    """What a reading of this source, in seconds or MiB, is multiplied with. 1 for a unit that is another word.

    >>> per_unit("wall", "ms"), per_unit("memory", "KiB"), per_unit("cpu", "s"), per_unit("score", "ms")
    (1000.0, 1024.0, 1.0, 1.0)
    """
    if source == MetricSource.MEMORY:
        return _PER_MEGABYTE.get(unit.lower(), 1.0)
    return _PER_SECOND.get(unit.lower(), 1.0) if source in (MetricSource.CPU, MetricSource.WALL) else 1.0
