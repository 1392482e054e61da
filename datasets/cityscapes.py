"""Cityscapes (Cordts et al., 2016): the training side of the sets that only evaluate."""

from __future__ import annotations

from pathlib import Path

from benchmark.data import IGNORE, DatasetCard, Download, Policy
from benchmark.errors import BenchmarkError

from ._city_folders import IMAGE_END, find_split, homes, some_file
from ._files import FileDataset, pair_up

_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Value in a ``labelIds`` file of every class."""

IMAGES_ARCHIVE = Download(
    "cityscapes/leftImg8bit",
    file="leftImg8bit_trainvaltest.zip",
    members=((r"leftImg8bit/((?:train|val)/.+\.png)", r"\1"),),
)
_LABELS_ARCHIVE = Download(
    "cityscapes/gtFine",
    file="gtFine_trainvaltest.zip",
    members=((r"gtFine/((?:train|val)/.+_gtFine_label(?:Ids|TrainIds)\.png)", r"\1"),),
)

_CLASSES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
    "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip
_PALETTE = (
    (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153),
    (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0),
    (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32),
)  # fmt: skip


class Cityscapes(FileDataset):
    """The archives ``leftImg8bit_trainvaltest.zip`` and ``gtFine_trainvaltest.zip``, unpacked into ``cityscapes/``.

    Files are ``leftImg8bit/{train,val}/CITY/NAME_leftImg8bit.png`` with ``gtFine/{train,val}/CITY/
    NAME_gtFine_labelIds.png`` (values 0..33, and 255 for the -1 of a licence plate) or, where there is none of these,
    ``NAME_gtFine_labelTrainIds.png`` (0..18 and 255). The 19 classes of the benchmark are learned, everything else is
    ignored, which leaves the same labels either way.

    Cityscapes holds no anomalies and its test labels are not public, so there is no test split here: networks trained
    on it are evaluated on other sets.
    """

    card = DatasetCard(
        title="Cityscapes",
        classes=_CLASSES,
        palette=_PALETTE,
        licence="Cityscapes licence: non-commercial research, after registration",
        citation=(
            "Cordts, Omran, Ramos, Rehfeld, Enzweiler, Benenson, Franke, Roth, Schiele: The Cityscapes Dataset for "
            "Semantic Urban Scene Understanding. CVPR 2016."
        ),
        url="https://www.cityscapes-dataset.com",
        downloads=(IMAGES_ARCHIVE, _LABELS_ARCHIVE),
        obtain="""\
1. Register at https://www.cityscapes-dataset.com/register/ and accept the licence.
2. From https://www.cityscapes-dataset.com/downloads/ get leftImg8bit_trainvaltest.zip (11 GB) and
   gtFine_trainvaltest.zip (241 MB).
3. python -m benchmark fetch cityscapes --archive leftImg8bit_trainvaltest.zip --archive gtFine_trainvaltest.zip
   or unpack both yourself into the folder cityscapes/ of the data root.""",
        splits=("train", "val"),
        sizes={"train": 2975, "val": 500},
    )
    policy = Policy(
        # As far as a recipe can say it, the PSPNet-50 of hszhao/semseg (config/cityscapes/cityscapes_pspnet50.yaml).
        # Left out: its rotation by up to 10 degrees, its blur, the tenfold learning rate of layers without pretrained
        # weights. Its crop of 713 is 712 here, a multiple of the network's stride.
        recipes={
            "segmentation": {
                "epochs": 200,
                "steps_per_epoch": 0,
                "batch_size": 16,
                "lr": 0.01,
                "decay_everything": True,
                "scale_range": (0.5, 2.0),
                "crop": (712, 712),
                "label_size": "full",
            }
        },
    )

    def __init__(self, split: str, root: Path) -> None:
        if split == "test":
            raise BenchmarkError(
                f"{self.name} has no test split, since it holds no anomalies; name a set that evaluates its networks, "
                f"for instance --dataset road-anomaly-21 or --dataset pasted:base=cityscapes."
            )
        super().__init__(split, root)
        found = find_split(homes(self.root, "cityscapes"), "gtFine", split)
        if found is None:
            raise self.absent(f"Cityscapes (cityscapes/leftImg8bit/{split} and cityscapes/gtFine/{split})")
        images, labels = found
        values = {i: i for i in range(len(self.classes))} | {255: IGNORE}
        end = "_gtFine_labelTrainIds"
        if some_file(labels, "_gtFine_labelIds.png") or not some_file(labels, f"{end}.png"):
            end = "_gtFine_labelIds"
            values = dict.fromkeys((*range(34), 255), IGNORE) | {value: i for i, value in enumerate(_IDS)}
        self._open(pair_up(images, labels, IMAGE_END, end), values)

    @classmethod
    def available(cls, root: Path) -> bool:
        return all(find_split(homes(Path(root), "cityscapes"), "gtFine", split) for split in cls.card.splits)
