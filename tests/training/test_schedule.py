import math

import pytest
import torch
from torch import nn

from benchmark.errors import BenchmarkError
from benchmark.recipe import Recipe
from benchmark.training import learning_rate_factor, run_seed, seeded, steps_per_epoch
from benchmark.training.task import make_optimiser, split_by_decay


def test_poly_is_the_closed_form():
    recipe = Recipe(schedule="poly")
    assert [learning_rate_factor(recipe, s, 10) for s in (0, 5, 9)] == pytest.approx([1, 0.5**0.9, 0.1**0.9])


def test_cosine_falls_from_one_through_a_half_towards_zero():
    recipe = Recipe(schedule="cosine")
    factors = [learning_rate_factor(recipe, s, 100) for s in (0, 50, 99)]
    assert factors == pytest.approx([1, 0.5, math.sin(math.pi / 200) ** 2])


def test_warm_up_rises_linearly_and_ends_in_the_schedule():
    recipe = Recipe(schedule="constant", warmup_steps=4)
    assert [learning_rate_factor(recipe, s, 10) for s in range(6)] == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])


def test_unknown_schedule_and_optimiser_are_named():
    with pytest.raises(BenchmarkError, match=r"'linear'.*poly"):
        learning_rate_factor(Recipe(schedule="linear"), 0, 1)
    with pytest.raises(BenchmarkError, match=r"'lion'.*sgd"):
        make_optimiser(nn.Linear(1, 1), Recipe(optimiser="lion"))


def test_an_open_epoch_is_one_pass_of_whole_batches():
    assert steps_per_epoch(Recipe(steps_per_epoch=0, batch_size=16), 5125) == 320
    assert steps_per_epoch(Recipe(steps_per_epoch=0, batch_size=16), 3) == 1
    assert steps_per_epoch(Recipe(steps_per_epoch=7), 5125) == 7


def test_members_differ_in_the_seed_only():
    assert run_seed(Recipe(seed=304, member=3)) == 307
    draws = []
    for recipe in (Recipe(seed=5, member=2), Recipe(seed=7), Recipe(seed=5)):
        with seeded(recipe):
            draws.append(torch.rand(3))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_seeding_leaves_the_callers_generator_alone():
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    with seeded(Recipe()):
        torch.rand(5)
    assert torch.equal(torch.rand(2), expected)


def test_a_step_has_the_random_numbers_of_its_seed():
    recipe = Recipe(seed=7, member=2)
    with seeded(recipe, 5):
        drawn = torch.rand(3)
    torch.manual_seed(9 * 1_000_003 + 5)
    assert torch.equal(drawn, torch.rand(3))


def test_weight_decay_acts_on_convolution_and_linear_weights_only():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ConvTranspose2d(4, 4, 2), nn.Linear(4, 2))
    module.prototypes = nn.Parameter(torch.zeros(2, 2))
    module[3].bias.requires_grad_(False)
    decayed, plain = split_by_decay(module)
    assert {id(p) for p in decayed} == {id(module[i].weight) for i in (0, 2, 3)}
    assert {id(p) for p in plain} == {
        id(p) for p in (module[0].bias, module[1].weight, module[1].bias, module[2].bias, module.prototypes)
    }
    groups = make_optimiser(module, Recipe(weight_decay=0.5)).param_groups
    assert [g["weight_decay"] for g in groups] == [0.5, 0.0]


def test_optimisers_are_those_of_the_recipe():
    module = nn.Linear(1, 1)
    sgd = make_optimiser(module, Recipe(lr=0.3, momentum=0.8, nesterov=True))
    assert type(sgd) is torch.optim.SGD
    assert (sgd.defaults["lr"], sgd.defaults["momentum"], sgd.defaults["nesterov"]) == (0.3, 0.8, True)
    for name, kind in (("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)):
        made = make_optimiser(module, Recipe(optimiser=name, betas=(0.7, 0.9)), lr=0.1)
        assert type(made) is kind
        assert all((group["lr"], group["betas"]) == (0.1, (0.7, 0.9)) for group in made.param_groups)


def test_everything_decays_where_the_recipe_says_so():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    groups = make_optimiser(module, Recipe(weight_decay=0.5, decay_everything=True)).param_groups
    assert [(len(g["params"]), g["weight_decay"]) for g in groups] == [(4, 0.5)]


def test_a_shared_weight_is_optimised_once():
    module = nn.ModuleList([nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)])
    module[1].weight = module[0].weight
    assert [len(g["params"]) for g in make_optimiser(module, Recipe()).param_groups] == [1]


def test_nothing_to_optimise_is_an_error():
    with pytest.raises(BenchmarkError, match="no parameter"):
        make_optimiser(nn.ReLU(), Recipe())
