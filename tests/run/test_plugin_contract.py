"""``check NAME``: a sound plugin keeps its contract, and each way of breaking it is noticed."""

import re
from pathlib import Path

import pytest
from harness import DEVICES, METHOD, TOWN

from benchmark.registry import load_plugin
from benchmark.run.contract import Toy, check_dataset, check_method, check_network, toy_workshop, trial_call

SCORE = '-self.gain * networks["base"](batch).logits().amax(dim=1)'

NOISE = """
        import torch
        sample = super().__getitem__(index)
        return type(sample)(sample.id, torch.randint_like(sample.image, 256), sample.labels)
"""


def findings(tmp_path: Path, text: str, name="candidate") -> dict[str, str]:
    (tmp_path / f"{name}.py").write_text(text)
    load_plugin(tmp_path / f"{name}.py")
    return {finding.clause: finding.wrong for finding in check_method(name)}


def test_the_toy_images_hold_what_a_contract_needs():
    train, test = Toy("train", Path()), Toy("test", Path())
    for dataset in (train, test):
        samples = [dataset[i].checked(len(dataset.classes)) for i in range(len(dataset))]
        assert len({s.image.numpy().tobytes() for s in samples}) == 4
        assert all((s.labels == 254).any() == (dataset is test) for s in samples)
    assert train.fingerprint() != test.fingerprint()


def test_the_least_method_keeps_its_contract(registries, tmp_path):
    found = findings(tmp_path, METHOD)
    assert len(found) == 9 and not any(found.values())


@pytest.mark.parametrize(
    ("score", "clause", "words"),
    [
        ("networks['base'](batch).logits()", "one per pixel", r"they are \(3, 4, 48, 64\) torch.float32"),
        (SCORE + ".double()", "one per pixel", "torch.float64"),
        (SCORE + " * float('nan')", "no NaN", "some are NaN"),
        (SCORE + " + torch.rand(())", "asked again", "they differ by up to"),
        ("(s := " + SCORE + ") / s.std()", "depend on its batch", "they differ by up to"),
        (SCORE + " + batch.labels", "look at the labels", "they differ by up to"),
        (SCORE + " + batch.images.add_(1)[:, 0] * 0", "leaves the batch as it is", "the images changed"),
        ("networks['teacher'](batch).logits()", "scores a batch", r"'teacher', but its needs\(\) names base"),
    ],
)
def test_each_broken_clause_is_named(registries, tmp_path, score, clause, words):
    found = findings(tmp_path, METHOD.replace(SCORE, score))
    (wrong,) = [v for k, v in found.items() if clause in k]
    assert re.search(words, wrong)


def test_what_a_gpu_would_be_waited_for_is_a_remark_with_its_lines(registries, tmp_path):
    score = "(found := " + SCORE + ") + 0 * found.max().item() + 0 * len(found[found > 0].cpu())"
    (tmp_path / "reads.py").write_text(METHOD.replace(SCORE, score))
    load_plugin(tmp_path / "reads.py")
    found = list(check_method("reads"))
    assert not any(finding.wrong for finding in found)
    (remark,) = [finding.clause for finding in found if finding.remark]
    assert remark.startswith("score() reads 3 times per batch") and re.search(r"reads\.py, line 13, in score", remark)
    assert not any(finding.remark for finding in check_method("msp"))


def test_what_fit_does_not_put_into_buffers_is_lost_and_noticed(registries, tmp_path):
    text = METHOD.replace("-self.gain", "self.offset - self.gain")
    fit = "\n    def fit(self, data, networks):\n        self.offset = 1.0\n"
    found = findings(
        tmp_path, text.replace("        self.gain = gain", "        self.gain, self.offset = gain, 0.0") + fit
    )
    assert "fit() leaves offset in attributes" in found["needs, builds and fits"]
    hidden = text.replace("self.offset", "self._offset").replace("gain = gain", "gain, self._offset = gain, 0.0")
    found = findings(tmp_path, hidden + fit.replace("offset", "_offset"), "hidden")
    assert found["what was fitted comes back from its file"].startswith("they differ")
    kept = text.replace(
        "        self.gain = gain", "        self.gain = gain\n        self.register_buffer('offset', torch.zeros(()))"
    )
    assert not any(findings(tmp_path, kept + fit.replace("= 1.0", "+= 1.0"), "kept").values())


def test_a_light_recipe_without_a_recipe_is_a_finding(registries, tmp_path):
    light = METHOD.replace('title = "Plain"', 'light = {"distilation": LightRecipe()}')
    light = light.replace("import torch", "from benchmark.recipe import LightRecipe")
    found = findings(tmp_path, light)
    assert found["declares light versions of its own recipes only"] == "it trains no distilation"


def test_a_fit_that_raises_is_a_finding(registries, tmp_path):
    fit = "\n    def fit(self, data, networks):\n        raise ZeroDivisionError('no images')\n"
    assert findings(tmp_path, METHOD + fit)["needs, builds and fits"].startswith("ZeroDivisionError: no images (")


@pytest.mark.parametrize("call", ["msp", "dicnet:teacher_target=conv"])
def test_built_in_methods_keep_it_with_options(call):
    assert not any(finding.wrong for finding in check_method(call))


def test_a_dataset_and_what_is_wrong_with_it(registries, tmp_path):
    (tmp_path / "town.py").write_text(TOWN)
    load_plugin(tmp_path / "town.py")
    found = {f.clause: f.wrong for f in check_dataset("town", tmp_path)}
    assert not any(found.values()) and "test opens, 4 images" in found
    text = TOWN.replace('"none"', '""').replace("return super().fingerprint()", 'return ""')
    (tmp_path / "slum.py").write_text(text.replace("        return super().__getitem__(index)\n", NOISE))
    load_plugin(tmp_path / "slum.py")
    wrong = {f.clause: f.wrong for f in check_dataset("slum", tmp_path) if f.wrong}
    assert set(wrong) == {f"{s} gives the same sample twice" for s in ("train", "val", "test")} | {
        "fingerprints tell the splits apart",
        "metadata is complete",
    }
    assert wrong["metadata is complete"] == "licence, citation missing"


@pytest.mark.parametrize("device", DEVICES)
def test_the_small_network_keeps_its_contract(device):
    assert not any(finding.wrong for finding in check_network("pspnet-small", device))


def test_a_toy_workshop_trains_for_one_step(tmp_path):
    workshop = toy_workshop(tmp_path, ("distillation",))
    recipe = workshop.setup.base.recipe
    assert (recipe.epochs, recipe.steps_per_epoch) == (1, 1)
    workshop.train_network(workshop.setup.base)
    assert workshop.store.sidecar(workshop.setup.base.key)["reports"][0]["steps"] == 1
    assert workshop.pool.network(workshop.setup.base) is workshop.pool.network(workshop.setup.base.native())


def test_a_method_says_how_it_is_tried_on_toy_images():
    assert trial_call("msp") == "msp"
    assert trial_call("tradi") == "tradi:members=3" and trial_call("tradi:members=5") == "tradi:members=5"
