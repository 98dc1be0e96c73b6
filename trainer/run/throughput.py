"""What follows from the steps and tokens that train.py told, and the seconds that the referee counted. Pure."""

from typing import Any

# Dense bfloat16 with float32 sums in TFLOP/s, from NVIDIA's data sheets; the first that is part of the name counts.
_PEAKS = (
    ("B200", 2250.0),
    ("GH200", 989.4),
    ("H200", 989.4),
    ("H100 PCIe", 756.0),
    ("H100 NVL", 835.0),
    ("H100", 989.4),
    ("A100", 312.0),
    ("L40S", 362.0),
    ("L40", 181.0),
    ("L4", 121.0),
    ("A10G", 70.0),
    ("A10", 125.0),
    ("RTX 5090", 209.5),
    ("RTX 4090", 165.2),
    ("RTX 4080", 97.5),
    ("RTX 3090", 71.0),
)


def throughput(told: dict[str, Any], seconds: float, token_count: int) -> dict[str, float]:
    """Figures of a run's speed; those that cannot be known are absent.

    Args:
        told: figures of the right types. token_count: tokens of the training text.
    """
    steps, tokens, found = told.get("steps"), told.get("tokens"), dict[str, float]()
    if not seconds:  # of a preflight the kernel may count none
        return found
    if steps:
        found["ms_per_step"] = round(1000 * seconds / steps, 3)
    if tokens is not None:
        found |= {"tokens_per_second": round(tokens / seconds, 1), "epochs": round(tokens / token_count, 4)}
        share = utilisation(told.get("device", ""), tokens / seconds, told.get("matrix_parameters", 0))
        found |= {"mfu": round(share, 4)} if share else {}
    return found


def utilisation(device: str, tokens_per_second: float, matrix_parameters: int) -> float | None:
    """Model FLOP utilisation (PaLM, arXiv 2204.02311), without attention; None for a device of unknown peak.

    Args:
        matrix_parameters: those that take part in a product for every token, which costs six FLOP forward and backward
            (Kaplan et al. 2020); embeddings are looked up.
    """
    peak = next((tera for name, tera in _PEAKS if name in device), None)
    return None if peak is None else 6 * matrix_parameters * tokens_per_second / (peak * 1e12)
