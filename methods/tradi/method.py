"""TRADI: a training's tracked weight distribution, an ensemble sampled from it."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Annotated, Any

import torch
from torch import Tensor

from benchmark.data import Batch, Dataset, collate
from benchmark.errors import BenchmarkError
from benchmark.method import Method, Networks
from benchmark.network import Network, NetworkSpec, Outputs
from benchmark.progress import Progress, say
from benchmark.recipe import LIGHT_SEGMENTATION, LightRecipe, Recipe
from benchmark.training import FitData, Segmentation, run_seed, seeded
from benchmark.values import Fraction, Range

from .._confidence import negative_log_max
from .sampling import batch_norms, capacity, reestimate, sample_network
from .task import TrackedSegmentation
from .tracker import NamedBuffers, WeightTracker, sampled_parameters

VALIDATION_IMAGES = 40
"""Validation images, evenly spaced, on which every member's mIoU is measured."""
COLLAPSE = 0.95
"""A member below this share of the mean network's mIoU is warned of."""


class TRADI(Method):
    r"""Tracked weight distribution: ``p = 1/M sum_m softmax(z_m)``, ``s = -log max_c p_c``.

    A network is trained from scratch as the shared one, with the same recipe and seed, while a Kalman-like filter
    tracks mean and variance of its weights (:class:`WeightTracker`). The M members are drawn from that distribution
    (:func:`~benchmark.methods.tradi.sampling.sample_weights`), and their batch normalisations are estimated anew on
    training images. What is stored is the mean, the variance and each member's normalisation statistics; the weights
    are drawn again from the seed. Members within a memory budget are kept (:func:`capacity`), the others are drawn
    anew for every batch, to the same bits.

    The spread of the members is about 21 times the root mean square of a weight's latest 450 steps, so it falls with
    the learning rate, and after a long schedule that ends at 0 the members are one network. `lr_floor` keeps it open;
    with 0 the training is the shared network's bit for bit. The authors do not state how they proceed for segmentation.

    Args:
        members: M.
        displacement: what the filter takes for a step of the weights: "actual", or "gradient" (the released code).
        start: where the filter starts: "weights", or "paper" for the released code's zero mean.
        lr_floor: share of the initial learning rate below which the schedule does not fall.
        shared_phase: whether the weights of a tensor share the random phases (the paper's covariance) or not (the
            released code's independent weights).
        aggregate: average "probabilities" or "logits".
        bn_images: training images, evenly spaced, on which each member's normalisation is estimated.

    Source: Franchi et al., "TRADI: Tracking deep neural network weight distributions", ECCV 2020 (arXiv 1912.11316).
        The released code (classification of MNIST) averages logits; probabilities are the ensemble's convention.
    """

    title = "TRADI"
    paper = "Franchi et al., ECCV 2020"
    version = 2  # 1 took the logarithm of the maximum, in which the surest pixels are ties
    score_options = frozenset({"aggregate"})
    trial: Mapping[str, Any] = {"members": 3}  # twenty take long
    recipes: Mapping[str, Recipe] = {"segmentation": Recipe()}
    light: Mapping[str, LightRecipe] = {"segmentation": LIGHT_SEGMENTATION}

    def __init__(
        self,
        members: Annotated[int, Range(1, 1000)] = 20,
        displacement: str = "actual",
        start: str = "weights",
        lr_floor: Fraction = 0.1,
        shared_phase: bool = False,
        aggregate: str = "probabilities",
        bn_images: int = 200,
    ) -> None:
        super().__init__()
        if members < 1 or bn_images < 1:
            raise ValueError("members and bn_images are at least 1.")
        if displacement not in ("actual", "gradient"):
            raise ValueError("displacement is actual or gradient.")
        if start not in ("weights", "paper"):
            raise ValueError("start is weights or paper.")
        if aggregate not in ("probabilities", "logits"):
            raise ValueError("aggregate is probabilities or logits.")
        self.members = members
        self.displacement, self.start, self.lr_floor = displacement, start, lr_floor
        self.shared_phase, self.aggregate, self.bn_images = shared_phase, aggregate, bn_images

    @property
    def forwards(self) -> float:
        return self.members

    def build(self, networks: Networks) -> None:
        self.network = copy.deepcopy(networks["base"].module)
        self.variances = NamedBuffers({n: torch.zeros_like(p) for n, p in sampled_parameters(self.network).items()})
        features = sum(norm.num_features for norm in batch_norms(self.network))
        if not features:
            raise BenchmarkError(
                f"TRADI estimates its members' batch normalisations anew, and {networks['base'].spec.arch} has none; "
                f"take another network or leave tradi out of --methods."
            )
        self.register_buffer("norm_means", torch.zeros(self.members, features))
        self.register_buffer("norm_variances", torch.ones(self.members, features))
        self.register_buffer("seed", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean_miou", torch.zeros(()))
        self.register_buffer("member_miou", torch.zeros(self.members))
        self._kept: tuple[Network, ...] = ()  # the first members; a tuple, since they are not stored

    def fit(self, data: FitData, networks: Networks) -> None:
        recipe, base = data.recipes["segmentation"], networks["base"]
        with seeded(recipe):
            network = base.untrained()
        tracker = WeightTracker(network, self.displacement, self.start)
        data.train(TrackedSegmentation(network, data.train_set.classes, tracker, self.lr_floor), recipe)
        state = network.state_dict() | {name: tracker.means[name] for name in tracker.means.names()}
        self.network.load_state_dict(state)
        self.variances.load_state_dict(tracker.variances.state_dict())
        self.seed.fill_(run_seed(recipe))
        self.to(data.machine.device)
        with torch.no_grad():
            self._estimate_norms(data, base.spec)
            self._measure(data, recipe)

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        spec = networks["base"].spec
        total: Tensor | None = None
        for member in self.ensemble():
            scales = [member.segment(batch.images, scale, spec.max_size) for scale in spec.scales or (0,)]
            outputs = Outputs(scales, batch.size)
            if self.aggregate == "logits":
                total = outputs.logits() if total is None else total + outputs.logits()
            else:
                log_p = outputs.log_probabilities()
                total = log_p if total is None else torch.logaddexp(total, log_p)
        if self.aggregate == "logits":
            return negative_log_max(torch.softmax(total / self.members, dim=1))
        return negative_log_max((total - math.log(self.members)).exp())

    def ensemble(self) -> Iterator[Network]:
        """The members in order, with their normalisation statistics."""
        if not self._kept:
            count = min(self.members, capacity(self.network, self.seed.device))
            self._kept = tuple(self._member(index) for index in range(count))
        yield from self._kept
        for index in range(len(self._kept), self.members):
            yield self._member(index)

    def _member(self, index: int) -> Network:
        member = self._draw(index)
        norms = batch_norms(member)
        sizes = [norm.num_features for norm in norms]
        for norm, mean, variance in zip(
            norms, self.norm_means[index].split(sizes), self.norm_variances[index].split(sizes)
        ):
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)
        return member

    def _draw(self, index: int) -> Network:
        """A member with the mean network's normalisation statistics."""
        seed = int(self.seed) * 1_000_003 + index
        member = sample_network(self.network, self.variances, seed, self.shared_phase)
        return member.to(memory_format=torch.channels_last)

    def _estimate_norms(self, data: FitData, spec: NetworkSpec) -> None:
        """Normalisation statistics of the mean network and of all members, of as many at a time as may be kept."""
        count = capacity(self.network, self.seed.device)
        for first in range(0, self.members, count):
            group = range(first, min(first + count, self.members))
            title = f"{data.title} normalisation of members {first + 1} to {group[-1] + 1} of {self.members}"
            images = _spaced(data.train_set, self.bn_images, data, title)
            # The pyramid's coarsest branch has one value per image and channel, and of one value there is no variance.
            batches = (batch for batch in images if len(batch) > 1)
            members = tuple(self._draw(index) for index in group)
            reestimate(members if first else (self.network, *members), batches, spec.scales, spec.max_size)
            for index, member in zip(group, members):
                norms = batch_norms(member)
                self.norm_means[index] = torch.cat([norm.running_mean for norm in norms])
                self.norm_variances[index] = torch.cat([norm.running_var for norm in norms])
            if not first:
                self._kept = members

    def _measure(self, data: FitData, recipe: Recipe) -> None:
        """mIoU of the mean network and of every member; says so where a member has collapsed."""
        if data.val_set is None:
            return
        batches = list(_spaced(data.val_set, VALIDATION_IMAGES, data))
        values = []
        for network in chain((self.network,), self.ensemble()):
            task = Segmentation(network, data.train_set.classes)
            task.recipe = recipe
            values.append(task.validate(batches)["mIoU"])
        self.mean_miou.fill_(values[0])
        self.member_miou.copy_(torch.tensor(values[1:]))
        worst = min(values[1:])
        found = {"mIoU of the mean network": values[0], "mIoU of the worst member": worst}
        data.reports[-1] = dataclasses.replace(data.reports[-1], validation={**data.reports[-1].validation, **found})
        collapsed = sum(value < COLLAPSE * values[0] for value in values[1:])
        if collapsed:
            say(
                f"{data.title}: {collapsed} of {self.members} members reach less than {COLLAPSE:.0%} of the mean "
                f"network's mIoU of {values[0]:.3f} (the worst {worst:.3f}); lower lr_floor or train longer.",
                data.machine,
            )


def _spaced(dataset: Dataset, count: int, data: FitData, title: str = "", batch_size: int = 8) -> Iterator[Batch]:
    """Up to `count` images spread evenly over a split, in batches of at least `batch_size` on the device."""
    count = min(count, len(dataset))
    indices = [index * len(dataset) // count for index in range(count)]
    progress = Progress(title, 0, count, data.machine) if title else None
    parts = max(1, count // batch_size)
    for part in range(parts):
        first, last = part * count // parts, (part + 1) * count // parts
        for batch in collate([dataset[index] for index in indices[first:last]]):
            yield batch.to(data.machine.device)
        if progress:
            progress.update(last, "")
    if progress:
        progress.close()
