"""The state of an evaluation under way: whole, or as if it were not there."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.data import image_digest
from benchmark.errors import BenchmarkError
from benchmark.maps.infer import pixel_digest
from benchmark.metrics import FirstPass, SegmentationEvaluator, View
from benchmark.run.journal import Journal
from benchmark.run.tally import Tally


def tally(images: int, shape=(24, 32)) -> Tally:
    methods = {"msp:a=1": FirstPass(["per-image", "pooled", "open-set"], "ab", "msp:a=1")}
    made = Tally(methods, SegmentationEvaluator("ab"), 2, Journal(Path("unused")))
    extend(made, images, shape)
    return made


def extend(made: Tally, upto: int, shape=(24, 32)) -> None:
    for index in range(made.done, upto):
        random = np.random.default_rng(index)
        labels = random.choice(np.array([0, 1, 254, 255], np.uint8), shape)
        # Few different scores, so that a larger image does not need more bins.
        scores = random.integers(0, 50, shape).astype(np.float32)
        view = View(f"t{index % 2}/{index}", scores, labels, random.integers(0, 2, shape))
        made.methods["msp:a=1"].update(view)
        made.segmentation.update(view)
        made.done += 1
        made.seconds["network x/y (300, 450) 0"] = made.done * 0.1


def results(made: Tally):
    first = made.methods["msp:a=1"]
    thresholds = [evaluator.thresholds for evaluator in first.second_pass().evaluators.values()]
    return first.measurement(), thresholds, made.segmentation.measurement(), made.seconds


def test_what_was_written_goes_on_to_the_same_result(tmp_path):
    journal = Journal(tmp_path / "deep" / "run.npz")
    journal.write(tally(3).state())
    resumed = tally(0)
    resumed.restore(journal.read())
    assert resumed.done == 3
    extend(resumed, 6)
    assert results(resumed) == results(tally(6))
    assert len(results(resumed)[1]) == 1


def test_an_image_that_was_seen_is_known_by_its_name_its_size_its_pixels_and_its_labels():
    image, labels = torch.zeros(3, 4, 6, dtype=torch.uint8), torch.zeros(4, 6, dtype=torch.uint8)
    views = [
        ("a", image, labels),
        ("b", image, labels),
        ("a", image + 1, labels),
        ("a", image, labels + 1),
        ("a", image.view(3, 6, 4), labels.view(6, 4)),
    ]
    assert len({image_digest(*each) for each in views}) == len(views)
    assert len({pixel_digest(image) for _, image, _ in views}) == 3, "of photos, which have no labels"


def test_the_last_state_counts_and_nothing_else_is_left(tmp_path):
    journal = Journal(tmp_path / "run.npz")
    for images in (1, 2):
        journal.write(tally(images).state())
    assert journal.read()["numbers"]["done"] == 2
    assert [p.name for p in tmp_path.iterdir()] == ["run.npz"]
    journal.delete()
    assert journal.read() is None and not list(tmp_path.iterdir())
    journal.delete()


@pytest.mark.parametrize("kept", [0, 10, 200, -30, -1])
def test_a_cut_file_counts_as_none(tmp_path, kept):
    journal = Journal(tmp_path / "run.npz")
    journal.write(tally(2).state())
    journal.path.write_bytes(journal.path.read_bytes()[:kept])
    assert journal.read() is None


def test_flipped_bytes_count_as_none(tmp_path):
    journal = Journal(tmp_path / "run.npz")
    journal.write(tally(2).state())
    content = bytearray(journal.path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8] = bytes(b ^ 0xFF for b in content[middle : middle + 8])
    journal.path.write_bytes(content)
    assert journal.read() is None


def test_the_state_does_not_grow_with_the_size_of_the_images(tmp_path):
    sizes = []
    for shape in ((24, 32), (240, 320)):
        journal = Journal(tmp_path / "run.npz")
        journal.write(tally(4, shape).state())
        sizes.append(journal.path.stat().st_size)
    assert sizes[1] < 1.2 * sizes[0]


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchmarkError, match=r"Cannot write .*run.npz \(.*\); free space or name a folder"):
        Journal(tmp_path / "file" / "run.npz").write(tally(1).state())
