import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pretended_gpu import pretended_gpu
from sklearn.metrics import accuracy_score, jaccard_score
from training_toys import Blobs, Tiny

from benchmark.data import ANOMALY, IGNORE, Batch
from benchmark.machine import Machine
from benchmark.training import Segmentation, native_batches
from benchmark.training.segmentation import nearest

CPU = Machine(torch.device("cpu"), progress=False)


def task_for(recipe, network=None):
    torch.manual_seed(0)
    task = Segmentation(network or Tiny(), Blobs.card.classes)
    task.machine, task.recipe = CPU, recipe
    return task


@pytest.mark.parametrize("scales", [(), (16,), (16, 24)])
def test_validation_is_sklearns_over_the_classes_that_occur(recipe, scales):
    recipe = recipe.changed({"scales": scales, "max_size": 40})
    task = task_for(recipe).eval()
    data = Blobs("val", 5, sizes=[(30, 42), (24, 40)])
    with torch.no_grad():
        values = task.validate(native_batches(data, CPU, 2))
        truth, guess = [], []
        for sample in data:
            outputs = task.network.segment(sample.image[None], scales[0] if len(scales) == 1 else 0, 40)
            full = outputs.upsample(outputs.logits, tuple(sample.labels.shape))
            known = (sample.labels < 3).numpy()
            truth.append(sample.labels.numpy()[known])
            guess.append(full.argmax(1)[0].numpy()[known])
    truth, guess = np.concatenate(truth), np.concatenate(guess)
    occurring = np.unique(truth)
    each = jaccard_score(truth, guess, labels=occurring, average=None)
    assert values["mIoU"] == pytest.approx(each.mean())
    assert values["accuracy"] == pytest.approx(accuracy_score(truth, guess))
    assert [values[f"IoU {Blobs.card.classes[c]}"] for c in occurring] == pytest.approx(each.tolist())


def test_a_step_waits_for_no_gpu_and_a_validated_batch_thrice(recipe):
    """A pretended one: for the number of known pixels, twice, and for that of the cells of the confusion matrix."""
    data = Blobs("val", 4)
    with pretended_gpu() as waits, torch.no_grad():
        gpu = Machine(torch.device("cuda"), progress=False)
        task = task_for(recipe).to("cuda")
        task.machine = gpu
        batches = list(native_batches(data, gpu, 2))
        waits.found.clear()
        for label_size in ("feature", "half", "full"):
            task.recipe = recipe.changed({"label_size": label_size})
            assert task.loss(batches[0])["loss"].is_cuda
        assert not waits.found
        found = []
        for few in (batches[:1], batches):
            waits.found.clear()
            values = task.eval().validate(few)
            found.append(waits.found.total())
    assert found[1] - found[0] == 3
    assert values == task_for(recipe).eval().validate(native_batches(data, CPU, 2))


def test_a_recipe_with_one_scale_is_validated_at_it(recipe):
    task = task_for(recipe.changed({"scales": (16,)})).eval()
    with torch.no_grad():
        task.validate(native_batches(Blobs("val", 1, size=(32, 48)), CPU, 1))
    assert task.network.sizes == [(16, 24)]


def batch_of(labels):
    images = torch.randint(0, 255, (len(labels), 3, *labels.shape[1:]), dtype=torch.uint8)
    return Batch(("a",) * len(labels), images, labels)


@pytest.mark.parametrize("label_size", ["feature", "half", "full"])
def test_the_loss_is_cross_entropy_over_known_pixels_with_deep_supervision(recipe, label_size):
    network = Tiny()
    network.drop.p = 0.0
    task = task_for(recipe.changed({"label_size": label_size, "aux_weight": 0.3}), network)
    labels = torch.randint(0, 3, (2, 32, 48), dtype=torch.uint8)
    labels[0, :10], labels[1, :, :12] = ANOMALY, IGNORE
    batch = batch_of(labels)
    losses = task.loss(batch)
    outputs = network(network.normalise(batch.images))
    target = labels.long()
    target[labels >= 3] = -100
    expected = []
    for name in ("logits", "aux"):
        step = {"feature": 8, "half": 2, "full": 1}[label_size]
        ids = target[:, step // 2 :: step, step // 2 :: step]
        logits = F.interpolate(outputs[name], ids.shape[1:], mode="bilinear", align_corners=False)
        expected.append(F.cross_entropy(logits, ids))
    assert losses["aux"].item() == pytest.approx(expected[1].item(), rel=1e-5)
    assert losses["loss"].item() == pytest.approx((expected[0] + 0.3 * expected[1]).item(), rel=1e-5)


def test_a_batch_without_known_pixels_costs_nothing_and_gives_finite_gradients(recipe):
    task = task_for(recipe)
    loss = task.loss(batch_of(torch.full((1, 16, 16), IGNORE, dtype=torch.uint8)))["loss"]
    loss.backward()
    assert loss.item() == 0
    assert all(torch.isfinite(p.grad).all() for p in task.parameters() if p.grad is not None)


def test_labels_are_read_at_the_centres_of_the_grid():
    labels = torch.randint(0, 9, (2, 40, 56), dtype=torch.uint8)
    for size in ((5, 7), (10, 14), (40, 56), (9, 13)):
        wanted = F.interpolate(labels[:, None].float(), size, mode="nearest-exact")[:, 0].byte()
        assert torch.equal(nearest(labels, size), wanted)
