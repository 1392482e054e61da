"""A tiny dataset and network that learn in seconds."""

import time

import torch
from torch import nn

from benchmark.data import Dataset, DatasetCard, Sample
from benchmark.machine import Machine
from benchmark.network import Network
from benchmark.recipe import Recipe
from benchmark.training import Report, Segmentation, seeded, train


class Blobs(Dataset):
    """Squares of class 1 (bright) on class 0 (dark) with noise; a pixel of class 2 is a rare blue one."""

    card = DatasetCard(title="Blobs", classes=("ground", "square", "blue"))

    def __init__(self, split="train", images=12, size=(30, 42), sizes=None):
        self.split, self.root = split, None
        self.images, self._sizes = images, sizes or [size]
        self.read = 0

    def __len__(self):
        return self.images

    def __getitem__(self, index):
        self.read += 1
        height, width = self._sizes[index % len(self._sizes)]
        random = torch.Generator().manual_seed(index + 1000 * (self.split == "val"))
        labels = torch.zeros(height, width, dtype=torch.uint8)
        top, left = (int(torch.randint(0, side // 2, (), generator=random)) for side in (height, width))
        labels[top : top + height // 2, left : left + width // 2] = 1
        labels[:3, :3] = 255
        image = torch.randint(0, 60, (3, height, width), generator=random)
        image += 120 * (labels == 1)
        return Sample(f"{self.split}/{index}", image.to(torch.uint8), labels).checked(3)

    def fingerprint(self):
        return f"{self.split}-{self.images}-{self._sizes}"


class Tiny(Network):
    """Convolution with batch norm and dropout at 1/8, deep supervision, 3 classes."""

    def __init__(self, classes=3, width=8):
        super().__init__(classes)
        self.stem = nn.Sequential(nn.Conv2d(3, width, 8, 8, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.drop = nn.Dropout2d(0.1)
        self.last = nn.Conv2d(width, classes, 1)
        self.deep = nn.Conv2d(width, classes, 1)
        self.sizes = []

    def forward(self, inputs, taps=()):
        self.sizes.append(tuple(inputs.shape[-2:]))
        features = self.stem(inputs)
        outputs = {"logits": self.last(self.drop(features))}
        if self.training:
            outputs["aux"] = self.deep(features)
        return outputs


class Slow(Segmentation):
    """Pauses after every step, to leave time for a kill."""

    def __init__(self, pause):
        super().__init__(Tiny(), Blobs.card.classes)
        self.pause = pause

    def after_step(self, step, lr):
        time.sleep(self.pause)


def slow_training(folder, pause) -> tuple[Slow, Report]:
    """Twenty steps on one thread with a state after each."""
    torch.set_num_threads(1)
    recipe = Recipe(epochs=4, steps_per_epoch=5, batch_size=3, lr=0.05, seed=7, colour=0.2)
    with seeded(recipe):
        task = Slow(pause)
    machine = Machine(torch.device("cpu"), progress=False, save_every=-1)
    return task, train(task, recipe, Blobs(), Blobs("val", 4), machine, folder / "a.state", "slow")
