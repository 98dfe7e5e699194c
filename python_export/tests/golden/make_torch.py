"""Writes torch.npz: what the real torch and torchvision make of torch_case.py.

    apt install python3-torch python3-torchvision python3-numpy python3-pil
    /usr/bin/python3 python_export/tests/golden/make_torch.py

torch.npz was made by torch 1.13.0, torchvision 0.14.1 and Pillow 9.4.0 of Debian 12, on one thread.
"""

import sys
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))
import torch_case as case


class Article(nn.Module):
    """torchvision's resnet50 and the article's classifier."""

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
            nn.Linear(512, case.CLASSES),
            nn.Softmax(dim=1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Probabilities [N,CLASSES]."""
        return self.classifier(self.resnet(x))


def article(dtype: torch.dtype) -> Article:
    """The module with the case's weights."""
    model = Article()
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if not key.endswith("num_batches_tracked"):
                value.copy_(torch.from_numpy(case.weight(key, tuple(value.shape))))
    return model.to(dtype)


def gradients(dtype: torch.dtype, batches: list[torch.Tensor], y: torch.Tensor) -> np.ndarray:
    """Sampled gradients [BATCHES,parameters,SAMPLES] of the published loss in training."""
    found = []
    for x in batches:
        model = article(dtype).train()
        nn.CrossEntropyLoss()(model(x.to(dtype)), y).backward()
        found.append([case.sampled(key, value.grad.numpy()) for key, value in model.named_parameters()])
    return np.array(found)


def main() -> None:
    """Writes torch.npz beside this file."""
    torch.set_num_threads(1)
    transform = torchvision.transforms.Compose(
        [
            torchvision.transforms.Resize(case.SIDE),
            torchvision.transforms.ToTensor(),
            torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    batches = [
        torch.stack([transform(Image.fromarray(image)) for image in case.images(number)])
        for number in range(case.BATCHES)
    ]
    x = batches[0]
    y = torch.from_numpy(case.labels())
    model = article(torch.float32).eval()
    with torch.no_grad():
        probabilities = model(x)
        logits = model.classifier[:6](model.resnet(x))
    exact, single = (gradients(dtype, batches, y) for dtype in (torch.float64, torch.float32))
    with torch.no_grad():
        train_loss = nn.CrossEntropyLoss()(article(torch.float64).train()(x.double()), y).item()
    passes = article(torch.float32).train()
    with torch.no_grad():
        for _ in range(3):
            passes(x)
    statistics = {key: value.numpy() for key, value in passes.state_dict().items() if "running_" in key}
    np.savez_compressed(
        Path(__file__).with_name("torch.npz"),
        versions=[torch.__version__, torchvision.__version__, Image.__version__],
        pixels=x[:, :, ::7, ::5].numpy(),  # a part, for the size of the file
        logits=logits.numpy(),
        probabilities=probabilities.numpy(),
        loss_published=nn.CrossEntropyLoss()(probabilities, y).item(),
        loss_logits=nn.CrossEntropyLoss()(logits, y).item(),
        loss_train=train_loss,
        gradient_keys=[key for key, _ in passes.named_parameters()],
        gradients_float64=exact,
        gradients_float32=single.astype(np.float32),
        **{f"statistics/{key}": value for key, value in statistics.items()},
    )


if __name__ == "__main__":
    main()
