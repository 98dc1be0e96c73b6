"""Asks for a tensor of eight exabytes."""

import torch

torch.empty(1 << 60)
