"""Tensors of any device give the numbers of arrays, bit for bit."""

import numpy as np
import pytest
import torch
from harness import DEVICES
from oracles import score_map

from benchmark.metrics import PixelEvaluator, SegmentationEvaluator, View

PLACES = pytest.mark.parametrize("device", DEVICES)


@PLACES
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_evaluators_take_tensors_and_arrays(device, dtype):
    s, labels = score_map("logit", np.random.default_rng(0), (60, 70))
    tensor = torch.from_numpy(s).to(dtype)
    prediction = torch.zeros(labels.shape, dtype=torch.int64)
    results = []
    for scores, place in ((tensor.float().numpy(), "cpu"), (tensor.requires_grad_(), device)):
        evaluator = PixelEvaluator(["failure-split", "pooled"])
        scores = scores if isinstance(scores, np.ndarray) else scores.to(place)
        evaluator.update(View("a", scores, torch.from_numpy(labels), prediction.to(place)))
        results.append([evaluator.result("failure-split"), evaluator.result("pooled")])
    assert results[0] == results[1]


@PLACES
def test_segmentation_takes_both(device):
    rng = np.random.default_rng(0)
    labels = rng.choice(np.array([0, 1, 2, 254, 255], np.uint8), (2, 20, 30))
    prediction = rng.integers(0, 3, labels.shape)
    a, b = SegmentationEvaluator("abc"), SegmentationEvaluator("abc")
    a.update(View("a", None, labels, prediction))
    b.update(View("a", None, torch.from_numpy(labels), torch.from_numpy(prediction).to(device)))
    assert a.measurement() == b.measurement()
