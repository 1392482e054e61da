"""Weights that are not what was saved, files of one name, checkpoints as people have them."""

import argparse
import json
import pathlib
import re
import shutil

import numpy as np
import pytest
import torch
from faulty import Fault, mend
from harness import measured
from own_networks import module, record, run
from safetensors.torch import load_file, save_file
from torch import nn

from benchmark.errors import BenchmarkError
from benchmark.leaderboard.wording import setting
from benchmark.records.record import read
from benchmark.weights.checkpoint import load_checkpoint
from benchmark.weights.store import WeightsStore, digest_file

METHODS = "dicnet,msp"


def trained(bench):
    """Train and measure, and keep what was measured for :func:`mended`."""

    def make():
        assert bench("run", "--methods", METHODS) == 0
        return {name: measured(bench.record(name)) for name in ("dicnet", "msp")}

    bench.reference = bench.once("dicnet and msp", make)
    return WeightsStore(bench.runs / "weights")


def of(store, part):
    """The files of what has a name that begins so, oldest first."""
    found = [entry.path for entry in store.entries() if entry.key.startswith(f"town/{part}")]
    return sorted(found, key=lambda path: path.stat().st_mtime)


def flip(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def halve(path, also_sidecar=False):
    save_file({k: v.half() if v.is_floating_point() else v for k, v in load_file(path).items()}, path)
    if also_sidecar:
        change(path, sha256=digest_file(path))


def change(path, **fields):
    """Edit a sidecar; a field of None is taken out."""
    sidecar = path.with_suffix(".json")
    content = json.loads(sidecar.read_text()) | fields
    sidecar.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


def swap(one, other):
    for path in (one, other):
        assert path.exists()
    spare = one.with_name("spare")
    one.rename(spare), other.rename(one), spare.rename(other)


def networks(bench):
    """The files of the networks of two repetitions."""
    store = trained(bench)
    assert bench("train", "--methods", "msp", "--repetition", "1") == 0
    return of(store, "pspnet")


def swapped(bench, sidecars, keys=True):
    pair = networks(bench)
    if not keys:
        for path in pair:
            change(path, key=None)
    swap(*pair)
    if sidecars:
        swap(*(path.with_suffix(".json") for path in pair))


def sidecar(bench, text):
    (path,) = of(trained(bench), "dicnet")
    path.with_suffix(".json").write_text(text)


def mended(bench):
    """The command that the message names works, and then the numbers are those of before."""
    mend(bench)
    assert bench("run", "--methods", METHODS, "--force") == 0
    assert {name: measured(bench.record(name)) for name in ("dicnet", "msp")} == bench.reference


AGAIN = ["run", "--methods", METHODS, "--force"]
CHANGED = (
    r"pspnet-small-m0-\w+\.safetensors .*has changed since it was saved \(its SHA-256 .*`python -m benchmark train "
)
NONE = r"dicnet-\w+\.json (is not a sidecar|cannot be read).*`python -m benchmark train "
STORED = [
    Fault("a flipped bit in a network", lambda b: flip(of(trained(b), "pspnet")[0]), AGAIN, CHANGED, 2, mended),
    Fault("a flipped bit in a fit", lambda b: flip(of(trained(b), "dicnet")[0]), AGAIN, "SHA-256", 2, mended),
    Fault("half precision", lambda b: halve(of(trained(b), "pspnet")[0]), AGAIN, CHANGED, 2, mended),
    Fault(
        "half precision, and a sidecar that agrees",
        lambda b: halve(of(trained(b), "pspnet")[0], also_sidecar=True),
        AGAIN,
        r"it has of another type .*float16 instead of float32",
        2,
        mended,
    ),
    Fault("swapped repetitions", lambda b: swapped(b, sidecars=False), AGAIN, CHANGED, 2, mended),
    Fault("swapped with sidecars", lambda b: swapped(b, sidecars=True), AGAIN, r"are those of town/pspnet", 2, mended),
    Fault(
        "swapped with sidecars from before they stated their keys",
        lambda b: swapped(b, sidecars=True, keys=False),
        AGAIN,
        "was trained by another recipe than its name says",
        2,
        mended,
    ),
    Fault("a sidecar that is a list", lambda b: sidecar(b, "[]"), AGAIN, NONE, 2, mended),
    Fault("a sidecar that is deep", lambda b: sidecar(b, "[" * 100_000), AGAIN, NONE, 2, mended),
    Fault("a sidecar cut off", lambda b: sidecar(b, '{"sha256": "ab'), AGAIN, NONE, 2, mended),
    Fault(
        "a sidecar with text for a report",
        lambda b: sidecar(b, json.dumps({"sha256": "0" * 64, "reports": ["good"]})),
        AGAIN,
        NONE,
        2,
        mended,
    ),
]


@pytest.mark.parametrize("fault", STORED, ids=str)
def test_stored_weights(bench, fault):
    fault.meet(bench)


def test_sidecars_without_a_key_stay_valid(bench):
    for path in (entry.path for entry in trained(bench).entries()):
        change(path, key=None)
    assert bench(*AGAIN) == 0
    assert {name: measured(bench.record(name)) for name in ("dicnet", "msp")} == bench.reference


def test_the_command_that_mends_names_everything(bench):
    """A folder set, a repetition, a recipe, a path with a blank."""
    bench.runs = bench.folder / "my runs"
    more = ("--repetition", "1", "--recipe", "distillation.lr=0.5", "--scales", "48")
    assert bench("run", "--methods", "dicnet", *more) == 0
    (label,) = (path.stem for path in (bench.runs / "records").rglob("*.json"))
    before = measured(bench.record(label, "pspnet-small+scales=48"))
    flip(of(WeightsStore(bench.runs / "weights"), "dicnet")[0])
    assert bench("run", "--methods", "dicnet", *more, "--force") == 2
    mend(bench)
    assert bench("run", "--methods", "dicnet", *more, "--force") == 0
    assert measured(bench.record(label, "pspnet-small+scales=48")) == before


def test_a_file_that_changes_while_a_command_runs(roads):
    """The function that builds the network runs after the file was looked at and before it is loaded."""
    text = roads.file.read_text()
    append = f"    with open({str(roads.weights)!r}, 'ab') as file:\n        file.write(b'x')\n"
    roads.file.write_text(text.replace("    module =", append + "    module ="))
    assert run(roads) == 2 and "w.pth was changed while this command ran" in roads.err
    assert not (roads.runs / "records").exists()


# Two results, one name.


def printed(bench) -> str:
    """What the tables say of the settings of all records."""
    return "\n".join(
        phrase for path in sorted((bench.runs / "records").rglob("*.json")) for phrase in setting([read(path)])
    )


def test_weights_of_one_name(roads):
    for seed, folder in enumerate(("exp1", "exp2")):
        (roads.folder / folder).mkdir()
        torch.save(module(19, seed).state_dict(), roads.folder / folder / "best.pth")
    found = {}
    for folder in ("exp1", "exp2", "exp1", "exp2"):
        roads.weights = roads.folder / folder / "best.pth"
        assert run(roads) == 0
        assert ("msp: current" in roads.out) == (folder in found)
        label = "tiny+weights=best" + f"-{digest_file(roads.weights)[:8]}" * (folder == "exp2")
        found[folder] = record(roads, network=label)
        assert found[folder]["network"]["weights_sha256"] == digest_file(roads.weights)
    assert found["exp1"]["metrics"] != found["exp2"]["metrics"]
    assert f"weights of the file best.pth ({digest_file(roads.weights)[:8]})" in printed(roads)
    assert len(list((roads.runs / "records/road-anomaly").iterdir())) == 2


def test_network_files_of_one_name(roads):
    for folder, layer in (("A", "nn.ReLU()"), ("B", "nn.Tanh()")):
        (roads.folder / folder).mkdir()
        (roads.folder / folder / "net.py").write_text(roads.file.read_text().replace("nn.ReLU()", layer))
    for folder in ("A", "B", "A", "B"):
        roads.file = roads.folder / folder / "net.py"
        assert run(roads) == 0
    assert "msp: current" in roads.out
    code = digest_file(roads.file)[:8]
    labels = {path.name for path in (roads.runs / "records/road-anomaly").iterdir()}
    assert labels == {"net+weights=w", f"net+code={code}+weights=w"}


def test_a_file_that_was_changed_where_it_lies_keeps_its_name(roads):
    assert run(roads) == 0
    torch.save(module(19, seed=1).state_dict(), roads.weights)
    assert run(roads) == 0 and "the network's weights changed from" in roads.out
    assert record(roads)["network"]["weights_sha256"] == digest_file(roads.weights)


@pytest.mark.parametrize(
    ("change", "network", "method"),
    [
        ("segmentation.lr=0.5", "pspnet-small+segmentation.lr=0.5", "dicnet"),
        ("distillation.lr=0.5", "pspnet-small", "dicnet+distillation.lr=0.5"),
        ("segmentation.scales=48,32", "pspnet-small+segmentation.scales=48-32", "dicnet"),
    ],
)
def test_a_changed_recipe_replaces_nothing(bench, change, network, method):
    assert bench("run", "--methods", "dicnet") == 0
    usual = bench.record("dicnet")
    assert bench("run", "--methods", "dicnet", "--recipe", change) == 0
    assert change.replace(",", "-") in bench.out[bench.out.index("Dataset town") :]
    assert bench.record(method, network)["metrics"] != usual["metrics"] and bench.record("dicnet") == usual
    assert bench("run", "--methods", "dicnet", "--recipe", change) == 0 and "current" in bench.out
    assert bench("table", "--results", bench.runs, "--no-readme") == 0
    assert change.replace(",", "-") in (bench.runs / "LEADERBOARD.md").read_text()


def test_the_usual_recipe_spelt_out_has_the_usual_name(bench):
    assert bench("run", "--methods", "msp") == 0
    assert bench("run", "--methods", "msp", "--recipe", "segmentation.epochs=1") == 0 and "msp: current" in bench.out


# Checkpoints as people have them.


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.ReLU(), nn.Conv2d(4, 5, 1)))


