"""Which attention works at a profile's shapes, and milliseconds of one layer, forward and backward.

`python attention.py DEVICE ROWS,HEADS,LENGTH,WIDTH ...`, a JSON object a line, the quick ones first.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

_ROUNDS = 20
_WINDOW = 256
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]  # of [B, H, T, D]


def sdpa(*backends: SDPBackend) -> Attention:
    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        with sdpa_kernel(list(backends)):
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    return attend


def windowed_mask(length: int, device: str) -> Attention:
    place = torch.arange(length, device=device)
    distance = place[:, None] - place[None, :]
    mask = (distance >= 0) & (distance < _WINDOW)
    return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def windowed_flash(length: int) -> Attention:
    """torch's own FlashAttention-2 with a window, which F.scaled_dot_product_attention does not offer."""

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        found = torch.ops.aten._flash_attention_forward(
            q, k, v, None, None, length, length, 0.0, True, False, window_size_left=_WINDOW, window_size_right=0
        )
        return found[0].transpose(1, 2)

    return attend


def flex(length: int, device: str) -> Attention:
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    def seen(_b: Tensor, _h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return (q >= k) & (q - k < _WINDOW)

    mask = create_block_mask(seen, None, None, length, length, device=device)
    compiled: Any = torch.compile(flex_attention, dynamic=False) if device == "cuda" else flex_attention
    return lambda q, k, v: compiled(q, k, v, block_mask=mask)


def candidates(length: int, device: str) -> Iterator[tuple[str, Callable[[], Attention]]]:
    """By name, what makes each."""
    for name in ("FLASH_ATTENTION", "CUDNN_ATTENTION", "EFFICIENT_ATTENTION", "MATH"):
        if backend := getattr(SDPBackend, name, None):
            yield f"sdpa {name.lower()}", lambda backend=backend: sdpa(backend)
    yield "sdpa, torch's choice", lambda: chosen
    yield f"dense mask, window {_WINDOW}", lambda: windowed_mask(length, device)
    yield f"aten flash, window {_WINDOW}", lambda: windowed_flash(length)


def slow_candidates(length: int, device: str) -> Iterator[tuple[str, Callable[[], Attention]]]:
    """Those that are compiled first; on a CPU there is none that goes backward."""
    if device == "cuda":
        yield f"flex_attention, window {_WINDOW}", lambda: flex(length, device)


def chosen(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def milliseconds(attend: Attention, shape: tuple[int, ...], device: str) -> float:
    """Of one forward and backward pass, on random contents."""
    kind = torch.bfloat16 if device == "cuda" else torch.float32
    q, k, v = (torch.randn(shape, device=device, dtype=kind, requires_grad=True) for _ in range(3))
    gradient = torch.randn_like(q)

    def once() -> None:
        q.grad = k.grad = v.grad = None
        attend(q, k, v).backward(gradient)

    rounds = _ROUNDS if device == "cuda" else 2
    for _ in range(3 if device == "cuda" else 1):
        once()
    if device == "cuda":
        torch.cuda.synchronize()
    begun = time.perf_counter()
    for _ in range(rounds):
        once()
    if device == "cuda":
        torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - begun) / rounds


def main() -> None:
    device, *words = sys.argv[1:]
    shapes = [tuple(map(int, word.split(","))) for word in words]
    for source in (candidates, slow_candidates):
        for shape in shapes:
            for name, make in source(shape[2], device):
                print(json.dumps(told(shape, name, make, device)), flush=True)


def told(shape: tuple[int, ...], name: str, make: Callable[[], Attention], device: str) -> dict[str, Any]:
    try:
        return {"shape": shape, "name": name, "ms": round(milliseconds(make(), shape, device), 4)}
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        return {"shape": shape, "name": name, "error": f"{type(error).__name__}: {lines[0][:120]}"}


if __name__ == "__main__":
    main()
