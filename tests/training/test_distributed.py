"""Two processes learn what one learns from the whole batch: every kind of task, in the first two steps.

One other process is started for all of them; it and this one meet over gloo, as `torchrun` would have them meet.
"""

import os
import pickle
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from timm.layers import BatchNormAct2d, DropPath
from torch import nn
from training_toys import Blobs, Tiny

from benchmark.distributed import average_gradients
from benchmark.errors import BenchmarkError
from benchmark.machine import Machine
from benchmark.networks import build_network
from benchmark.recipe import Recipe
from benchmark.training import Pasting, Segmentation, Task, seeded, train
from benchmark.training.sharing import _batch_norm

PATIENCE = timedelta(seconds=40)
HOME = Path(__file__).resolve().parents[2]
RECIPE = Recipe(epochs=1, steps_per_epoch=2, batch_size=4, lr=0.1, crop=(24, 32), flip=True, colour=0.3, aux_weight=0.4)


class Residual(Tiny):
    """What torch's own synchronised normalisation would miss: one with its activation inside, and dropped paths."""

    def __init__(self):
        super().__init__()
        self.norm, self.path = BatchNormAct2d(8), DropPath(0.3)
        self.stem.append(self.path).append(self.norm)


class Related(Task):
    """Losses that are no means over images: they count pixels, draw pixels, and relate images to each other.

    In float64, where equal formulas are equal: norms and ReLUs blow up what float32 rounds.
    """

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.2))
        self.head = nn.Conv2d(6, 1, 1)
        self.spread = Spread()
        self.pasting = Pasting(0.5)
        self.double()

    def loss(self, batch):
        features = self.body(batch.images.double() / 255)
        found = self.head(features)[:, 0]
        outlying = batch.labels == 254
        loss = found[~outlying].square().mean() + (found[outlying] - 1).square().sum() / outlying.sum().clamp(min=1)
        means = features.mean(dim=(2, 3))
        some = found.flatten()[torch.randperm(found.numel())[:50]]
        return {"loss": loss + (means @ means.T).norm() + some.norm() + self.spread(features), "kept": loss}


class Spread(nn.Module):
    """One number for all images."""

    def forward(self, features):
        return features.mean(dim=(1, 2, 3)).std()


class Adversaries(Task):
    """Two networks with an optimiser each; the one is fed with what the other makes."""

    def __init__(self):
        super().__init__()
        self.maker = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.SyncBatchNorm(4), nn.ReLU(), nn.Conv2d(4, 3, 1))
        self.judge = nn.Sequential(nn.Conv2d(3, 4, 4, 2), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 1))

    def optimisers(self, recipe):
        return [torch.optim.SGD(part.parameters(), recipe.lr, momentum=0.9) for part in (self.maker, self.judge)]

    def loss(self, batch):
        raise NotImplementedError

    def step(self, batch, optimisers):
        images = batch.images.float() / 255
        made = self.maker(images)
        losses = {"loss": (made - images).square().mean() - self.judge(made).mean()}
        losses["judge"] = (1 - self.judge(images)).relu().mean() + (1 + self.judge(made.detach())).relu().mean()
        for loss, optimiser in zip(losses.values(), optimisers, strict=True):
            optimiser.zero_grad()
            loss.backward(retain_graph=True)
            average_gradients(optimiser)
            optimiser.step()
        return {name: loss.detach() for name, loss in losses.items()}


class Drifting(Task):
    """Remembers which images its child has seen, which is another thing for every process."""

    def __init__(self):
        super().__init__()
        self.child = Remembering()

    def loss(self, batch):
        return self.child(batch.images.float()).mean()


class Remembering(nn.Conv2d):
    def __init__(self):
        super().__init__(3, 1, 1)
        self.register_buffer("memory", torch.zeros(1))

    def forward(self, images):
        self.memory += images.mean()
        return super().forward(images / 255)


def tracked():
    from benchmark.methods.tradi.task import TrackedSegmentation
    from benchmark.methods.tradi.tracker import WeightTracker

    network = Tiny()
    return TrackedSegmentation(network, Blobs.card.classes, WeightTracker(network), 0.1)


def synthesis():
    from benchmark.methods.synthcp.spade import Generator
    from benchmark.methods.synthcp.training import Synthesis

    return Synthesis(Generator(3, (96, 160), 2), 3, 2)  # begins with 3x5 cells: of one, no variance is to be had


TASKS = {
    "segmentation": (lambda: Segmentation(Tiny(), Blobs.card.classes), RECIPE),
    "residual": (lambda: Segmentation(Residual(), Blobs.card.classes), RECIPE),
    "full size": (lambda: Segmentation(Tiny(), Blobs.card.classes), RECIPE.changed({"label_size": "full"})),
    "three images": (lambda: Segmentation(Tiny(), Blobs.card.classes), RECIPE.changed({"batch_size": 3})),
    # In float64: what float32 rounds, normalisation over the few cells of a pooled map blows up.
    "pspnet": (lambda: Segmentation(build_network("pspnet-small", 3), Blobs.card.classes).double(), RECIPE),
    "related": (Related, RECIPE),
    "adversaries": (Adversaries, RECIPE),
    "tracked": (tracked, RECIPE),
    "synthesis": (synthesis, RECIPE.changed({"lr": 1e-4})),
}


