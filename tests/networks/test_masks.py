"""Mask-classification networks: the class map, windows, and Mask2Former and EoMT against the library's own answers."""

import json

import pytest
import torch
import torch.nn.functional as F
from harness import DEVICES
from mask_folders import SIDE, write_folder
from safetensors.torch import load_file, save_file

from benchmark.blocks import BLOCK, MASKS, QUERIES, Masks, over_windows, window_starts
from benchmark.errors import BenchmarkError
from benchmark.networks import build_network
from benchmark.run.contract import check_network


def images(height, width, count=2):
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=torch.manual_seed(3))


def masks(queries=23, size=(7, 5)):
    generator = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn(2, queries, *size, generator=generator)
    return logits, 2 * torch.randn(2, queries, 1, 6, generator=generator)


def class_map(logits, queries, size):
    """``S`` in float64, all at once."""
    shown = F.interpolate(logits.double(), size, mode="bilinear", align_corners=False).sigmoid()
    return torch.einsum("bqk,bqhw->bkhw", queries.double().softmax(-1)[..., :-1], shown)


def test_the_class_map_is_the_sum_over_all_queries_after_upsampling():
    logits, queries = masks()
    found = over_windows(logits, queries, (28, 20), Masks.marginal)
    assert torch.allclose(found.double(), class_map(logits, queries[:, :, 0], (28, 20)), atol=1e-5)


def test_half_precision_around_it_changes_nothing():
    logits, queries = masks()
    with torch.autocast("cpu", torch.bfloat16):
        found = over_windows(logits, queries, (28, 20), Masks.marginal)
    assert torch.equal(found, over_windows(logits, queries, (28, 20), Masks.marginal))


def test_only_a_few_masks_are_upsampled_at_once():
    logits, queries = masks()
    shapes = [tuple(shown.shape) for (shown,) in Masks(logits, queries[:, :, 0], (28, 20)).blocks()]
    assert shapes == [(2, BLOCK, 28, 20), (2, BLOCK, 28, 20), (2, 23 - 2 * BLOCK, 28, 20)]


@pytest.mark.parametrize(
    ("size", "starts"),
    [((32, 32), [0]), ((32, 64), [0, 32]), ((32, 43), [0, 11]), ((80, 32), [0, 24, 48]), ((1024, 2048), [0, 1024])],
)
def test_windows_cover_the_long_side(size, starts):
    assert window_starts(size) == starts
    assert starts[-1] + min(size) == max(size)


@pytest.mark.parametrize("size", [(8, 12), (12, 8)])
def test_windows_are_averaged_where_they_overlap(size):
    ones = torch.zeros(1, 1, 4, 2)  # two grids of 2x2
    queries = torch.zeros(1, 1, 2, 2)
    queries[0, 0, :, 0] = torch.tensor([1.0, 3.0])
    found = over_windows(ones, queries, size, lambda part: part.classes[:, :, :1, None].expand(1, 1, 8, 8))
    found = found if size == (8, 12) else found.transpose(2, 3)
    first, second = torch.tensor([1.0, 3.0]).sigmoid()
    for columns, value in ((slice(0, 4), first), (slice(4, 8), (first + second) / 2), (slice(8, 12), second)):
        assert torch.allclose(found[..., columns], value)


@pytest.mark.parametrize("device", DEVICES)
def test_the_small_network_keeps_the_contract(device):
    assert [f"{f.clause}: {f.wrong}" for f in check_network("maskformer-small", device) if f.wrong] == []
    with pytest.raises(BenchmarkError, match="there is maskformer-small"):
        build_network("maskformer-large", 3)


@pytest.fixture(scope="module")
def mask2former(tmp_path_factory):
    return write_folder("mask2former", tmp_path_factory.mktemp("folders") / "m2f", classes=5)


@pytest.fixture(scope="module")
def eomt(tmp_path_factory):
    return write_folder("eomt", tmp_path_factory.mktemp("folders") / "eomt", classes=5)


def test_mask2former_is_the_librarys(mask2former):
    transformers = pytest.importorskip("transformers")
    model = transformers.Mask2FormerForUniversalSegmentation.from_pretrained(mask2former).eval()
    network = build_network("mask2former", 5, folder=mask2former).eval()
    with torch.no_grad():
        out = network.segment(images(60, 90), taps=(MASKS, QUERIES))
        padded = F.pad(network.normalise(images(60, 90)), (0, 6, 0, 4), mode="replicate")
        found = model(padded)
    expected = class_map(found.masks_queries_logits, found.class_queries_logits, (64, 96))
    assert (out.padded, out.covers) == ((64, 96), (60, 90))
    assert torch.allclose(out.logits.double(), expected, atol=1e-4)
    assert torch.allclose(out.taps[MASKS], found.masks_queries_logits, atol=1e-4)
    assert out.taps[QUERIES].shape == (2, 12, 1, 6) and network.channels == {MASKS: 12, QUERIES: 12}
    assert (expected.argmax(1) != expected.argmax(1)[:, :1, :1]).any()


