"""Each network runs once per batch, whoever asks and however often."""

import dataclasses
import os
import subprocess
import sys
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from benchmark.data import Batch
from benchmark.errors import BenchmarkError, PluginError
from benchmark.isolation import seals
from benchmark.isolation.settings import settings_kept
from benchmark.network import Network, NetworkSpec, scaled_size
from benchmark.pool import Need, Pool
from benchmark.recipe import Recipe
from benchmark.registry import METHODS

SPEC = NetworkSpec("net", "toy", 3, Recipe())


class Net(Network):
    """Two convolutions; the seed is the spec's member."""

    def __init__(self, member: int) -> None:
        super().__init__(3)
        torch.manual_seed(member)
        self.first = nn.Conv2d(3, 5, 3, stride=8, padding=1)
        self.second = nn.Conv2d(5, 3, 1)
        self.channels = {"features": 5, "relu": 5}
        self.runs: list[tuple] = []

    def forward(self, inputs, taps=()):
        self.runs.append((tuple(inputs.shape), set(taps)))
        features = self.first(inputs)
        values = {"features": features, "relu": features.relu()}
        return {"logits": self.second(values["relu"]), **{tap: values[tap] for tap in taps}}


@pytest.fixture
def nets():
    return {}


@pytest.fixture
def pool(nets):
    def load(spec):
        assert spec not in nets, "loaded twice"
        nets[spec] = Net(spec.recipe.member)
        return nets[spec]

    return Pool(load, torch.device("cpu"))


def make_batch(count=2, height=40, width=52, seed=0):
    images = torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=torch.manual_seed(seed))
    return Batch(tuple(map(str, range(count))), images, torch.zeros(count, height, width, dtype=torch.uint8))


def test_five_methods_cost_one_forward_and_an_ensemble_its_other_members(pool, nets):
    calls = ["msp", "max_logit", "max_entropy", "energy", "msp:double_softmax=true"]
    methods = [METHODS.create(call) for call in calls]
    views = [pool.view(m.needs(SPEC)) for m in methods]
    batches = [make_batch(seed=seed) for seed in range(3)]
    for batch in batches:
        for method, view in zip(methods, views):
            assert method.score(batch, view).shape == (2, 40, 52)
    assert pool.forwards == Counter({SPEC: 3}) and len(nets[SPEC].runs) == 3
    ensemble = METHODS.create("deep_ensemble:members=4")
    view = pool.view(ensemble.needs(SPEC))
    last = make_batch(seed=9)
    for method, other in [*zip(methods, views), (ensemble, view)]:
        method.score(last, other)
    assert pool.forwards == Counter({SPEC: 4, **{SPEC.member(m): 1 for m in (1, 2, 3)}})
    assert sum(len(net.runs) for net in nets.values()) == 4 + 3


def test_full_size_maps_are_computed_once(pool):
    view, batch = pool.view({"base": Need(SPEC)}), make_batch()
    outputs = view["base"](batch)
    assert view["base"](batch) is outputs
    assert outputs.logits() is outputs.logits()
    assert outputs.log_probabilities() is outputs.log_probabilities()


def test_equal_images_in_another_batch_are_another_forward(pool):
    view, batch = pool.view({"base": Need(SPEC)}), make_batch()
    first = view["base"](batch)
    second = view["base"](Batch(batch.ids, batch.images, batch.labels))
    assert pool.forwards[SPEC] == 2
    assert torch.equal(first.logits(), second.logits())


def test_only_the_latest_batch_is_kept(pool):
    view, batch = pool.view({"base": Need(SPEC)}), make_batch()
    view["base"](batch)
    view["base"](make_batch(seed=1))
    view["base"](batch)
    assert pool.forwards[SPEC] == 3


def test_specs_that_differ_in_scales_share_weights_and_not_outputs(pool, nets):
    other = dataclasses.replace(SPEC, scales=(24, 48), max_size=100)
    view, batch = pool.view({"native": Need(SPEC), "scaled": Need(other)}), make_batch()
    assert view["native"].module is view["scaled"].module and len(nets) == 1
    assert not torch.equal(view["native"](batch).logits(), view["scaled"](batch).logits())
    assert pool.forwards == Counter({SPEC: 1, other: 1})
    assert [shape for shape, _ in nets[SPEC].runs] == [(2, 3, 40, 56), (2, 3, 24, 32), (2, 3, 48, 64)]


