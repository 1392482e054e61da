"""What a recipe says of the rate of pretrained encoders holds in every method that trains such a network on or anew."""

from types import SimpleNamespace

import pytest
from encoders import random_encoder
from method_toys import view_of

from benchmark.network import Network, NetworkSpec
from benchmark.networks import begun, build_network
from benchmark.recipe import Recipe
from benchmark.registry import METHODS
from benchmark.training import Segmentation

CALLS = ["abnn:members=1", "densehybrid", "dicnet_twin", "dmlnet", "entropy_max", "obsnet:tap=penultimate"]


class Data:
    """Notes what would be trained."""

    def __init__(self, method):
        self.train_set = SimpleNamespace(classes=tuple("abcde"))
        self.recipes = {task: Recipe(task=task, lr=1e-3, encoder_lr=0.25) for task in method.recipes}
        self.tasks = []

    def train(self, task, recipe):
        self.tasks.append((task, recipe))


@pytest.mark.parametrize("call", ["", *CALLS])
def test_a_pretrained_encoder_learns_at_its_own_rate(call, tmp_path, monkeypatch):
    name = random_encoder("mobilenetv3_small_050", tmp_path, monkeypatch)
    options = {"encoder_weights": "imagenet"}
    network = build_network(f"fpn-{name}", 5, options).eval().requires_grad_(False)
    if call:
        method = METHODS.create(call)
        data = Data(method)
        spec = begun(NetworkSpec(f"fpn-{name}", "toy", 5, Recipe(), options=tuple(options.items())))
        networks = view_of(method, network, spec)
        method.build(networks)
        method.fit(data, networks)
        ((task, recipe),) = data.tasks
    else:  # the shared network itself
        task, recipe = Segmentation(network.requires_grad_(True), tuple("abcde")), Recipe(lr=1e-3, encoder_lr=0.25)
    (part,) = (part for part in task.modules() if isinstance(part, Network))
    rates = {
        id(parameter): group["lr"]
        for optimiser in task.optimisers(recipe)
        for group in optimiser.param_groups
        for parameter in group["params"]
    }
    encoder = {id(parameter) for parameter in part.encoder.parameters()}
    assert len(encoder & set(rates)) == len(encoder)
    assert {rates[key] for key in encoder} == {0.25e-3}
    assert {rates[key] for key in set(rates) - encoder} == {1e-3}
