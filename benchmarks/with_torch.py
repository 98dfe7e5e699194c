"""A worker of bench.py: the article's PyTorch module, channels last. It needs torch and torchvision.

    python benchmarks/with_torch.py train|predict FOLDER BATCH_SIZE float32|bfloat16
    python benchmarks/with_torch.py onnx FOLDER

The images were resized and normalized before: torch is timed without its data loader. `onnx` writes the
module as FOLDER/torch.onnx.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import torchvision
from inputs import labels
from orders import obey
from safetensors.torch import load_file
from torch import nn


class Article(nn.Module):
    """The resnet50 of torchvision and the article's classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.resnet = torchvision.models.resnet50()
        self.resnet.fc = nn.Identity()
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(2048, 1024),
            nn.ReLU(),
            nn.Linear(1024, 512),
            nn.ReLU(),
            nn.Linear(512, 10),
            nn.Softmax(dim=1),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Probabilities [N,10] of images [N,3,224,224]."""
        return self.classifier(self.resnet(images))


def article(folder: Path) -> nn.Module:
    """The module with the weights of prepare.py."""
    model = Article()
    model.load_state_dict(load_file(folder / "torch.safetensors"), strict=True)
    return model


def main(task: str, folder: Path, batch: int, precision: str) -> None:
    """Obeys orders."""
    model = article(folder).to(memory_format=torch.channels_last)
    images = torch.from_numpy(np.load(folder / "images-224.npy")[:batch])
    images = images.contiguous(memory_format=torch.channels_last)
    low = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")
    if task == "predict":
        model.eval()

        def ask() -> np.ndarray:
            with torch.inference_mode(), low:
                return model(images).float().numpy()

        obey(ask, ask)
        return
    model.train()
    targets = torch.from_numpy(labels(batch))
    criterion, optimizer = nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=0.01)

    def step() -> float:
        optimizer.zero_grad()
        with low:
            loss = criterion(model(images).float(), targets)
        loss.backward()
        optimizer.step()
        return loss.item()

    obey(step)


def export(folder: Path) -> None:
    """Writes torch.onnx with a free batch size."""
    example = torch.zeros(1, 3, 224, 224)
    torch.onnx.export(
        article(folder).eval(),
        (example,),
        str(folder / "torch.onnx"),
        input_names=["images"],
        output_names=["probabilities"],
        dynamic_axes={"images": {0: "n"}, "probabilities": {0: "n"}},
        dynamo=False,
    )


if __name__ == "__main__":
    if sys.argv[1] == "onnx":
        export(Path(sys.argv[2]))
    else:
        main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
