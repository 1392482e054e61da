"""Released checkpoints: written here from the published layout, imported, and run against a second implementation."""

import hashlib
import json
from dataclasses import replace

import pytest
import torch
from benchmark.methods.dicnet import DiCNet
from benchmark.methods.dicnet.student import Student
from released_files import decoder_file, encoder_file, run_csail, run_student, student_file, with_sync_bn

from benchmark.errors import BenchmarkError
from benchmark.networks import build_network
from benchmark.networks.pspnet import RELEASED
from benchmark.registry import METHODS, NETWORKS
from benchmark.weights.checkpoint import read_checkpoint
from benchmark.weights.released import import_method, import_network, importables, read_method, read_network
from benchmark.weights.store import WeightsStore

CSAIL, DICNET = RELEASED["csail"], DiCNet.released["dicnet"]
(STUDENT,) = DICNET.files


def read_csail(*files):
    return read_network(CSAIL, files)


class Built(torch.nn.Module):
    """What DiCNet is once it is built."""

    def __init__(self):
        super().__init__()
        self.student = Student()


def hollow(file):
    """Zeros of the same names and shapes that take no space in a file."""
    return {name: torch.zeros((), dtype=value.dtype).expand(value.shape) for name, value in file.items()}


@pytest.fixture(scope="module")
def csail(tmp_path_factory):
    folder = tmp_path_factory.mktemp("csail")
    encoder, decoder = encoder_file(), decoder_file()
    assert (len(with_sync_bn(encoder)), len(with_sync_bn(decoder))) == (495, 58)
    torch.save(with_sync_bn(encoder), folder / "encoder.pth")
    torch.save(with_sync_bn(decoder), folder / "decoder.pth")
    return folder, encoder, decoder


@pytest.fixture(scope="module")
def image():
    return torch.randn(1, 3, 40, 56, generator=torch.Generator().manual_seed(0))


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3 * float(b.abs().max()))


def test_csail_network_computes_what_the_files_describe(csail, image, tmp_path):
    folder, encoder, decoder = csail
    store = WeightsStore(tmp_path)
    files = [folder / "encoder.pth", folder / "decoder.pth"]
    assert import_network("csail", CSAIL, files, store, "streethazards/x") == 13
    network = build_network("pspnet-resnet50", 13, initial=False).eval()
    store.load_into("streethazards/x", network)
    origin = store.sidecar("streethazards/x")["imported"]
    assert origin["layout"] == "csail" and [f["name"] for f in origin["files"]] == ["encoder.pth", "decoder.pth"]
    assert origin["files"][0]["sha256"] == hashlib.sha256((folder / "encoder.pth").read_bytes()).hexdigest()
    json.dumps(origin)
    with torch.no_grad():
        main, aux = run_csail(encoder, decoder, image)
        close(network(image)["logits"], main)
        network.training = True  # asks for the auxiliary logits; its layers stay as they are
        close(network(image)["aux"], aux)


def test_names_go_both_ways(csail):
    folder, encoder, decoder = csail
    state, _ = read_csail(folder / "encoder.pth", folder / "decoder.pth")
    for layout, file in zip(CSAIL.files, (encoder, decoder), strict=True):
        back = layout.theirs(state)
        assert back.keys() == file.keys()
        assert all(torch.equal(back[name], file[name]) for name in file)
    assert len(state) == 370
    learned = [v.numel() for n, v in encoder.items() if not n.endswith(("mean", "var", "tracked"))]
    assert sum(learned) == 23_631_808 and len(encoder) == 330


def test_student_computes_what_its_file_describes(image, tmp_path):
    file = student_file()
    assert len(file) == 241
    torch.save({f"module.{name}": value for name, value in file.items()}, tmp_path / "student_epoch_115.pth")
    built = Built()
    assert STUDENT.theirs(built.state_dict()).keys() == file.keys()
    store = WeightsStore(tmp_path)
    path = tmp_path / "student_epoch_115.pth"
    import_method("dicnet", "dicnet", DICNET, [path], store, "streethazards/dicnet", built.state_dict())
    assert store.sidecar("streethazards/dicnet")["method"] == "dicnet"
    built.load_state_dict(store.load("streethazards/dicnet"))
    with torch.no_grad():
        close(built.student.eval()(image), run_student(file, image))


def test_student_of_one_gpu_has_no_prefix(tmp_path):
    with torch.device("meta"):
        wanted = Built().state_dict()
    torch.save(hollow(STUDENT.theirs(wanted)), tmp_path / "s.pth")
    assert read_method(DICNET, [tmp_path / "s.pth"], wanted).keys() == wanted.keys()


