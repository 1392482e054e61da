"""STPM: a student learns the features of a frozen pretrained encoder on normal images, and anomalies part the two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.encoders import frozen, load_encoder, timm_encoder
from benchmark.errors import BenchmarkError
from benchmark.method import Batch, Handle, Method, Need, Networks
from benchmark.network import NetworkSpec
from benchmark.recipe import FAST, LightRecipe, Recipe
from benchmark.training import FitData, Task

ENCODER = "tf_efficientnet_lite0"


class STPM(Method):
    r"""Student-teacher feature pyramid matching: DiCNet's comparison with another teacher than the segmenter.

    The teacher T is a frozen encoder with weights of ImageNet, the student S the same encoder with a 1x1 convolution
    after every compared layer. On normal images S learns to give what T gives; on what it has never seen the two part.
    Per layer l and cell, with D channels:

    - "cosine" ``g_l = 1 - cos(T_l, S_l)``, and ``s = prod_l g_l`` of the upsampled maps, as in the paper;
    - "mse" ``g_l = 1/D sum_k ((T_lk - mu_lk) / sigma_lk - S_lk)^2`` with mean and deviation of every channel over the
      training images, so that no channel outweighs the others, and ``s = mean_l g_l``.

    The loss is the mean of g over cells and layers. No labels are used.

    Args:
        encoder: timm's name of teacher and student, a convolutional encoder; with a size as of kNN's encoder
            ("tf_efficientnet_lite0-360") both see images of that short side.
        tap: the strides of the compared layers, joined by "+"; the paper compares "4+8+16".
        compare: "cosine" or "mse".
        student: "scratch" begins with random values, as in the paper; "pretrained" with the teacher's, but for the
            convolutions after the layers.

    Source: Wang et al., "Student-Teacher Feature Pyramid Matching for Anomaly Detection", BMVC 2021 (there ResNet-18 on
        images of products); the convolutions after the layers and "mse" are this suite's. For segmenters as teachers:
        DiCNet, :mod:`benchmark.methods.dicnet`.
    """

    title = "STPM"
    paper = "Wang et al., BMVC 2021"
    needs_classes = False
    recipes: Mapping[str, Recipe] = {
        "stpm": Recipe(
            task="stpm",
            epochs=100,
            steps_per_epoch=0,
            batch_size=32,
            lr=0.4,
            decay_everything=True,
            schedule="constant",
            flip=False,
            aux_weight=0.0,
        )
    }
    # The encoder sees test images at their own size, whatever that of the shared network, and so must the student.
    light: Mapping[str, LightRecipe] = {
        "stpm": LightRecipe(
            epochs=0.5, changes={**FAST, "lr": 0.004, "weight_decay": 0.01, "scales": (), "flip": True, "colour": 0.0}
        )
    }

    def __init__(
        self,
        encoder: str = ENCODER,
        tap: str = "16+32",
        compare: Literal["cosine", "mse"] = "mse",
        student: Literal["scratch", "pretrained"] = "scratch",
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.taps = tuple(tap.split("+"))
        if not all(t.isdecimal() for t in self.taps) or len(set(self.taps)) < len(self.taps):
            raise ValueError("tap is one stride of the encoder or different ones joined by '+', such as 8+16+32.")
        self.cosine = compare == "cosine"
        self.pretrained = student == "pretrained"
        self._sums: Tensor | None = None  # while observing: number of cells, sum f, sum f^2 of all channels

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        return {"encoder": Need(frozen(self.encoder), self.taps)}

    def build(self, networks: Networks) -> None:
        self.widths = [networks["encoder"].channels(tap) for tap in self.taps]
        self.student = Student(self.encoder, self.taps, self.widths)
        self.register_buffer("mean", torch.zeros(sum(self.widths)))
        self.register_buffer("deviation", torch.ones(sum(self.widths)))

    @property
    def observes(self) -> bool:
        return not self.cosine

    def observe(self, batch: Batch, networks: Networks) -> None:
        (scale,) = networks["encoder"](batch).scales
        parts = []
        for tap in self.taps:
            features = scale.taps[tap].double()
            sums = features.sum((0, 2, 3)), features.square().sum((0, 2, 3))
            parts.append(torch.stack([torch.full_like(sums[0], features[:, 0].numel()), *sums]))
        self._sums = torch.cat(parts, dim=1) + (0 if self._sums is None else self._sums)

    def fit(self, data: FitData, networks: Networks) -> None:
        if self._sums is not None:
            (count, total, squares), self._sums = self._sums, None
            self.mean.copy_(total / count)
            self.deviation.copy_((squares / count - (total / count).square()).clamp(min=1e-12).sqrt())
        if self.pretrained:
            load_encoder(self.student.encoder, self.encoder)
        data.train(Matching(self, networks["encoder"]), data.recipes["stpm"])

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        handle = networks["encoder"]
        outputs = handle(batch)
        (scale,) = outputs.scales
        features = [scale.taps[tap] for tap in self.taps]
        gaps = self.gaps(features, self.student(handle.module.prepare(batch.images).inputs))
        maps = torch.cat([scale.upsample(gap, outputs.size) for gap in gaps], dim=1)
        return maps.prod(dim=1) if self.cosine else maps.mean(dim=1)

    def gaps(self, teacher: list[Tensor], student: list[Tensor]) -> list[Tensor]:
        """Per layer the discrepancy of every cell, (B, 1, h, w), of the two's features (B, D, h, w)."""
        if self.cosine:
            pairs = zip(teacher, student, strict=True)
            return [1 - F.cosine_similarity(t, s.float(), dim=1)[:, None] for t, s in pairs]
        found = []
        statistics = (buffer.view(1, -1, 1, 1).split(self.widths, dim=1) for buffer in (self.mean, self.deviation))
        for t, s, mean, deviation in zip(teacher, student, *statistics, strict=True):
            found.append(((t - mean) / deviation - s.float()).square().mean(dim=1, keepdim=True))
        return found


