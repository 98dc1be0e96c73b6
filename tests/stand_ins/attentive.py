"""An honest train.py with one layer of attention: what the cheats are patches of."""

import torch
import torch.nn.functional as F
from torch import nn

from trainer import Session

session = Session()


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(session.vocab_size, 16)
        self.mix = nn.Linear(16, 48)
        self.head = nn.Linear(16, session.vocab_size)

    def forward(self, idx: torch.Tensor) -> torch.Tensor:
        x = self.embed(idx)
        query, key, value = self.mix(x).chunk(3, dim=-1)
        x = x + F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.head(x)


model = Model().to(session.device)
# Sign descent: torch's optimisers take longer to import than the whole run.
RATE = 0.03
tokens = session.start()
while session.training():
    starts = torch.randint(len(tokens) - 65, (8, 1))
    rows = tokens[starts + torch.arange(65)].long()
    loss = F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
    loss.backward()
    for parameter in model.parameters():
        parameter.data -= RATE * parameter.grad.sign()
    model.zero_grad()
    session.log(loss=loss.item(), tokens=512)
session.submit(model)
