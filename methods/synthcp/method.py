"""SynthCP: anomalies are where the image differs from one synthesised from its own segmentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.errors import BenchmarkError
from benchmark.method import Batch, Method, Need, Networks
from benchmark.network import NetworkSpec
from benchmark.progress import say
from benchmark.recipe import LightRecipe, Recipe
from benchmark.training import FitData, seeded
from benchmark.training.segmentation import nearest
from benchmark.values import Range

from .._confidence import negative_log_max
from .features import add_resized, cosine
from .perceptual import Perceptual, cached_file
from .spade import Generator, one_hot
from .training import Synthesis

TAP = "ppm_cat"
OTHERWISE = "take a PSPNet, or tap=penultimate"
PUBLISHED = {"width": 512, "height": 256, "channels": 64}
SMALL = {"width": 128, "height": 64, "channels": 8}


class SynthCP(Method):
    """Synthesise, then compare: ``s = 1 - m`` where ``m > t``, else ``1 - cos(F(x), F(G(y)))``.

    y is the segmentation that the network predicts for the image x, G a generator that was trained to paint normal
    label maps, F the network's concatenated pyramid features and m its largest softmax probability. An unknown object
    is painted as the class that it was taken for, so that the features of image and synthesis part. The features of
    every test scale are resized to (H/4, W/4) and averaged, the cosine is taken of the averages and upsampled.

    At full size the features of an image and of its synthesis take 0.94 GB each (4096 channels, 180x320, float32);
    images are compared one by one, and of the scales only the one at work is held beside these two sums.

    Args:
        threshold: t. With -1 the score is that of MSP alone, with 1 the cosine's alone.
        width: of the synthesis in pixels, a multiple of 32.
        height: of the synthesis in pixels, a multiple of 32. The aspect of the images is not kept.
        channels: of the generator's last block and of the discriminators' first.
        tap: the features that are compared; the pyramid's are the authors', "penultimate" are those that the classifier
            sees, for a network without a pyramid of pooled context.

    Width, height and channels are "auto" for the authors' values (512x256, 64) with a network of at least 4096 channels
    in that tap, and for 128x64 and 8 with a smaller one.

    Source: Xia et al., "Synthesize then Compare: Detecting Failures and Anomalies for Semantic Segmentation", ECCV
        2020. The learned comparison module of the paper serves failure detection, not anomaly segmentation.
    """

    title = "SynthCP"
    paper = "Xia et al., ECCV 2020"
    version = 2  # 1 rounded the largest probability of the surest pixels to 1
    score_options = frozenset({"threshold"})
    recipes: Mapping[str, Recipe] = {
        # Released training of the generator: Adam at 1e-4 (generator) and 4e-4 (discriminator).
        "synthesis": Recipe(
            task="synthesis",
            epochs=200,
            steps_per_epoch=0,
            batch_size=16,
            optimiser="adam",
            lr=2e-4,
            betas=(0.0, 0.9),
            weight_decay=0.0,
            schedule="linear_second_half",
            aux_weight=0.0,
        )
    }
    # Where the networks train for a few epochs only, as on MiniHazards, half of them would be too short for a GAN.
    light: Mapping[str, LightRecipe] = {"synthesis": LightRecipe(epochs=0.5, at_least=9, changes={"lr": 1e-3})}

    def __init__(
        self,
        threshold: Annotated[float, Range(-1, 1)] = 0.999,
        width: int | str = "auto",
        height: int | str = "auto",
        channels: int | str = "auto",
        tap: str = TAP,
    ) -> None:
        super().__init__()
        self.threshold = float(threshold)
        self.tap = tap
        self.asked = {"width": width, "height": height, "channels": channels}
        for key, value in self.asked.items():
            if value != "auto" and not (isinstance(value, int) and value > 0):
                raise ValueError(f"{key} is a whole number or auto.")

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        # Kept with the outputs that all methods share, the features of several scales would be there at once.
        return {"base": Need(base, (self.tap,) if len(base.scales) < 2 else (), OTHERWISE)}

    @property
    def forwards(self) -> float:
        return 2.0  # image and synthesis; with one test scale the image's is the shared one

    def build(self, networks: Networks) -> None:
        network, spec = networks["base"].module, networks["base"].spec
        if network.tap(self.tap) not in network.channels:
            raise BenchmarkError(f"SynthCP compares the features {self.tap}, which {spec.arch} has not; {OTHERWISE}.")
        defaults = PUBLISHED if networks["base"].channels(self.tap) >= 4096 else SMALL
        chosen = {key: defaults[key] if value == "auto" else value for key, value in self.asked.items()}
        self.classes = network.classes
        self.channels = chosen["channels"]
        self.generator = Generator(self.classes, (chosen["height"], chosen["width"]), self.channels)

    def fit(self, data: FitData, networks: Networks) -> None:
        recipe = data.recipes["synthesis"]
        height, width = self.generator.size
        text = f"SynthCP learns to synthesise {width}x{height} pixels ({self.channels} channels)"
        perceptual = Perceptual.from_cache()
        if perceptual is None:
            text += f", without the perceptual loss, since {cached_file()} does not exist"
        else:
            perceptual.to(data.machine.device)
        say(f"{text}.", data.machine)
        with seeded(recipe):
            task = Synthesis(self.generator, self.classes, self.channels, perceptual)
        data.train(task, recipe)

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        outputs = networks["base"](batch)
        doubt = -torch.expm1(-negative_log_max(outputs.log_probabilities().exp()))
        sure = doubt < 1 - self.threshold
        if sure.all():
            return doubt
        return torch.where(sure, doubt, 1 - self.similarity(batch, networks))

    def similarity(self, batch: Batch, networks: Networks) -> Tensor:
        """Cosine (B, H, W) of the features of images and their syntheses."""
        outputs = networks["base"](batch)
        labels, maps = outputs.prediction(), []
        for index in range(len(batch)):
            one = slice(index, index + 1)
            if len(outputs.scales) == 1:
                (scale,) = outputs.scales
                image = add_resized(None, scale.taps[self.tap][one], scale, outputs.size)
            else:
                image = self.features(batch.images[one], networks)
            synthesis = self.features(self.synthesise(labels[one], outputs.size), networks)
            maps.append(cosine(image, synthesis))
        return F.interpolate(torch.stack(maps, dim=1), outputs.size, mode="bilinear", align_corners=False)[0]

    def features(self, image: Tensor, networks: Networks) -> Tensor:
        """Sum over the scales of the features of one image (1, 3, H, W) on its quarter grid, (1, D, H/4, W/4)."""
        base, size, total = networks["base"], tuple(image.shape[-2:]), None
        for side in base.spec.scales or (0,):
            (scale,) = base.run(image, (self.tap,), (side,) if side else ()).scales
            total = add_resized(total, scale.taps[self.tap], scale, size)
        return total

    def synthesise(self, labels: Tensor, size: tuple[int, int]) -> Tensor:
        """Images uint8 (B, 3, *size) painted from label maps (B, H, W), enlarged by nearest neighbour."""
        maps = one_hot(nearest(labels, self.generator.size), self.classes)
        images = ((self.generator(maps).float() + 1) * 127.5).to(torch.uint8)
        return F.interpolate(images, size, mode="nearest-exact")