def under(prefix: str, seed: int = 0) -> dict:
    return {prefix + name: value for name, value in net(seed).state_dict().items()}


class Strange(nn.Module):
    """A network whose class is not PyTorch's."""

    def __init__(self) -> None:
        super().__init__()
        self.body = net()


STATE = net().state_dict()
AUXILIARY = {"aux.0.weight": torch.zeros(3), "decode.aux_head.bias": torch.zeros(2)}
SCALARS = {"best_miou": np.float64(0.4), "epoch": np.int64(3), "seen": np.zeros(3), "loss": np.float32(1)}
ACCEPTED = {
    "a state dictionary": (STATE, ""),
    **{f"under {name}": ({name: STATE, "epoch": 3}, f"read from {name}") for name in (
        "state_dict", "model_state_dict", "model", "model_state", "net", "weights", "params", "network",
        "state_dict_ema", "generator",
    )},
    "nested": ({"model": {"state_dict": STATE}}, "read from model.state_dict"),
    **{f"with the prefix {name}": (under(name), f"read from {name[:-1]}") for name in (
        "module.", "model.", "net.", "network.", "_orig_mod.", "module.module.", "_orig_mod.module.", "segmentor.",
    )},
    "wrapped inside": ({name.replace("2.1", "2.module.1"): value for name, value in STATE.items()}, ""),
    "with auxiliary heads": (STATE | AUXILIARY, "left out.*: aux.0.weight, decode.aux_head.bias"),
    "of a training loop": (
        {"state_dict": under("model.") | {"criterion.weight": torch.ones(5)}, "optimizer_states": [{"m": STATE}]},
        "left out.*: criterion.weight",
    ),
    "averaged": ({"n_averaged": torch.tensor(3), **under("module.")}, "left out.*: n_averaged"),
    "beside moments": ({"model": STATE, "optimizer": {"state": {"0": {"m": torch.zeros(2)}}}}, "read from model"),
    "beside scalars": ({"model": STATE, **SCALARS}, "read from model"),
    "beside arguments": ({"model": STATE, "args": argparse.Namespace(lr=0.1, out=pathlib.Path("x"))}, "from model"),
    "flat beside a number": ({**STATE, "epoch": 3}, ""),
    "twice the same": ({"state_dict": STATE, "model": STATE}, "read from state_dict"),
    "a data-parallel module": (nn.DataParallel(net()), "read from module"),
    "a data-parallel module inside": ({"model": nn.DataParallel(net())}, "read from model.module"),
    "a module of PyTorch's classes": (net(), ""),
    "half precision": ({k: v.half() if v.is_floating_point() else v for k, v in STATE.items()}, "float16.*float32"),
    "uncounted": ({k: v for k, v in STATE.items() if "num_batches" not in k}, ""),
}  # fmt: skip
REFUSED = {
    "two networks": ({"state_dict": STATE, "state_dict_ema": net(1).state_dict()}, r"several sets .*\(state_dict, sta"),
    "two prefixes": (under("model.") | under("ema_model.", 1), r"several sets of weights \(model, ema_model\)"),
    "another class": (Strange(), r"holds objects .*Strange\), .*torch.save\(model.state_dict\(\), path\)"),
    "another class in parallel": (nn.DataParallel(Strange()), r"holds objects beside tensors \(.*Strange\)"),
    "another class beside": ({"model": STATE, "config": Strange()}, r"holds objects beside tensors \(.*Strange\)"),
    "a part too many": (STATE | {"head.weight": torch.zeros(2)}, "it has unexpected head.weight"),
    "a part too few": (dict(list(STATE.items())[1:]), "it lacks 0.weight"),
    "another part beside": (under("stem.") | {"neck.weight": torch.zeros(2)}, "it has unexpected neck.weight"),
    "whole numbers": (
        {k: v.int() for k, v in STATE.items()},
        "it has of another type 0.weight int32 instead of float32",
    ),
    "NaN": (STATE | {"0.weight": STATE["0.weight"] * np.nan}, "holds NaN in 0.weight"),
    "no tensors": ({"epoch": 3}, "is not a state dictionary"),
    "a list": ([STATE], "is not a state dictionary"),
}


