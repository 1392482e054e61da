"""ESPNetv2: the released file's tensors, its outputs and taps, and agreement with what the authors' network gives."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.errors import BenchmarkError
from benchmark.network import PENULTIMATE
from benchmark.networks import build_network
from benchmark.networks.espnetv2 import RELEASED, SIZE
from benchmark.weights.checkpoint import load_checkpoint
from benchmark.weights.store import digest_file

FILES = Path(os.environ.get("ANOMALY_DATA") or "data") / "weights"
REFERENCE = FILES / "espnetv2_reference_outputs.npz"


@pytest.mark.parametrize(("width", "channels"), [("1.0", 256), ("2.0", 512)])
def test_outputs_and_taps_have_their_shapes(width, channels):
    network = build_network(f"espnetv2-{width}", 19, {"native": True}).eval()
    assert network.channels == {"level4": channels, PENULTIMATE: 10} and network.stride == 16
    with torch.no_grad():
        out = network.segment(torch.zeros(2, 3, 40, 56, dtype=torch.uint8), taps=("level4", PENULTIMATE))
    assert out.padded == (48, 64) and out.covers == (40, 56)
    assert out.logits.shape == (2, 19, 48, 64)
    assert out.taps["level4"].shape == (2, channels, 3, 4) and out.taps[PENULTIMATE].shape == (2, 10, 24, 32)


def test_the_tensors_are_those_of_the_released_files():
    with torch.device("meta"):
        state = build_network("espnetv2-2.0", 20, {"native": True}, initial=False).body.state_dict()
    assert len(state) == 526
    shapes = {
        "base_net.level1.conv.weight": (32, 3, 3, 3),
        "base_net.level2_0.eesp.proj_1x1.conv.weight": (24, 8, 1, 1),
        "base_net.level4.6.spp_dw.3.conv.weight": (128, 1, 3, 3),
        "base_net.level4_0.inp_reinf.1.conv.weight": (512, 3, 1, 1),
        "bu_dec_l1.merge_layer.0.br.1.weight": (50,),
        "bu_dec_l4.merge_layer.3.bias": (20,),
        "merge_enc_dec_l2.expansion_layer.cbr.0.weight": (64, 4, 3, 3),
        "bu_br_l4.1.weight": (32,),
    }
    assert {name: tuple(state[name].shape) for name in shapes} == shapes


def test_the_ignored_output_is_dropped_or_counts():
    torch.manual_seed(0)
    dropped, kept, other = (build_network("espnetv2-1.0", n, {"native": True}).eval() for n in (19, 20, 11))
    assert dropped.exclude == (19,) and kept.exclude == () and other.body.bu_dec_l4.merge_layer[3].out_channels == 11
    kept.load_state_dict(dropped.state_dict())
    images = torch.randint(0, 256, (1, 3, 32, 48), dtype=torch.uint8)
    with torch.no_grad():
        few, all_of_them = (n.segment(images, taps=(PENULTIMATE,)) for n in (dropped, kept))
        assert torch.equal(few.logits, all_of_them.logits[:, :19]) and all_of_them.logits.shape[1] == 20
        # The head acts on the tap; what the network gives is its output brought to the input's size.
        head = torch.nn.functional.interpolate(
            dropped.head(few.taps[PENULTIMATE]), (32, 48), mode="bilinear", align_corners=True
        )
    torch.testing.assert_close(head, few.logits)


def test_images_of_any_size_are_resized_to_the_authors_unless_asked_not_to():
    with torch.device("meta"):
        network = build_network("espnetv2-1.0", 19, initial=False)
    assert network.size == SIZE == (512, 1024) and network.preparation["exclude"] == [19]
    with pytest.raises(BenchmarkError, match="has no other scales"):
        network.prepare(torch.zeros(1, 3, 36, 64, dtype=torch.uint8), scale=180)
    with pytest.raises(BenchmarkError, match=r"no network 'espnetv2-3.0'; known are espnetv2-2.0, espnetv2-1.0"):
        build_network("espnetv2-3.0", 19)


@pytest.mark.skipif(not REFERENCE.is_file(), reason=f"{REFERENCE} is not here")
@pytest.mark.parametrize("width", ["1.0", "2.0"])
@pytest.mark.parametrize("size", [(512, 1024), (352, 640)])
def test_agrees_with_the_authors_network(width, size):
    ((file,),) = (release.files for name, release in RELEASED.items() if name.endswith(width))
    path = FILES / f"espnetv2_s_{width}_city_1024x512.pth"
    assert digest_file(path) == file.sha256
    network = build_network(f"espnetv2-{width}", 20, {"native": True}).eval()
    load_checkpoint(path, network.body)
    i, j, c = np.ogrid[: size[0], : size[1], :3]
    image = ((7 * i + 13 * j + 29 * c + (i * j) // 97) % 256).astype(np.uint8)
    with torch.no_grad():
        out = network.segment(torch.from_numpy(image).permute(2, 0, 1)[None], taps=("level4", PENULTIMATE))
    found = {
        "logits": out.logits[0, :, ::40, ::40],
        "level4": out.taps["level4"][0, ::16, ::8, ::8],
        PENULTIMATE: out.taps[PENULTIMATE][0, :, ::40, ::40],
    }
    with np.load(REFERENCE) as reference:
        for name, value in found.items():
            expected = torch.from_numpy(reference[f"s{width}_{size[0]}x{size[1]}_{name}"])
            assert (value - expected).abs().max() <= 1e-4 * expected.abs().max(), name
