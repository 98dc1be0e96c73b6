"""Pretrain a small GPT for a fixed time. This is the one file the agent edits: anything in it may change but the four
Session calls. The score is not computed here: after submit() the referee asks the model about text it never saw.

Reads top to bottom: model, optimiser, knobs, set-up, loop. Whatever shapes the forward pass must be in parameters,
registered buffers or constants, because the referee rebuilds the model from this file and the submitted weights.
"""

import math
import os
import shutil
import sys
import sysconfig
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from trainer import Session

# ---------------------------------------------------------------------------------------------------------------------
# Model


@dataclass(frozen=True)
class Shape:
    """What the model looks like."""

    vocab_size: int
    depth: int  # blocks
    width: int  # channels of the residual stream
    head_dim: int  # channels of one attention head


def norm(x: Tensor) -> Tensor:
    """RMS norm without a gain (Zhang & Sennrich 2019): the next matrix can scale by itself."""
    return F.rms_norm(x, (x.size(-1),))


class Rotary(nn.Module):
    """Rotary position embedding (Su et al. 2021, arXiv:2104.09864)."""

    def __init__(self, head_dim: int, base: float) -> None:
        super().__init__()
        self.register_buffer("frequency", base ** (-torch.arange(0, head_dim, 2) / head_dim), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """x is [B, T, heads, head_dim]."""
        angle = torch.outer(torch.arange(x.size(1), device=x.device), self.frequency)[:, None, :]
        cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        left, right = x.chunk(2, dim=-1)
        return torch.cat((left * cos + right * sin, right * cos - left * sin), dim=-1)


class Attention(nn.Module):
    """Causal self-attention with QK-norm, and on some layers a gated value embedding of the token itself."""

    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.heads, self.head_dim = shape.width // shape.head_dim, shape.head_dim
        self.qkv = nn.Linear(shape.width, 3 * shape.width, bias=False)
        self.out = nn.Linear(shape.width, shape.width, bias=False)
        self.gate = nn.Linear(GATE_CHANNELS, self.heads, bias=False) if layer % 2 == (shape.depth - 1) % 2 else None
        self.rotary = Rotary(shape.head_dim, ROPE_BASE)

    def forward(self, x: Tensor, value: Tensor | None) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, self.head_dim).unbind(2)
        if self.gate is not None and value is not None:
            share = 2 * torch.sigmoid(self.gate(x[..., :GATE_CHANNELS]))
            v = v + share[..., None] * value.view_as(v).to(v.dtype)
        q, k = norm(self.rotary(q)) * QK_SCALE, norm(self.rotary(k)) * QK_SCALE
        q, k, v = (t.transpose(1, 2).to(torch.float32 if FLOAT32_ATTENTION else v.dtype) for t in (q, k, v))
        with torch.autocast(x.device.type, enabled=False):
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):
    """Attention and a ReLU² MLP (So et al. 2021), each added to the residual stream."""

    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.attention = Attention(shape, layer)
        self.up = nn.Linear(shape.width, MLP_RATIO * shape.width, bias=False)
        self.down = nn.Linear(MLP_RATIO * shape.width, shape.width, bias=False)

    def forward(self, x: Tensor, value: Tensor | None) -> Tensor:
        x = x + self.attention(norm(x), value)
        return x + self.down(F.relu(self.up(norm(x))).square())


