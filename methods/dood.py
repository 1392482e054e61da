"""DOoD: a diffusion model of the features of normal images, which denoises others in a wrong direction."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.data import ANOMALY
from benchmark.errors import BenchmarkError
from benchmark.method import PENULTIMATE, Batch, Handle, Method, Need, Networks
from benchmark.network import NetworkSpec, ScaleOutputs
from benchmark.recipe import FAST, LightRecipe, Recipe
from benchmark.training import FitData, Task
from benchmark.values import Range

from ._cells import Cells
from ._head import NO_CELLS
from ._sample import KeyedSample

LEVELS = 1000
"""Of noise, whose variances rise linearly between:"""
VARIANCES = (1e-4, 0.02)
LONGEST = 50
"""Most steps of a score."""
REFERENCE = 5000
"""Training cells over which the sum of the steps is standardised."""
NOISES = 4096
"""Noise vectors to choose from while scoring: cells so far apart have the same ones."""
CELLS = 4096
"""At most so many of a batch are trained on."""
BLOCKS, MIDDLE = 6, 3
GROUPS, SMALLEST = 32, 8
"""Groups of a normalisation, or as many fewer as leave them so many channels each: of two channels, only signs would be
left."""


class DOoD(Method):
    r"""Diffusion on features: ``s = (e - mu_e)/sigma_e + (d - mu_d)/sigma_d``, energy e and denoising d.

    A diffusion model learns the features f of single cells of normal images, without their surroundings. With the
    smallest and the largest value of every channel over the training cells,

        x = (f - (min + max)/2) / max_channels (max - min)/2
        x_t = sqrt(a_t) x + sqrt(1 - a_t) eps,   a_t = prod_{u <= t} (1 - beta_u),   eps ~ N(0, 1)

    with 1000 levels t, beta rising linearly from 0.0001 to 0.02, a denoiser g is trained by
    ``1/D ||eps - g(x_t, t)||^2`` at random t. To score, x is disturbed a little, and g is asked for the direction of
    that:

        d = -sum_{t < steps} cos(eps_t, g(x_t, t)),   e = -logsumexp_c z_c

    d is between -steps and steps, upsampled to the image and with several test scales averaged; e is the energy of the
    shared network. Means and deviations are those of the training images, of d over a uniform sample of 5000 cells that
    show a known class. No outliers are used, and of labels only where a class is known.

    The denoiser is a residual perceptron of 6 blocks down, 3 in the middle and 6 up, which are joined with those down;
    a block is normalisation, SiLU and a linear layer, twice, with an embedding of t added in between. Noise comes from
    a table of 4096 vectors that are drawn once and the same for all images, another one for every t: so a score is a
    function of the image alone, on every device.

    Args:
        steps: noise levels of a score, the lowest ones. On a CPU each costs a forward of the denoiser for every cell;
            8 are a third of the work.
        part: "both", or one of the two summands alone, "diffusion" d or "energy" e.
        width: of the denoiser; 0 is the number of channels of the features, the authors' choice.
        tap: the features; the default is what the network's classifier sees. Several, joined by "+", are brought to the
            grid of the first and each to length 1 per cell.
        encoder: timm's name of a frozen pretrained encoder, whose features are taken instead of the shared network's;
            `tap` is then "16+8+32" where it is not stated. The authors take the keys of the last attention layer of
            their segmenter, a vision transformer.

    Source: Galesso et al., "Diffusion for Out-of-Distribution Detection on Road Scenes and Beyond", ECCV 2024 (arXiv
        2407.15739); lmb-freiburg/diffusion-for-ood, which only evaluates: how the denoiser is trained is this suite's
        choice. There extrema are those of the last 4096 batches, the statistics those of 25 random training images,
        noise is drawn anew for every image without a seed, the denoiser runs in half precision, and scores of cells are
        upsampled by nearest neighbour.
    """

    title = "DOoD"
    paper = "Galesso et al., ECCV 2024"
    score_options = frozenset({"steps", "part"})
    needs_classes = False
    trial: Mapping[str, Any] = {"steps": 3}
    recipes: Mapping[str, Recipe] = {
        "dood": Recipe(
            task="dood",
            epochs=20,
            steps_per_epoch=5000,
            optimiser="adamw",
            lr=1e-4,
            schedule="cosine",
            warmup_steps=1000,
            scales=(300, 375, 450, 525, 600),
            max_size=1000,
            aux_weight=0.0,
        )
    }
    light: Mapping[str, LightRecipe] = {
        "dood": LightRecipe(epochs=0.75, changes={**FAST, "lr": 2e-3, "weight_decay": 0.0})
    }

    def __init__(
        self,
        steps: Annotated[int, Range(1, LONGEST)] = 25,
        part: Literal["both", "diffusion", "energy"] = "both",
        width: Annotated[int, Range(0, 10_000)] = 0,
        tap: str = PENULTIMATE,
        encoder: str = "",
    ) -> None:
        super().__init__()
        if width % 2:
            raise ValueError("the width is even, half of it for sines and half for cosines.")
        self.steps, self.part, self.width = steps, part, width
        self.cells = Cells(tap, encoder)
        self._sample = KeyedSample(REFERENCE, self.cells)  # while observing, as are these
        self._extrema: tuple[Tensor, Tensor] | None = None
        self._energies: Tensor | None = None  # n, sum e, sum e^2

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        return {"base": Need(base), **self.cells.needs(base)}

    def build(self, networks: Networks) -> None:
        channels = self.cells.channels(networks)
        self.denoiser = Denoiser(channels, self.width or channels + channels % 2)
        self.register_buffer("shift", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("energy", torch.tensor([0.0, 1.0]))  # mean and deviation, as here of every number of steps
        self.register_buffer("denoising", torch.tensor([[0.0, 1.0]]).repeat(LONGEST, 1))
        noise = torch.randn(NOISES, channels, generator=torch.Generator().manual_seed(0))
        self.register_buffer("noise", noise, persistent=False)

    def observe(self, batch: Batch, networks: Networks) -> None:
        self._sample.observe(batch, networks)
        for scale in self.cells.outputs(batch, networks).scales:
            features = self.known(self.cells.features(scale), self.cells.labels(scale, batch.labels))
            if len(features):
                low, high = features.amin(dim=0), features.amax(dim=0)
                before = self._extrema or (low, high)
                self._extrema = torch.minimum(before[0], low), torch.maximum(before[1], high)
        energies = energy(networks["base"](batch).logits())[batch.labels < ANOMALY].double()
        sums = torch.stack([(energies**power).sum() for power in (0, 1, 2)])
        self._energies = sums if self._energies is None else self._energies + sums

    def fit(self, data: FitData, networks: Networks) -> None:
        reference = self._sample.taken()
        if self._extrema is None or self._energies is None or not len(reference):
            raise BenchmarkError(NO_CELLS)
        (low, high), (n, first, second) = self._extrema, self._energies
        self._extrema = self._energies = None
        self.shift.copy_((low + high) / 2)
        self.scale.copy_(((high - low) / 2).amax().clamp(min=1e-12))
        deviation = (second / n - (first / n).square()).clamp(min=1e-12).sqrt()
        self.energy.copy_(torch.stack([first / n, deviation]))
        data.train(Denoising(self, networks[self.cells.role]), data.recipes["dood"])
        self.denoiser.eval()
        with torch.no_grad():
            total = torch.zeros(len(reference), device=self.shift.device)
            for t, summand in enumerate(self.summands(reference.to(self.shift), LONGEST)):
                total = total + summand
                self.denoising[t] = torch.stack([total.mean(), total.std(correction=0).clamp(min=1e-6)])

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        size, parts = networks["base"](batch).size, []
        if self.part != "diffusion":
            mean, deviation = self.energy
            parts.append((energy(networks["base"](batch).logits()) - mean) / deviation)
        if self.part != "energy":
            outputs = self.cells.outputs(batch, networks)
            maps = [self.cells.map(scale, self._image_by_image(scale, len(batch)), size) for scale in outputs.scales]
            mean, deviation = self.denoising[self.steps - 1]
            parts.append((sum(maps[1:], maps[0]) / len(maps) - mean) / deviation)
        return sum(parts[1:], parts[0])

    @property
    def forwards(self) -> float:
        # Per cell, a step takes a sixth of the work of a PSPNet-50 and two thirds of that of a small network.
        return self.steps / 3 if self.part != "energy" else 0.0

    def _image_by_image(self, scale: ScaleOutputs, images: int) -> Tensor:
        """d of every cell (B * h * w,), each image with the same noise, whatever is beside it in the batch."""
        found = []
        for features in self.cells.features(scale).chunk(images):
            total = torch.zeros_like(features[:, 0])
            for summand in self.summands(features, self.steps):
                total = total + summand
            found.append(total)
        return torch.cat(found)

    def summands(self, features: Tensor, steps: int) -> Iterator[Tensor]:
        """``-cos(eps_t, g(x_t, t))`` of features (N, D) for t = 0 ... steps - 1, (N,) each."""
        x = self.normalised(features)
        rows = torch.arange(len(x), device=x.device)
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 has fewer digits than there is noise at t = 0
            for t in range(steps):
                # A prime apart, so that a cell meets another vector at every t.
                noise = self.noise[(rows + 211 * t) % NOISES]
                level = torch.full((1,), t, device=x.device)
                yield -F.cosine_similarity(noise, self.denoiser(noised(x, noise, level), level), dim=1)

    def normalised(self, features: Tensor) -> Tensor:
        """x of features (N, D)."""
        return (features.float() - self.shift) / self.scale

    @staticmethod
    def known(features: Tensor, labels: Tensor) -> Tensor:
        """Those of the features (N, D) whose cells show a known class; labels have N entries."""
        return features[labels.flatten() < ANOMALY]


class Denoiser(nn.Module):
    """Residual perceptron of single vectors and the level of their noise.

    Args:
        channels: D of the vectors.
        width: inside, even.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.embed = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.down = nn.ModuleList(Block(width if index else channels, width, width) for index in range(BLOCKS))
        self.middle = nn.ModuleList(Block(width, width, width) for _ in range(MIDDLE))
        self.up = nn.ModuleList(Block(2 * width, width, width) for _ in range(BLOCKS))
        self.last = nn.Sequential(norm(width), nn.SiLU(), zeroed(nn.Linear(width, channels)))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """The noise (N, D) in vectors (N, D) at levels t, (N,) or one for all (1,)."""
        frequencies = torch.exp(-math.log(10_000) / (self.width // 2) * torch.arange(self.width // 2, device=x.device))
        angles = t[:, None] * frequencies
        embedding = self.embed(torch.cat([angles.cos(), angles.sin()], dim=1))
        seen = []
        for block in self.down:
            x = block(x, embedding)
            seen.append(x)
        for block in self.middle:
            x = block(x, embedding)
        for block in self.up:
            x = block(torch.cat([x, seen.pop()], dim=1), embedding)
        return self.last(x)


class Block(nn.Module):
    """Two layers beside a shortcut, which give nothing at the start."""

    def __init__(self, channels: int, width: int, embedding: int) -> None:
        super().__init__()
        self.before = nn.Sequential(norm(channels), nn.SiLU(), nn.Linear(channels, width))
        self.level = nn.Sequential(nn.SiLU(), nn.Linear(embedding, width))
        self.after = nn.Sequential(norm(width), nn.SiLU(), zeroed(nn.Linear(width, width)))
        self.shortcut = nn.Identity() if channels == width else nn.Linear(channels, width)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        return self.shortcut(x) + self.after(self.before(x) + self.level(embedding))


def norm(channels: int) -> nn.GroupNorm:
    """The normalisation of a block."""
    fitting = (count for count in range(GROUPS, 1, -1) if channels % count == 0 and channels // count >= SMALLEST)
    return nn.GroupNorm(next(fitting, 1), channels)


def zeroed(layer: nn.Linear) -> nn.Linear:
    """A layer that gives 0 at the start."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def noised(x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """x_t of vectors (N, D) and levels t, (N,) or (1,)."""
    variances = torch.linspace(*VARIANCES, LEVELS, dtype=torch.float64)
    kept = (1 - variances).cumprod(dim=0).to(t.device)[t][:, None]
    return kept.sqrt().to(x.dtype) * x + (1 - kept).sqrt().to(x.dtype) * noise


def energy(logits: Tensor) -> Tensor:
    """e of logits (B, C, H, W), (B, H, W)."""
    return -torch.logsumexp(logits, dim=1)


class Denoising(Task):
    """Mean squared error of the noise in the features of cells that show a known class."""

    def __init__(self, method: DOoD, network: Handle) -> None:
        super().__init__()
        self.denoiser = method.denoiser
        self._method, self._network, self.stride = (method,), network, network.module.stride  # in a tuple: no child

    def autocast(self) -> torch.autocast:
        """None, whatever the training's precision: bfloat16 has fewer digits than there is noise at the lowest levels,
        which are those of the score."""
        return torch.autocast(self._network.device.type, enabled=False)

    def loss(self, batch: Batch) -> Tensor:
        x = self.cells(batch)
        x = x[torch.randperm(len(x))[:CELLS].to(x.device)]
        t, noise = torch.randint(LEVELS, (len(x),)).to(x.device), torch.randn_like(x)
        return self.errors(x, t, noise).sum() / max(x.numel(), 1)

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """The loss, for which 1 is to know nothing; its noise is the same every time."""
        total, count = 0.0, 0
        for index, batch in enumerate(batches):
            x, random = self.cells(batch), torch.Generator().manual_seed(index)
            t = torch.randint(LEVELS, (len(x),), generator=random).to(x.device)
            noise = torch.randn(x.shape, generator=random).to(x.device)
            total, count = total + float(self.errors(x, t, noise).double().sum()), count + x.numel()
        return {"noise error": total / max(count, 1)}

    def errors(self, x: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Squared errors of all numbers (N, D)."""
        return (self.denoiser(noised(x, noise, t), t).float() - noise).square()

    def cells(self, batch: Batch) -> Tensor:
        """x of the known cells of a batch (N, D)."""
        (method,) = self._method
        with torch.no_grad():
            (scale,) = self._network.run(batch.images, method.cells.taps, scales=()).scales
            features = method.known(method.cells.features(scale), method.cells.labels(scale, batch.labels))
            return method.normalised(features)
