"""RWPM: another method on features and logits that have walked along the manifold of their image."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated

from torch import Tensor

from benchmark.errors import BenchmarkError
from benchmark.method import PENULTIMATE, Batch, Method, Need, Networks
from benchmark.network import NetworkSpec
from benchmark.registry import METHODS
from benchmark.training import FitData
from benchmark.values import Range

from ._walk import Walk, WalkedHandle


class RWPM(Method):
    r"""Random walk on pixel manifolds: any method that reads what the shared network gives, after a walk of that.

    Every feature cell moves towards the cells of its image part that it resembles, before the inner method sees
    features and logits (formula: :class:`benchmark.methods._walk.Walk`). Logits walk as features do: rows of the walk
    sum to 1, so that for a linear head this is the head of the walked features. The inner method is fitted to features
    as they are. Parts see different manifolds, hence seams; with one part, 90 x 160 cells would take 829 MB, not 52.

    Args:
        method: the inner method; with several options in quotation marks, ``method="knn:k=3:bank=5000"``.
        level: what walks, "features" (with the logits) or the inner method's finished "score", averaged per cell.
        alpha: share of the walk, 0..1; with 0 nothing moves.
        tau: temperature of the similarities, > 0.
        steps: applications. The released code makes one more than it says: 5 in its read-me, 20 in its parser.
        parts: rows and columns into which an image is split.

    Source: Zeng and Tomite, "Random Walk on Pixel Manifolds for Anomaly Segmentation of Complex Driving Scenes", ECCV
        2024; ZelongZeng/RWPM, which drops the last row or column where a side is odd.
    """

    title = "RWPM"
    paper = "Zeng and Tomite, ECCV 2024"
    score_options = frozenset({"level", "alpha", "tau", "steps", "parts"})

    def __init__(
        self,
        method: str = "energy",
        level: str = "features",
        alpha: Annotated[float, Range(0, 1)] = 0.99,
        tau: float = 0.01,
        steps: Annotated[int, Range(0, 1000)] = 6,
        parts: Annotated[int, Range(1, 1000)] = 2,
    ) -> None:
        super().__init__()
        if level not in ("features", "score") or tau <= 0:
            raise ValueError("the level is features or score, and tau is positive.")
        self.inner, self.level = METHODS.create(method), level
        self.walk = Walk(alpha, tau, steps, parts)
        self.needs_classes, self.auxiliary_data = self.inner.needs_classes, self.inner.auxiliary_data

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        needs = self.inner.needs(base)
        if isinstance(self.inner, RWPM) or self.inner.recipes or {need.network for need in needs.values()} != {base}:
            raise BenchmarkError(
                f"rwpm walks what the shared network gives, and '{self.inner.label}' asks for more; take a method that "
                f"reads nothing else, as rwpm:method=max_logit does."
            )
        taps = tuple(dict.fromkeys([*(tap for need in needs.values() for tap in need.taps), PENULTIMATE]))
        return {role: dataclasses.replace(need, taps=taps) for role, need in needs.items()}

    def build(self, networks: Networks) -> None:
        taps = self.inner.needs(networks["base"].spec)["base"].taps
        self._handle = WalkedHandle(networks["base"], self.walk, taps)
        self.inner.build(Networks({"base": self._handle}))

    def observe(self, batch: Batch, networks: Networks) -> None:
        self.inner.observe(batch, Networks({"base": self._handle}))

    def fit(self, data: FitData, networks: Networks) -> None:
        self.inner.fit(data, Networks({"base": self._handle}))

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        inner = Networks({"base": self._handle})
        if self.level == "score":
            return self.walk.of_score(self.inner.score(batch, inner), networks["base"](batch))
        with self._handle.walked(batch):
            return self.inner.score(batch, inner)

    @property
    def observes(self) -> bool:
        return self.inner.observes

    @property
    def fitted(self) -> bool:
        return self.inner.fitted

    @property
    def forwards(self) -> float:
        return self.inner.forwards
