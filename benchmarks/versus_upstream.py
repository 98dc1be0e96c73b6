"""Our train.py against upstream's: the same tokens, tokenizer, minutes and referee, in turn.

    git clone https://github.com/karpathy/autoresearch ../upstream
    python benchmarks/versus_upstream.py --upstream ../upstream [--seconds 60] [--seeds 3] [--profile cpu]

Upstream is scaled to the machine as its README advises (benchmarks/upstream.py); `--depth` and `--batch` try whether
another size suits it better. On a CPU without bfloat16 it computes in float32, which is faster there. A window costs
its attention a dense mask here, which its own kernel does not need: on a GPU `--windows L` is the fair comparison of
speed. Without `--upstream` ours runs alone, which tells how far its score spreads over seeds. With `--together` both
train.py's of a seed run at the same time, each on a core of its own.
"""

import argparse
import platform
import statistics
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from run import TRAIN, run
from upstream import SIZES, Size, adapted

from server.records import Result


def told(result: Result) -> str:
    score, figures = result.score, result.figures
    assert score is not None
    return (
        f"val_bpb {score.value:.4f}, {figures.steps} steps, {figures.tokens or 0:,} tokens,"
        f" {figures.tokens_per_second or 0:,.0f} tokens/s, {figures.peak_memory_mb or 0:,.0f} MB,"
        f" {(figures.parameters or 0) / 1e6:.2f} M parameters, set-up {figures.setup_seconds or 0:.1f} s"
    )


def spread(scores: list[float]) -> str:
    deviation = f" σ {statistics.stdev(scores):.4f}" if len(scores) > 1 else ""
    return f"{statistics.mean(scores):.4f}{deviation}"


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upstream", type=Path, help="a checkout of karpathy/autoresearch")
    parser.add_argument("--seconds", type=float, default=60.0, help="training seconds a run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=42, help="the first seed, to go on with a comparison")
    parser.add_argument("--profile", choices=SIZES, default="cpu")
    parser.add_argument("--depth", type=int, help="upstream's DEPTH; default: its README's advice")
    parser.add_argument("--windows", help='upstream\'s WINDOW_PATTERN; default: "L" on a CPU, "SSSL" on a GPU')
    parser.add_argument("--batch", type=int, help="upstream's tokens an optimiser step; default: the same")
    parser.add_argument("--together", action="store_true", help="run both at the same time")
    return parser.parse_args()


def texts(chosen: argparse.Namespace) -> dict[str, str]:
    """The train.py's that run, in the order they run."""
    ours = {"ours": TRAIN.read_text(encoding="utf-8")}
    if chosen.upstream is None:
        return ours
    size = SIZES[chosen.profile]
    batch = chosen.batch or size.total_batch
    size = Size(chosen.depth or size.depth, batch, min(batch, size.forward), chosen.windows or size.windows)
    return {"upstream": adapted(chosen.upstream, chosen.profile, size, _emulates_bfloat16(chosen.profile))} | ours


def _emulates_bfloat16(profile: str) -> bool:
    """Whether upstream is faster in float32 here, so that it is compared in that."""
    if profile != "cpu":
        return False
    return not (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())  # pyright: ignore[reportPrivateUsage]


def main() -> None:
    chosen = options()
    competitors = texts(chosen)
    scores: dict[str, list[float]] = {name: [] for name in competitors}
    count = len(competitors) if chosen.together else 1
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(count) as at_once:

        def trained(name: str) -> Result:
            place = Path(folder) / f"{name}-{seed}"
            return run(place, competitors[name], chosen.profile, chosen.seconds, seed)[0]

        for seed in range(chosen.first, chosen.first + chosen.seeds):
            for name, result in zip(competitors, at_once.map(trained, competitors), strict=True):
                assert result.score is not None
                scores[name].append(result.score.value)
                print(f"{name}, seed {seed}: {told(result)}", flush=True)
    print(
        f"\n{chosen.seconds:g} s, {chosen.seeds} seeds, {platform.machine()} {platform.system()}, {torch.__version__}"
    )
    for name, values in scores.items():
        print(f"{name}: val_bpb {spread(values)}")
    if chosen.upstream is not None:
        upstream, ours = (statistics.mean(values) for values in scores.values())
        print(f"ours is {100 * (1 - ours / upstream):.1f} % lower")


if __name__ == "__main__":
    main()