def test_taps_of_all_methods_are_merged_into_one_forward(pool, nets):
    plain, one, other = (pool.view({"base": Need(SPEC, taps)}) for taps in ((), ("features",), ("relu",)))
    batch = make_batch()
    maps = [view["base"](batch).scales[0].taps for view in (plain, one, other)]
    assert set(maps[0]) == set(maps[1]) == set(maps[2]) == {"features", "relu"}
    assert torch.equal(maps[0]["features"].relu(), maps[0]["relu"])
    assert [taps for _, taps in nets[SPEC].runs] == [{"features", "relu"}]


def test_a_missing_tap_names_role_and_network_and_what_there_is(pool):
    with pytest.raises(BenchmarkError, match="needs the features conv_9 of its network 'teacher', but net only offers"):
        pool.view({"teacher": Need(SPEC, ("features", "conv_9"))})


def test_a_role_that_was_not_asked_for_is_an_error(pool):
    with pytest.raises(BenchmarkError, match=r"'teacher', but its needs\(\) names base"):
        pool.view({"base": Need(SPEC)})["teacher"]


def test_scales_are_averaged_as_the_reference_does(pool, nets):
    spec = dataclasses.replace(SPEC, scales=(24, 40, 56), max_size=64)
    batch = make_batch()
    outputs = pool.view({"base": Need(spec)})["base"](batch)
    net = nets[spec.checkpoint]
    inputs = (batch.images.float() - net.mean) / net.std
    maps = []
    # 40x52 with the short side at 24, 40 and 49.2 (56 would make the long side longer than 64), rounded up to 8.
    for size in ((24, 32), (40, 56), (56, 64)):
        small = F.interpolate(inputs, size, mode="bilinear", antialias=True)
        logits = net.second(net.first(small).relu())
        maps.append(F.interpolate(logits, (40, 52), mode="bilinear", align_corners=False))
    logits = torch.stack(maps).mean(0)
    probabilities = torch.stack([m.softmax(1) for m in maps]).mean(0)
    torch.testing.assert_close(outputs.logits(), logits)
    torch.testing.assert_close(outputs.log_probabilities().exp(), probabilities)
    assert torch.equal(outputs.prediction(), probabilities.argmax(1))
    assert torch.equal(outputs.max_logits()[1], logits.argmax(1))


@pytest.mark.parametrize("scale", [300, 375, 450, 525, 600])
def test_a_short_side_is_the_scale_itself_however_the_ratio_is_rounded(scale):
    """720 * (300 / 720) is 299.99999999999994."""
    sizes = {scaled_size((side, 2 * side), scale, stride=1) for side in range(100, 1500, 7)}
    assert sizes == {(scale, 2 * scale)}


def test_networks_are_frozen_and_evaluating(pool):
    module = pool.view({"base": Need(SPEC)})["base"].module
    assert not module.training and not any(p.requires_grad for p in module.parameters())


def test_a_released_network_is_loaded_again():
    pool = Pool(lambda spec: Net(1), torch.device("cpu"))
    one, other = SPEC, SPEC.member(1)
    modules = [pool.network(one), pool.network(other)]
    pool.release([dataclasses.replace(one, scales=(16,))])
    assert pool.network(one) is modules[0] and pool.network(other) is not modules[1]


def test_a_run_of_other_images_is_not_kept_and_lets_gradients_through(pool):
    view, batch = pool.view({"base": Need(SPEC)}), make_batch()
    kept = view["base"](batch)
    images = batch.images.float().requires_grad_()
    outputs = view["base"].run(images, ("features",), scales=(24,))
    outputs.logits().sum().backward()
    assert images.grad.abs().sum() > 0
    assert outputs.scales[0].taps["features"].shape == (2, 5, 3, 4)
    assert view["base"](batch) is kept and pool.forwards[SPEC] == 1


