"""The tensor path gives the numbers of the array path, bit for bit: on CPU tensors, and on a GPU where there is one."""

import numpy as np
import pytest
import torch
from oracles import KINDS, score_map

from benchmark.errors import BenchmarkError
from benchmark.metrics import PixelEvaluator, SegmentationEvaluator, View
from benchmark.metrics.sorted_image import SortedImage, failures
from benchmark.metrics.sorted_image_torch import TorchImage
from benchmark.metrics.strata import Strata

DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
STRATA = Strata.of([(), (3, 255)])


def special_map(rng):
    s = rng.choice(np.array([0.0, -0.0, np.inf, -np.inf, 1e-44, -1e-44, 3e38, 0.5, 1.0, -1.0], np.float32), (40, 50))
    return s, rng.choice(np.array([0, 254], np.uint8), s.shape)


def images_of(kind, device):
    rng = np.random.default_rng(0)
    s, labels = score_map(kind, rng, (60, 70)) if kind in KINDS else special_map(rng)
    labels[rng.random(labels.shape) < 0.1] = 255
    labels[rng.random(labels.shape) < 0.1] = 3
    if kind == "no anomaly":
        labels[labels == 254] = 0
    tensors = torch.from_numpy(s).to(device), torch.from_numpy(labels).to(device)
    return SortedImage(s, labels, STRATA, "a"), TorchImage(*tensors, STRATA, "a")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", [*KINDS, "special", "no anomaly"])
def test_both_paths_answer_alike(kind, device):
    ours, other = images_of(kind, device)
    assert ours.pixels == other.pixels
    assert ours.counts()[0] == other.counts()[0]
    np.testing.assert_array_equal(ours.counts()[1], other.counts()[1])
    for a, b in zip(ours.rank(), other.rank(), strict=True):
        np.testing.assert_array_equal(a, b)
    for row in (None, 0, 1, 2):
        np.testing.assert_array_equal(ours.take(row, None), other.take(row, None))
        every_third = np.arange(0, len(ours.take(row, None)), 3)
        np.testing.assert_array_equal(ours.take(row, every_third), other.take(row, every_third))
        assert ours.distinct(row) == other.distinct(row)
        for shortest in (1, 2, 64):
            for a, b in zip(ours.runs(row, shortest), other.runs(row, shortest), strict=True):
                np.testing.assert_array_equal(a, b)
        falling = ours.runs(row, 1)[0][::-1].copy()
        np.testing.assert_array_equal(ours.above(row, falling), other.above(row, falling))
    for row in (0, 1, 2):
        size = ours.counts()[1][row]
        for index in (0, size // 2, size - 1, size):
            assert ours.normal_key(row, index) == other.normal_key(row, index)


def test_failures_count_alike():
    rng = np.random.default_rng(0)
    s, labels = score_map("logit", rng, (30, 40))
    labels[:3] = 255
    prediction = rng.integers(0, 2, labels.shape)
    arrays = failures(s, labels, prediction, (255,), -9.0)
    tensors = failures(*map(torch.from_numpy, (s, labels, prediction)), (255,), -9.0)
    assert arrays == tensors
    assert sum(arrays[1::2]) == (labels < 254).sum()


def test_nan_on_the_tensor_path():
    s, labels = torch.tensor([[1.0, float("nan")]]), torch.tensor([[254, 0]], dtype=torch.uint8)
    with pytest.raises(BenchmarkError, match="msp: image 'a': 1 of 2 scores are NaN"):
        TorchImage(s, labels, STRATA, "msp: image 'a'")


@pytest.mark.parametrize("device", DEVICES)
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


@pytest.mark.parametrize("device", DEVICES)
def test_segmentation_takes_both(device):
    rng = np.random.default_rng(0)
    labels = rng.choice(np.array([0, 1, 2, 254, 255], np.uint8), (2, 20, 30))
    prediction = rng.integers(0, 3, labels.shape)
    a, b = SegmentationEvaluator("abc"), SegmentationEvaluator("abc")
    a.update(View("a", None, labels, prediction))
    b.update(View("a", None, torch.from_numpy(labels), torch.from_numpy(prediction).to(device)))
    assert a.measurement() == b.measurement()
