"""ObsNet: an observer beside the segmentation network learns where it fails, on images attacked in one place."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import BenchmarkError
from benchmark.method import PENULTIMATE, Batch, Handle, Method, Need, Networks
from benchmark.network import Network, NetworkSpec
from benchmark.recipe import FAST, LightRecipe, Recipe
from benchmark.training import FitData
from benchmark.training.segmentation import cross_entropy, on_one_grid
from benchmark.values import Amount, Range

from ._failures import Failures

NOISE = 0.03
"""Deviation of the noise in the attacked place, in the unit of epsilon."""
UNIT = 0.226 * 255
"""One unit of normalised inputs in grey levels, the mean of ImageNet's three, whatever the network's own are."""
PATCHES = {"large": (300, 360, 160, 200), "small": (128, 128, 60, 80)}
"""Height and width of the window of an attack, least and largest side of the shapes in it: pixels of an image whose
short side has SIDE."""
SIDE = 360
SHAPES = (6, 10)
"""Fewest and most shapes of a window."""
WIDTH = 64
"""Channels of the observer's last layers."""


class ObsNet(Method):
    r"""Observer network: ``s = o(x, f, z)``, the log-odds that the segmentation network is wrong at a pixel.

    The observer is a copy of the shared network, trained on while that stays frozen. It sees the image x, and adds the
    features f and the logits z that the shared network has of it to its own; normalisation, ReLU and a 3x3 convolution,
    twice, make o of the sum of the logits. It learns

        BCE(o(x', f', z'), [argmax_c z'_c != y])     over the pixels of known classes, errors counted `weight` times

    on images x' that are attacked in one place each, the union M of 6 to 10 rectangles, ellipses and triangles in a
    window somewhere in the image, with n ~ N(0, 1):

    - "max" ``x' = x~ - epsilon M sign grad CE(z(x~), k)``, a step towards one random class k per image,
    - "min" ``x' = x~ + epsilon M sign grad CE(z(x~), y)``, one away from the labels,

    both from ``x~ = x + 0.03 M n``, and cut to what a pixel can be. The score is o, not its sigmoid, which ranks alike
    and has fewer digits. With several test scales, o is averaged. No outliers are used.

    Args:
        attack: "max" (StreetHazards and BDD-Anomaly by the authors), "min" (CamVid), or "none": the errors on images as
            they are, the ablation.
        epsilon: size of the step, in units of normalised inputs, of which one has 57.6 grey levels. The authors take
            0.001 for "max" and 0.025 for "min".
        patch: the window and its shapes, for a short side of 360 pixels: "large" 300x360 with shapes of 160 to 200
            (StreetHazards, BDD-Anomaly), "small" 128x128 with shapes of 60 to 80 (CamVid, Cityscapes).
        weight: of errors in the loss; 3 by the authors, 2 on CamVid.
        void: count pixels without a class as errors, as the released code does without a word where labels have such
            pixels (CamVid, BDD-Anomaly, Cityscapes; StreetHazards has none). The observer then learns what void looks
            like, which may show unknown objects, so that this stands with the methods that saw outlier data.
        tap: the features f, several joined by "+". What a network's taps allow takes the place of the paper's residual
            connections at every block: each is added where a layer of the observer gives what the tap holds, so that
            all further layers of the copy see the sum, as in the paper. The end of a PSPNet's encoder and its
            penultimate features are what the authors' DeepLabv3+ has, but for its low-level features; an FPN has a tap
            for every level (``encoder.4+encoder.8+encoder.16+encoder.32+penultimate``). A run takes "penultimate"
            alone, and says so in the label, where the network has no ``layer4`` and nobody states another.

    Source: Besnier et al., "Triggering Failures: Out-Of-Distribution Detection by Learning from Local Adversarial
        Attacks in Semantic Segmentation", ICCV 2021 (arXiv 2108.01634); valeoai/obsnet, whose observers are a SegNet
        (features at 9 blocks, no logits), a DeepLabv3+ (encoder and logits, with the two convolutions at the end that
        are here) and a WideResNet. There the learning rate falls to a fifth at half of the training and again five
        epochs before its end, checkpoints are chosen by AUROC on validation images, and images are seen at 360 pixels;
        here the observer is trained at the sizes at which the shared network is.
    """

    title = "ObsNet"
    paper = "Besnier et al., ICCV 2021"
    elsewhere: ClassVar[Mapping[str, Any]] = {"tap": PENULTIMATE}
    recipes: Mapping[str, Recipe] = {
        "obsnet": Recipe(
            task="obsnet",
            epochs=50,
            steps_per_epoch=0,
            batch_size=6,
            lr=0.02,
            momentum=0.0,
            weight_decay=0.0,
            schedule="linear_second_half",
            scales=(300, 375, 450, 525, 600),
            max_size=1000,
            colour=0.5,
            aux_weight=0.0,
            label_size="full",
        )
    }
    light: Mapping[str, LightRecipe] = {
        "obsnet": LightRecipe(
            epochs=0.5,
            segmentation=True,
            changes={**FAST, "lr": 2e-3, "weight_decay": 0.01, "label_size": "half", "aux_weight": 0.0},
        )
    }

    def __init__(
        self,
        attack: Literal["max", "min", "none"] = "max",
        epsilon: Amount = 0.001,
        patch: Literal["large", "small"] = "large",
        weight: Annotated[float, Range(0, above=True)] = 3.0,
        void: bool = False,
        tap: str = f"layer4+{PENULTIMATE}",
    ) -> None:
        super().__init__()
        self.attack, self.epsilon, self.patch, self.weight = attack, float(epsilon), patch, float(weight)
        self.void = self.auxiliary_data = void
        self.taps = tuple(tap.split("+"))
        if not all(self.taps) or len(set(self.taps)) < len(self.taps):
            raise ValueError("tap is one feature or different ones joined by '+'.")

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        otherwise = f"tap={PENULTIMATE} takes any network with a penultimate layer"
        return {"base": Need(base, self.taps, otherwise)}

    def build(self, networks: Networks) -> None:
        base = networks["base"]
        self.observer = Observer(base.module, self.taps, base.spec.arch)

    def fit(self, data: FitData, networks: Networks) -> None:
        self.observer.requires_grad_(True)
        data.train(Observation(self, networks["base"]), data.recipes["obsnet"])

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        base = networks["base"]
        outputs, spec = base(batch), base.spec
        total = 0
        for scale, side in zip(outputs.scales, spec.scales or (0,), strict=True):
            inputs = self.observer.network.prepare(batch.images, side, spec.max_size).inputs
            odds = self.observer(inputs, [scale.taps[tap] for tap in self.taps], scale.logits)
            total = total + scale.upsample(odds.float(), outputs.size)[:, 0]
        return total / len(outputs.scales)

    @property
    def forwards(self) -> float:
        return 1.0


