"""A network of one's own through the command line: the page that documents it, resuming, files that do not fit."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from harness import fresh_registries
from own_networks import SETS, module, record, run
from safetensors.torch import save_file
from torch import nn

from benchmark.errors import BenchmarkError
from benchmark.run.options import Options
from benchmark.run.setup import make_setup
from tests.datasets.files import noise, write

PAGE = Path(__file__).resolve().parents[2] / "benchmark" / "networks" / "README.md"


def test_the_page_does_what_it_says(roads, monkeypatch):
    text = PAGE.read_text()
    code, (save, line) = (
        re.search(r"```python\n(.*?)```", text, re.S)[1],
        re.search(r"```sh\npython -c \"(.*?)\"\npython -m benchmark (.*?)```", text, re.S).groups(),
    )
    monkeypatch.chdir(roads.folder)
    monkeypatch.syspath_prepend(roads.folder)
    Path("mynet.py").write_text(code)
    exec(save, {})
    verb, *arguments = shlex.split(line.replace("\\\n", " "))
    assert roads(verb, *arguments) == 0
    methods = {"msp", "max_logit", "max_entropy", "energy"}
    for name in SETS:
        found = [record(roads, method, name, "mynet+weights=mynet") for method in methods]
        assert all(r["network"]["preparation"]["filter"] == "pillow" for r in found)
        assert all(r["network"]["preparation"]["size"] == [512, 1024] for r in found)
        assert all(r["network"]["weights_file"] == "mynet.pth" and not r["network"]["recipe"] for r in found)
    assert roads.out.count("Records: ") == 3 and "RoadObstacle21" in roads.out
    assert roads(verb, *arguments) == 0 and roads.out.count(": current, ") == 12
    assert not (roads.runs / "weights").exists()
    assert roads("check", "--plugin", "mynet.py", "mynet") == 0 and "mynet: keeps its contract" in roads.out


def test_changed_weights_and_changed_code_are_measured_again(roads, forwards):
    assert run(roads) == 0
    first = record(roads)
    forwards.clear()
    assert run(roads) == 0 and "msp: current" in roads.out and not forwards
    torch.save(module(19, seed=1).state_dict(), roads.weights)
    assert run(roads, "--dry-run") == 0
    (why,) = re.findall(r"  msp: (.*)", roads.out)
    assert re.fullmatch(r"the network's weights changed from \w{10} to \w{10}", why)
    assert run(roads) == 0
    assert record(roads)["metrics"] != first["metrics"] and record(roads)["network"]["key"] == first["network"]["key"]
    roads.file.write_text(roads.file.read_text() + "# another size\n")
    assert run(roads, "--dry-run") == 0
    (why,) = re.findall(r"  msp: (.*)", roads.out)
    assert re.fullmatch(r"the network's code changed from \w{10} to \w{10}", why)


def test_a_plugins_code_counts_without_weights_too(roads):
    roads.plugins.append(roads.file)
    line = ["--network", "tiny", "--dataset", "town", "--methods", "msp"]
    assert roads("run", *line) == 0
    first = record(roads, "msp", "town", "tiny")
    assert roads("run", *line) == 0 and "msp: current" in roads.out
    roads.file.write_text(roads.file.read_text().replace("nn.ReLU()", "nn.Tanh()"))
    assert roads("run", *line, "--dry-run") == 0
    assert "train tiny on town" in roads.out and "the network's code changed from" in roads.out
    assert roads("run", *line) == 0
    second = record(roads, "msp", "town", "tiny")
    assert first["network"]["code_sha256"] != second["network"]["code_sha256"] and first["metrics"] != second["metrics"]
    roads.file.write_text("1 / 0\n")
    assert roads("run", *line) == 2
    assert re.search(r"tiny\.py cannot be imported: ZeroDivisionError", roads.err) and "Traceback" not in roads.err
    assert sum(text.startswith("error: ") for text in roads.err.splitlines()) == 1


def test_a_plan_builds_nothing(roads):
    roads.file.write_text("def build(classes):\n    raise RuntimeError('built')\n")
    assert run(roads, "--dry-run", methods="msp,knn,tradi,deep_ensemble") == 0
    for name in ("knn", "tradi"):
        assert f"fit {name}, for which the training images are not here" in roads.out
    assert "train tiny member 1 on cityscapes, which --weights rules out" in roads.out
    assert run(roads, "--dry-run", dataset="town", methods="knn,tradi") == 0
    assert "fit knn, one pass over the training images" in roads.out
    assert "fit tradi, of a duration not known for a network of your own" in roads.out
    assert run(roads, methods="msp") == 1 and "failed: msp: RuntimeError: built" in roads.err


class Own(nn.Module):
    """A network whose class is not PyTorch's."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = module(19)


