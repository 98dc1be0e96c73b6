"""karpathy/autoresearch's train.py, made to run here: its CUDA-only lines, its data and its clock replaced by name.

Its model, its optimiser and every knob that is not about the size of the machine stay as they are. Each replacement
names a text that must occur exactly once, so that another version of upstream fails loudly instead of being changed
halfway.
"""

from dataclasses import dataclass
from pathlib import Path

from trainer.run.profiles import PROFILES


@dataclass(frozen=True)
class Size:
    """Upstream's knobs for the size of the machine."""

    depth: int
    total_batch: int  # tokens an optimiser step
    forward: int  # tokens a forward pass
    windows: str


# Upstream's README on small machines: depth 4, windows "L", a total batch of 2**14. On a GPU its defaults.
SIZES = {"cpu": Size(4, 2**14, 2**14, "L"), "gpu": Size(8, 2**19, 2**18, "SSSL")}

_ATTENTION = """
class fa3:
    @staticmethod
    def flash_attn_func(q, k, v, causal, window_size):
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        if window_size[0] >= q.size(2):
            return F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2)
        place = torch.arange(q.size(2), device=q.device)
        distance = place[:, None] - place[None, :]
        seen = (distance >= 0) & (distance <= window_size[0])
        return F.scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(1, 2)

"""
_SESSION = """from trainer import Session

session = Session()
MAX_SEQ_LEN, TIME_BUDGET = session.sequence_length, session.budget_seconds

"""
# The rows ours trains on. Upstream's packing would begin every row with a document and throw the rest of it away.
_LOADER = '''
def make_dataloader(tokens, B, T):
    pool, columns, epoch = tokens.to(device, torch.int32), torch.arange(T + 1, device=device), 0
    while True:
        epoch += 1
        offset = torch.randint(T, ()).item()
        starts = torch.randperm((len(pool) - 1) // T - 1) * T + offset
        for chosen in starts[: len(starts) // B * B].split(B):
            rows = pool[chosen.to(device)[:, None] + columns].long()
            yield rows[:, :-1].contiguous(), rows[:, 1:].contiguous(), epoch


class Scored(nn.Module):
    """The referee calls the model outside the loop: with upstream's precision."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, idx):
        with autocast_ctx:
            return self.model(idx)


# Upstream does not count its first eleven steps, in which it compiles: here they are one step before the clock.
noise = torch.randint(vocab_size, (DEVICE_BATCH_SIZE, MAX_SEQ_LEN), device=device)
with autocast_ctx:
    model(noise, noise).backward()
for group in optimizer.param_groups:
    group["lr"] = 0.0
optimizer.step()
optimizer.state.clear()
model.zero_grad(set_to_none=True)
train_loader = make_dataloader(session.start(), DEVICE_BATCH_SIZE, MAX_SEQ_LEN)
'''


def adapted(checkout: Path, profile: str, size: Size, float32: bool = False) -> str:
    """The text of `checkout`/train.py for our referee.

    Args:
        float32: in place of bfloat16, which a CPU without instructions for it emulates, ten times as slowly.

    Raises:
        SystemExit: it is not the train.py these replacements were written for.
    """
    text = (checkout / "train.py").read_text(encoding="utf-8")
    for name, (before, after) in _replacements(
        PROFILES[profile].device, PROFILES[profile].sequence_length, size
    ).items():
        first, _, last = before.partition("…")
        begin = text.find(first)
        end = text.find(last, begin) + len(last) if last else begin + len(first)
        if text.count(first) != 1 or end < begin + len(first):
            raise SystemExit(f"{checkout}/train.py has another {name} than this benchmark knows: {first!r}")
        text = text[:begin] + after + text[end:]
    return text.replace("torch.bfloat16", "torch.float32").replace(".bfloat16()", ".float()") if float32 else text


def _replacements(device: str, length: int, size: Size) -> dict[str, tuple[str, str]]:
    """What is replaced by what, by name; "…" stands for all text between."""
    compiler = "" if device == "cuda" else 'os.environ["TORCHDYNAMO_DISABLE"] = "1"\n'
    peak = "torch.cuda.max_memory_allocated() / 1024 / 1024"
    return {
        "compiler": ("import gc\n", f"{compiler}import gc\n"),
        "attention kernel": ("from kernels import…flash_attn_interface\n", _ATTENTION),
        "data and clock": ("from prepare import…evaluate_bpb\n", _SESSION),
        "depth": ("\nDEPTH = 8 ", f"\nDEPTH = {size.depth} "),
        "batch": ("\nTOTAL_BATCH_SIZE = 2**19 ", f"\nTOTAL_BATCH_SIZE = {size.total_batch} "),
        "rows": ("\nDEVICE_BATCH_SIZE = 128 ", f"\nDEVICE_BATCH_SIZE = {size.forward // length} "),
        "windows": ('\nWINDOW_PATTERN = "SSSL" ', f'\nWINDOW_PATTERN = "{size.windows}" '),
        "seed": ("torch.manual_seed(42)\ntorch.cuda.manual_seed(42)\n", ""),  # the session has set it
        "device": ('torch.device("cuda")', "session.device"),
        "autocast": ('device_type="cuda"', "device_type=device.type"),
        "tokenizer": ("tokenizer = …vocab_size()\n", "vocab_size = session.vocab_size\n"),
        "loader": ('train_loader = …, DEVICE_BATCH_SIZE, MAX_SEQ_LEN, "train")\n', _LOADER),
        "start of the loop": ("while True:\n    torch.cuda.synchronize()\n", "while session.training():\n"),
        "progress": ("min(total_training_time / TIME_BUDGET, 1.0)", "session.progress"),
        "end of a step": (
            "    torch.cuda.synchronize()\n    t1 = ",
            "    session.log(train_loss_f, TOTAL_BATCH_SIZE)\n    t1 = ",
        ),
        "end of the loop": ("    # Time's up…TIME_BUDGET:\n        break\n", ""),
        "evaluation": ("model.eval()\n…DEVICE_BATCH_SIZE)\n", "session.submit(Scored(model))\n"),
        "memory": (peak, "0"),
        "score": ('print(f"val_bpb:          {val_bpb:.6f}")\n', ""),
    }
