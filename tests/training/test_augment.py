import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmark.data import IGNORE, Sample
from benchmark.errors import BenchmarkError
from benchmark.recipe import Recipe
from benchmark.training.augment import augment, resize, shuffled


def sample(height=30, width=42, seed=0):
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 5, (height, width), generator=random, dtype=torch.uint8)
    # The image repeats the labels, so that what happens to one can be read off the other.
    return Sample(f"s{seed}", (labels * 40).expand(3, -1, -1).contiguous(), labels)


PLAIN = Recipe(flip=False)


@settings(max_examples=40)
@given(
    height=st.integers(9, 60),
    width=st.integers(9, 60),
    scales=st.sampled_from([(), (16,), (24, 40)]),
    scale_range=st.sampled_from([(), (0.4, 1.7)]),
    crop=st.sampled_from([(), (20, 33), (64, 16)]),
    colour=st.sampled_from([0.0, 0.4]),
    step=st.integers(0, 1000),
)
def test_whatever_the_recipe_sides_fit_the_stride_and_no_label_is_invented(
    height, width, scales, scale_range, crop, colour, step
):
    recipe = Recipe(scales=scales, scale_range=scale_range, crop=crop, colour=colour, max_size=48)
    one = sample(height, width)
    batch = augment([one], recipe, 3, step)
    assert batch.images.dtype == batch.labels.dtype == torch.uint8
    assert batch.images.shape[1] == 3
    assert batch.size == tuple(batch.labels.shape[1:])
    assert all(side % 8 == 0 for side in batch.size)
    assert set(batch.labels.unique().tolist()) <= {*one.labels.unique().tolist(), IGNORE}


def test_without_augmentation_only_the_border_is_added_and_ignored():
    one = sample()
    batch = augment([one], PLAIN, 0, 0)
    assert batch.size == (32, 48)
    assert torch.equal(batch.images[0, :, :30, :42], one.image)
    assert torch.equal(batch.labels[0, :30, :42], one.labels)
    assert (batch.labels[0, 30:] == IGNORE).all() and (batch.labels[0, :, 42:] == IGNORE).all()
    assert torch.equal(batch.images[0, :, 31, :42], one.image[:, 29])


def test_a_flip_mirrors_image_and_labels_alike():
    one = sample(32, 48)
    seen = set()
    for step in range(20):
        batch = augment([one], Recipe(), 0, step)
        flipped = torch.equal(batch.labels[0], one.labels.flip(1))
        seen.add(flipped)
        assert torch.equal(batch.images[0], one.image.flip(2) if flipped else one.image)
    assert seen == {True, False}


def test_a_crop_takes_the_same_window_of_image_and_labels():
    one = sample(40, 48)
    recipe = PLAIN.changed({"crop": (16, 24)})
    corners = set()
    for step in range(12):
        batch = augment([one], recipe, 0, step)
        assert batch.size == (16, 24)
        assert torch.equal(batch.images[0, 0], batch.labels[0] * 40)
        corners.add(batch.labels.numpy().tobytes())
    assert len(corners) > 3


def test_a_crop_larger_than_the_image_is_filled_with_ignore():
    batch = augment([sample(16, 16)], PLAIN.changed({"crop": (24, 32)}), 0, 0)
    assert batch.size == (24, 32)
    assert int((batch.labels == IGNORE).sum()) == 24 * 32 - 16 * 16


def test_one_scale_is_drawn_for_the_whole_batch_and_all_occur():
    recipe = Recipe(scales=(300, 375, 450, 525, 600), max_size=1000)
    pair = [sample(72, 128, 0), sample(72, 128, 1)]
    sizes = {augment(pair, recipe, 0, step).size for step in range(30)}
    assert sizes == {(304, 536), (376, 672), (456, 800), (528, 936), (568, 1000)}


def test_resizing_is_pillows_antialiased_bilinear_and_its_nearest():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (60, 90, 3), dtype=np.uint8)
    labels = rng.integers(0, 5, (60, 90), dtype=np.uint8)
    for size in ((24, 40), (96, 128)):
        small, ids = resize(image, labels, size)
        wanted = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR)).astype(int)
        assert np.abs(small.astype(int) - wanted).max() <= 1
        assert np.array_equal(ids, np.asarray(Image.fromarray(labels).resize(size[::-1], Image.Resampling.NEAREST)))


def test_colour_jitter_keeps_labels_and_moves_brightness_both_ways():
    one = Sample("grey", torch.full((3, 16, 16), 100, dtype=torch.uint8), torch.zeros(16, 16, dtype=torch.uint8))
    recipe = PLAIN.changed({"colour": 0.5})
    batches = [augment([one], recipe, 0, step) for step in range(30)]
    means = [float(b.images.float().mean()) for b in batches]
    # Contrast and saturation leave a uniform grey alone; what remains is the brightness factor in [0.5, 1.5].
    assert 49 <= min(means) < 80 and 120 < max(means) <= 151
    assert all(b.images.max() - b.images.min() <= 1 and not b.labels.any() for b in batches)


def test_a_batch_depends_on_seed_step_and_slot_and_on_nothing_else():
    recipe = Recipe(scales=(16, 24), scale_range=(0.5, 2.0), crop=(24, 24), colour=0.3)
    samples = [sample(seed=s) for s in range(4)]
    whole, again = augment(samples, recipe, 9, 5), augment(samples, recipe, 9, 5)
    assert torch.equal(whole.images, again.images)
    second_half = augment(samples[2:], recipe, 9, 5, first_slot=2)
    assert torch.equal(whole.images[2:], second_half.images) and torch.equal(whole.labels[2:], second_half.labels)
    assert not torch.equal(whole.images, augment(samples, recipe, 10, 5).images)
    assert not torch.equal(whole.images, augment(samples, recipe, 9, 6).images)


@pytest.mark.parametrize("changes", [{"flip": True}, {"crop": (16, 24)}, {"scale_range": (0.5, 2.0), "crop": (24, 24)}])
def test_images_of_one_batch_are_augmented_apart(changes):
    batches = [augment([sample(), sample()], PLAIN.changed(changes), 0, step) for step in range(8)]
    assert not all(torch.equal(*batch.images) for batch in batches)


def test_images_that_differ_in_size_ask_for_a_crop():
    with pytest.raises(BenchmarkError, match="'crop'"):
        augment([sample(32, 48), sample(48, 48)], PLAIN, 0, 0)
    assert augment([sample(32, 48), sample(48, 48)], PLAIN.changed({"crop": (32, 32)}), 0, 0).size == (32, 32)


def test_the_stream_of_images_is_one_permutation_after_the_other():
    stream = [shuffled(7, 1, index) for index in range(21)]
    turns = [tuple(stream[start : start + 7]) for start in (0, 7, 14)]
    assert all(sorted(turn) == list(range(7)) for turn in turns)
    assert len(set(turns)) > 1
    assert stream != [shuffled(7, 2, index) for index in range(21)]