def learned(folder: Path, name: str):
    """What a task has learned and reported."""
    make, recipe = TASKS[name]
    with seeded(recipe):
        task = make()
    machine = Machine(torch.device("cpu"), progress=False)
    report = train(task, recipe, Blobs(), Blobs("val", 2), machine, folder / f"{name}.state", name)
    return {k: v for k, v in task.state_dict().items() if torch.is_tensor(v)}, report


def said(work) -> str:
    """The sentence with which something fails."""
    try:
        work()
    except BenchmarkError as error:
        return str(error)
    return ""


class Unreadable(Blobs):
    """An image that the second process is to read cannot be read."""

    def __getitem__(self, index):
        if dist.is_initialized() and dist.get_rank() == 1:
            raise BenchmarkError("train/3.png is truncated; fetch it again.")
        return super().__getitem__(index)


def together(folder: Path, rank: int):
    """All that two processes do with each other."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2, timeout=PATIENCE)
    machine = Machine(torch.device("cpu"), progress=False)
    try:
        found = {name: learned(folder / "shared", name) for name in TASKS}
        broken = Segmentation(Tiny(), Blobs.card.classes)
        data = Unreadable(images=4)
        found["unreadable"] = said(lambda: train(broken, RECIPE, data, None, machine, folder / "broken", "toy"))
        found["drifting"] = said(lambda: train(Drifting(), RECIPE, Blobs(), None, machine, folder / "drift", "toy"))
        torch.manual_seed(0)
        inputs = (5 + 0.1 * torch.randn(4, 3, 5, 6)).requires_grad_()
        norm = nn.BatchNorm2d(3)
        rows = slice(2 * rank, 2 * rank + 2)
        weights = torch.randn(4, 3, 5, 6)
        out = _batch_norm(inputs[rows], norm.running_mean, norm.running_var, norm.weight, norm.bias, True)
        (out * weights[rows]).sum().backward()
        found["norm"] = out.detach(), inputs.grad[rows], norm.running_mean, norm.running_var
    finally:
        dist.destroy_process_group()
    return found


def other(folder: Path) -> None:
    """What the second process does."""
    (folder / "second.pickle").write_bytes(pickle.dumps(together(folder, 1)))


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """What two processes found, and the folder of their states."""
    if not (dist.is_available() and dist.is_gloo_available()):
        pytest.skip("this PyTorch has no gloo")
    folder = tmp_path_factory.mktemp("together")
    script = "import sys, pathlib, test_distributed; test_distributed.other(pathlib.Path(sys.argv[1]))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HOME), str(Path(__file__).parent)])}
    threads = torch.get_num_threads()
    second = subprocess.Popen([sys.executable, "-c", script, str(folder)], env=environment)
    try:
        first = together(folder, 0)
        assert second.wait(60) == 0
    finally:
        second.kill()
        torch.set_num_threads(threads)
    return folder, first, pickle.loads((folder / "second.pickle").read_bytes())


@pytest.mark.parametrize("name", TASKS)
def test_two_processes_learn_what_one_learns_from_the_whole_batch(both, tmp_path, name):
    folder, *found = both
    state, report = learned(tmp_path, name)
    for shared, reported in (each[name] for each in found):
        for key, value in state.items():
            torch.testing.assert_close(shared[key], value, rtol=1e-5, atol=1e-6, msg=lambda m, key=key: f"{key}: {m}")
        assert reported.loss == pytest.approx(report.loss, rel=1e-5)
        assert reported.validation == pytest.approx(report.validation, rel=1e-4)
    assert (folder / "shared" / f"{name}.state").exists(), "rank 0 writes it"


@pytest.mark.parametrize("name", ["segmentation", "tracked"])
def test_one_process_goes_on_from_the_state_of_two(both, name, tmp_path, monkeypatch):
    folder, first, _ = both
    (tmp_path / f"{name}.state").write_bytes((folder / "shared" / f"{name}.state").read_bytes())
    state, report = learned(tmp_path, name)
    assert report.history == first[name][1].history
    for key, value in first[name][0].items():
        assert torch.equal(state[key], value)


def test_an_image_that_one_process_cannot_read_ends_the_training_of_both(both):
    assert {each["unreadable"] for each in both[1:]} == {"train/3.png is truncated; fetch it again."}


def test_a_task_whose_state_depends_on_the_share_is_refused(both):
    assert all("cannot be shared; train it by one process" in each["drifting"] for each in both[1:])


def test_normalisation_over_two_processes_is_that_of_all_images(both):
    torch.manual_seed(0)
    inputs = (5 + 0.1 * torch.randn(4, 3, 5, 6)).requires_grad_()
    norm, weights = nn.BatchNorm2d(3), torch.randn(4, 3, 5, 6)
    norm(inputs).backward(weights)
    outs, gradients, means, variances = zip(*(each["norm"] for each in both[1:]), strict=True)
    torch.testing.assert_close(torch.cat(outs), norm(inputs).detach(), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(torch.cat(gradients), inputs.grad, rtol=1e-4, atol=1e-4)
    norm = nn.BatchNorm2d(3)
    norm(inputs)
    for mean, variance in zip(means, variances, strict=True):
        torch.testing.assert_close(mean, norm.running_mean, rtol=1e-6, atol=0)
        torch.testing.assert_close(variance, norm.running_var, rtol=1e-6, atol=0)
