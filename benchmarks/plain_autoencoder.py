"""An autoencoder trained as a good user of torch would write it: TensorDataset, DataLoader, AdamW, OneCycleLR.

For the benchmark of embedkit's loop: the same nets, loss, optimizer and rates.
"""

from __future__ import annotations

import time

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def train(
    encoder: nn.Module, decoder: nn.Module, rows: torch.Tensor, *, epochs: int, batch_size: int, learning_rate: float,
    bf16: bool = False, seed: int = 0,
) -> list[float]:  # fmt: skip
    """Train in place on rows between 0 and 1; gives the CPU seconds of each epoch."""
    loader = DataLoader(
        TensorDataset(rows), batch_size=batch_size, shuffle=True, generator=torch.Generator().manual_seed(seed)
    )
    model = nn.Sequential(encoder, decoder, nn.Sigmoid())
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=epochs * len(loader), pct_start=0.1
    )
    loss_of = nn.MSELoss()
    seconds = []
    model.train()
    for _ in range(epochs):
        begin, total = time.process_time(), 0.0
        for (batch,) in loader:
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = loss_of(model(batch), batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        seconds.append(time.process_time() - begin)
    model.eval()
    return seconds
