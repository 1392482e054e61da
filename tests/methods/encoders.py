"""Random weights of an encoder in a folder, in the place of the pretrained ones."""

import timm
import torch

from benchmark.encoders import FOLDER


def random_encoder(name, folder, monkeypatch):
    """Lay random weights of timm's encoder into a folder where the suite looks first; its name."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        state = timm.create_model(name, pretrained=False).state_dict()
    folder.mkdir(exist_ok=True)
    torch.save(state, folder / f"{name}.pth")
    monkeypatch.setenv(FOLDER, str(folder))
    return name
