"""Released checkpoints: written here from the published layout, imported, and run against a second implementation."""

import hashlib
import json

import pytest
import torch
from benchmark.methods.dicnet.student import Student
from released_files import decoder_file, encoder_file, run_csail, run_student, student_file, with_sync_bn

from benchmark.errors import BenchmarkError
from benchmark.networks import build_network
from benchmark.weights.checkpoint import read_checkpoint
from benchmark.weights.released import (
    DECODER,
    ENCODER,
    STUDENT,
    import_csail,
    import_student,
    read_csail,
    read_student,
)
from benchmark.weights.store import WeightsStore


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
    assert import_csail(folder / "encoder.pth", folder / "decoder.pth", store, "streethazards/x") == 13
    network = build_network("pspnet-resnet50", 13, initial=False).eval()
    store.load_into("streethazards/x", network)
    origin = store.sidecar("streethazards/x")["imported"]
    assert [f["name"] for f in origin["files"]] == ["encoder.pth", "decoder.pth"]
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
    for layout, file in ((ENCODER, encoder), (DECODER, decoder)):
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
    student = Student()
    assert STUDENT.theirs(student.state_dict()).keys() == file.keys()
    store = WeightsStore(tmp_path)
    import_student(tmp_path / "student_epoch_115.pth", store, "streethazards/dicnet", student)
    state = store.load("streethazards/dicnet")
    student.load_state_dict({name.removeprefix("student."): value for name, value in state.items()})
    with torch.no_grad():
        close(student.eval()(image), run_student(file, image))


def test_student_of_one_gpu_has_no_prefix(tmp_path):
    with torch.device("meta"):
        student = Student()
    torch.save(hollow(STUDENT.theirs(student.state_dict())), tmp_path / "s.pth")
    assert read_student(tmp_path / "s.pth", student).keys() == student.state_dict().keys()


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