@pytest.mark.parametrize("size", [(SIDE, 75), (75, SIDE), (SIDE, SIDE)])
def test_eomt_segments_as_the_librarys_processor_does(eomt, size):
    transformers = pytest.importorskip("transformers")
    network = build_network("eomt", 5, folder=eomt).eval()
    given = images(*size)
    processor = transformers.EomtImageProcessor(
        size={"shortest_edge": SIDE, "longest_edge": None}, do_split_image=True, do_pad=False, use_fast=True
    )
    prepared = processor(list(given), return_tensors="pt")
    with torch.no_grad():
        out = network.segment(given, taps=(MASKS, QUERIES))
        found = network.model(pixel_values=prepared["pixel_values"])
    found.patch_offsets = prepared["patch_offsets"]
    expected = processor.post_process_semantic_segmentation(found, target_sizes=[size] * 2)
    assert torch.equal(out.logits.argmax(1), torch.stack([each.long() for each in expected]))
    assert len(out.logits.argmax(1).unique()) > 1
    windows = -(-max(size) // SIDE)
    assert out.taps[QUERIES].shape == (2, 8, windows, 6) and out.taps[MASKS].shape == (2, 8, windows * 8, 8)


def test_eomt_resizes_the_short_side_and_has_no_other_scales(eomt):
    network = build_network("eomt", 5, folder=eomt).eval()
    with torch.no_grad():
        out = network.segment(images(48, 64))
    assert out.padded == out.covers == (SIDE, 42) and out.logits.shape == (2, 5, SIDE, 42)
    with pytest.raises(BenchmarkError, match="squares of 32 pixels and has no other scales; leave out --scales"):
        network.segment(images(48, 64), 40)


def test_gradients_reach_the_image(eomt, mask2former):
    for name, folder in (("eomt", eomt), ("mask2former", mask2former)):
        inputs = images(40, 64).float().requires_grad_()
        build_network(name, 5, folder=folder).eval().segment(inputs).logits.amax(1).mean().backward()
        assert inputs.grad.abs().sum() > 0


def test_the_processors_normalisation_counts(mask2former, tmp_path):
    folder = copy(mask2former, tmp_path / "other")
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.25] * 3}))
    network = build_network("mask2former", 5, folder=folder)
    assert torch.allclose(network.normalise(torch.full((1, 3, 1, 1), 255.0)), torch.tensor(2.0))
    assert network.preparation["mean"] == [0.5] * 3 and network.preparation["transformers"]
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_rescale": False}))
    with pytest.raises(BenchmarkError, match="does not scale pixels to"):
        build_network("mask2former", 5, folder=folder)


def copy(folder, target):
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def change(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def tensors(folder, edit):
    path = folder / "model.safetensors"
    state = load_file(path)
    edit(state)
    save_file(state, path, {"format": "pt"})


LAYER = "class_predictor.weight"
FAULTS = {
    "no configuration": (lambda f: (f / "config.json").unlink(), r"config.json is missing; give the folder"),
    "no JSON": (lambda f: (f / "config.json").write_text("{"), r"config.json cannot be read \("),
    "another network": (lambda f: change(f, model_type="eomt"), "holds a network of the type 'eomt' and not 'mask2f"),
    "a tensor too few": (lambda f: tensors(f, lambda s: s.pop(LAYER)), f"it lacks {LAYER}"),
    "a tensor too many": (lambda f: tensors(f, lambda s: s.update(more=s[LAYER].clone())), "it has unexpected more"),
    "a decoder too long": (lambda f: change(f, decoder_layers=1), "it has unexpected .* and 1?[0-9]+ more"),
    "another size": (
        lambda f: tensors(f, lambda s: s.update({LAYER: s[LAYER][:3]})),
        f"it has of another size {LAYER}",
    ),
    "no tensors": (lambda f: (f / "model.safetensors").unlink(), "cannot be read as a Mask2Former.*model.safetensors"),
    "cut short": (lambda f: (f / "model.safetensors").write_bytes(b"x" * 99), "cannot be read as a Mask2Former"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_folder_that_is_not_whole_is_refused(fault, mask2former, tmp_path):
    spoil, sentence = FAULTS[fault]
    folder = copy(mask2former, tmp_path / "spoilt")
    spoil(folder)
    with pytest.raises(BenchmarkError, match=sentence):
        build_network("mask2former", 5, folder=folder)


def test_what_the_loss_holds_may_be_missing(mask2former, tmp_path):
    folder = copy(mask2former, tmp_path / "bare")
    tensors(folder, lambda state: state.pop("criterion.empty_weight"))
    build_network("mask2former", 5, folder=folder)


def test_another_number_of_classes_is_refused(mask2former):
    with pytest.raises(BenchmarkError, match="tells 5 classes apart where 19 are wanted; say by --classes"):
        build_network("mask2former", 19, folder=mask2former)


def test_without_a_folder_or_the_package_one_sentence_says_so(mask2former, monkeypatch):
    with pytest.raises(BenchmarkError, match="'eomt' is not trained here; give `--weights FOLDER`"):
        build_network("eomt", 5)
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(BenchmarkError, match=r"pip install -e '\.\[masks\]'"):
        build_network("mask2former", 5, folder=mask2former)
