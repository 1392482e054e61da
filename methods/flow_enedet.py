"""FlowEneDet: a small normalizing flow on the energy tells right predictions from wrong ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import BenchmarkError
from benchmark.method import PENULTIMATE, Batch, Handle, Method, Need, Networks
from benchmark.network import NetworkSpec
from benchmark.recipe import FAST, LightRecipe, Recipe
from benchmark.training import FitData
from benchmark.values import Range

from . import sml
from ._failures import Failures
from ._outliers import smooth

DROPOUT = 0.2
REACH = 7
"""Side of the convolution in a coupling block, in cells."""


class FlowEneDet(Method):
    r"""FlowEneDet: ``s = G(p(wrong | x))``, the probability that the segmentation is wrong, of a flow on the energy.

    Per feature cell, with the mean mu_c and the deviation sigma_c of the largest logit over the training pixels that
    are rightly predicted as class c,

        E = logsumexp_c (z_c - mu_c) / sigma_c,   x = (log sigmoid(E), log sigmoid(-E))

    A flow of `blocks` coupling blocks maps x to u; its condition are the penultimate features, averaged over groups of
    neighbouring channels to `conditions` numbers, which 7x7 convolutions read. Its base distribution has a Gaussian for
    right and one for wrong predictions, and of these densities p(x | k), k = right, wrong,

        o = log p(x | wrong) - log p(x | right)

    is trained by the cross-entropy against ``[argmax_c z_c != y]`` on normal images, the segmentation network frozen.
    No outliers are used: a pixel is anomalous as far as it is likely to be an error. o is upsampled and averaged over
    the test scales; ``p(wrong | x) = sigmoid(o)``.

    Args:
        blocks: coupling blocks; the authors take 4 beside DeepLabv3+ and 8 beside SegFormer.
        conditions: numbers that the features are averaged to; 0 is a flow without condition (the authors' FED-U, this
            being FED-C).
        form: "exact" are two Gaussians with full covariances; the log-determinant of the flow is the same in both
            densities and cancels, so that what is trained is a classifier of x and the condition. "released" is what
            the authors' code computes: one Gaussian, of whose whitened vector the first number is taken for right and
            the second for wrong, each with the log-determinant of its own dimension.
        post: G: "boundary", SML's suppression of class boundaries and dilated smoothing (the authors' setting),
            "gauss", a Gaussian of 7x7 pixels and deviation 1, or "none".
        void: count pixels without a class as errors, as the released code does without a word; this then stands with
            the methods that saw outlier data.

    Source: Gudovskiy et al., "Concurrent Misclassification and Out-of-Distribution Detection for Semantic Segmentation
        via Energy-Based Normalizing Flow", UAI 2023 (arXiv 2305.09610); gudovskiy/flowenedet. Not followed: scale and
        shift of a coupling block share all weights there, the normalisation between blocks begins with the data's mean
        and deviation and does not normalise by them, a gain between blocks counts its log-determinant in both
        dimensions, means and deviations are running averages, and their numbers on SegmentMeIfYouCan come from inputs
        upsampled to the image at three sizes. The learning rate there falls to a tenth every 15,000 of 50,000 steps.
    """

    title = "FlowEneDet"
    paper = "Gudovskiy et al., UAI 2023"
    score_options = frozenset({"post"})
    recipes: Mapping[str, Recipe] = {
        "flow_enedet": Recipe(
            task="flow_enedet",
            epochs=10,
            steps_per_epoch=5000,
            batch_size=1,
            optimiser="adamw",
            lr=1e-3,
            weight_decay=0.01,
            decay_everything=True,
            schedule="cosine",
            warmup_steps=4000,
            scale_range=(0.5, 2.0),
            crop=(512, 1024),
            aux_weight=0.0,
            label_size="full",
        )
    }
    light: Mapping[str, LightRecipe] = {
        "flow_enedet": LightRecipe(
            epochs=0.5, segmentation=True, changes={**FAST, "lr": 3e-3, "label_size": "half", "aux_weight": 0.0}
        )
    }

    def __init__(
        self,
        blocks: Annotated[int, Range(1, 100)] = 4,
        conditions: Annotated[int, Range(0, 10_000)] = 32,
        form: Literal["exact", "released"] = "exact",
        post: Literal["boundary", "gauss", "none"] = "boundary",
        void: bool = False,
    ) -> None:
        super().__init__()
        self.blocks, self.conditions, self.form, self.post = blocks, conditions, form, post
        self.void = self.auxiliary_data = void
        self.taps = (PENULTIMATE,) if conditions else ()

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        return {"base": Need(base, self.taps, "conditions=0 takes any network")}

    def build(self, networks: Networks) -> None:
        base = networks["base"]
        groups = min(self.conditions, base.channels(PENULTIMATE)) if self.conditions else 0
        self.detector = Detector(base.spec.classes, groups, self.blocks, self.form == "released")
        self._sums: Tensor | None = None  # while observing: n, sum m and sum m^2 of every class

    def observe(self, batch: Batch, networks: Networks) -> None:
        values, classes = networks["base"](batch).max_logits()
        right = classes == batch.labels
        values, classes, length = values[right].double(), classes[right], len(self.detector.mean)
        sums = torch.stack([torch.bincount(classes, values**power, minlength=length) for power in (0, 1, 2)])
        self._sums = sums if self._sums is None else self._sums + sums

    def fit(self, data: FitData, networks: Networks) -> None:
        if self._sums is None or self._sums[0].sum() < 2:
            raise BenchmarkError(
                "no training pixel is predicted right, so there are no logits to standardise by; use labelled images."
            )
        sums, self._sums = self._sums, None
        # A class that is hardly ever predicted takes what all have in common.
        n, first, second = torch.where(sums[0] > 1, sums, sums.sum(dim=1, keepdim=True))
        self.detector.mean.copy_(first / n)
        self.detector.deviation.copy_((second / n - (first / n).square()).clamp(min=1e-6).sqrt())
        data.train(Detection(self, networks["base"]), data.recipes["flow_enedet"])

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        outputs = networks["base"](batch)
        total = 0
        for scale in outputs.scales:
            odds = self.detector([scale.taps[tap] for tap in self.taps], scale.logits)
            total = total + scale.upsample(odds.float(), outputs.size)[:, 0]
        wrong = (total / len(outputs.scales)).sigmoid()
        with torch.autocast(wrong.device.type, enabled=False):  # the convolutions would round to bfloat16
            if self.post == "boundary":
                return sml.smooth(sml.suppress_boundaries(wrong, outputs.prediction()))
            return smooth(wrong) if self.post == "gauss" else wrong


class Detector(nn.Module):
    """Log-odds of an error, of the energy and a condition.

    Args:
        classes: C.
        conditions: groups of channels of the features; 0 is none.
        blocks: coupling blocks of the flow.
        released: as the form "released".
    """

    def __init__(self, classes: int, conditions: int, blocks: int, released: bool) -> None:
        super().__init__()
        self.conditions, self.released = conditions, released
        self.register_buffer("mean", torch.zeros(classes))
        self.register_buffer("deviation", torch.ones(classes))
        self.norm = nn.BatchNorm2d(conditions) if conditions else None
        self.flow = nn.ModuleList(Coupling(conditions, kept=index % 2) for index in range(blocks))
        # Of right and wrong predictions: where their Gaussians are, the factor of the precision, and the weight.
        self.centre = nn.Parameter(torch.tensor([[0.0, 0.0]] if released else [[0.5, -0.5], [-0.5, 0.5]]))
        self.log_diagonal = nn.Parameter(torch.zeros_like(self.centre))
        self.below = nn.Parameter(torch.zeros(len(self.centre)))
        self.weight = nn.Parameter(torch.zeros(2))

    def forward(self, features: Sequence[Tensor], logits: Tensor) -> Tensor:
        """Log-odds (B, 1, h, w) on the grid of the features (B, D, h, w), if there are any, else on that of the logits.

        Args:
            features: none or one map.
            logits: (B, C, h', w').
        """
        condition = None
        if self.norm is not None:
            (seen,) = features
            groups = torch.stack([part.mean(dim=1) for part in seen.tensor_split(self.conditions, dim=1)], dim=1)
            condition = self.norm(groups)
            if logits.shape[-2:] != seen.shape[-2:]:
                logits = F.interpolate(logits, seen.shape[-2:], mode="bilinear", align_corners=False)
        u, log_scales = self.flowed(self.evidence(logits), condition)
        right, wrong = self.densities(u, log_scales).unbind(dim=1)
        return (wrong - right)[:, None]

    def evidence(self, logits: Tensor) -> Tensor:
        """``(log sigmoid(E), log sigmoid(-E))`` of logits (B, C, h, w), (B, 2, h, w); their exponentials sum to 1."""
        standard = (logits.float() - self.mean.view(-1, 1, 1)) / self.deviation.view(-1, 1, 1)
        energy = torch.logsumexp(standard, dim=1)
        return torch.stack([F.logsigmoid(energy), F.logsigmoid(-energy)], dim=1)

    def flowed(self, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """u (B, 2, h, w), and log-scales of its dimensions, which sum to the log-determinant of a cell's du/dx."""
        log_scales = torch.zeros_like(x)
        for block in self.flow:
            x, own = block(x, condition)
            log_scales = log_scales + own
        return x, log_scales

    def densities(self, u: Tensor, log_scales: Tensor) -> Tensor:
        """Log-densities of right and wrong predictions, (B, 2, h, w), up to what they have in common."""
        first, second = (u[:, None] - self.centre[..., None, None]).unbind(dim=2)  # (B, Gaussians, h, w) each
        scale = self.log_diagonal.exp()[..., None, None]
        white = torch.stack([scale[:, 0] * first, self.below[:, None, None] * first + scale[:, 1] * second], dim=2)
        terms = self.log_diagonal[..., None, None] - white.square() / 2  # (B, Gaussians, 2, h, w)
        own = terms[:, 0] + log_scales if self.released else terms.sum(dim=2)
        return own + self.weight[:, None, None]