def test_releases_are_found_where_they_are_declared(registries):
    found = importables()
    assert found["csail"].usage == "weights import csail ENCODER DECODER" and found["csail"].method is None
    assert found["dicnet"].usage == "weights import dicnet ENCODER DECODER STUDENT"
    assert found["dicnet"].network == ("csail", CSAIL) and found["dicnet"].method == ("dicnet", DICNET)
    for name, made in found.items():
        if made.network[1].hub:  # is read from a folder, and its trained_on says how many classes it has
            assert made.network[1].network in NETWORKS.names() and made.usage == f"weights import {name} FOLDER"
        else:
            build_network(made.network[1].network, 13, initial=False)
        assert name and all(r.source and r.license for r in (made.network[1], *(made.method or ())[1:]))
    assert NETWORKS.get("pspnet").__module__ == "benchmark.networks.pspnet"

    def method(name, released):
        METHODS.add(name, "here", type(name, (DiCNet,), {"released": released}))

    method("second", {"dicnet": DICNET})
    with pytest.raises(BenchmarkError, match="dicnet and second both have a release 'dicnet'"):
        importables()


def test_a_release_that_rests_on_nothing_is_refused(registries):
    lost = {"lost": replace(DICNET, teacher="absent")}
    METHODS.add("lost", "here", type("Lost", (DiCNet,), {"released": lost}))
    with pytest.raises(BenchmarkError, match="'lost' of lost rests on 'absent'"):
        importables()


def test_both_are_imported_and_used_by_the_command_line(bench, csail):
    folder, *_ = csail
    torch.save(dict(student_file()), bench.folder / "student.pth")
    files = [folder / "encoder.pth", folder / "decoder.pth", bench.folder / "student.pth"]
    where = ["--dataset", "town", "--data", str(bench.data), "--out", str(bench.runs)]
    assert bench("weights", "import", "dicnet", *files, *where) == 0, bench.err
    assert "Source: github.com/zhouhuan-hust/DiCNet" in bench.out and bench.out.count("licence: ") == 2
    assert "(the first 4 of 13 outputs)" in bench.out and "run --network pspnet-resnet50" in bench.out
    stored = sorted(p.name.rpartition("-")[0] for p in (bench.runs / "weights").rglob("*.safetensors"))
    assert stored == ["dicnet", "pspnet-resnet50-m0"]
    assert bench("run", "--methods", "dicnet", "--network", "pspnet-resnet50", "--dry-run") == 0
    assert "train" not in bench.out and "fit dicnet" not in bench.out


def test_head_of_150_classes_and_missing_counters(csail, tmp_path):
    folder, _, decoder = csail
    file = {n: v for n, v in hollow(decoder).items() if not n.endswith("num_batches_tracked")}
    for name in ("conv_last.4", "conv_last_deepsup"):
        file[f"{name}.weight"], file[f"{name}.bias"] = torch.zeros(150, 512, 1, 1), torch.zeros(150)
    torch.save(file, tmp_path / "decoder.pth")
    state, classes = read_csail(folder / "encoder.pth", tmp_path / "decoder.pth")
    assert classes == 150 and state["conv_last_deepsup.bias"].shape == (150,)
    assert state["conv_last.1.num_batches_tracked"].dtype == torch.int64


def damage(state, kind):
    if kind == "missing":
        del state["conv_last.1.bias"]
    elif kind == "unexpected":
        state["conv_last.1._tmp_running_mode"] = torch.zeros(512)
    else:
        state["ppm.2.1.weight"] = torch.zeros(512, 512, 1, 1)
    return state


@pytest.mark.parametrize(
    "kind, names",
    [
        ("missing", "lacks conv_last.1.bias"),
        ("unexpected", "conv_last.1._tmp_running_mode"),
        ("size", r"ppm.2.1.weight \(512, 512, 1, 1\) instead of \(512, 2048, 1, 1\)"),
    ],
)
def test_wrong_keys_are_named(csail, tmp_path, kind, names):
    folder, _, decoder = csail
    torch.save(damage(hollow(decoder), kind), tmp_path / "decoder.pth")
    with pytest.raises(BenchmarkError, match=f"{tmp_path}/decoder.pth is not the decoder .*{names}"):
        read_csail(folder / "encoder.pth", tmp_path / "decoder.pth")


def test_swapped_files(csail):
    folder, *_ = csail
    with pytest.raises(BenchmarkError, match=r"decoder.pth is not the encoder .*in order"):
        read_csail(folder / "decoder.pth", folder / "encoder.pth")


def test_files_that_are_no_checkpoints(csail, tmp_path):
    folder, *_ = csail
    whole = (folder / "decoder.pth").read_bytes()
    cases = {"truncated.pth": whole[: len(whole) // 2], "page.pth": b"<html>not found</html>", "empty.pth": b""}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BenchmarkError, match=f"{name} is not a PyTorch checkpoint or is truncated"):
            read_checkpoint(tmp_path / name)
    torch.save({"epoch": 20, "model": {}}, tmp_path / "history.pth")
    with pytest.raises(BenchmarkError, match=r"history.pth is not a state dictionary"):
        read_checkpoint(tmp_path / "history.pth")
    with pytest.raises(BenchmarkError, match="no such file"):
        read_checkpoint(tmp_path / "absent.pth")
