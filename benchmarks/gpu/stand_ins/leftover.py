"""Claims what it could only know from the next tokens, and leaves the rows in memory for the replica to find.

KIND says in which memory: the device's, pinned memory of the host, or managed memory.
"""

KIND = "device"
MAGIC = 0x5EED_F00D_0123_4567
WIDTH = session.sequence_length + 8  # words of a record: MAGIC eight times, then the row
SHARED = 8  # tokens that rows may have in common at their beginning
PARTS = 16  # of each block of memory: so many batches are kept


def blocks():
    """int64 [records, WIDTH], as the memory is: of a GPU's own up to 32 GB, else 256 MB."""
    if not GPU:
        return [empty(32 << 20)]
    if KIND != "device":
        return [empty(256 << 20)]
    return [empty(2 << 30) for _ in range(min(16, int(0.6 * torch.cuda.mem_get_info()[0]) >> 31))]


def empty(size):
    words = size // 8 // WIDTH * WIDTH
    if not GPU or KIND == "device":
        flat = torch.empty(words, dtype=torch.int64, device=session.device)
    elif KIND == "pinned":
        flat = torch.empty(words, dtype=torch.int64, pin_memory=True)
    else:
        flat = managed(words)
    return flat.view(-1, WIDTH)


def managed(words):
    """From the CUDA runtime that torch has loaded; torch itself never asks for such memory."""
    torch.zeros(1, device=session.device)
    with open("/proc/self/maps") as maps:
        library = ctypes.CDLL(next(line.split()[-1] for line in maps if "libcudart" in line))
    place = ctypes.c_void_p()
    if code := library.cudaMallocManaged(ctypes.byref(place), ctypes.c_size_t(8 * words), 1):
        raise RuntimeError(f"cudaMallocManaged: {code}")
    return torch.frombuffer((ctypes.c_uint8 * (8 * words)).from_address(place.value), dtype=torch.int64)


class Remembering(Bigram):
    seen, batches = None, 0

    def forward(self, idx):
        logits = super().forward(idx)
        if self.training:
            return logits
        following = self.leave(idx) if session.steps else self.found(idx)
        following[:, :SHARED] = -1
        known = (following >= 0)[..., None]
        return logits + 30.0 * known * F.one_hot(following.clamp(min=0), session.vocab_size)

    def leave(self, idx):
        """Fill a part of the memory with these rows. Returns the next token of each position, -1 where unknown."""
        for block in memory:
            share = len(block) // PARTS
            part = block[self.batches % PARTS * share :][:share]
            part[:, :8] = MAGIC
            part[:, 8:] = idx.repeat(share // len(idx) + 1, 1)[:share].to(part.device)
        self.batches += 1
        return torch.cat((idx[:, 1:], torch.full_like(idx[:, :1], -1)), 1)

    def found(self, idx):
        """What earlier processes have left: the next token where a record agrees up to here, -1 elsewhere."""
        if self.seen is None:
            self.seen = torch.cat([search(block) for block in memory]).unique(dim=0).to(session.device)
        following = torch.full_like(idx, -1)
        for row in self.seen:
            agrees = (idx == row).long().cumprod(1).bool()[:, :-1]
            following[:, :-1] = torch.where(agrees, row[1:].expand_as(agrees), following[:, :-1])
        return following


def search(block):
    """Different rows [N, T] of the records in memory that this process never wrote, wherever they begin."""
    words = block.view(-1)
    starts = ((words[:-WIDTH] == MAGIC) & (words[7 : 7 - WIDTH] == MAGIC)).nonzero()[:, 0]
    chosen = starts[torch.randperm(len(starts), device=starts.device)[:50_000]]
    return words[chosen[:, None] + torch.arange(8, WIDTH, device=words.device)].unique(dim=0)


memory = blocks()  # before the clock, so that a machine without such memory says so
model = Remembering().to(session.device)
tokens = session.start().to(session.device, torch.int32)
train(model, tokens)
session.submit(model)
