"""What a command line is resolved into: dataset, recipes, seeds, the shared network."""

from pathlib import Path

import pytest
from harness import TOWN

from benchmark.errors import BenchmarkError
from benchmark.recipe import LightRecipe, Recipe
from benchmark.registry import DATASETS, load_plugin
from benchmark.run.options import Options, choose_dataset, parse_recipe, ranked_datasets
from benchmark.run.setup import make_setup


@pytest.fixture
def town(registries, tmp_path, monkeypatch):
    """The dataset ``town`` registered, in a working directory without data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANOMALY_DATA", raising=False)
    (tmp_path / "town.py").write_text(TOWN)
    load_plugin(tmp_path / "town.py")


def rank(tmp_path, name, auto, found):
    path = tmp_path / f"{name}.py"
    path.write_text(
        f"{TOWN}\n    policy = replace(policy, auto={auto})\n\n"
        f"    @classmethod\n    def available(cls, root):\n        return {found}\n"
    )
    load_plugin(path)


def test_auto_takes_the_best_dataset_that_is_found_and_says_why(town, tmp_path):
    rank(tmp_path, "gold", -20, False)
    rank(tmp_path, "silver", -10, True)
    name, why = choose_dataset("auto", Path("here"))
    assert (name, why) == ("silver", "Dataset silver, since gold was not found under here.")
    rank(tmp_path, "platinum", -30, True)
    assert choose_dataset("auto", Path("here")) == ("platinum", "Dataset platinum, found under here.")
    assert choose_dataset("town", Path("here")) == ("town", "Dataset town.")


def test_auto_without_files_is_minihazards(tmp_path):
    assert ranked_datasets() == ["streethazards", "minihazards"]
    name, why = choose_dataset("auto", tmp_path)
    assert name == "minihazards"
    assert f"streethazards was not found under {tmp_path}" in why


def test_auto_passes_over_a_dataset_that_cannot_be_imported(registries, tmp_path, monkeypatch):
    sources = dict.fromkeys(DATASETS.names())
    monkeypatch.setattr(DATASETS, "_sources", {**DATASETS._sources, "broken": ("built in", "no.such.module")})
    assert sources and choose_dataset("auto", tmp_path)[0] == "minihazards"


def test_the_data_root_is_the_option_or_the_environment_or_data(monkeypatch):
    monkeypatch.delenv("ANOMALY_DATA", raising=False)
    assert Options().root == Path("data")
    monkeypatch.setenv("ANOMALY_DATA", "elsewhere")
    assert Options().root == Path("elsewhere")
    assert Options(data=Path("there")).root == Path("there")


def test_the_command_line_overrules_the_dataset_overrules_the_authors(town):
    authors = Recipe("distillation", epochs=150, steps_per_epoch=320, batch_size=16, lr=1e-4)
    plain = make_setup(Options(dataset="town", device="cpu")).recipe(authors, LightRecipe())
    assert (plain.epochs, plain.batch_size, plain.lr) == (1, 2, 1e-4)
    overrides = parse_recipe(["distillation.batch_size=4", "segmentation.lr=0.5"])
    setup = make_setup(Options(dataset="town", device="cpu", recipe=overrides))
    assert setup.recipe(authors, LightRecipe()) == authors.changed({"epochs": 1, "steps_per_epoch": 1, "batch_size": 4})
    assert (setup.base.recipe.lr, setup.base.recipe.batch_size) == (0.5, 2)
    assert setup.base.key != make_setup(Options(dataset="town", device="cpu")).base.key


def test_a_repetition_trains_everything_with_other_seeds(town):
    first, second = (make_setup(Options(dataset="town", device="cpu", repetition=r)) for r in (0, 1))
    authors = Recipe("distillation", seed=666)
    seeds = [
        {s.base.member(m).recipe.seed + m for m in range(50)} | {s.recipe(authors, LightRecipe()).seed}
        for s in (first, second)
    ]
    assert not seeds[0] & seeds[1], "no network of one repetition is one of another"
    assert first.base.key != second.base.key


def test_an_unknown_field_names_the_known_ones(town):
    words = r"segmentation recipe has no field 'epoch' to change; it has epochs,"
    with pytest.raises(BenchmarkError, match=words):
        parse_recipe(["segmentation.epoch=3"])
    with pytest.raises(BenchmarkError, match=words):
        make_setup(Options(dataset="town", device="cpu", recipe={"segmentation": {"epoch": 3}}))


@pytest.mark.parametrize("item", ["epochs=2", "segmentation.epochs", "segmentation.=2", "=", ".x=1"])
def test_a_recipe_override_must_be_task_field_value(item):
    with pytest.raises(BenchmarkError, match=r"write task\.field=value"):
        parse_recipe([item])


def test_recipe_values_are_parsed_by_their_form():
    assert parse_recipe(["a.lr=1e-3", "a.crop=48,64", "a.flip=false", "b.schedule=cosine"]) == {
        "a": {"lr": 1e-3, "crop": (48, 64), "flip": False},
        "b": {"schedule": "cosine"},
    }


def test_the_shared_network_is_the_datasets_unless_another_is_named(town):
    setup = make_setup(Options(dataset="town", device="cpu"))
    assert (setup.base.arch, setup.base.options, setup.base.scales) == ("pspnet-small", (), ())
    setup = make_setup(
        Options(dataset="town", device="cpu", network="pspnet-resnet18:head=cosine", scales=(32,), max_size=50)
    )
    assert (setup.base.arch, setup.base.options) == ("pspnet-resnet18", (("head", "cosine"),))
    assert (setup.base.scales, setup.base.max_size) == ((32,), 50)


def test_a_limit_shortens_the_test_images_and_nothing_else(town):
    whole, short = (make_setup(Options(dataset="town:edition=2", device="cpu", limit=n)) for n in (0, 3))
    assert (len(whole.test), len(short.test)) == (4, 3)
    assert whole.base == short.base and len(short.train) == 4
    assert whole.dataset == short.dataset == short.test.label == "town:edition=2"


def test_a_single_value_stands_for_a_field_of_several():
    recipe = Recipe().changed({"scales": 300, "crop": [45, 60]})
    assert recipe.scales == (300,) and recipe.crop == (45, 60)
    assert Recipe().changed({"lr": 1}).lr == 1
