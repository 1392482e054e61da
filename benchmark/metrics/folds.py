"""Pixels ranked fold by fold, so that the threshold of a fold can be taken from the other ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from benchmark.errors import BenchmarkError
from benchmark.metrics.evaluator import Evaluator, Measurements, View
from benchmark.metrics.pixel import PixelEvaluator
from benchmark.metrics.pixel_protocols import TARGET_TPR, PixelProtocol
from benchmark.metrics.ranking import scores_of


class FoldEvaluator(Evaluator[Measurements]):
    """A ``PixelEvaluator`` per fold of the dataset (``View.fold``); it only serves thresholds and measures nothing.

    Args:
        protocols: pooled ones.
        classes: names of the known classes, for protocols that ignore some.
        method: named in messages.
    """

    protocol_type = PixelProtocol

    def __init__(self, protocols: Sequence[PixelProtocol], *, classes: Sequence[str] = (), method: str = "") -> None:
        super().__init__(method)
        self.protocols = tuple(protocols)
        self.classes = tuple(classes)
        self._folds: dict[str, PixelEvaluator] = {}

    def cross_thresholds(self, protocol: PixelProtocol, target: float = TARGET_TPR) -> dict[str, float]:
        """For every fold the first threshold with TPR > target on the pooled pixels of all other folds.

        Args:
            protocol: pooled one of the evaluator's, which says what is normal.
            target: true-positive rate.
        Raises:
            BenchmarkError: fewer than two folds, or no anomalous pixel to calibrate on.
        """
        if len(self._folds) < 2:
            raise BenchmarkError(
                "A threshold is calibrated on the other folds of a dataset, so there must be two or more."
            )
        thresholds = {}
        for fold in sorted(self._folds):
            others = self._empty()
            for name, evaluator in self._folds.items():
                if name != fold:
                    others.merge(evaluator)
            ranking = others.ranking(protocol)
            if not ranking.defined:
                raise BenchmarkError(f"There is no anomalous or no normal pixel outside fold '{fold}' to calibrate on.")
            thresholds[fold] = float(scores_of(ranking.keys[ranking.cut("first_gt", target)]))
        return thresholds

    def measurement(self) -> Measurements:
        """Nothing: folds only serve thresholds."""
        return {}

    def _empty(self) -> PixelEvaluator:
        return PixelEvaluator(self.protocols, classes=self.classes, method=self.method)

    def _add(self, view: View, where: str) -> None:
        evaluator = self._folds.get(view.fold) or self._empty()
        evaluator.update(View(view.image, view.scores, view.labels))
        self._folds[view.fold] = evaluator

    def _merge(self, other: Self) -> None:
        for fold, evaluator in other._folds.items():
            self._folds.setdefault(fold, self._empty()).merge(evaluator)

    def _state(self) -> dict[str, Any]:
        return {"folds": list(self._folds), **{f"{i}": each for i, each in enumerate(self._folds.values())}}

    def _restore(self, kept: dict[str, Any]) -> None:
        self._folds = {fold: PixelEvaluator.from_state(kept[f"{i}"]) for i, fold in enumerate(kept["folds"])}
