"""Trains on after its time."""

import torch
from torch import nn

from trainer import Session

session = Session()


class Bigram(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(session.vocab_size, 16)
        self.head = nn.Linear(16, session.vocab_size)

    def forward(self, idx: torch.Tensor) -> torch.Tensor:
        return self.head(self.embed(idx))


model = Bigram().to(session.device)
# Sign descent: torch's optimisers take longer to import than the whole run.
RATE = 0.03
tokens = session.start()
while True:
    first = torch.randint(len(tokens) - 513, ()).item()
    window = tokens[first : first + 513].to(session.device, torch.int64)
    logits = model(window[None, :-1])
    loss = nn.functional.cross_entropy(logits[0], window[1:])
    loss.backward()
    for parameter in model.parameters():
        parameter.data -= RATE * parameter.grad.sign()
    model.zero_grad()
    session.log(loss=loss.item(), tokens=512)
session.submit(model)
