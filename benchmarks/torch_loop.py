"""The article's PyTorch training loop, a worker of train_step.py that needs only torch and torchvision.

The images are resized and normalized before the clock runs: torch is timed without its data loader.
"""

from __future__ import annotations

import sys
import time

import torch
import torchvision
from torch import nn


def article() -> nn.Module:
    """The resnet50 of torchvision and the article's classifier."""
    model = torchvision.models.resnet50()
    model.fc = nn.Identity()
    head = (
        nn.Flatten(),
        nn.Linear(2048, 1024),
        nn.ReLU(),
        nn.Linear(1024, 512),
        nn.ReLU(),
        nn.Linear(512, 10),
    )
    return nn.Sequential(model, *head, nn.Softmax(dim=1))


def main(batch: int) -> None:
    """Answers each line with a number of steps by the seconds they took."""
    torch.manual_seed(1)
    model = article().to(memory_format=torch.channels_last).train()
    images = torch.randn(batch, 3, 224, 224).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (batch,))
    criterion, optimizer = nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=0.01)

    def step() -> float:
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    print(f"torch {torch.__version__}, torchvision {torchvision.__version__}", file=sys.stderr)
    for line in sys.stdin:
        begun = time.perf_counter()
        for _ in range(int(line)):
            step()
        print(time.perf_counter() - begun, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