def test_bf16_computes_in_bf16_and_gives_float32(nets):
    seen = []

    def load(spec):
        net = Net(0)
        net.first.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
        return net

    batch = make_batch()
    exact, rounded = (
        Pool(load, torch.device("cpu"), precision).view({"base": Need(SPEC)})["base"](batch).logits()
        for precision in ("fp32", "bf16")
    )
    assert seen == [torch.float32, torch.bfloat16]
    assert exact.dtype == rounded.dtype == torch.float32
    assert 0 < (exact - rounded).abs().max() < 0.05 * exact.abs().max()


class Waits(TorchFunctionMode):
    """Counts what has to wait for a device."""

    def __init__(self):
        self.count = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.count += func in (torch.equal, torch.Tensor.__bool__, torch.Tensor.item, torch.Tensor.tolist)
        return func(*args, **kwargs or {})


WRITES = {
    "nothing": (lambda out, net, batch: None, ""),
    "a logit": (lambda out, net, batch: out.logits().data[0, 1, 3, 5].add_(1), "outputs of a network"),
    "a feature": (
        lambda out, net, batch: out.scales[0].taps["features"].data[1, 2, 3, 4].add_(1),
        "outputs of a network",
    ),
    "a weight": (lambda out, net, batch: net.second.bias.data[2].add_(1), "the network net (its weights)"),
    "a pixel": (lambda out, net, batch: batch.images.data[1, 2, 7, 9].add_(1), "the images or labels"),
}


@pytest.mark.parametrize("group", [1, 1 << 23])
@pytest.mark.parametrize("write", WRITES)
def test_on_a_gpu_who_wrote_into_what_is_found_with_one_wait_where_nobody_has(monkeypatch, write, group):
    """The tensors of this CPU are taken for a GPU's."""
    monkeypatch.setattr(seals, "HOST", ())
    monkeypatch.setattr(seals, "GROUP", group)
    pool, batch = Pool(lambda spec: Net(0), torch.device("cpu")), make_batch()
    networks = pool.view({"base": Need(SPEC, ("features",))})
    out, net, (change, found) = networks["base"](batch), networks["base"].module, WRITES[write]
    logits, weights = out.logits().clone(), [p.clone() for p in net.parameters()]
    copies = [(batch.images, batch.images.clone())]
    with Waits() as waits:
        if not found:
            with pool.border("score()", lambda: [networks], copies, 1):
                change(out, net, batch)
            assert waits.count == 1
            return
        with pytest.raises(PluginError) as caught, pool.border("score()", lambda: [networks], copies, 1):
            change(out, net, batch)
    assert str(caught.value).startswith(f"score() changes {found}")
    assert all(map(torch.equal, net.parameters(), weights)) and torch.equal(*copies[0])
    assert torch.equal(networks["base"](batch).logits(), logits)


@pytest.mark.parametrize("variable", ["TORCH_HOME", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"])
def test_no_environment_variable_may_be_changed(monkeypatch, variable):
    monkeypatch.setenv(variable, "here")
    with pytest.raises(PluginError, match="training changes the environment variables"), settings_kept("training"):
        os.environ[variable] = "there"
    assert os.environ[variable] == "here"


def test_what_is_drawn_on_a_gpu_does_not_depend_on_who_was_here_before(monkeypatch):
    """A generator of the CPU stands in for the GPU's."""
    generator = torch.Generator().manual_seed(3)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "default_generators", (generator,))
    drawn = []
    for count in (2, 5):
        with settings_kept("score()"):
            drawn.append(torch.rand(count, generator=generator)[:2])
    assert torch.equal(*drawn)


def test_what_torch_sets_with_its_first_optimiser_is_nobodys_change():
    """It imports its compiler then, which sets a variable; so a new process is needed, which has not done that."""
    code = """
import sys
import torch
from benchmark.isolation.settings import COMPILER, settings_kept
assert COMPILER not in sys.modules
with settings_kept("training"):
    torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1).step()
assert COMPILER in sys.modules
"""
    environment = {k: v for k, v in os.environ.items() if k != "TORCHINDUCTOR_CACHE_DIR"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
