import pytest
import torch
from training_toys import Blobs, Tiny

from benchmark.data import IGNORE
from benchmark.derived import Subset, VoidAsClass
from benchmark.errors import BenchmarkError
from benchmark.machine import Machine
from benchmark.recipe import Recipe
from benchmark.training import (
    FitData,
    Segmentation,
    cached,
    clear_states,
    loader,
    native_batches,
    seeded,
)
from benchmark.training.loader import training_batches

CPU = Machine(torch.device("cpu"), progress=False)
THREADS = Machine(torch.device("cpu"), workers=3, progress=False)


def test_a_split_that_fits_is_read_once_and_stays_the_same():
    plain = Blobs(images=5)
    kept = cached(plain, CPU)
    plain.read = 0
    for _ in range(2):
        for index in range(5):
            one, two = kept[index], Blobs(images=5)[index]
            assert one.id == two.id and torch.equal(one.image, two.image) and torch.equal(one.labels, two.labels)
    assert plain.read == 0
    assert (kept.classes, kept.name, kept.split, kept.fingerprint()) == (
        plain.classes,
        plain.name,
        plain.split,
        plain.fingerprint(),
    )
    assert cached(kept, CPU) is kept


def test_what_is_made_of_a_split_has_a_fingerprint_of_its_own():
    """It is part of what names weights and records."""
    base = Blobs(images=5)
    made = [base, Subset(base, 2), Subset(base, 3), VoidAsClass(base)]
    assert len({each.fingerprint() for each in made}) == len(made)
    assert len(made[1]) == 2 and made[3].classes == (*base.classes, "void")
    assert torch.equal(made[3][0].labels, base[0].labels.masked_fill(base[0].labels == IGNORE, 3))


def test_a_split_over_the_budget_is_left_on_disk():
    plain = Blobs(images=5)
    assert cached(plain, CPU, budget=5 * 4 * 30 * 42 - 1) is plain
    assert cached(plain, CPU, budget=5 * 4 * 30 * 42) is not plain


def test_a_large_split_is_kept_as_far_as_it_was_read(monkeypatch):
    plain = Blobs(images=5)
    monkeypatch.setattr(loader, "CACHE_BYTES", 0)
    monkeypatch.setattr(loader, "free_memory", lambda: 4 * 5 * 4 * 30 * 42)
    kept = cached(plain, CPU)
    assert plain.read == 1, "to see how large it is"
    for _ in range(3):
        assert [kept[index].id for index in (3, 1, -1)] == ["train/3", "train/1", "train/4"]
    assert plain.read == 1 + 3
    with pytest.raises(IndexError):
        kept[5]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert cached(plain, CPU) is plain, "two processes would have it twice"


def test_threads_give_the_same_batches_in_the_same_order():
    recipe = Recipe(batch_size=4, scales=(16, 24), colour=0.2)
    alone = list(training_batches(Blobs(), recipe, CPU, 3, 12))
    threaded = list(training_batches(Blobs(), recipe, THREADS, 3, 12))
    assert [b.ids for b in alone] == [b.ids for b in threaded] and len(alone) == 9
    assert all(torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) for a, b in zip(alone, threaded))


def test_every_image_is_seen_equally_often():
    recipe = Recipe(batch_size=4)
    ids = [name for batch in training_batches(Blobs(images=6), recipe, CPU, 0, 9) for name in batch.ids]
    assert {ids.count(name) for name in ids} == {6}


@pytest.mark.parametrize("machine", [CPU, THREADS])
def test_native_batches_keep_order_and_size(machine):
    data = Blobs(images=7, sizes=[(16, 24), (16, 24), (20, 24)])
    batches = list(native_batches(data, machine, 3))
    assert [name for b in batches for name in b.ids] == [f"train/{i}" for i in range(7)]
    assert all(len(b) <= 3 for b in batches)
    assert torch.equal(batches[1].images[0], data[2].image)
    assert [name for b in native_batches(data, machine, 3, limit=6, start=4) for name in b.ids] == [
        "train/4",
        "train/5",
    ]


@pytest.mark.parametrize("machine", [CPU, THREADS])
def test_an_unreadable_image_stops_the_loader_with_its_own_sentence(machine):
    class Broken(Blobs):
        def __getitem__(self, index):
            if index == 5:
                raise BenchmarkError("5.png is truncated")
            return super().__getitem__(index)

    with pytest.raises(BenchmarkError, match=r"5\.png is truncated"):
        list(native_batches(Broken(), machine, 2))


def fit_data(folder, **recipes):
    return FitData(Blobs(), Blobs("val", 3), CPU, recipes, folder / "fits" / "method+a=1.5", "method")


def build(recipe):
    with seeded(recipe):
        return Segmentation(Tiny(), Blobs.card.classes)


def test_a_fit_trains_goes_on_and_clears_up(tmp_path, recipe):
    data = fit_data(tmp_path, segmentation=recipe)
    first, second = build(recipe), build(recipe)
    report = data.train(first, data.recipes["segmentation"])
    data.train(second, recipe.changed({"lr": 0.01}))
    assert len(data.reports) == 2 and data.reports[0] == report

    again = fit_data(tmp_path, segmentation=recipe)
    restored = build(recipe)
    assert again.train(restored, recipe) == report
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), restored.state_dict().values()))

    other = tmp_path / "fits" / "method+a=1.safetensors"
    other.write_bytes(b"")
    (tmp_path / "fits" / ".method+a=1.5.0-segmentation.state.x1.tmp").write_bytes(b"what a kill left")
    clear_states(data.states)
    assert list((tmp_path / "fits").iterdir()) == [other]


def test_statistics_see_every_image_once_and_untouched(tmp_path):
    data = fit_data(tmp_path)
    batches = list(data.batches(batch_size=5))
    assert [len(b) for b in batches] == [5, 5, 2] and batches[0].size == (30, 42)
    assert torch.equal(batches[0].images[1], Blobs()[1].image)
    assert sum(len(b) for b in data.batches(limit=7)) == 7


def test_settings_fill_in_what_the_machine_has():
    machine = Machine.choose()
    assert machine.device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert machine.precision in ("fp32", "bf16")
    assert Machine.choose("cpu", workers=2).workers == 2
    for wrong in ({"device": "abacus"}, {"precision": "fp8"}):
        with pytest.raises(BenchmarkError, match=next(iter(wrong.values()))):
            Machine.choose(**wrong)