@pytest.mark.parametrize("form", ["nested", "parallel", "safetensors", "uncounted"])
def test_forms_of_a_weights_file(roads, form):
    assert run(roads) == 0
    expected = record(roads)["metrics"]
    state = module(19).state_dict()
    if form == "nested":
        torch.save({"epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1}}, roads.weights)
    elif form == "parallel":
        torch.save({"model": {f"module.{k}": v for k, v in state.items()}}, roads.weights)
    elif form == "safetensors":
        roads.weights = roads.folder / "w.safetensors"
        save_file(state, roads.weights)
    else:  # files from before PyTorch 0.4.1 do not count the batches of their normalisation
        roads.file.write_text(roads.file.read_text().replace("nn.ReLU()", "nn.BatchNorm2d(4, eps=0), nn.ReLU()"))
        state["3.weight"], state["3.bias"] = state.pop("2.weight"), state.pop("2.bias")
        state |= {"1.weight": torch.ones(4), "1.bias": torch.zeros(4)}
        state |= {"1.running_mean": torch.zeros(4), "1.running_var": torch.ones(4)}
        torch.save(state, roads.weights)
    assert run(roads) == 0
    assert record(roads)["metrics"] == expected


def test_weights_that_do_not_fit_are_one_sentence(roads):
    torch.save(module(20).state_dict(), roads.weights)
    assert run(roads) == 2
    (sentence,) = roads.err.strip().splitlines()
    assert f"{roads.weights} does not fit a Sequential: it has of another size 2.weight (20, 4, 1, 1)" in sentence
    torch.save(nn.Conv2d(3, 19, 1).state_dict(), roads.weights)
    assert run(roads) == 2 and "it lacks 0.weight, 0.bias, 2.weight and 1 more, it has unexpected weight" in roads.err
    torch.save(Own(), roads.weights)  # a whole pickled object, whose class would have to be imported
    assert run(roads) == 2 and "save it anew with torch.save(model.state_dict(), path)" in roads.err
    assert f"{Own.__module__}.Own" in roads.err
    roads.weights.unlink()
    assert run(roads) == 2 and roads.err == f"error: --weights {roads.weights}: there is no such file.\n"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("absent.py", "--network absent.py: there is no such file"),
        ("broken.py", "--network broken.py cannot be imported: ZeroDivisionError"),
        ("tiny.py:make", r"--network tiny.py defines no function make\(\)"),
        ("tiny.py:build:depth=3", "'tiny': .*'depth'; it knows outputs, size, taps"),
    ],
)
def test_mistakes_in_naming_the_file(roads, monkeypatch, name, words):
    monkeypatch.chdir(roads.folder)
    Path("broken.py").write_text("1 / 0\n")
    line = ["--network", name, "--weights", roads.weights, "--dataset", "road-anomaly", "--methods", "msp"]
    assert roads("run", *line) == 2
    assert re.search(words, roads.err) and len(roads.err.strip().splitlines()) == 1


def test_a_plugin_takes_weights_too(roads):
    roads.plugins.append(roads.file)
    line = ["--network", "tiny", "--weights", roads.weights, "--dataset", "road-anomaly", "--methods", "msp"]
    assert roads("run", *line) == 0
    roads.plugins.remove(roads.file)
    assert run(roads) == 0 and "msp: current" in roads.out


def test_without_weights_it_is_trained_like_ours(roads):
    where = ["--network", roads.file, "--methods", "msp"]
    assert roads("run", *where) == 0 and "train tiny on town, about" in roads.out
    assert roads("run", *where) == 0 and "msp: current" in roads.out
    roads.file.write_text(roads.file.read_text().replace("nn.ReLU()", "nn.Tanh()"))
    assert roads("run", *where) == 0
    assert "train tiny on town" in roads.out and "the network's code changed" in roads.out
    assert roads("run", *where, "--classes", "town") == 2 and "with --weights" in roads.err


def test_several_datasets_and_the_worst_code(roads):
    both = "road-anomaly,road-obstacle-21"
    assert run(roads, dataset=both, methods="msp,energy") == 0
    tables = [roads.out.index(title) for title in ("RoadAnomaly, tiny", "RoadObstacle21 (validation), tiny")]
    assert tables == sorted(tables)
    assert run(roads, dataset=f"camvid-ood,{both}") == 2
    assert "error: " in roads.err and roads.out.count("msp: current") == 2
    assert run(roads, dataset=",") == 2 and "no dataset ''" in roads.err


def test_the_network_of_a_command_line(registries, tmp_path):
    file, weights = tmp_path / "my_net.py", tmp_path / "w.pth"
    file.write_text("def build(classes, depth=1):\n    pass\n\n\ndef wide(classes, depth: int):\n    pass\n")
    weights.write_bytes(b"weights")
    (tmp_path / "anomaly_val").mkdir()
    folder, _ = SETS["road-anomaly"]
    write(tmp_path / "anomaly_val" / folder / "images" / "0.png", noise(0))
    write(tmp_path / "anomaly_val" / folder / "labels_masks" / "0.png", np.zeros((12, 20), np.uint8))

    def base(network, **more):
        return make_setup(
            Options(dataset="road-anomaly", data=tmp_path, network=network, weights=weights, device="cpu", **more)
        ).base

    first = base(str(file))
    assert (first.arch, first.classes, first.dataset, first.scales) == ("my-net", 19, "cityscapes", ())
    assert base(f"{file}:wide:depth=3").arch == "my-net-wide" and base(f"{file}:depth=3").options == (("depth", 3),)
    with pytest.raises(BenchmarkError, match="The network 'my-net-wide': depth is a whole number, not 'deep'"):
        base(f"{file}:wide:depth=deep")
    assert base(str(file), classes="7+1").classes == 8 and base(str(file), classes="7").dataset == "7-classes"
    assert base("pspnet-small").weights == first.weights.partition("+")[0]
    with fresh_registries():
        assert base(str(file)).key == first.key
