"""Entropy of the predicted class distribution."""

from __future__ import annotations

import math

from torch import Tensor

from benchmark.method import Batch, Method, Networks


class MaxEntropy(Method):
    """Predictive entropy: ``s = -sum_c p_c log p_c / log C``, in [0, 1].

    Computed from log-probabilities, so that a probability of 0 gives 0 and not NaN. With several test scales, ``p`` is
    their mean softmax.

    Source: Shannon entropy as used by SegmentMeIfYouCan (Chan et al., NeurIPS Datasets and Benchmarks 2021).
    """

    title = "Entropy"
    paper = "Chan et al., NeurIPS 2021 (as a baseline)"

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        log_probabilities = networks["base"](batch).log_probabilities()
        entropy = -(log_probabilities.exp() * log_probabilities).sum(dim=1)
        return entropy / math.log(log_probabilities.shape[1])
