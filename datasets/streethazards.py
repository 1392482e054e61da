"""StreetHazards (Hendrycks et al., 2022): rendered towns, anomalies in the two test towns only."""

from __future__ import annotations

from pathlib import Path

from benchmark.data import ANOMALY, DatasetCard, Download, Layout, Policy

from ._files import FileDataset, pair_up, plain

_FOLDERS = {"train": ("train", "training"), "val": ("train", "validation"), "test": ("test", "test")}

_CLASSES = (
    "unlabeled", "building", "fence", "other", "pedestrian", "pole", "road line", "road", "sidewalk",
    "vegetation", "car", "wall", "traffic sign",
)  # fmt: skip
_PALETTE = (
    (0, 0, 0), (70, 70, 70), (190, 153, 153), (250, 170, 160), (220, 20, 60), (153, 153, 153), (157, 234, 50),
    (128, 64, 128), (244, 35, 232), (107, 142, 35), (0, 0, 142), (102, 102, 156), (220, 220, 0),
)  # fmt: skip


def _paths(kind: str) -> dict[str, str]:
    return {split: f"{archive}/{kind}/{part}/{{id}}.png" for split, (archive, part) in _FOLDERS.items()}


class StreetHazards(FileDataset):
    """The published archives ``streethazards_train.tar`` and ``streethazards_test.tar``, unpacked.

    Files are ``train/images/{training,validation}/t*/N.png``, ``test/images/test/t*/N.png`` and the same beneath
    ``annotations``; towns 1-3 train, 4 validates, 5-6 test. They are looked for in the data root and in its folders
    ``streethazards*``: side by side, or each archive in a folder of its own (``streethazards_train/train/...``).

    Label files hold 1..14: the class plus one (the authors' code base reserves 0 for ignored pixels), 14 is the
    anomaly. Class 0 is background, mostly sky, and learned like any other. Nothing is ignored.
    """

    card = DatasetCard(
        title="StreetHazards",
        classes=_CLASSES,
        palette=_PALETTE,
        licence="none stated with the images; research use, with citation",
        citation=(
            "Hendrycks, Basart, Mazeika, Zou, Kwon, Mostajabi, Steinhardt, Song: Scaling Out-of-Distribution Detection "
            "for Real-World Settings. ICML 2022."
        ),
        url="https://github.com/hendrycks/anomaly-seg",
        # The authors publish no checksums; these are the ones that pytorch-ood holds the archives against.
        downloads=(
            Download(
                "streethazards/train",
                "https://people.eecs.berkeley.edu/~hendrycks/streethazards_train.tar",
                members=((r"(?:[^/]+/)?train/(.+)", r"\1"),),
                checksum="md5:cd2d1a8649848afb85b5059d227d2090",
            ),
            Download(
                "streethazards/test",
                "https://people.eecs.berkeley.edu/~hendrycks/streethazards_test.tar",
                members=((r"(?:[^/]+/)?test/(.+)", r"\1"),),
                checksum="md5:8c547c1346b00c21b2483887110bfea7",
            ),
        ),
        layout=Layout(_paths("images"), _paths("annotations"), {**{c: c + 1 for c in range(13)}, ANOMALY: 14}),
        sizes={"train": 5125, "val": 1031, "test": 1500},
    )
    policy = Policy(
        auto=0,
        network="pspnet-resnet50",
        paper_scales=(300, 375, 450, 525, 600),
        paper_max_size=1000,
        protocols=("streethazards", "pooled", "densehybrid", "failure-split"),
        recipes={"segmentation": {"scales": (300, 375, 450, 525, 600), "max_size": 1000}},
    )

    def __init__(self, split: str, root: Path) -> None:
        super().__init__(split, root)
        archive, part = _FOLDERS[split]
        home = _find(self.root, split)
        if home is None:
            raise self.absent(
                f"StreetHazards images of the {split} split ([streethazards*/]{archive}/images/{part}/t*/*.png, from "
                f"streethazards_{archive}.tar)"
            )
        labels = {value: label for label, value in self.card.layout.values.items()}
        self._open(pair_up(home / "images" / part, home / "annotations" / part), labels)

    @classmethod
    def available(cls, root: Path) -> bool:
        return all(_find(Path(root), split) is not None for split in _FOLDERS)


def _find(root: Path, split: str) -> Path | None:
    """The folder "train" or "test" that holds a split."""
    archive, part = _FOLDERS[split]
    homes = [*_own(root), *(inner for outer in _own(root) for inner in _own(outer)), root]
    return next((home / archive for home in homes if (home / archive / "images" / part).is_dir()), None)


def _own(parent: Path) -> list[Path]:
    """The folders in `parent` that are named after the dataset."""
    if not parent.is_dir():
        return []
    return [p for p in sorted(parent.iterdir()) if plain(p.name).startswith("streethazards") and p.is_dir()]
