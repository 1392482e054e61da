"""What a little of some work says of all of it: closed forms on a machine whose stopwatch is a formula."""

import dataclasses
import time

import pytest
import torch
from training_toys import Blobs, Tiny

from benchmark.machine import Machine
from benchmark.networks import build_network
from benchmark.recipe import Recipe
from benchmark.training import Cost, Segmentation, TrainingCost, forward_cost, training_cost, training_size
from benchmark.training import estimate as module
from benchmark.training.estimate import LONGEST, PATIENCE, cost, seconds

CPU = Machine(torch.device("cpu"), progress=False)
SIZE = (240, 320)


@pytest.fixture
def formula(monkeypatch):
    """Work that is a number of seconds; gives a `Prepare` of a cost, which keeps what was asked of it."""
    monkeypatch.setattr(module, "seconds", lambda work, device: work())

    def made(true: Cost):
        def prepare(images, pixels):
            prepare.asked.append((images, pixels))
            return round(pixels), lambda: true.of(images, round(pixels))

        prepare.asked = []
        return prepare

    return made


@pytest.mark.parametrize(
    "true",
    [Cost(pixel=1e-8), Cost(0.02, 0.0, 1e-7), Cost(0.001, 0.01, 0.0), Cost(0.05, 0.01, 1e-6), Cost(0.3)],
    ids=["pixels", "pixels and an optimiser", "images of a size of their own", "all three", "neither"],
)
@pytest.mark.parametrize("images", [1, 2, 6, 16])
def test_the_parts_of_a_cost_are_found_from_a_few_small_images(formula, true, images):
    prepare = formula(true)
    found = cost(prepare, images, SIZE, 240 * 320, CPU.device)
    assert found.of(images, 240 * 320) == pytest.approx(true.of(images, 240 * 320), rel=1e-6)
    assert all(count <= images and pixels <= 240 * 320 for count, pixels in prepare.asked)


def test_a_measurement_goes_on_to_what_is_meant_only_where_that_is_quick(formula):
    quick, slow, hopeless = (formula(Cost(pixel=each)) for each in (1e-12, 1e-7, 1e-3))
    for prepare in (quick, slow, hopeless):
        cost(prepare, 16, SIZE, 240 * 320, CPU.device)
    assert quick.asked[-1] == (16, 240 * 320)
    true = Cost(pixel=1e-7)
    assert max(true.of(*each) for each in slow.asked) < true.of(16, 240 * 320)
    assert sum(true.of(*each) for each in slow.asked[2:]) < 2 * LONGEST
    assert len(hopeless.asked) == 1 and Cost(pixel=1e-3).of(*hopeless.asked[0]) > PATIENCE


def test_memory_that_does_not_suffice_for_more_leaves_what_was_measured(formula):
    prepare = formula(Cost(pixel=1e-9))

    def small_machine(images, pixels):
        if images * pixels > 2 * 240 * 320:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return prepare(images, pixels)

    assert cost(small_machine, 16, SIZE, 240 * 320, CPU.device).of(16, 1e6) == pytest.approx(0.016)


def test_a_training_is_its_steps_and_its_validations():
    made = TrainingCost(Cost(0.1, 0.0, 1e-6), Cost(0.0, 0.5, 0.0), loading=0.05)
    recipe = Recipe(epochs=2, steps_per_epoch=10, batch_size=4, crop=(100, 100))
    steps, checks = 20 * (0.1 + 4 * 0.01), 2 * 8 * 0.5
    assert made.seconds(recipe, SIZE, 99, 0, 0) == pytest.approx(steps + 20 * 4 * 0.05)
    assert made.seconds(recipe, SIZE, 99, 8, 4) == pytest.approx(steps + checks), "loaded beside the steps"
    assert made.seconds(recipe, SIZE, 99, 0, 1) == pytest.approx(20 * 4 * 0.05), "which wait for one thread"
    once = dataclasses.replace(recipe, steps_per_epoch=0)
    assert made.seconds(once, SIZE, 41, 0, 4) == pytest.approx(steps), "a pass without an incomplete batch"


def test_the_size_of_a_training_is_that_after_augmentation():
    recipe = Recipe(scales=(360, 720))
    assert training_size(Recipe(), (720, 1280)) == 720 * 1280
    assert training_size(recipe, (720, 1280)) == pytest.approx(720 * 1280 * (1 + 1 / 4) / 2)
    assert training_size(recipe.changed({"crop": (10, 20)}), (720, 1280)) == 200


def test_a_network_that_computes_longer_costs_more_and_draws_nobodys_random_numbers():
    def busy(*_):
        until = time.process_time() + 0.05
        while time.process_time() < until:
            pass

    plain, slow = Tiny(), Tiny()
    slow.register_forward_hook(busy)
    for measured in (forward, trained):
        state = torch.get_rng_state()
        assert measured(slow) > measured(plain) + 0.04
        assert torch.equal(torch.get_rng_state(), state)


def forward(network) -> float:
    return forward_cost(network, 1, (30, 42), CPU.device, "fp32").of(1, 30 * 42)


def trained(network) -> float:
    """Seconds of a step."""
    samples = [Blobs()[index] for index in range(2)]
    recipe = Recipe(batch_size=2)
    return training_cost(Segmentation(network, Blobs().classes), recipe, samples, CPU).step.of(2, 30 * 42)


def test_what_others_compute_meanwhile_does_not_count():
    """Time in which this process waits is not its own; on another device than the CPU there is no such thing to see."""
    assert seconds(lambda: time.sleep(0.2), CPU.device) < 0.1


def test_a_training_of_any_kind_of_network_can_be_tried():
    network = build_network("pspnet-small", 3, initial=False)
    found = training_cost(Segmentation(network, ("a", "b", "c")), Recipe(batch_size=2), [Blobs()[0]], CPU)
    assert min(found.step.of(2, 30 * 42), found.validation.of(2, 30 * 42), found.loading) > 0