class GPT(nn.Module):
    """idx int64 [B, T] -> logits [B, T, vocab_size]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed = nn.Embedding(shape.vocab_size, shape.width)
        self.bigrams = nn.Embedding(BIGRAM_ROWS * shape.vocab_size, shape.width)
        self.values = nn.ModuleList(
            nn.Embedding(shape.vocab_size, shape.width)
            for layer in range(shape.depth)
            if layer % 2 == (shape.depth - 1) % 2
        )
        self.blocks = nn.ModuleList(Block(shape, layer) for layer in range(shape.depth))
        self.head = nn.Linear(shape.width, shape.vocab_size, bias=False)
        self.residual_scale = nn.Parameter(torch.ones(shape.depth))  # of the stream before each block
        self.embed_scale = nn.Parameter(torch.full((shape.depth,), 0.1))  # of the embedding added to it again
        self.bigram_scale = nn.Parameter(
            torch.full((shape.depth,), 0.1)
        )  # of the embedding of the last two tokens, a bigram
        self.init_weights()

    @torch.no_grad()
    def init_weights(self) -> None:
        bound = INIT_SCALE * math.sqrt(3 / self.shape.width)
        nn.init.normal_(self.embed.weight, std=EMBED_STD)
        nn.init.normal_(self.head.weight, std=0.001)
        nn.init.zeros_(self.bigrams.weight)
        for table in self.values:
            nn.init.uniform_(table.weight, -bound, bound)
        for block in self.blocks:
            nn.init.uniform_(block.attention.qkv.weight, -bound, bound)
            nn.init.uniform_(block.up.weight, -bound, bound)
            nn.init.zeros_(block.attention.out.weight)  # every block starts as the identity
            nn.init.zeros_(block.down.weight)
            if block.attention.gate is not None:
                nn.init.zeros_(block.attention.gate.weight)

    def forward(self, idx: Tensor) -> Tensor:
        # The referee calls the model outside the loop below, so the precision is chosen here.
        with torch.autocast(idx.device.type, PRECISION, enabled=PRECISION != torch.float32):
            x = first = norm(self.embed(idx))
            pair = self.bigrams(self.bigram_rows(idx))
            tables = iter(self.values)
            for layer, block in enumerate(self.blocks):
                value = next(tables)(idx) if block.attention.gate is not None else None
                x = self.residual_scale[layer] * x + self.embed_scale[layer] * first + self.bigram_scale[layer] * pair
                x = block(x, value)
            logits = self.head(norm(x))
        return SOFTCAP * torch.tanh(logits.float() / SOFTCAP) if SOFTCAP else logits

    def bigram_rows(self, idx: Tensor) -> Tensor:
        """The row of each token with the one before it, int64 [B, T], by a hash: pairs that collide share a row."""
        before = F.pad(idx[:, :-1], (1, 0))
        return (before * 36_313 + idx) % self.bigrams.num_embeddings


# ---------------------------------------------------------------------------------------------------------------------
# Optimiser


# Coefficients of the Polar Express (Amsel et al. 2025, arXiv:2505.16932): five steps towards the orthogonal factor.
POLAR_EXPRESS = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)


def orthogonalise(matrix: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrix, roughly, of each matrix of a stack [..., rows, columns]."""
    x = matrix.to(torch.bfloat16 if PRECISION == torch.bfloat16 else torch.float32)  # float16 has too small a range
    wide = x.size(-2) <= x.size(-1)
    x = x if wide else x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) * 1.02 + 1e-6)
    for a, b, c in POLAR_EXPRESS:
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x if wide else x.mT).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised (Jordan et al. 2024), with a per-row second moment (NorMuon, arXiv:2510.05491).

    For the matrices of the blocks; matrices of one shape are updated as one stack.
    """

    def __init__(self, parameters: list[nn.Parameter], lr: float, momentum: float, beta2: float, decay: float) -> None:
        shapes = sorted({tuple(parameter.shape) for parameter in parameters})
        groups = [{"params": [p for p in parameters if tuple(p.shape) == shape]} for shape in shapes]
        super().__init__(groups, {"lr": lr, "momentum": momentum, "beta2": beta2, "decay": decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            parameters = group["params"]
            gradient = torch.stack([parameter.grad for parameter in parameters])
            state = self.state[parameters[0]]
            if not state:
                state["momentum"] = torch.zeros_like(gradient)
                state["second"] = torch.zeros_like(gradient[..., :1])
            state["momentum"].lerp_(gradient, 1 - group["momentum"])
            update = orthogonalise(gradient.lerp(state["momentum"], group["momentum"]))  # Nesterov
            size = update.norm(dim=(-2, -1), keepdim=True)
            state["second"].lerp_(update.square().mean(dim=-1, keepdim=True), 1 - group["beta2"])
            update = update / (state["second"].sqrt() + 1e-8)
            update *= size / (update.norm(dim=(-2, -1), keepdim=True) + 1e-8)  # rows evened out, length kept
            rate = group["lr"] * max(1, gradient.size(-2) / gradient.size(-1)) ** 0.5
            for parameter, change in zip(parameters, update.unbind(), strict=True):
                agrees = change * parameter > 0  # cautious weight decay: only where it does not fight the step
                parameter.sub_(rate * (change + group["decay"] * parameter * agrees))


def adamw(groups: list[dict]) -> torch.optim.AdamW:
    """In one kernel where torch has it for this device, which it says by refusing."""
    options = {"betas": ADAM_BETAS, "eps": 1e-10, "weight_decay": 0.0}
    try:
        return torch.optim.AdamW(groups, fused=session.device.type in ("cpu", "cuda"), **options)
    except RuntimeError as error:
        print(f"AdamW is not fused: {error}", flush=True)
        return torch.optim.AdamW(groups, **options)


def optimisers(model: GPT) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for everything else; rates as the knobs say."""
    blocks = list(model.blocks.parameters())
    matrices = [p for p in blocks if min(p.shape) > GATE_CHANNELS]
    gates = [p for p in blocks if min(p.shape) <= GATE_CHANNELS]
    adam = [
        {"params": [model.embed.weight, model.bigrams.weight, *model.values.parameters()], "lr": EMBED_LR},
        {"params": [model.head.weight], "lr": HEAD_LR},
        {"params": [model.residual_scale, model.embed_scale, model.bigram_scale, *gates], "lr": SCALAR_LR},
    ]
    made = [adamw(adam), Muon(matrices, MATRIX_LR, MUON_MOMENTUM, MUON_BETA2, MATRIX_DECAY)]
    for optimiser in made:
        for group in optimiser.param_groups:
            group["peak_lr"] = group["lr"]
    return made


