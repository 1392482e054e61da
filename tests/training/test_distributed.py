import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from training_toys import Blobs

from benchmark.machine import Machine
from benchmark.recipe import Recipe
from benchmark.training import Task, seeded, train


class Brightness(Task):
    """Regresses an image's mean from its pixels: every image weighs the same, so shares of a batch average exactly."""

    def __init__(self):
        super().__init__()
        self.net = nn.Conv2d(3, 1, 8, 8)

    def loss(self, batch):
        images = batch.images.float() / 255
        return (self.net(images).mean(dim=(1, 2, 3)) - images.mean(dim=(1, 2, 3))).square().mean()


def share(folder, rank=None):
    """Train as one of two processes, or alone where `rank` is None."""
    if rank is not None:
        dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    try:
        recipe = Recipe(epochs=2, steps_per_epoch=4, batch_size=4, lr=0.1)
        with seeded(recipe):
            task = Brightness()
        machine = Machine(torch.device("cpu"), progress=False)
        train(task, recipe, Blobs(), None, machine, folder / f"{'alone' if rank is None else 'shared'}.state", "toy")
    finally:
        if rank is not None:
            dist.destroy_process_group()
    return task


@pytest.mark.skipif(not (dist.is_available() and dist.is_gloo_available()), reason="this PyTorch has no gloo")
def test_two_processes_learn_what_one_learns_from_the_whole_batch(tmp_path):
    script = "import sys, pathlib, test_distributed; test_distributed.share(pathlib.Path(sys.argv[1]), 1)"
    home = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(home.parents[1]), str(home)])}
    other = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], env=environment)
    try:
        shared = share(tmp_path, 0)
        assert other.wait(60) == 0
    finally:
        other.kill()
    alone = share(tmp_path)
    for key, value in alone.state_dict().items():
        torch.testing.assert_close(shared.state_dict()[key], value)
    assert (tmp_path / "shared.state").exists()
