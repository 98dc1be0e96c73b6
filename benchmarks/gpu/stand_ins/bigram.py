"""A small factored bigram model, and one step of sign descent: what every stand-in begins with."""

import ctypes
import threading
import time

import torch
import torch.nn.functional as F
from torch import nn

from trainer import Session

session = Session()
GPU = session.device.type == "cuda"
ROWS = 64 if GPU else 8  # a step
RATE = 0.01 if GPU else 0.03


class Bigram(nn.Module):
    """idx int64 [B, T] -> logits [B, T, vocab_size]."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(session.vocab_size, 64 if GPU else 16)
        self.head = nn.Linear(self.embed.embedding_dim, session.vocab_size)

    def forward(self, idx):
        return self.head(self.embed(idx))


def next_rows(tokens):
    """Rows int64 [ROWS, T + 1] from random places."""
    starts = torch.randint(len(tokens) - session.sequence_length - 1, (ROWS, 1), device=tokens.device)
    return tokens[starts + torch.arange(session.sequence_length + 1, device=tokens.device)].long()


def step(model, rows):
    """One step on rows [R, T + 1], queued on the current stream. Returns the loss, which nobody has waited for."""
    loss = F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(loss, parameters)
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.sub_(RATE * gradient.sign())
    return loss.detach()


def train(model, tokens):
    """As long as the session says."""
    while session.training():
        loss = step(model, next_rows(tokens))
        session.log(loss=loss.item(), tokens=ROWS * session.sequence_length)


def seconds_a_step(model):
    """Found out before the clock starts."""
    noise = torch.randint(session.vocab_size, (ROWS, session.sequence_length + 1), device=session.device)
    kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    clock, taken = time.monotonic if GPU else time.process_time, []
    for _ in range(10):
        begun = clock()
        step(model, noise).item()
        taken.append(clock() - begun)
    model.load_state_dict(kept)
    return min(taken)
