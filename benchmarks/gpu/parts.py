"""The parts of the check that measure: each gives figures for JSON, and lines for people."""

import os
from dataclasses import asdict, dataclass, field
from typing import Any

from upstream import SIZES, Size, adapted

from gpu import driver
from gpu.bench import HERE, Bench, Run
from gpu.packages import ROOT

TRAIN = (ROOT / "train.py").read_text(encoding="utf-8")
_EAGER = 'import os\n\nos.environ["TORCHDYNAMO_DISABLE"] = "1"\n'
_AUDITS = 2048  # positions at least
_SHORT = 6  # what only measures the audit trains for this part of the seconds


def stand_in(name: str) -> str:
    """A train.py of two pieces from the folder of stand-ins."""
    return "\n\n".join((HERE / "stand_ins" / f"{piece}.py").read_text(encoding="utf-8") for piece in ("bigram", name))


@dataclass
class Part:
    """What a part found out; `fault` says what is not as it must be."""

    data: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    fault: str = ""

    def add(self, name: str, run: Run) -> None:
        self.data[name] = run.told()
        self.lines += summary(name, run)
        if run.score is None:
            self.fault = self.fault or f"{name}: {run.outcome}: {run.reason}"


def summary(name: str, run: Run) -> list[str]:
    """A run in a few lines."""
    figures, measured = run.figures, run.measured
    score = "no score" if run.score is None else f"val_bpb {run.score:.4f}"
    lines = [f"{name}: {run.outcome}, {score}; {run.reason[:300]}"]
    told = {
        "tokens/s": figures.get("tokens_per_second"),
        "ms a step": figures.get("ms_per_step"),
        "MFU": figures.get("mfu"),
        "peak MB": figures.get("peak_memory_mb"),
        "steps": figures.get("steps"),
    }
    seconds = {
        "preflight": figures.get("preflight_seconds"),
        "set-up": figures.get("setup_seconds"),
        "training": figures.get("training_seconds"),
        "claims": measured.get("claims_seconds"),
        "audit": measured.get("audit_seconds"),
        "evaluation": figures.get("evaluation_seconds"),
        "beyond the budget": beyond(run),
    }
    lines.append("  " + ", ".join(f"{key} {value:,}" for key, value in told.items() if value is not None))
    lines.append("  seconds: " + ", ".join(f"{key} {value}" for key, value in seconds.items() if value is not None))
    if odd := {name: state for name, state in run.guards.items() if state != "held"}:
        lines.append(f"  guards that do not hold: {odd}")
    return lines


def beyond(run: Run) -> float | None:
    """Seconds of the whole run that are not training."""
    total, training = run.figures.get("total_seconds"), run.figures.get("training_wall_seconds")
    return None if total is None or training is None else round(total - training, 2)


def doctor(bench: Bench) -> Part:
    """The machine."""
    told = driver.state()
    chip = bench.probe("probe.py", "about")[0]
    part = Part({"driver": told, "torch": chip, "cores": os.cpu_count()})
    part.lines = [", ".join(f"{key} {value}" for key, value in found.items()) for found in (told, chip)]
    if not bench.dry and not chip["available"]:
        part.fault = "torch sees no GPU"
    return part


def smoke(bench: Bench) -> Part:
    """The smallest profile, on the CPU: the machinery itself."""
    part = Part()
    train = stand_in("honest") if bench.dry else TRAIN
    part.add("smoke", bench.run("smoke", train, profile="smoke", budget_seconds=min(2.0, bench.seconds)))
    return part


def gpu(bench: Bench) -> Part:
    """A baseline's run: nothing is compiled yet, and what it compiles is kept."""
    return _profile(bench, "gpu")


def gpu_small(bench: Bench) -> Part:
    """The same of the profile for smaller cards."""
    return _profile(bench, "gpu-small")


def _profile(bench: Bench, name: str) -> Part:
    part, kernels = Part(), str(bench.place / f"kernels-{name}")
    small = bench.dry and name != "gpu"  # dry, one run of all that train.py does is enough
    terms: dict[str, Any] = {"preflight": not small, "kernels": kernels, "keeps_kernels": True}
    part.add(name, bench.run(name, stand_in("honest") if small else TRAIN, profile=bench.profile(name), **terms))
    return part


def audit(bench: Bench) -> Part:
    """How far honest claims are from the replica's answers, of a model that was trained compiled, and eagerly.

    The first starts from the kernels of the baseline, as every later run of a study does.
    """
    from trainer.run.profiles import PROFILES

    part, profile = Part(), bench.profile("gpu")
    terms: dict[str, Any] = {"budget_seconds": max(bench.seconds / _SHORT, min(bench.seconds, 0.3))}
    terms["audit_factor"] = -(-_AUDITS // PROFILES[profile].audits) if not bench.dry else 2
    kernels = str(bench.place / "kernels-gpu")
    part.add("compiled", bench.run("compiled", TRAIN, kernels=kernels, preflight=not bench.dry, **terms))
    train = stand_in("honest") if bench.dry else TRAIN
    part.add("eager", bench.run("eager", _EAGER + train, **terms))
    for name, run in part.data.items():
        if found := run["measured"].get("audit"):
            part.lines.append(f"{name}: " + ", ".join(f"{key} {value:.3g}" for key, value in found.items()))
    part.lines.append(f"tolerances: {tolerances()}")
    part.data["tolerances"] = tolerances()
    return part


def tolerances() -> dict[str, Any]:
    """The audit's, for arithmetic that rounds."""
    from trainer.evaluators import audit as module

    return asdict(module.ROUNDED)


def attention(bench: Bench) -> Part:
    """Backends of attention at the shapes of train.py: rows, heads, tokens, channels of a head."""
    shapes = ("2,1,64,32",) if bench.dry else ("64,4,1024,128", "32,6,512,64", "64,4,2048,128")
    found = bench.probe("attention.py", *shapes, limit=45.0)
    part = Part({"layers": found})
    for one in found:
        part.lines.append(f"{one['shape']} {one['name']}: " + (f"{one['ms']} ms" if "ms" in one else one["error"]))
    return part


def upstream(bench: Bench) -> Part:
    """karpathy/autoresearch's train.py, on the same rows for the same seconds."""
    assert bench.upstream is not None
    usual = SIZES["gpu"]
    size = Size(1, 2**8, 2**8, "L") if bench.dry else Size(usual.depth, usual.total_batch, usual.forward, bench.windows)
    part = Part()
    text = adapted(bench.upstream, bench.profile("gpu"), size)
    part.add("upstream", bench.run("upstream", text))
    return part


def shapes(bench: Bench) -> Part:
    """The GPU profiles traced on fake tensors: no GPU is needed, and no error of shapes may show."""
    part = Part()
    for profile in ("gpu-small",) if bench.dry else ("gpu", "gpu-small"):
        machine = ("2,384,64,64,32",) if bench.dry else ()
        found = bench.probe("shapes.py", profile, *machine, limit=120.0)[0]
        part.data[profile] = found
        part.lines.append(f"{profile}: " + ", ".join(f"{name} {value:,}" for name, value in found.items()))
    return part
