"""Released checkpoints to our weights: the CSAIL PSPNet of the StreetHazards papers, and DiCNet's student.

The files hold the same tensors as our modules under other names, and the buffers of the synchronised BN of their time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.errors import BenchmarkError
from benchmark.networks import build_network
from benchmark.weights.checkpoint import read_checkpoint
from benchmark.weights.store import WeightsStore, describe_mismatch, digest_file

ARCH = "pspnet-resnet50"
"""What ``resnet50dilated`` with ``ppm_deepsup`` is called here."""

_SYNC_BN = ("._tmp_running_mean", "._tmp_running_var", "._running_iter")
# running_mean and running_var of such files already are these sums divided by the iterations.


@dataclass(frozen=True)
class Layout:
    """How the tensors of a released file are called in our modules.

    Attributes:
        title: what the file holds, for messages.
        prefixes: (theirs, ours); the first that a name begins with is replaced.
    """

    title: str
    prefixes: tuple[tuple[str, str], ...]

    def ours(self, name: str) -> str:
        """Our name of a released tensor."""
        return next((b + name.removeprefix(a) for a, b in self.prefixes if name.startswith(a)), name)

    def theirs(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Those of our tensors that such a file holds, under its names."""
        named = {}
        for name, value in state.items():
            released = next((a + name.removeprefix(b) for a, b in self.prefixes if name.startswith(b)), None)
            if released:
                named[released] = value
        return named


ENCODER = Layout(
    "the encoder 'resnet50dilated' of CSAIL",
    (
        ("conv1.", "encoder.conv1.0."),
        ("bn1.", "encoder.conv1.1."),
        ("conv2.", "encoder.conv1.3."),
        ("bn2.", "encoder.conv1.4."),
        ("conv3.", "encoder.conv1.6."),
        ("bn3.", "encoder.bn1."),
        ("layer", "encoder.layer"),
    ),
)
DECODER = Layout(
    "the decoder 'ppm_deepsup' of CSAIL",
    tuple((p, p) for p in ("ppm.", "conv_last.", "cbr_deepsup.", "conv_last_deepsup.")),
)
STUDENT = Layout(
    "the student of DiCNet",
    (("encoder.", "encoder."), ("decoder.ppm.", "ppm."), ("decoder.conv_last.0.", "conv_last.")),
)


def read_csail(encoder: Path, decoder: Path) -> tuple[dict[str, Tensor], int]:
    """State of our `ARCH` from a pair of CSAIL files, and its number of classes, as read from the decoder.

    Args:
        encoder: ``encoder_epoch_20.pth`` or the like.
        decoder: ``decoder_epoch_20.pth`` with any number of classes (13 and 150 are common).
    Raises:
        BenchmarkError: a file is unreadable, or is not what it should be; nothing but the buffers of the synchronised
            BN is left out and nothing but counters of BN may be missing.
    """
    first, second = _read(encoder), _read(decoder)
    bias = second.get("conv_last.4.bias")
    classes = len(bias) if bias is not None and bias.ndim == 1 else 13  # without one, the comparison below fails
    with torch.device("meta"):
        wanted = build_network(ARCH, classes, initial=False).state_dict()
    return {**_fit(encoder, first, ENCODER, wanted), **_fit(decoder, second, DECODER, wanted)}, classes


def read_student(path: Path, student: nn.Module) -> dict[str, Tensor]:
    """State of DiCNet's student from ``student_epoch_115.pth``, whether or not several GPUs wrote it.

    Args:
        path: the released file.
        student: the module that the state is for; it is only compared with, not changed.
    Raises:
        BenchmarkError: as :func:`read_csail`.
    """
    return _fit(path, _read(path), STUDENT, student.state_dict())


def import_csail(encoder: Path, decoder: Path, store: WeightsStore, key: str, classes: int = 0) -> int:
    """Store a pair of CSAIL files under a key.

    Args:
        encoder: file of the encoder.
        decoder: file of the decoder.
        store: where to.
        key: under which name.
        classes: number of classes of the dataset. A larger head (SynthCP trains StreetHazards with the 150 outputs of
            ADE20K) keeps its first rows; 0 keeps all.
    Returns:
        the number of classes in the file.
    """
    state, found = read_csail(encoder, decoder)
    if classes and found < classes:
        raise BenchmarkError(f"{decoder} has {found} classes, the dataset has {classes}; import another decoder.")
    kept = classes or found
    for name in ("conv_last.4", "conv_last_deepsup"):
        for part in ("weight", "bias"):
            state[f"{name}.{part}"] = state[f"{name}.{part}"][:kept].clone()
    imported = _origin("csail", encoder, decoder) | {"classes_in_file": found}
    store.save(key, state, {"network": ARCH, "classes": kept, "imported": imported})
    return found


def import_student(path: Path, store: WeightsStore, key: str, student: nn.Module, prefix: str = "student.") -> None:
    """Store a released student under a key, its names preceded by what the method calls it."""
    state = {prefix + name: value for name, value in read_student(path, student).items()}
    store.save(key, state, {"method": "dicnet", "imported": _origin("dicnet", path)})


def _read(path: Path) -> dict[str, Tensor]:
    """A released file without the buffers of CSAIL's synchronised BN."""
    return {name: value for name, value in read_checkpoint(path).items() if not name.endswith(_SYNC_BN)}


def _fit(path: Path, state: dict[str, Tensor], layout: Layout, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    expected = layout.theirs(wanted)
    for name in expected:
        if name.endswith(".num_batches_tracked"):  # files from before PyTorch 0.4.1 lack them
            state.setdefault(name, torch.zeros((), dtype=torch.int64))
    differences = describe_mismatch(state, expected)
    if differences:
        raise BenchmarkError(f"{path} is not {layout.title}: {differences}; check that the files are given in order.")
    return {layout.ours(name): state[name] for name in expected}


def _origin(layout: str, *files: Path) -> dict[str, Any]:
    return {
        "layout": layout,
        "files": [{"name": Path(f).name, "sha256": digest_file(f)} for f in files],
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
