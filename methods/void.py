"""Void classifier: the network knows a class for what is none of the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from benchmark.errors import BenchmarkError
from benchmark.method import Batch, Method, Need, Networks
from benchmark.network import NetworkSpec

NAMES = ("void", "other", "unlabeled", "unlabelled", "unknown", "misc")
"""What data sets call the class of what is none of the others."""


class Void(Method):
    """Void classifier: ``s = log p_void``, the log-probability of the class that holds what fits no other.

    The logarithm ranks like the probability and keeps apart what float32 rounds to 0. With several test scales, ``p``
    is their mean softmax.

    Args:
        index: output of the void class. 3 is "other" in StreetHazards; a network that never predicts it (few networks
            trained there do) still orders pixels by its probability. Where no index is given and the network's class 3
            is called something else, its one output beyond the classes is taken, or the one class that is called void.
        extra: train a network of one class more, whose last class is what the training labels leave out as void, and
            score that; `index` then counts for nothing. What is void may show objects that are unknown, so this stands
            with the methods that saw outlier data.

    Source: Blum et al., "The Fishyscapes Benchmark", IJCV 2021; on StreetHazards: Besnier et al., "Triggering Failures:
        Out-of-Distribution Detection by Learning from Local Adversarial Attacks", ICCV 2021, with index 3.
    """

    title = "Void classifier"
    paper = "Blum et al., IJCV 2021"
    trial: Mapping[str, Any] = {"index": 1}

    def __init__(self, index: int = 3, extra: bool = False) -> None:
        super().__init__()
        if index < 0:
            raise ValueError("the index is a label id, 0 or more.")
        self.index = -1 if extra else index
        self.extra = self.auxiliary_data = extra

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        return {"base": Need(dataclasses.replace(base, classes=base.classes + 1) if self.extra else base)}

    def build(self, networks: Networks) -> None:
        classes = networks["base"].spec.classes
        if not self.extra and "index" not in self.stated:
            self.index = self._guess(classes, networks["base"].class_names)
        if self.index >= classes:
            raise BenchmarkError(f"there is no class {self.index} among {classes}; give index=0..{classes - 1}.")

    def _guess(self, classes: int, names: tuple[str, ...] | None) -> int:
        """The output that holds what is none of the classes."""
        if names is None:
            raise BenchmarkError(f"nobody says what the {classes} classes are; give index=N, which of them is void.")
        void = [index for index, name in enumerate(names) if name.lower() in NAMES]
        if self.index in void:
            return self.index
        void = list(range(len(names), classes)) or void
        if len(void) == 1:
            return void[0]
        listed = ", ".join(f"{index} {name}" for index, name in enumerate(names))
        which = "none of the classes is called void" if not void else "several outputs may be void"
        raise BenchmarkError(f"{which} ({listed}); give index=N, or extra=true to train a network with a void class.")

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        return networks["base"](batch).log_probabilities()[:, self.index]
