"""DMLNet: distances to fixed prototypes."""

import math

import numpy as np
import pytest
import torch
from benchmark.methods.dmlnet import Metric, distance, to_prototypes
from method_toys import Net, prepared

from benchmark.data import Batch, collate
from benchmark.recipe import Recipe


def test_the_sum_of_distances_on_a_prototype_at_the_origin_and_in_the_middle():
    points = torch.zeros(1, 13, 1, 3, dtype=torch.float64)
    points[0, 4, 0, 0] = 3
    points[0, :, 0, 2] = 3 / 13
    assert torch.allclose(distance(points)[0, 0], torch.tensor([216.0, 117.0, 108.0], dtype=torch.float64))
    z = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for c in range(4):
        prototype = 3 * torch.eye(4, dtype=torch.float64)[c].view(1, 4, 1, 1)
        assert torch.allclose(to_prototypes(z)[:, c], (z - prototype).square().sum(1))


def test_the_loss_is_its_formula():
    task = Metric(Net(), ("a", "b", "c")).eval()
    task.recipe = Recipe(label_size="feature")
    random = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (2, 3, 16, 24), dtype=torch.uint8, generator=random)
    labels = torch.tensor([0, 1, 2, 254, 255], dtype=torch.uint8)[torch.randint(5, (2, 2, 3), generator=random)]
    batch = Batch(("0", "1"), images, labels.repeat_interleave(8, 1).repeat_interleave(8, 2))
    with torch.no_grad():
        found = task.loss(batch)["loss"]
        z = task.network(task.network.prepare(images).inputs)["logits"].double().numpy()
    entropies, squares = [], []
    for image, y in zip(z, labels.numpy()):
        for at in np.ndindex(*y.shape):
            if y[at] < 3:
                d = ((image[(slice(None), *at)] - 3 * np.eye(3)) ** 2).sum(1)
                entropies.append(d[y[at]] + math.log(np.exp(-d).sum()))
                squares.append(d[y[at]])
    assert float(found) == pytest.approx(np.mean(entropies) + 0.01 * np.mean(squares), rel=1e-4)


@pytest.mark.parametrize("criterion", ["eds", "mmsp"])
def test_the_score_is_that_of_the_upsampled_outputs(criterion, tmp_path):
    workshop, entry = prepared(f"dmlnet:criterion={criterion}", tmp_path, scales=(40, 56))
    (batch,) = collate([workshop.setup.test[i] for i in range(2)])
    with torch.no_grad():
        scores = entry.method.score(batch, entry.networks)
        outputs = [entry.method.network.segment(batch.images, scale) for scale in (40, 56)]
        maps = [out.upsample(out.logits, batch.size).double() for out in outputs]
    if criterion == "eds":
        sums = [sum((z - 3 * torch.eye(4)[c].view(1, 4, 1, 1)).square().sum(1) for c in range(4)) for z in maps]
        want = -((sums[0] + sums[1]) / 2).clamp(max=400)
    else:
        p = sum(torch.softmax(6 * z, 1) for z in maps) / 2
        want = -p.amax(1).log()
    assert torch.allclose(scores.double(), want, rtol=1e-3, atol=1e-5)
    base = entry.networks["base"].module.state_dict()
    assert not all(torch.equal(value, base[name]) for name, value in entry.method.network.state_dict().items())
