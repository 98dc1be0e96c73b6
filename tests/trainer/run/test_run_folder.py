"""A run folder on a disk that has no room, in whichever way."""

import resource
from pathlib import Path

from trainer.run.run_folder import RunFolder


def test_a_disk_is_full_where_no_more_can_be_written(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert not RunFolder(tmp_path).full()
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        assert RunFolder(tmp_path).full()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())
