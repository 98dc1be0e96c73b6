"""Pretrain a small GPT for a fixed time. This is the one file the agent edits: anything in it may change but the four
Session calls. The score is not computed here: after submit() the referee asks the model about text it never saw.

Reads top to bottom: model, optimiser, knobs, set-up, loop. Whatever shapes the forward pass must be in parameters,
registered buffers or constants, because the referee rebuilds the model from this file and the submitted weights.
"""

import ctypes
import math
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


class NGrams(nn.Module):
    """What n-gram counts say of the next token: interpolated Kneser-Ney with three discounts an order (Chen & Goodman
    1999), in sorted arrays (Heafield et al. 2013). An n-gram's id is its place in its array, and its key is the id of
    its first k - 1 tokens, times the size of the vocabulary, plus its last token. Two tokens are a dense table.
    """

    def __init__(self, vocab_size: int, orders: int, width: int) -> None:
        super().__init__()
        self.vocab_size, self.orders = vocab_size, range(2, orders + 1)
        self.hints = nn.Linear(2 * (orders - 2), width)
        self.own = nn.Linear(width, orders + 1)  # network, counts, each order alone from the longest
        self.match_bias = nn.Parameter(torch.tensor([0.0, 2.3, 3.0]))
        self.register_buffer("pairs", torch.full((vocab_size, vocab_size), 1 / vocab_size))
        self.register_buffer("means", torch.zeros(vocab_size, width))  # of the embeddings after each token, in the end
        for k in self.orders:
            self.register_buffer(f"keys{k}", torch.zeros(1, dtype=torch.int64))
            for name in ("value", "total", "spare"):  # an n-gram's count less its discount; a context's sums of both
                self.register_buffer(f"{name}{k}", torch.zeros(vocab_size))

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *rest: object) -> None:
        for name, buffer in self.named_buffers():  # the text decided how long they are
            setattr(self, name, torch.empty_like(state[prefix + name], device=buffer.device))
        super()._load_from_state_dict(state, prefix, *rest)

    @torch.no_grad()
    def count(self, tokens: Tensor) -> None:
        """Fill the arrays from a text, int64 [N]."""
        ids, keys, times, within = tokens, {}, {1: torch.zeros(self.vocab_size)}, {}
        for k in self.orders:
            found = ids[:-1] * self.vocab_size + tokens[k - 1 :]
            keys[k], longer, times[k] = torch.unique(found, return_inverse=True, return_counts=True)
            tail = torch.empty_like(keys[k])
            tail[longer] = ids[1:]  # what is left without the first token
            within[k - 1] = torch.bincount(tail, minlength=len(times[k - 1]))  # the contexts it occurs in
            ids = longer
        shorter = F.normalize(within[1] + 0.5, p=1, dim=0)
        for k in self.orders:
            count = within.get(k, times[k])
            n = [int((count == i).sum()) + 1 for i in (1, 2, 3, 4)]
            cut = [max(i - (i + 1) * n[0] / (n[0] + 2 * n[1]) * n[i] / n[i - 1], 0.1) for i in (1, 2, 3)]
            discount = torch.tensor([0.0, *cut])[count.clamp(max=3)]
            context, empty = keys[k] // self.vocab_size, torch.zeros(len(times[k - 1]))
            total, spare = (empty.index_add(0, context, of_each) for of_each in (count.float(), discount))
            found = {"keys": keys[k], "value": count - discount, "total": total, "spare": spare}
            for name, tensor in found.items():
                setattr(self, f"{name}{k}", tensor)
        total = self.total2.clamp(min=1)
        torch.outer(torch.where(self.total2 > 0, self.spare2 / total, 1.0), shorter, out=self.pairs)
        self.pairs.view(-1).index_add_(0, self.keys2, self.value2 / total[self.keys2 // self.vocab_size])

    @torch.no_grad()
    def forward(self, idx: Tensor) -> tuple[Tensor, Tensor, list[tuple[Tensor, Tensor, Tensor]]]:
        """Where the next tokens' probabilities come from: the share of the pairs [B, T, 1]; hints how far to trust the
        counts [B, T, 2 * orders - 4]; of each order, from the longest, rows of B * T, tokens, what they add to the
        probabilities, and their probabilities by this order alone.
        """
        context, contexts = idx, {}
        for k in self.orders[:-1]:
            key, keys = F.pad(context[:, :-1], (1, 0), value=-1) * self.vocab_size + idx, getattr(self, f"keys{k}")
            found = torch.searchsorted(keys, key).clamp(max=len(keys) - 1)
            context = torch.where(keys[found] == key, found, -1)
            contexts[k + 1] = context.flatten()
        rest = torch.ones(idx.numel(), device=idx.device)  # of the probability, left for shorter contexts
        row = torch.arange(idx.numel(), device=idx.device)
        hints, found = [], []
        for k in reversed(self.orders[1:]):
            keys, context = getattr(self, f"keys{k}"), contexts[k]
            total, spare = (getattr(self, f"{name}{k}")[context.clamp(min=0)] for name in ("total", "spare"))
            known = (context >= 0) & (total > 0)
            first, last = (torch.searchsorted(keys, (context + i) * self.vocab_size) for i in (0, 1))
            size = (last - first) * known
            rows = row.repeat_interleave(size)
            place = torch.arange(len(rows), device=idx.device) + (first - size.cumsum(0) + size)[rows]
            token, value = keys[place] % self.vocab_size, getattr(self, f"value{k}")[place]
            found.append((rows, token, value * (rest / total)[rows], value / (total - spare)[rows]))
            rest = torch.where(known, rest * spare / total, rest)
            hints += [torch.log1p(total * known), rest]
        return rest.view(*idx.shape, 1), torch.stack(hints, 1).view(*idx.shape, -1), found

    @torch.no_grad()
    def expected(self, idx: Tensor, counts: tuple, embedding: Tensor) -> Tensor:
        """The mean embedding of the next token [B, T, width], as the counts expect it."""
        tokens, place = idx.unique(return_inverse=True)
        means = (self.pairs[tokens] @ embedding)[place] if self.training else self.means[idx]
        mean = (counts[0] * means).flatten(0, 1)
        for rows, token, share, _ in counts[2]:
            first = torch.searchsorted(rows, torch.arange(len(mean), device=idx.device))
            mean += F.embedding_bag(token, embedding, first, mode="sum", per_sample_weights=share)
        return mean.view(*idx.shape, -1)

    def mixed(self, idx: Tensor, x: Tensor, logits: Tensor, counts: tuple) -> Tensor:
        """Logarithms of the probabilities of network and counts together [B, T, vocab_size]."""
        shares, (rows, token, copied) = self.voices(x, idx, counts[1])
        table = logits.float().flatten(0, 1).softmax(1).mul_(shares[:, :1])
        table.addcmul_(shares[:, 1:2] * counts[0].view(-1, 1) + shares[:, -1:], self.pairs[idx.flatten()])
        table.view(-1).index_add_(0, rows * self.vocab_size + token, copied)
        for (rows, token, share, value), order in zip(counts[2], shares.unbind(1)[2:-1], strict=True):
            both = share * shares[rows, 1] + value * order[rows]
            table.view(-1).index_add_(0, rows * self.vocab_size + token, both)
        return table.log_().view_as(logits)

    def loss(self, idx: Tensor, target: Tensor, x: Tensor, of_net: Tensor, counts: tuple) -> Tensor:
        """The same mixture's mean loss in nats at the next tokens, int64 [B, T], without the table; of_net [B * T] are
        logarithms of what the network says. It learns from its own loss as well, which is not in the value.
        """
        shares, (rows, token, copied) = self.voices(x, idx, counts[1])
        target = target.flatten()
        right = (shares[:, 1] * counts[0].flatten() + shares[:, -1]) * self.pairs[idx.flatten(), target]
        right = right + shares[:, 0] * of_net.exp()
        right = right.index_add(0, rows, copied * (token == target[rows]))
        for (rows, token, share, value), order in zip(counts[2], shares.unbind(1)[2:-1], strict=True):
            hit = (token == target[rows]).nonzero()[:, 0]
            both = share[hit] * shares[rows[hit], 1] + value[hit] * order[rows[hit]]
            right = right.index_add(0, rows[hit], both)
        return -right.log().mean() - OWN_LOSS * (of_net - of_net.detach()).mean()

    def voices(self, x: Tensor, idx: Tensor, hints: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """Shares of network, counts, each order alone [B * T, orders + 2] (Neubig & Dyer 2016); a pointer (Merity et
        al. 2016) to what followed each earlier match of one to three tokens: rows, tokens and shares.
        """
        match = same = (idx[:, :, None] == idx[:, None, :]).tril(-1)
        length = torch.zeros_like(same, dtype=torch.uint8)
        for _ in self.match_bias:
            length += match
            match = F.pad(match[:, :-1, :-1], (1, 0, 1, 0)) & same
        place, at = length.flatten(0, 1).nonzero().unbind(1)
        token = idx[place // idx.size(1), at + 1]
        unknown = F.pad(hints[..., ::2] == 0, (2, 1))
        own = self.own(x.float()).masked_fill(unknown, -math.inf).flatten(0, 1).exp()
        score = F.embedding(length.flatten(0, 1)[place, at].long() - 1, self.match_bias[:, None])[:, 0].exp()
        total = own.sum(1).index_add(0, place, score)
        return own / total[:, None], (place, token, score / total[place])


class GPT(nn.Module):
    """idx int64 [B, T] -> logits [B, T, vocab_size]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.ngrams = NGrams(shape.vocab_size, NGRAM_ORDERS, shape.width) if NGRAM_ORDERS else None
        self.embed = nn.Embedding(shape.vocab_size, shape.width)
        self.bigrams = nn.Embedding(BIGRAM_ROWS * shape.vocab_size, shape.width) if self.ngrams is None else None
        tables = range((shape.depth - 1) % 2, shape.depth, 2)
        self.values = nn.ModuleList(nn.Embedding(shape.vocab_size, shape.width) for _ in tables)
        self.blocks = nn.ModuleList(Block(shape, layer) for layer in range(shape.depth))
        self.head = nn.Linear(shape.width, shape.vocab_size, bias=False)
        self.residual_scale = nn.Parameter(torch.ones(shape.depth))  # of the stream before each block
        self.embed_scale = nn.Parameter(torch.full((shape.depth,), 0.1))  # of the embedding added to it again
        self.known_scale = nn.Parameter(torch.full((shape.depth,), 0.1))  # of what pairs or counts tell of it
        self.init_weights()

    @torch.no_grad()
    def init_weights(self) -> None:
        bound = INIT_SCALE * math.sqrt(3 / self.shape.width)
        nn.init.normal_(self.embed.weight, std=EMBED_STD)
        nn.init.normal_(self.head.weight, std=0.001)
        if self.ngrams is None:
            nn.init.zeros_(self.bigrams.weight)
        else:
            nn.init.zeros_(self.ngrams.own.weight)
            nn.init.zeros_(self.ngrams.hints.weight)
            self.ngrams.own.bias.copy_(torch.tensor([0.5, 2.5, *[-1.0] * (NGRAM_ORDERS - 1)]))
        for table in self.values:
            nn.init.uniform_(table.weight, -bound, bound)
        for block in self.blocks:
            for matrix in (block.attention.qkv, block.up):
                nn.init.uniform_(matrix.weight, -bound, bound)
            for matrix in (block.attention.out, block.down, block.attention.gate):  # it starts as the identity
                if matrix is not None:
                    nn.init.zeros_(matrix.weight)

    @torch.no_grad()
    def embed_counts(self) -> None:
        """Begin with embeddings that know the whole text: the first singular vectors of the pairs' positive pointwise
        mutual information (Levy & Goldberg 2014), of each token as the first and as the second of a pair.
        """
        often = self.ngrams.total2 / self.ngrams.total2.sum()
        likelier = (self.ngrams.pairs / (often @ self.ngrams.pairs)).log_().clamp_(min=0)
        first, size, second = torch.svd_lowrank(likelier, self.shape.width // 2)
        self.embed.weight.copy_(EMBED_STD * norm(torch.cat((first * size.sqrt(), second * size.sqrt()), 1)))

    def forward(self, idx: Tensor, target: Tensor | None = None) -> Tensor:
        """The logits; or, given the next tokens int64 [B, T], the mean loss in nats."""
        if self.ngrams is None:
            logits = self.logits(self.network(idx))
            return logits if target is None else F.cross_entropy(logits.flatten(0, 1), target.flatten())
        counts = self.ngrams(idx)
        x = self.network(idx, self.ngrams.expected(idx, counts, self.embed.weight), counts[1])
        if target is None:
            return self.ngrams.mixed(idx, x, self.logits(x), counts)
        return self.ngrams.loss(idx, target, x, self.sampled(x, target), counts)

    def logits(self, x: Tensor) -> Tensor:
        """The network's logits [B, T, vocab_size]."""
        with torch.autocast(x.device.type, PRECISION, enabled=PRECISION != torch.float32):
            logits = self.head(x)
        return SOFTCAP * torch.tanh(logits.float() / SOFTCAP) if SOFTCAP else logits

    def sampled(self, x: Tensor, target: Tensor) -> Tensor:
        """Logarithms of the network's probabilities of the next tokens [B * T], from a part of the vocabulary (Jean et
        al. 2015): the frequent tokens, those that come next, and random ones, which stand for all others.
        """
        often = self.ngrams.total2.topk(min(SAMPLED, len(self.ngrams.total2))).indices
        surely = torch.cat((often, target.flatten())).unique()
        others = self.shape.vocab_size - len(surely)
        chance = torch.rand(self.shape.vocab_size, device=x.device).index_fill(0, surely, 2.0)
        drawn = chance.topk(min(SAMPLED, others), largest=False).indices
        many = torch.full((len(drawn),), math.log(max(1, others / SAMPLED)), device=x.device)
        rows = F.embedding(torch.cat((surely, drawn)), self.head.weight)
        logits = F.linear(x.float().flatten(0, 1), rows, F.pad(many, (len(surely), 0)))
        place = torch.searchsorted(surely, target.flatten())
        return -F.cross_entropy(logits, place, reduction="none")

    def network(self, idx: Tensor, *counted: Tensor) -> Tensor:
        """What the head reads [B, T, width]; given what the counts say, if any."""
        # The referee calls the model outside the loop below, so the precision is chosen here.
        with torch.autocast(idx.device.type, PRECISION, enabled=PRECISION != torch.float32):
            x = first = norm(self.embed(idx))
            if self.ngrams is None:
                hashed = (F.pad(idx[:, :-1], (1, 0)) * 36_313 + idx) % self.bigrams.num_embeddings
                known = self.bigrams(hashed)
            else:
                known = norm(counted[0]) + self.ngrams.hints(counted[1])
            tables = iter(self.values)
            for layer, block in enumerate(self.blocks):
                value = next(tables)(idx) if block.attention.gate is not None else None
                x = self.residual_scale[layer] * x + self.embed_scale[layer] * first + self.known_scale[layer] * known
                x = block(x, value)
            return norm(x)


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
    for a, b, c in POLAR_EXPRESS[2 if NGRAM_ORDERS else 0 :]:  # for small matrices the last three do
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


def optimisers(model: GPT) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for everything else; rates as the knobs say."""
    blocks = list(model.blocks.parameters())
    matrices = [p for p in blocks if min(p.shape) > GATE_CHANNELS]
    gates = [p for p in blocks if min(p.shape) <= GATE_CHANNELS]
    pairs, mixture = (module.parameters() if module is not None else [] for module in (model.bigrams, model.ngrams))
    adam = [
        {"params": [model.embed.weight, *pairs, *model.values.parameters()], "lr": EMBED_LR},
        {"params": [model.head.weight], "lr": HEAD_LR},
        {"params": [model.residual_scale, model.embed_scale, model.known_scale, *mixture, *gates], "lr": SCALAR_LR},
    ]
    fused = session.device.type in ("cpu", "cuda")
    adamw = torch.optim.AdamW(adam, betas=ADAM_BETAS, eps=1e-10, weight_decay=0.0, fused=fused)
    return [adamw, Muon(matrices, MATRIX_LR, MUON_MOMENTUM, MUON_BETA2, MATRIX_DECAY)]


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


session = Session()
GPU = session.device.type == "cuda"
LONG = session.budget_seconds >= 120  # enough for a deeper model, and to wait for a compiler before the clock starts

#                 depth width head batch micro  (batch: rows an optimiser step; micro: rows a forward pass)
MACHINES = {
    "smoke": (1, 32, 32, 4, 4),
    "cpu": (3, 128, 64, 4, 4) if LONG else (2, 64, 32, 4, 4),
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
KERNELS = "FLASH_ATTENTION", "CUDNN_ATTENTION", "EFFICIENT_ATTENTION", "MATH"
WORTH_COMPILING = GPU or (session.device.type == "cpu" and LONG)  # on a CPU a minute, for a third more steps
COMPILE = WORTH_COMPILING and session.has_compiler

NGRAM_ORDERS = 5 if session.profile == "cpu" else 0  # the longest n-grams that are counted, 0 for none
FOLD = 400_000  # tokens that are trained on while the others are counted
MLP_RATIO = 4  # hidden channels of the MLP per channel of the stream
GATE_CHANNELS = 12  # channels that decide how much of the value embedding is let in
ROPE_BASE = 200_000.0 if GPU else 10_000.0  # longest wavelength, in tokens / 2π
QK_SCALE = 1.15  # sharpens attention after QK-norm
# Logits stay within ±SOFTCAP, 0 is no limit: on a CPU the tanh alone would take a third of the step.
SOFTCAP = 15.0 if GPU else 0.0
INIT_SCALE = 0.68  # of the uniform initialisation, 1 keeps the variance
EMBED_STD = 0.8

BIGRAM_ROWS = 5  # where no n-grams are counted: rows of the table of token pairs for each token of the vocabulary
SAMPLED = 400  # tokens of the vocabulary that are always in the softmax of a step, and again as many that are drawn
OWN_LOSS = 0.5  # weight of the network's own loss beside that of the mixture with the counts
MATRIX_LR = 0.02  # Muon, matrices of the blocks
EMBED_LR = 0.3 if GPU else 0.03 if NGRAM_ORDERS else 0.15  # AdamW, embeddings of tokens, of pairs, and of values
HEAD_LR = 0.008  # AdamW, unembedding
SCALAR_LR = 0.02  # AdamW, scales and gates
ADAM_BETAS = (0.8, 0.95)
MUON_MOMENTUM = 0.95
MUON_BETA2 = 0.9
MATRIX_DECAY = 0.1  # relative to the rate
WARMUP = 0.02  # share of the time in which the rates rise
WARMDOWN = 0.6  # share of the time in which they fall
FINAL_LR = 0.05  # what they fall to, as a share of the peak
LOG_EVERY = 25  # steps between two prints


# ---------------------------------------------------------------------------------------------------------------------
# Set-up: nothing here is on the clock


def rate(progress: float) -> float:
    """The learning rate's share of its peak: up, level, and down to FINAL_LR."""
    if progress < WARMUP:
        return max(progress / WARMUP, 0.05)
    falling = max(0.0, (progress - (1 - WARMDOWN)) / WARMDOWN)
    return 1 - falling * (1 - FINAL_LR)


device = session.device
if device.type == "cpu" and hasattr(ctypes.CDLL(None), "mallopt"):  # glibc gives freed pages back; new ones cost time
    for option, value in ((-4, 0), (-1, 2**31 - 1)):  # M_MMAP_MAX, M_TRIM_THRESHOLD
        ctypes.CDLL(None).mallopt(option, value)
torch.set_float32_matmul_precision("high")
if GPU:
    attention_kernels = sdpa_kernel([getattr(SDPBackend, name) for name in KERNELS], set_priority=True)
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
    return model(batch[:, :-1], batch[:, 1:])


loss_of = torch.compile(eager_loss, dynamic=False) if COMPILE and not NGRAM_ORDERS else eager_loss
if COMPILE and NGRAM_ORDERS:  # what comes from the counts has another length in each step
    model.network = torch.compile(model.network, dynamic=False)
if WORTH_COMPILING and not COMPILE:
    print("eager: torch.compile is off, or has no compiler or no Python.h here", flush=True)


def train_step(batches: list[Tensor], lr_share: float, look: bool = False) -> tuple[float, float | None]:
    """One optimiser step over micro-batches [rows, T + 1]: mean loss in nats per token; gradients' norm, if `look`."""
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
            group["lr"] = group.setdefault("peak_lr", group["lr"]) * lr_share
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

pool = session.start().view(torch.int16)  # torch can take rows of it; of uint16 it cannot
if not GPU or torch.cuda.mem_get_info()[0] > 2 * pool.nbytes:
    pool = pool.to(device)
fold = min(FOLD, len(pool) // 4) if model.ngrams is not None else len(pool)
begin, step, order = -fold, 0, torch.empty(0, dtype=torch.int64)


def read(text: Tensor) -> Tensor:
    """Token ids int64, on the device."""
    return text.to(device).long() & 0xFFFF


def next_rows(count: int) -> Tensor:
    """The next rows int64 [count, T + 1] of a part of the text, shuffled, or of the next part, cut at a random offset.
    N-grams are counted on the rest: on a text that was counted the model would learn to trust them too much.
    """
    global order, begin
    if len(order) < count:
        begin = begin + fold if begin + 2 * fold <= len(pool) else 0
        offset = begin + torch.randint(session.sequence_length, ()).item()
        order = torch.randperm((fold - 1) // session.sequence_length - 1) * session.sequence_length + offset
        if model.ngrams is not None:
            model.ngrams.count(read(torch.cat((pool[:begin], pool[begin + fold :]))))
            if step == 0:
                model.embed_counts()
    chosen, order = order[:count], order[count:]
    return read(pool[chosen.to(pool.device)[:, None] + torch.arange(session.sequence_length + 1, device=pool.device)])


counting = 0.0  # share of the time that it takes, also at the end
while (not counting or session.progress < 1 - 1.2 * counting) and session.training():
    batches = [next_rows(micro_rows) for _ in range(BATCH_ROWS // micro_rows)]
    counting = counting or (session.progress if model.ngrams is not None else 0.0)
    share = rate(session.progress)
    loss, size = train_step(batches, share, look=session.due)
    step += 1
    session.log(loss=loss, tokens=BATCH_ROWS * session.sequence_length, lr=MATRIX_LR * share, grad_norm=size)
    if step % LOG_EVERY == 0:
        print(f"step {step} loss {loss:.3f} progress {session.progress:.0%}", flush=True)
    if math.isnan(loss):
        raise SystemExit("the loss is not a number")

if model.ngrams is not None and not session.replica:
    model.ngrams.count(read(pool))
    model.ngrams.means = (model.ngrams.pairs @ model.embed.weight).detach()
session.submit(model)