# ---------------------------------------------------------------------------------------------------------------------
# Knobs. Those that depend on the machine are in the table; a batch is in rows of `session.sequence_length` tokens.


def fast_precision(device: torch.device) -> torch.dtype:
    """The type in which matrices are multiplied fastest: a question of the chip's instructions."""
    if device.type == "cpu":
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return torch.bfloat16 if fast else torch.float32
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    tensor_cores = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (7, 0)  # Volta, Turing
    return torch.float16 if tensor_cores else torch.float32


def has_compiler(device: torch.device) -> bool:
    """Whether kernels can be compiled here: that takes the headers of Python and a compiler, for a GPU (Triton) of C,
    for a CPU of C++. The server has tried it, and says so if it does not work.
    """
    variable, names = ("CC", ("gcc", "clang")) if device.type == "cuda" else ("CXX", ("g++",))
    compilers = (os.environ[variable],) if os.environ.get(variable) else names
    headers = os.path.join(sysconfig.get_path("include"), "Python.h")
    works = sys.platform == "linux" and os.environ.get("TORCHDYNAMO_DISABLE") != "1" and os.path.exists(headers)
    return works and any(map(shutil.which, compilers))


session = Session()
GPU = session.device.type == "cuda"
LONG = session.budget_seconds >= 120  # enough for a deeper model, and to wait for a compiler before the clock starts

#                 depth width head batch micro  (batch: rows an optimiser step; micro: rows a forward pass)
MACHINES = {
    "smoke": (1, 32, 32, 4, 4),
    "cpu": (3 if LONG else 2, 128, 64, 4, 4),
    "mps-8gb": (3, 128, 64, 8, 8),
    "mps-16gb": (4, 128, 64, 16, 16),
    "mps": (4, 256, 64, 16, 16),
    "gpu-4gb": (4, 192, 64, 32, 16),
    "gpu-8gb": (5, 256, 64, 64, 32),
    "gpu-12gb": (6, 256, 64, 64, 64),
    "gpu-16gb": (6, 320, 64, 128, 64),
    "gpu-24gb": (7, 320, 64, 128, 32),
    "gpu-48gb": (8, 384, 128, 128, 64),
    "gpu-small": (6, 384, 64, 64, 32),
    "gpu": (9, 512, 128, 256, 64),
}
DEPTH, WIDTH, HEAD_DIM, BATCH_ROWS, MICRO_ROWS = MACHINES[session.profile]
PRECISION = fast_precision(session.device)  # of matrix products; sums, softmax and weights stay in float32
FLOAT32_ATTENTION = session.device.type == "cpu"  # there the kernel's backward pass is slower in bfloat16
# The first that has a kernel for this GPU, this precision and these heads is taken.
ATTENTION_KERNELS = [
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]
WORTH_COMPILING = GPU or (session.device.type == "cpu" and LONG)  # on a CPU a minute, for a third more steps
COMPILE = WORTH_COMPILING and has_compiler(session.device)

