"""The weights of a model: under which names they are handed in and loaded, and how long it takes to write them.

torch.compile(module) gives a wrapper, in which every name has one part more. The replica compiles nothing and has no
wrappers. So weights are handed in under the names without any, wherever in the model the wrappers are. And a wrapper
that is compiled again is a function, no module: what has a further name in the replica may have none in the candidate.
"""

import gc
import io
import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

_WRAPPED = "_orig_mod"  # where a wrapper keeps the module
_SAMPLE_BYTES = 16 << 20
_MARGIN = 1.5  # large weights are written more slowly for each byte


def unwrapped(model: nn.Module) -> nn.Module:
    """The module that was given to torch.compile, or `model` itself."""
    while _is_wrapper(model):
        model = getattr(model, _WRAPPED)
    return model


def freeze(model: nn.Module) -> io.BytesIO:
    """The weights as they are now, under the names without wrappers."""
    file = io.BytesIO()
    torch.save(_renamed(model.state_dict(), _shortener(model)), file)
    return file


def thaw(model: nn.Module, weights: bytes | bytearray, device: torch.device) -> None:
    """Load what `freeze` gave into a model of the same structure, whether or not parts of it are wrapped.

    Raises:
        RuntimeError: the model has other weights.
    """
    state = torch.load(io.BytesIO(weights), map_location=device, weights_only=True)
    shorten = _shortener(model)
    own = {shorten(name): name for name in model.state_dict()} if shorten else {}
    state = _renamed(state, (lambda name: own.get(name, name)) if own else None)
    _match_names(state, model.state_dict())
    model.load_state_dict(state)


def writing_seconds(device: torch.device, clock: Callable[[], float]) -> float:
    """How long `freeze` will take, about, for all modules together: nobody knows yet which one is handed in."""
    modules = [found for found in gc.get_objects() if issubclass(type(found), nn.Module)]
    tables = [vars(module).get(name, {}) for module in modules for name in ("_parameters", "_buffers")]
    tensors = {id(found): found for table in tables for found in table.values() if _has_size(found)}
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    sample = torch.zeros(min(size, _SAMPLE_BYTES), dtype=torch.uint8, device=device)
    begun = clock()
    torch.save(sample, io.BytesIO())
    return _MARGIN * (clock() - begun) * max(1.0, size / _SAMPLE_BYTES)


def _has_size(found: object) -> bool:
    return isinstance(found, torch.Tensor) and not nn.parameter.is_lazy(found)


def _is_wrapper(module: nn.Module) -> bool:
    dynamo = sys.modules.get("torch._dynamo")  # to import it takes a second, and who has not done so has no wrappers
    return dynamo is not None and isinstance(module, dynamo.OptimizedModule)


def _shortener(model: nn.Module) -> Callable[[str], str] | None:
    """What takes the wrappers' parts out of a name of the model; None if there are none."""
    wrappers = [path for path, module in model.named_modules(remove_duplicate=False) if _is_wrapper(module)]
    if not wrappers:
        return None
    prefixes = [f"{path}." for path in sorted(wrappers, key=len, reverse=True)]  # the inner ones first

    def shorten(name: str) -> str:
        for prefix in prefixes:
            if name.startswith(whole := f"{prefix}{_WRAPPED}."):
                name = prefix + name.removeprefix(whole)
        return name

    return shorten


def _match_names(state: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Give `state` the further names of shared tensors that `wanted` has, and take from it those that it has not."""
    known = {_place(tensor): name for name, tensor in wanted.items() if name in state and _has_size(tensor)}
    for name in wanted.keys() - state.keys():
        if _has_size(wanted[name]) and (other := known.get(_place(wanted[name]))):
            state[name] = state[other]
    loaded = {_place(tensor) for name, tensor in state.items() if name in wanted and _has_size(tensor)}
    for name in state.keys() - wanted.keys():
        if _has_size(state[name]) and _place(state[name]) in loaded:
            del state[name]


def _place(tensor: torch.Tensor) -> tuple[Any, ...]:
    """What tensors have in common that are the same memory."""
    return tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride()


def _renamed(state: Any, rename: Callable[[str], str] | None) -> Any:
    """A state dict under other names, with the versions of the modules that torch keeps beside it."""
    if rename is None:
        return state
    renamed: Any = OrderedDict((rename(name), value) for name, value in state.items())
    versions = getattr(state, "_metadata", {})
    renamed._metadata = OrderedDict((rename(f"{path}.")[:-1], version) for path, version in versions.items())
    return renamed
