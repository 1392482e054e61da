"""A method's way through the images under any protocols: one pass, and a second one where a threshold comes first.

Component metrics threshold a method's scores where its pooled pixel F1 is best, open-set segmentation at a
true-positive rate calibrated on the other folds. Both passes are fed as any evaluator is:

    first = FirstPass(["per-image", "pooled", "smiyc-obstacles"], classes, "msp")
    for view in views: first.update(view)
    if first.validation is not None:                # a protocol takes its threshold from normal validation images
        for view in normal_views: first.validation.update(view)
    second = first.second_pass()
    for view in views: second.update(view)          # only if second.evaluators is not empty
    metrics = first.measurement() | second.measurement()
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from benchmark.errors import BenchmarkError
from benchmark.metrics.curves import Curves
from benchmark.metrics.evaluator import Evaluator, Measurements, Protocol, View
from benchmark.metrics.folds import FoldEvaluator
from benchmark.metrics.pixel import PixelEvaluator
from benchmark.metrics.protocols import protocol
from benchmark.metrics.thresholds import NormalEvaluator

if TYPE_CHECKING:
    from pandas import DataFrame


class FirstPass(Evaluator[Measurements]):
    """Everything that one pass over the images measures of a method, and the rankings that a second one needs.

    Args:
        protocols: names or objects.
        classes: names of the known classes; empty where the labels do not tell them apart.
        method: label of the method.
        exact_pooled: keep every score of sets of any size, 4 bytes a pixel.

    Attributes:
        validation: to be given normal validation images before the second pass; None where no protocol takes a
            threshold from them. They are no images of this pass.
    """

    def __init__(
        self,
        protocols: Sequence[str | Protocol],
        classes: Sequence[str] = (),
        method: str = "",
        exact_pooled: bool = False,
    ) -> None:
        super().__init__(method)
        self.protocols = tuple(protocol(p) for p in protocols)
        self.classes = tuple(classes)
        self.exact_pooled = exact_pooled
        # What is measured stands before what only gives a threshold: the curves are those of the first pooled one.
        by_pass = sorted(self.protocols, key=lambda p: p.passes)
        rankings = dict.fromkeys(ranking for p in by_pass for ranking in p.rankings)
        folds = dict.fromkeys(ranking for p in by_pass for ranking in p.fold_rankings if self.classes)
        self.pixels = PixelEvaluator(list(rankings), classes=classes, method=method, exact_pooled=exact_pooled)
        self.folds = FoldEvaluator(list(folds), classes=classes, method=method)
        wanted = any(p.validates and not p.of_network for p in self.protocols)
        self.validation = NormalEvaluator(method=method) if wanted else None
        own = {p.name: p.evaluator(self, self.classes, method) for p in by_pass if p.passes == 1}
        self.own = {name: evaluator for name, evaluator in own.items() if evaluator is not None}

    def second_pass(self) -> SecondPass:
        """What has to see all images once more; it has no evaluators where one pass was enough."""
        evaluators, reasons = {}, {}
        for each in self.protocols:
            if each.passes == 2:
                try:
                    evaluators[each] = each.evaluator(self, self.classes, self.method)
                except BenchmarkError as error:
                    reasons[each] = str(error)
        return SecondPass({p: e for p, e in evaluators.items() if e is not None}, reasons)

    def normal(self) -> NormalEvaluator:
        """The scores of normal validation images, for protocols that take their threshold from them.

        Raises:
            BenchmarkError: there are none.
        """
        if self.validation is None or not self.validation.with_pixels:
            raise BenchmarkError("There are no scores of normal validation images, from which its threshold is taken.")
        return self.validation

    def check(self) -> None:
        """Refuse scores that no pooled metric can be made of, before one is asked for.

        Raises:
            BenchmarkError: as :meth:`PixelEvaluator.check`.
        """
        self.pixels.check()

    def measurement(self) -> Measurements:
        """Measurements of every one-pass protocol, and of the pixel protocols that give the others their thresholds."""
        found = {name: m for part in self._parts().values() for name, m in part.measurement().items()}
        return found | {name: m for p in self.protocols for name, m in p.measured(self).items()}

    def rows(self) -> DataFrame:
        """One row per image and set of negatives, ordered by image id."""
        return self.pixels.rows()

    def curves(self) -> Curves | None:
        """Curves of the first pooled protocol; None without one, or where the pixels are all of one kind."""
        pooled = [p for p in self.pixels.protocols if p.aggregation == "pooled"]
        return self.pixels.curves(pooled[0]) if pooled and self.pixels.ranking(pooled[0]).defined else None

    def _add(self, view: View, where: str) -> None:
        for part in self._parts().values():
            part.update(view)

    def _merge(self, other: Self) -> None:
        for part, others in zip(self._parts().values(), other._parts().values(), strict=True):
            part.merge(others)
        if self.validation is not None and other.validation is not None:
            self.validation.merge(other.validation)

    def _configuration(self) -> dict[str, Any]:
        return {
            "protocols": [p.name for p in self.protocols],
            "classes": list(self.classes),
            "method": self.method,
            "exact_pooled": self.exact_pooled,
        }

    @classmethod
    def _configured(cls, configuration: dict[str, Any]) -> Self:
        return cls(**configuration)

    def _state(self) -> dict[str, Any]:
        validation: dict[str, Any] = {} if self.validation is None else {"validation": self.validation}
        return dict(self._parts()) | validation

    def _restore(self, kept: dict[str, Any]) -> None:
        self.pixels = PixelEvaluator.from_state(kept["pixels"])
        if "folds" in kept:
            self.folds = FoldEvaluator.from_state(kept["folds"])
        if "validation" in kept:
            self.validation = NormalEvaluator.from_state(kept["validation"])
        self.own = {name: evaluator.from_state(kept[name]) for name, evaluator in self.own.items()}

    def _parts(self) -> dict[str, Evaluator[Measurements]]:
        """All evaluators that see the images; the folds' only where a protocol asks for them."""
        folds: dict[str, Evaluator[Measurements]] = {"folds": self.folds} if self.folds.protocols else {}
        return {"pixels": self.pixels} | folds | self.own


@dataclass(frozen=True)
class SecondPass:
    """The evaluators of a second pass over the images.

    Attributes:
        evaluators: by protocol.
        reasons: why a protocol cannot be evaluated on these images, in a sentence.
    """

    evaluators: Mapping[Protocol, Evaluator[Measurements]]
    reasons: Mapping[Protocol, str]

    @property
    def predictions(self) -> bool:
        """Whether an evaluator needs the predicted classes."""
        return any(p.predictions for p in self.evaluators)

    def update(self, view: View) -> None:
        """Add one image, as to an evaluator."""
        for evaluator in self.evaluators.values():
            evaluator.update(view)

    def measurement(self) -> Measurements:
        """Measurements of every two-pass protocol; where it cannot be evaluated, its measurement says why."""
        found = {name: m for p, reason in self.reasons.items() for name, m in p.unmeasured(reason).items()}
        return found | {name: m for e in self.evaluators.values() for name, m in e.measurement().items()}
