"""The weights store: whole files or none, strict loading, errors in one sentence."""

import errno
import hashlib

import pytest
import safetensors.torch
import torch
from torch import nn

import benchmark.weights.store
from benchmark.errors import BenchmarkError
from benchmark.weights.store import WeightsStore, describe_mismatch, digest_file

KEY = "town/net-small-m0-0123456789"


@pytest.fixture
def store(tmp_path):
    return WeightsStore(tmp_path / "weights")


def network(width: int = 4) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width))


def test_round_trip(store):
    net = network()
    net[1].num_batches_tracked += 5
    assert not store.has(KEY)
    sha256 = store.save(KEY, net.state_dict(), {"network": "net-small", "recipe": {"lr": 0.1}})
    assert store.has(KEY) and sha256 == hashlib.sha256(store.path(KEY).read_bytes()).hexdigest()
    sidecar = {"network": "net-small", "recipe": {"lr": 0.1}, "key": KEY, "sha256": sha256, "tensors": 7}
    assert store.sidecar(KEY) == sidecar
    store.verify(KEY)
    other = network()
    store.load_into(KEY, other)
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), other.state_dict().values()))
    (entry,) = store.entries()
    assert entry.key == KEY and entry.sidecar == sidecar and entry.size == store.path(KEY).stat().st_size


def test_any_memory_layout_is_stored(store):
    weight = torch.randn(4, 3, 2, 2)
    state = {"a": weight.to(memory_format=torch.channels_last), "b": weight[:, 1:], "c": weight, "d": weight}
    store.save(KEY, state, {})
    loaded = store.load(KEY)
    assert all(torch.equal(loaded[name], state[name]) for name in state)


def test_other_architecture(store):
    store.save(KEY, {**network(4).state_dict(), "2.weight": torch.zeros(1)}, {})
    target = nn.Sequential(*network(5), nn.Linear(2, 2), nn.Linear(2, 2))
    before = {name: value.clone() for name, value in target.state_dict().items()}
    with pytest.raises(BenchmarkError) as error:
        store.load_into(KEY, target)
    for part in (
        str(store.path(KEY)),
        "Sequential",
        "2.bias",
        "0.weight (4, 3, 3, 3) instead of (5, 3, 3, 3)",
        "train",
    ):
        assert part in str(error.value)
    assert "\n" not in str(error.value)
    assert all(torch.equal(before[name], value) for name, value in target.state_dict().items())


def test_mismatch_names_at_most_three():
    wanted = {f"w{i}": torch.zeros(1) for i in range(5)}
    assert describe_mismatch({}, wanted) == "it lacks w0, w1, w2 and 2 more"
    assert describe_mismatch(wanted, wanted) == ""


@pytest.mark.parametrize("keep", [0, 7, 200, -1])
def test_truncated_file(store, keep):
    store.save(KEY, network().state_dict(), {})
    content = store.path(KEY).read_bytes()
    store.path(KEY).write_bytes(content[:keep])
    with pytest.raises(BenchmarkError, match="truncated or damaged"):
        store.load(KEY)
    with pytest.raises(BenchmarkError, match="has changed since it was saved"):
        store.verify(KEY)


def test_altered_value_is_found_by_the_hash(store):
    store.save(KEY, network().state_dict(), {})
    content = bytearray(store.path(KEY).read_bytes())
    content[-1] ^= 1
    store.path(KEY).write_bytes(content)
    for action in (store.load, store.verify):
        with pytest.raises(BenchmarkError, match="SHA-256"):
            action(KEY)


def test_missing_files(store):
    for action in (store.load, store.sidecar, store.verify):
        with pytest.raises(BenchmarkError, match=r"is missing; .*--dataset town"):
            action(KEY)
    store.save(KEY, network().state_dict(), {})
    store.path(KEY).with_suffix(".json").write_text("[]")
    with pytest.raises(BenchmarkError, match="not a sidecar"):
        store.sidecar(KEY)
    assert next(iter(store.entries())).sidecar == {}
    store.path(KEY).with_suffix(".json").unlink()
    assert not store.has(KEY)


def test_full_disk_keeps_the_old_weights(store, monkeypatch):
    old = network().state_dict()
    store.save(KEY, old, {"version": 1})

    def fill(tensors, path):
        with open(path, "wb") as file:
            file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", fill)
    with pytest.raises(BenchmarkError, match=r"net-small.*the disk is full"):
        store.save(KEY, network().state_dict(), {"version": 2})
    assert store.sidecar(KEY)["version"] == 1
    store.verify(KEY)
    assert {p.suffix for p in store.path(KEY).parent.iterdir()} == {".safetensors", ".json"}


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchmarkError, match="Cannot write"):
        WeightsStore(tmp_path / "file").save(KEY, network().state_dict(), {})


def test_digest(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert digest_file(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_file_is_read_once_and_again_when_it_changes(tmp_path, monkeypatch):
    path, read, digest = tmp_path / "x", [], hashlib.file_digest
    monkeypatch.setattr(benchmark.weights.store, "_SETTLED", -1.0)  # as if the file were older
    monkeypatch.setattr(hashlib, "file_digest", lambda *given: read.append(1) or digest(*given))
    path.write_bytes(b"abc")
    first = digest_file(path)
    assert digest_file(path) == first and len(read) == 1
    path.write_bytes(b"abcd")
    assert digest_file(path) == hashlib.sha256(b"abcd").hexdigest() != first and len(read) == 2


def test_another_process_may_replace_what_was_loaded(store):
    first = store.save(KEY, network().state_dict(), {})
    store.load(KEY)
    second = WeightsStore(store.root).save(KEY, network().state_dict(), {})
    assert first != second and store.digest(KEY) == first, "records state what was used"
    store.load(KEY)
    assert store.digest(KEY) == WeightsStore(store.root).digest(KEY) == second
