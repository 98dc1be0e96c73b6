"""Documents and questions by which the search of the reference library is measured.

The documents are real texts of this machine: docstrings of Python and of torch, descriptions of installed packages.
They are written anew each time, and none of them is kept. Each question names the document that answers it. The
questions were written before the search was, and use other words than the documents where they can.
"""

import importlib
import inspect
import pydoc
import textwrap
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType

_LEAST = 1500  # characters of a package's description
_MODULES = """
argparse ast asyncio.queues base64 bisect calendar cmd codecs collections colorsys concurrent.futures configparser
contextlib copy csv dataclasses datetime decimal difflib dis email.message enum filecmp fileinput fnmatch fractions
ftplib functools getpass gettext glob graphlib gzip hashlib heapq hmac html.parser http.client http.cookies imaplib
inspect io ipaddress itertools json keyword linecache locale logging lzma mailbox math mimetypes netrc operator optparse
pathlib pdb pickle pkgutil platform plistlib poplib pprint queue quopri random re reprlib sched secrets selectors shelve
shlex shutil signal smtplib socketserver statistics string struct subprocess symtable sysconfig tarfile tempfile
textwrap threading timeit token tokenize trace traceback tracemalloc types unittest.mock urllib.parse uuid warnings wave
weakref webbrowser wsgiref.simple_server xml.sax zipapp zipfile
""".split()
_OF_TORCH = """
torch.optim.Adam torch.optim.AdamW torch.optim.SGD torch.optim.RMSprop torch.optim.Adagrad torch.optim.LBFGS
torch.optim.lr_scheduler.CosineAnnealingLR torch.optim.lr_scheduler.CosineAnnealingWarmRestarts
torch.optim.lr_scheduler.LinearLR torch.optim.lr_scheduler.SequentialLR torch.optim.lr_scheduler.OneCycleLR
torch.optim.lr_scheduler.ReduceLROnPlateau torch.optim.swa_utils.AveragedModel torch.nn.utils.clip_grad_norm_
torch.nn.utils.clip_grad_value_ torch.utils.checkpoint.checkpoint torch.nn.functional.scaled_dot_product_attention
torch.nn.RMSNorm torch.nn.LayerNorm torch.nn.BatchNorm1d torch.nn.Embedding torch.nn.GELU torch.nn.SiLU torch.nn.Dropout
torch.nn.CrossEntropyLoss torch.nn.Linear torch.nn.LSTM torch.nn.MultiheadAttention torch.nn.TransformerEncoder
torch.amp.GradScaler torch.compile torch.nn.init.orthogonal_ torch.nn.init.kaiming_normal_ torch.utils.data.DataLoader
torch.nn.parallel.DistributedDataParallel torch.nn.utils.parametrizations.weight_norm torch.autograd.grad torch.einsum
torch.topk torch.multinomial torch.cumsum torch.where torch.linalg.qr torch.linalg.svd torch.fft.rfft
""".split()

# (question, id of the document that answers it)
QUESTIONS: tuple[tuple[str, str], ...] = (
    ("decouple weight decay from the gradient update of Adam", "torch.optim.AdamW"),
    ("anneal the learning rate along half a cosine down to a minimum", "torch.optim.lr_scheduler.CosineAnnealingLR"),
    (
        "restart the cosine schedule with longer and longer periods",
        "torch.optim.lr_scheduler.CosineAnnealingWarmRestarts",
    ),
    ("chain learning rate schedules one after the other at milestones", "torch.optim.lr_scheduler.SequentialLR"),
    ("lower the learning rate when a metric has stopped improving", "torch.optim.lr_scheduler.ReduceLROnPlateau"),
    ("limit the total norm of all gradients", "torch.nn.utils.clip_grad_norm_"),
    ("trade compute for memory: recompute activations in backward", "torch.utils.checkpoint.checkpoint"),
    ("fused attention kernel with a causal mask", "torch.nn.functional.scaled_dot_product_attention"),
    ("exponential moving average of a model's weights", "torch.optim.swa_utils.AveragedModel"),
    ("normalise by the root mean square", "torch.nn.RMSNorm"),
    ("lookup table of vectors for a fixed dictionary", "torch.nn.Embedding"),
    ("avoid underflow of float16 gradients by scaling the loss", "torch.amp.GradScaler"),
    ("start with a semi-orthogonal weight matrix", "torch.nn.init.orthogonal_"),
    ("label smoothing for classification", "torch.nn.CrossEntropyLoss"),
    ("command line options and usage messages", "argparse"),
    ("where to insert an item so that a list stays sorted", "bisect"),
    ("priority queue that gives the smallest item first", "heapq"),
    ("show differences between two lists of lines", "difflib"),
    ("topological order of a graph of dependencies", "graphlib"),
    ("exact rational numbers", "fractions"),
    ("run another program and capture its output", "subprocess"),
    ("cache the results of a function, least recently used goes first", "functools"),
    ("folder that is removed when it is no longer needed", "tempfile"),
    ("how long does a small snippet of code take", "timeit"),
    ("unguessable tokens for passwords", "secrets"),
    ("wrap a paragraph to a given width", "textwrap"),
    ("validate data by type hints", "package-pydantic"),
    ("library of n-dimensional arrays with linear algebra and Fourier transforms", "package-numpy"),
    ("property-based tests that shrink a failing example", "package-hypothesis"),
    ("CPU, memory, disks, network and processes of the system", "package-psutil"),
)


def build(folder: Path) -> list[str]:
    """Write the documents into a folder of Markdown; returns their ids."""
    folder.mkdir(parents=True, exist_ok=True)
    made: list[str] = []
    for name, title, text in _documents():
        front = f"---\nid: {name}\ntitle: {title}\nsource: installed on this machine\nkind: text\n---\n"
        (folder / f"{name}.md").write_text(f"{front}# {title}\n\n{text}\n", encoding="utf-8", errors="replace")
        made.append(name)
    return made


def _documents() -> Iterator[tuple[str, str, str]]:
    """(id, title, Markdown) of each."""
    for name in _MODULES:
        if text := _module(name):
            yield name, name, text
    for name in _OF_TORCH:
        if text := inspect.getdoc(pydoc.locate(name)):
            yield name, name, text
    for distribution in sorted(metadata.distributions(), key=lambda one: str(one.name).lower()):
        text = _description(distribution)
        if len(text) >= _LEAST:
            yield f"package-{distribution.name}", str(distribution.name), textwrap.dedent(text)


def _description(distribution: metadata.Distribution) -> str:
    """A package's README, as its metadata has it below the fields."""
    fields, _, text = (distribution.read_text("METADATA") or "").partition("\n\n")
    return text if fields.startswith("Metadata-Version") else ""


def _module(name: str) -> str:
    """What a module's docstrings say: its own, and under a heading each those of its public classes and functions."""
    try:
        module = importlib.import_module(name)
    except ImportError:
        return ""
    parts = [inspect.getdoc(module) or ""]
    for public, member in _members(module):
        if told := inspect.getdoc(member):
            parts.append(f"## {public}\n\n{told}")
    return "\n\n".join(filter(None, parts))


def _members(module: ModuleType) -> Iterator[tuple[str, object]]:
    names = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    for name in names:
        member = getattr(module, name, None)
        if inspect.isclass(member) or inspect.isroutine(member):
            yield name, member
