"""BDD-Anomaly (Hendrycks et al., 2022): BDD100K photographs, trains and two-wheelers never seen in training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmark.data import ANOMALY, DatasetCard, Download, Policy
from benchmark.errors import BenchmarkError
from benchmark.images import natural

from ._files import FileDataset, Pair, find_folder, pair_up
from ._mask_index import values_in
from .cityscapes import Cityscapes

_ANOMALIES = {3: ("train", "motorcycle", "bicycle"), 2: ("train", "motorcycle")}
_SIZES = {3: {"train": 6280, "val": 910, "test": 810}, 2: {"train": 6688, "val": 951, "test": 361}}
_OTHER = "other"
_NATIVE = {i: name for i, name in enumerate(Cityscapes.card.classes)} | {255: _OTHER}
_SHIFTED = {i + 2: name for i, name in enumerate(Cityscapes.card.classes)} | {1: _OTHER}


class _Layout(NamedTuple):
    images: str
    labels: str
    label_end: str
    values: dict[int, str]
    """Value in a label file -> class."""


_LAYOUTS = (
    _Layout("seg/images", "seg/train_labels", "_train_id", _SHIFTED),
    _Layout("seg/images", "seg/labels", "_train_id", _NATIVE),
    _Layout("images/10k", "labels/sem_seg/masks", "", _NATIVE),
)


def _card(variant: int) -> DatasetCard:
    every = {_OTHER: (0, 0, 0)} | dict(zip(Cityscapes.card.classes, Cityscapes.card.palette))
    colours = {c: colour for c, colour in every.items() if c not in _ANOMALIES[variant]}
    return DatasetCard(
        title="BDD-Anomaly" if variant == 3 else f"BDD-Anomaly ({' and '.join(_ANOMALIES[variant])})",
        classes=tuple(colours),
        palette=tuple(colours.values()),
        licence="BDD100K licence: educational, research and not-for-profit use",
        citation=(
            "Yu, Chen, Wang, Xian, Chen, Liu, Madhavan, Darrell: BDD100K: A Diverse Driving Dataset for Heterogeneous "
            "Multitask Learning. CVPR 2020. "
            "Hendrycks, Basart, Mazeika, Zou, Kwon, Mostajabi, Steinhardt, Song: Scaling Out-of-Distribution Detection "
            "for Real-World Settings. ICML 2022."
        ),
        url="https://github.com/hendrycks/anomaly-seg",
        # Checksums of BDD100K's own documentation (doc/source/download.rst).
        downloads=(
            Download(
                "bdd100k/images/10k",
                file="bdd100k_images_10k.zip",
                members=((r"bdd100k/images/10k/((?:train|val)/.+)", r"\1"),),
                checksum="md5:08f26aecceda982568063d3d5873378e",
            ),
            Download(
                "bdd100k/labels/sem_seg/masks",
                file="bdd100k_sem_seg_labels_trainval.zip",
                members=((r"bdd100k/labels/sem_seg/masks/((?:train|val)/.+)", r"\1"),),
                checksum="md5:9a2968dde3345eeb689cffb1e26f9c78",
            ),
        ),
        obtain="""\
1. Log in at https://bdd-data.berkeley.edu/ and accept the licence.
2. Get "10K Images" (bdd100k_images_10k.zip, 1.1 GB) and "Segmentation" (bdd100k_sem_seg_labels_trainval.zip, 419 MB).
3. python -m benchmark fetch bdd-anomaly --archive bdd100k_images_10k.zip \\
       --archive bdd100k_sem_seg_labels_trainval.zip
   or unpack both yourself into the data root, which gives its folder bdd100k/.""",
        sizes=_SIZES[variant],
    )


class BDDAnomaly(FileDataset):
    """The 8000 labelled images of BDD100K-10K (1280x720) in one of three layouts, in ``bdd100k/`` or ``bdd_anomaly/``.

    * ``seg/images/{train,val}/NAME.jpg`` with ``seg/train_labels/{train,val}/NAME_train_id.png``, the labels of the
      dataset's authors: 1 is "other", 2..20 are the 19 classes of Cityscapes;
    * the same with ``seg/labels``, BDD100K's release of 2018: 0..18 are the classes, 255 is "other";
    * ``images/10k/{train,val}/NAME.jpg`` with ``labels/sem_seg/masks/{train,val}/NAME.png``, its release of 2020, with
      the same values.

    The class "other" is learned like any other, as the authors do, and nothing is ignored. The splits are decided by
    the labels: test is every image of train and val in which an anomaly occurs; the rest is train and val. So the first
    opening reads all labels, for a minute or two, and keeps an index (:mod:`benchmark.datasets._mask_index`).

    Args:
        split: "train", "val" or "test".
        root: the data root.
        variant: number of classes that are anomalies. 3: train, motorcycle and bicycle (810 test images; the authors'
            published loader). 2: train and motorcycle (361 test images; the papers around TRADI).
    """

    card = _card(3)
    policy = Policy(
        paper_scales=(300, 375, 450, 525, 600),
        paper_max_size=1000,
        # Nothing is void here, so "streethazards" and "per-image" would agree; the papers name the former's rules.
        protocols=("streethazards", "pooled"),
        recipes={"segmentation": {"scales": (300, 375, 450, 525, 600), "max_size": 1000}},
    )

    def __init__(self, split: str, root: Path, variant: int = 3) -> None:
        super().__init__(split, root)
        if variant not in _ANOMALIES:
            raise BenchmarkError(f"{self.name} has no variant {variant}; it has 3 and 2.")
        found = _find(self.root)
        if found is None:
            raise self.absent(
                "labelled BDD100K-10K (bdd100k/images/10k/{train,val} with bdd100k/labels/sem_seg/masks/{train,val}, "
                "or bdd100k/seg/images with bdd100k/seg/train_labels)"
            )
        home, layout = found
        anomalies = _ANOMALIES[variant]
        self.card = _card(variant)
        values = {
            value: ANOMALY if name in anomalies else self.classes.index(name) for value, name in layout.values.items()
        }
        pairs = _all_pairs(home, layout)
        say = f"{self.name}: reading labels"
        occurring = values_in({p.id: p.labels for p in pairs}, home / layout.labels, say)
        strange = {value for value, label in values.items() if label == ANOMALY}
        test = {p.id for p in pairs if strange & occurring[p.id]}
        if split == "test":
            mine = [p for p in pairs if p.id in test]
        else:
            mine = [p for p in pairs if p.id not in test and p.id.startswith(f"{split}/")]
        self._open(mine, values)

    @classmethod
    def available(cls, root: Path) -> bool:
        return _find(Path(root)) is not None


def _find(root: Path) -> tuple[Path, _Layout] | None:
    """The folder that holds BDD100K, and how."""
    homes = [h for name in ("bdd_anomaly", "bdd100k") if (h := find_folder(root, name))]
    for home in (*homes, *(inner for h in homes if (inner := find_folder(h, "bdd100k"))), root):
        for layout in _LAYOUTS:
            if all((home / part / s).is_dir() for part in (layout.images, layout.labels) for s in ("train", "val")):
                return home, layout
    return None


def _all_pairs(home: Path, layout: _Layout) -> Sequence[Pair]:
    """Images of train and of val, ids beginning with the split that they come from."""
    pairs = []
    for split in ("train", "val"):
        found = pair_up(home / layout.images / split, home / layout.labels / split, "", layout.label_end)
        pairs += [Pair(f"{split}/{p.id}", p.image, p.labels) for p in found]
    return sorted(pairs, key=lambda p: natural(p.id))
