"""When a night has had enough: what program.md sets under `stop`. Pure."""

from pydantic import Field

from server.experiment import Value


class Facts(Value):
    """How far a night has come."""

    hours: float  # since its first run, as its servers counted them
    experiments: int
    value: float | None  # the incumbent's val_bpb, as it counts
    since_keep: int  # experiments
    free_gb: float  # of disk space where the night is stored


class Limits(Value):
    """Whatever is reached first ends the night; nothing is by default but the floor under the disk."""

    hours: float | None = Field(default=None, gt=0)
    experiments: int | None = Field(default=None, ge=1)
    target: float | None = Field(default=None, gt=0)  # val_bpb
    plateau: int | None = Field(default=None, ge=1)  # experiments without a keep
    disk_gb: float = Field(default=1.0, ge=0)

    def progress(self, facts: Facts) -> str:
        """How far the night is on its way to each limit that was set."""
        kept = "nothing" if facts.value is None else f"val_bpb {facts.value:.6f}"
        ways = [
            (self.hours, f"{facts.hours:.1f} of {self.hours} hours"),
            (self.experiments, f"{facts.experiments} of {self.experiments} experiments"),
            (self.target, f"{kept} on the way to {self.target}"),
            (self.plateau, f"{facts.since_keep} of {self.plateau} experiments without a keep"),
        ]
        told = [way for limit, way in ways if limit is not None]
        return "; ".join([*told, f"{facts.free_gb:.0f} GB of the disk free, at least {self.disk_gb:g}"])

    def full(self, facts: Facts) -> str:
        """Why not even a confirmation can be run; empty if one can."""
        if facts.free_gb >= self.disk_gb:
            return ""
        return f"{facts.free_gb:.1f} GB of the disk are free, and program.md keeps {self.disk_gb:g} GB free"

    def reached(self, facts: Facts) -> str:
        """Which limit the night has come to; empty while none."""
        if self.hours is not None and facts.hours >= self.hours:
            return f"{self.hours:g} hours are over"
        if self.experiments is not None and facts.experiments >= self.experiments:
            return f"{self.experiments} experiments are done"
        if self.target is not None and facts.value is not None and facts.value <= self.target:
            return f"val_bpb {facts.value:.6f} has reached the target of {self.target:g}"
        if self.plateau is not None and facts.since_keep >= self.plateau:
            return f"nothing was kept in the last {facts.since_keep} experiments"
        return ""