class Coupling(nn.Module):
    """One block of the flow: a gain and a shift, a 2x2 mixing, then one number scaled and shifted as the other says.

    Args:
        conditions: channels of the condition.
        kept: which of the two numbers stays.
    """

    def __init__(self, conditions: int, kept: int) -> None:
        super().__init__()
        self.kept = kept
        self.log_gain = nn.Parameter(torch.zeros(2))
        self.shift = nn.Parameter(torch.zeros(2))
        self.mixing = nn.Parameter(nn.init.orthogonal_(torch.empty(2, 2)))
        depth = conditions + 1
        self.rule = nn.Sequential(
            nn.Conv2d(depth, depth, 1),
            nn.Sigmoid(),
            nn.Conv2d(depth, depth, REACH, padding=REACH // 2, padding_mode="replicate"),
            nn.Sigmoid(),
            nn.Dropout2d(DROPOUT),
            nn.Conv2d(depth, 2, 1),
        )

    def forward(self, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """Values (B, 2, h, w) and log-scales alike, of which the mixing's is shared out equally."""
        x = x * self.log_gain.exp()[:, None, None] + self.shift[:, None, None]
        first, second = x.unbind(dim=1)
        (a, b), (c, d) = self.mixing
        numbers = [a * first + b * second, c * first + d * second]
        kept = numbers[self.kept][:, None]
        told = self.rule(kept if condition is None else torch.cat([kept, condition], dim=1)).to(x.dtype)
        log_scale, shift = F.logsigmoid(-told[:, 0]), told[:, 1]
        moved = 1 - self.kept
        numbers[moved] = numbers[moved] * log_scale.exp() + shift
        log_scales = [torch.zeros_like(log_scale), torch.zeros_like(log_scale)]
        log_scales[moved] = log_scale
        mixed = (a * d - b * c).abs().clamp(min=1e-12).log() / 2
        return torch.stack(numbers, dim=1), torch.stack(log_scales, dim=1) + (self.log_gain + mixed)[:, None, None]


class Detection(Failures):
    """The detector learns the errors of the frozen network."""

    def __init__(self, method: FlowEneDet, base: Handle) -> None:
        super().__init__(base, method.taps, void=method.void)
        self.detector = method.detector

    def odds(self, inputs: Tensor, features: Sequence[Tensor], logits: Tensor) -> Tensor:
        return self.detector(features, logits)
