"""What a run looks like on one class of machine: given to train.py, never chosen by it."""

from dataclasses import dataclass

from trainer.contract import ProfileName

WALL_SHARE = 3.0  # wall time that a budget of CPU seconds may take, as a multiple
LEAST_WALL_SECONDS = 60.0  # and at the least: a very busy machine held up a budget of one second for more than thirty


@dataclass(frozen=True)
class Profile:
    """Shapes and limits of one class of machine.

    `threads` is torch's intra-op thread count; None leaves torch's own choice. On a CPU it is one: a second
    thread turns any other load on the machine into a 10-20x loss of throughput, and the score into a load meter.
    """

    name: ProfileName
    device: str  # torch device type
    sequence_length: int  # tokens in a row
    threads: int | None
    rows: int  # rows in one evaluation batch
    max_rows: int | None  # evaluate at most this many validation rows; None is all of them
    audits: int  # audited positions: about as many rows as one more evaluation has
    first_audits: int  # those of a first look at a candidate that is kept only if a denser audit confirms it

    @property
    def clock(self) -> str:
        """What the budget counts: `cpu`, seconds of train.py's processes, or `wall`, time that passes."""
        return "cpu" if self.device == "cpu" else "wall"


def _gpu(name: ProfileName, sequence_length: int, rows: int) -> Profile:
    return Profile(
        name, "cuda", sequence_length, threads=None, rows=rows, max_rows=None, audits=1024, first_audits=1024
    )


def _metal(name: ProfileName, rows: int) -> Profile:
    return Profile(
        name, "mps", sequence_length=512, threads=None, rows=rows, max_rows=None, audits=512, first_audits=512
    )


PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile(ProfileName.SMOKE, "cpu", 64, threads=1, rows=16, max_rows=64, audits=32, first_audits=32),
        Profile(ProfileName.CPU, "cpu", 256, threads=1, rows=8, max_rows=512, audits=544, first_audits=136),
        _metal(ProfileName.MPS_8GB, rows=4),
        _metal(ProfileName.MPS_16GB, rows=8),
        _metal(ProfileName.MPS, rows=8),
        _gpu(ProfileName.GPU_4GB, sequence_length=512, rows=8),
        _gpu(ProfileName.GPU_8GB, sequence_length=512, rows=16),
        _gpu(ProfileName.GPU_12GB, sequence_length=512, rows=16),
        _gpu(ProfileName.GPU_16GB, sequence_length=512, rows=16),
        _gpu(ProfileName.GPU_24GB, sequence_length=1024, rows=16),
        _gpu(ProfileName.GPU_48GB, sequence_length=1024, rows=16),
        _gpu(ProfileName.GPU_SMALL, sequence_length=512, rows=16),
        _gpu(ProfileName.GPU, sequence_length=1024, rows=16),
    )
}