MLP_RATIO = 4  # hidden channels of the MLP per channel of the stream
BIGRAM_ROWS = 5  # rows of the table of token pairs for each token of the vocabulary
GATE_CHANNELS = 12  # channels that decide how much of the value embedding is let in
ROPE_BASE = 200_000.0 if GPU else 10_000.0  # longest wavelength, in tokens / 2π
QK_SCALE = 1.15  # sharpens attention after QK-norm
# Logits stay within ±SOFTCAP, 0 is no limit: on a CPU the tanh alone would take a third of the step.
SOFTCAP = 15.0 if GPU else 0.0
INIT_SCALE = 0.68  # of the uniform initialisation, 1 keeps the variance
EMBED_STD = 0.8

MATRIX_LR = 0.02  # Muon, matrices of the blocks
EMBED_LR = 0.3 if GPU else 0.15  # AdamW, embeddings of tokens, of pairs of them, and of values
HEAD_LR = 0.008  # AdamW, unembedding
SCALAR_LR = 0.02  # AdamW, scales and gates
ADAM_BETAS = (0.8, 0.95)
MUON_MOMENTUM = 0.95
MUON_BETA2 = 0.9
MATRIX_DECAY = 0.1  # relative to the rate
WARMUP = 0.02  # share of the time in which the rates rise
WARMDOWN = 0.6  # share of the time in which they fall
FINAL_LR = 0.05  # what they fall to, as a share of the peak
LOG_EVERY = 10  # steps between two prints


# ---------------------------------------------------------------------------------------------------------------------
# Set-up: nothing here is on the clock


def rate(progress: float) -> float:
    """The learning rate's share of its peak: up, level, and down to FINAL_LR."""
    if progress < WARMUP:
        return max(progress / WARMUP, 0.05)
    falling = max(0.0, (progress - (1 - WARMDOWN)) / WARMDOWN)
    return 1 - falling * (1 - FINAL_LR)


device = session.device
torch.set_float32_matmul_precision("high")
if GPU:
    attention_kernels = sdpa_kernel(ATTENTION_KERNELS, set_priority=True)
    attention_kernels.__enter__()  # for good: the referee calls the model, too
model = GPT(Shape(session.vocab_size, DEPTH, WIDTH, HEAD_DIM)).to(device)
updates = optimisers(model)
micro_rows = MICRO_ROWS  # fewer where the memory does not hold them


def new_scaler() -> torch.amp.GradScaler:
    """Gradients of float16 are scaled up, or the small ones would be zero; a step with one too large is left out."""
    return torch.amp.GradScaler(device.type, init_scale=2.0**12, enabled=PRECISION == torch.float16)


scaler = new_scaler()


def eager_loss(batch: Tensor) -> Tensor:
    """Mean loss in nats per token of rows [B, T + 1]."""
    return F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())


loss_of = torch.compile(eager_loss, dynamic=False) if COMPILE else eager_loss
if WORTH_COMPILING and not COMPILE:
    print("eager: torch.compile is off, or has no compiler or no Python.h here", flush=True)