class Observer(nn.Module):
    """A copy of a network that adds given features and logits to its own, and says one number of every cell.

    Args:
        network: what is copied.
        taps: names of the features.
        arch: what to call it in an error.
    Raises:
        BenchmarkError: no layer of the network gives what one of the taps holds.
    """

    def __init__(self, network: Network, taps: Sequence[str], arch: str) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        self.places = places(self.network, taps)
        if missing := [tap for tap, place in zip(taps, self.places, strict=True) if not place]:
            raise BenchmarkError(
                f"adds features to a layer that gives '{missing[0]}', and {arch} has none; take others."
            )
        self.head = nn.Sequential(
            nn.BatchNorm2d(network.classes),
            nn.ReLU(),
            nn.Conv2d(network.classes, WIDTH, 3, padding=1, bias=False),
            nn.BatchNorm2d(WIDTH),
            nn.ReLU(),
            nn.Conv2d(WIDTH, 1, 3, padding=1),
        )

    def forward(self, inputs: Tensor, features: Sequence[Tensor], logits: Tensor) -> Tensor:
        """Log-odds (B, 1, h, w) of an error on the grid of the logits.

        Args:
            inputs: normalised images (B, 3, H, W).
            features: of the observed network, one (B, D, h', w') per tap.
            logits: its logits (B, C, h, w).
        """
        hooks = [
            self.network.get_submodule(place).register_forward_hook(lambda _module, _given, own, seen=seen: own + seen)
            for place, seen in zip(self.places, features, strict=True)
        ]
        try:
            own = self.network(inputs)["logits"]
        finally:
            for hook in hooks:
                hook.remove()
        return self.head(own + logits)


