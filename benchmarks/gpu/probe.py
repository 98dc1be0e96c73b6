"""What torch says of the machine; and memory that one process marks and a later one looks for.

`python probe.py DEVICE about | mark BYTES | count BYTES`, a JSON object a line.
"""

import json
import os
import shutil
import sys
import sysconfig
import time
from typing import Any

_BEGUN = time.monotonic()

import torch  # noqa: E402

_MARK = 0x5EED_F00D_0123_4567


def about(device: str) -> dict[str, Any]:
    """Versions, the chip, and what can be compiled."""
    found: dict[str, Any] = {"import_seconds": round(time.monotonic() - _BEGUN, 1), "torch": torch.__version__}
    found |= {"python": sys.version.split()[0], "cuda": torch.version.cuda, "available": torch.cuda.is_available()}
    header = os.path.join(sysconfig.get_path("include"), "Python.h")
    found |= {name: shutil.which(name) for name in ("gcc", "g++", "clang", "nvcc")} | {
        "Python.h": os.path.exists(header)
    }
    try:
        import triton

        found["triton"] = triton.__version__
    except ImportError as error:
        found["triton"] = str(error)
    return found | _chip() if device == "cuda" else found


def _chip() -> dict[str, Any]:
    chip, begun = torch.cuda.get_device_properties(0), time.monotonic()
    torch.zeros(1, device="cuda")
    context = time.monotonic() - begun
    free, total = torch.cuda.mem_get_info()
    x = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    return {
        "name": chip.name,
        "capability": f"{chip.major}.{chip.minor}",
        "multiprocessors": chip.multi_processor_count,
        "context_seconds": round(context, 2),
        "free_gb": round(free / 2**30, 2),
        "total_gb": round(total / 2**30, 2),
        "bf16": torch.cuda.is_bf16_supported(including_emulation=False),
        "flash_sdpa": torch.backends.cuda.flash_sdp_enabled() and torch.backends.cuda.is_flash_attention_available(),
        "cudnn": torch.backends.cudnn.version(),
        "bf16_tflops": round(_tflops(x), 1),
    }


def _tflops(x: torch.Tensor) -> float:
    """Of a product of two square matrices, on random contents."""
    for _ in range(3):
        x @ x
    begun, over = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begun.record()
    for _ in range(20):
        x @ x
    over.record()
    torch.cuda.synchronize()
    return 20 * 2 * len(x) ** 3 / begun.elapsed_time(over) / 1e9


def mark(device: str, size: int) -> dict[str, Any]:
    """Fill so many bytes, and end without a word to the driver."""
    memory = torch.full((_affordable(device, size) // 8,), _MARK, dtype=torch.int64, device=device)
    return {"marked": _count(memory == _MARK)}


def count(device: str, size: int) -> dict[str, Any]:
    """Look for it in memory that this process never wrote."""
    memory = torch.empty(_affordable(device, size) // 8, dtype=torch.int64, device=device)
    return {"words": len(memory), "not_zero": _count(memory != 0), "marked": _count(memory == _MARK)}


def _affordable(device: str, size: int) -> int:
    return min(size, int(0.7 * torch.cuda.mem_get_info()[0])) if device == "cuda" else min(size, 64 << 20)


def _count(found: torch.Tensor) -> int:
    return int(torch.count_nonzero(found))


def main() -> None:
    device, what, *words = sys.argv[1:]
    found = {"about": about, "mark": mark, "count": count}[what](device, *map(int, words))
    print(json.dumps(found), flush=True)
    if what == "mark":
        os._exit(0)


if __name__ == "__main__":
    main()