def train_step(batches: list[Tensor], lr_share: float, look: bool = False) -> tuple[float, float | None]:
    """One optimiser step over micro-batches [rows, T + 1].

    Returns:
        The mean loss in nats per token; the norm of all gradients, if `look`.
    """
    total = torch.zeros((), device=device)
    for batch in batches:
        loss = loss_of(batch) / len(batches)
        scaler.scale(loss).backward()
        total += loss.detach()
    for optimiser in updates:
        scaler.unscale_(optimiser)
    size = float(nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])) if look else None
    for optimiser in updates:
        for group in optimiser.param_groups:
            group["lr"] = group["peak_lr"] * lr_share
        scaler.step(optimiser)
        optimiser.zero_grad(set_to_none=True)
    scaler.update()
    return total.item(), size


def give_up(error: Exception) -> None:
    """Do with less after `error`: with smaller micro-batches, else without the compiler; else raise it again."""
    global micro_rows, loss_of
    starved = isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error) or "ALLOC_FAILED" in str(error)
    if starved and micro_rows > 1:
        micro_rows = max(rows for rows in range(1, micro_rows // 2 + 1) if BATCH_ROWS % rows == 0)
        print(f"out of memory: micro-batches of {micro_rows} rows, the batch stays {BATCH_ROWS}", flush=True)
    elif loss_of is not eager_loss and not starved:
        loss_of = eager_loss
        print(f"eager: torch.compile failed: {type(error).__name__}: {str(error)[:300]}", flush=True)
    else:
        raise error


def warm_up() -> None:
    """Compile and allocate on random tokens, then forget what was learnt. What the device cannot do is given up."""
    global scaler
    weights = {name: tensor.to("cpu", copy=True) for name, tensor in model.state_dict().items()}
    noise = torch.randint(session.vocab_size, (MICRO_ROWS, session.sequence_length + 1), device=device)
    rehearsed = 0
    while rehearsed < (2 if GPU else 1):  # the second step finds the optimisers' memory taken
        try:
            # Of several micro-batches, the second finds the gradients' memory taken.
            train_step([noise[:micro_rows]] * min(2, BATCH_ROWS // micro_rows), 0.0)
        except Exception as error:
            if device.type == "cpu":
                raise
            give_up(error)
        else:
            rehearsed += 1
            continue
        # The step may have ended anywhere, also between two parts of an optimiser's state.
        rehearsed, scaler = 0, new_scaler()
        model.zero_grad(set_to_none=True)
        for optimiser in updates:
            optimiser.state.clear()
        if GPU:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
    model.load_state_dict(weights)
    for optimiser in updates:
        optimiser.state.clear()


if not session.replica:  # which only answers for weights that were trained elsewhere
    warm_up()

# ---------------------------------------------------------------------------------------------------------------------
# Loop

tokens = session.start()
pool = tokens.view(torch.int16)  # torch can take rows of it; of uint16 it cannot
if not GPU or torch.cuda.mem_get_info()[0] > 2 * pool.nbytes:
    pool = pool.to(device)
columns = torch.arange(session.sequence_length + 1, device=pool.device)
rows_per_epoch = (len(pool) - 1) // session.sequence_length
step, order = 0, torch.empty(0, dtype=torch.int64)


def next_rows(count: int) -> Tensor:
    """The next rows int64 [count, T + 1]: every epoch cuts the text at another offset and shuffles the rows."""
    global order
    if len(order) < count:
        offset = torch.randint(session.sequence_length, ()).item()
        order = torch.randperm(rows_per_epoch - 1) * session.sequence_length + offset
    chosen, order = order[:count], order[count:]
    return pool[chosen.to(pool.device)[:, None] + columns].to(device).long() & 0xFFFF


while session.training():
    batches = [next_rows(micro_rows) for _ in range(BATCH_ROWS // micro_rows)]
    share = rate(session.progress)
    loss, size = train_step(batches, share, look=session.due)
    step += 1
    session.log(loss=loss, tokens=BATCH_ROWS * session.sequence_length, lr=MATRIX_LR * share, grad_norm=size)
    if step % LOG_EVERY == 0:
        print(f"step {step} loss {loss:.3f} progress {session.progress:.0%}", flush=True)
    if math.isnan(loss):
        raise SystemExit("the loss is not a number")

session.submit(model)