class Student(nn.Module):
    """The encoder up to the last compared layer, with a 1x1 convolution after each: images to a list of features."""

    def __init__(self, encoder: str, taps: tuple[str, ...], widths: list[int]) -> None:
        super().__init__()
        strides = [str(reduction) for reduction in timm_encoder(encoder).feature_info.reduction()]
        if missing := [tap for tap in taps if strides.count(tap) != 1]:
            raise BenchmarkError(
                f"{encoder} has no single layer at stride {missing[0]}; it has those at {', '.join(strides)}."
            )
        order = sorted(taps, key=strides.index)
        self.encoder = timm_encoder(encoder, out_indices=tuple(strides.index(tap) for tap in order))
        self.heads = nn.ModuleList(nn.Conv2d(width, width, 1) for width in widths)
        self.order = [order.index(tap) for tap in taps]

    def forward(self, inputs: Tensor) -> list[Tensor]:
        maps = self.encoder(inputs)
        return [head(maps[at]) for head, at in zip(self.heads, self.order, strict=True)]


class Matching(Task):
    """The mean discrepancy of student and teacher; labels are not used."""

    def __init__(self, method: STPM, teacher: Handle) -> None:
        super().__init__()
        self.student = method.student
        self.stride = teacher.module.stride
        self._method, self._teacher = (method,), teacher  # in a tuple: a child module would be saved twice

    def loss(self, batch: Batch) -> Tensor:
        (method,), network = self._method, self._teacher.module
        with torch.no_grad():
            inputs = network.prepare(batch.images).inputs
            maps = network(inputs, method.taps)
        gaps = method.gaps([maps[tap].float() for tap in method.taps], self.student(inputs))
        return torch.stack([gap.mean() for gap in gaps]).mean()

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """The loss on validation images: with "mse" the share of the variance that the student does not explain."""
        losses = [(float(self.loss(batch)), len(batch)) for batch in batches]
        return {"discrepancy": sum(loss * size for loss, size in losses) / sum(size for _, size in losses)}