@pytest.mark.parametrize("form", ACCEPTED)
def test_a_checkpoint_is_unwrapped(tmp_path, form):
    content, says = ACCEPTED[form]
    torch.save(content, tmp_path / "x.pth")
    made, said = net(9), []
    load_checkpoint(tmp_path / "x.pth", made, said.append)
    tolerance = 1e-3 if form == "half precision" else 0
    for name, value in made.state_dict().items():
        if "num_batches" not in name:
            assert torch.allclose(value, STATE[name], atol=tolerance), name
    assert not torch.allclose(net(9).state_dict()["0.weight"], STATE["0.weight"])
    if says:
        (sentence,) = said
        assert "x.pth" in sentence and "\n" not in sentence
        assert re.search(says, sentence), sentence
    else:
        assert not said


def test_a_torchscript_archive_is_refused(tmp_path):
    torch.jit.script(net()).save(str(tmp_path / "x.pt"))
    with pytest.raises(
        BenchmarkError, match=r"x.pt is a TorchScript archive, .*torch.save\(model.state_dict\(\), path\)"
    ):
        load_checkpoint(tmp_path / "x.pt", net())


def test_files_of_before_pytorch_had_archives_are_read(tmp_path):
    content = {"model": STATE, **SCALARS, "args": argparse.Namespace(lr=0.1)}
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=False)
    made = net(9)
    load_checkpoint(tmp_path / "x.pth", made, lambda text: None)
    assert torch.equal(made[0].weight, STATE["0.weight"])


@pytest.mark.parametrize("form", REFUSED)
def test_a_checkpoint_is_refused(tmp_path, form):
    content, says = REFUSED[form]
    torch.save(content, tmp_path / "x.pth")
    made = net(9)
    with pytest.raises(BenchmarkError, match=says) as error:
        load_checkpoint(tmp_path / "x.pth", made)
    assert "x.pth" in str(error.value) and "\n" not in str(error.value)
    assert all(torch.equal(value, net(9).state_dict()[name]) for name, value in made.state_dict().items())


def test_what_was_left_out_is_said_by_run(roads):
    torch.save({"model": module(19).state_dict() | AUXILIARY, **SCALARS}, roads.weights)
    assert run(roads) == 0
    assert "Weights of w.pth: read from model; left out, since the network has no place for it: aux.0" in roads.out
    shutil.rmtree(roads.runs)
    torch.save(nn.DataParallel(module(19)), roads.weights)
    assert run(roads) == 0 and "Weights of w.pth: read from module." in roads.out