def places(network: Network, taps: Sequence[str]) -> list[str]:
    """The first submodule whose output is what a tap holds, for every tap; empty where there is none."""
    wanted = [network.tap(tap) for tap in taps]
    depths = {network.channels[tap] for tap in wanted}
    seen: list[tuple[str, Tensor]] = []

    def look(path: str, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[1] in depths:
            seen.append((path, output.clone()))  # what follows may work in place

    side = network.stride * math.ceil(64 / network.stride)
    noise = torch.rand(1, 3, *(network.size or (side, side)), generator=torch.Generator().manual_seed(0)) * 255
    hooks = [
        module.register_forward_hook(lambda _module, _given, output, path=path: look(path, output))
        for path, module in network.named_modules()
        if path
    ]
    try:
        with torch.no_grad():
            maps = network(network.prepare(noise.to(network.mean.device)).inputs, tuple(dict.fromkeys(wanted)))
    finally:
        for hook in hooks:
            hook.remove()
    return [next((path for path, output in seen if torch.equal(output, maps[tap])), "") for tap in wanted]


class Observation(Failures):
    """The observer learns the errors of the frozen network, on attacked images."""

    def __init__(self, method: ObsNet, base: Handle) -> None:
        super().__init__(base, method.taps, method.weight, method.void)
        self.observer = method.observer
        self.attack, self.epsilon, self.patch = method.attack, method.epsilon, method.patch

    def odds(self, inputs: Tensor, features: Sequence[Tensor], logits: Tensor) -> Tensor:
        return self.observer(inputs, features, logits)

    def changed(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """With noise and one step of the attack, each image in one place."""
        network = self.base.module
        if self.attack == "none":
            return inputs
        random = np.random.default_rng(int(torch.randint(2**62, ())))  # torch's generators are seeded for every step
        mask = torch.stack([local_mask(random, inputs.shape[-2:], self.patch) for _ in inputs])[:, None].to(inputs)
        unit = mask * UNIT / network.std
        with torch.enable_grad(), self.exactly():
            x = (inputs + NOISE * unit * torch.randn_like(inputs)).requires_grad_(True)
            logits = network(x)["logits"]
            if self.attack == "max":
                target = torch.randint(network.classes, (len(inputs), 1, 1)).to(logits.device)
                loss = -F.cross_entropy(logits.float(), target.expand(-1, *logits.shape[-2:]), reduction="sum")
            else:
                loss = cross_entropy(*on_one_grid(logits, labels, self.recipe.label_size), network.classes)
            (gradient,) = torch.autograd.grad(loss, x)
        low, high = (network.normalise(torch.full_like(network.mean, grey)) for grey in (0, 255))
        return (x.detach() + self.epsilon * unit * gradient.sign()).clamp(low, high)


def local_mask(random: np.random.Generator, size: Sequence[int], patch: str) -> Tensor:
    """Where an image of that size (h, w) is attacked, bool: shapes in a window, both placed at random."""
    scale = min(size) / SIDE
    *window, least, most = PATCHES[patch]
    rows, columns = (max(1, min(round(side * scale), whole)) for side, whole in zip(window, size, strict=True))
    shapes = np.zeros((rows, columns), bool)
    for _ in range(random.integers(SHAPES[0], SHAPES[1] + 1)):
        high, wide = (max(1, min(round(random.uniform(least, most) * scale), side)) for side in shapes.shape)
        top, left = random.integers(rows - high + 1), random.integers(columns - wide + 1)
        y, x = (np.linspace(-1, 1, side) for side in (high, wide))
        box, kind = shapes[top : top + high, left : left + wide], random.integers(3)
        if kind == 0:
            box[:] = True
        elif kind == 1:
            box |= y[:, None] ** 2 + x**2 <= 1
        else:
            box |= np.abs(x) <= (y[:, None] + 1) / 2
    mask = torch.zeros(tuple(size), dtype=torch.bool)
    top, left = random.integers(size[0] - rows + 1), random.integers(size[1] - columns + 1)
    mask[top : top + rows, left : left + columns] = torch.from_numpy(shapes)
    return mask
