"""Lost and Found (Pinggera et al., 2016): small obstacles laid on the road before the car."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmark.data import ANOMALY, IGNORE, Download
from benchmark.errors import BenchmarkError

from ._city_folders import IMAGE_END, find_split, homes, some_file
from ._evaluation import EvaluationOnly
from ._files import Pair, pair_up

HOMES = ("lost_and_found", "dataset_LostAndFound")
"""Names of the folder that the archives are unpacked into."""

_HOST = "https://wwwlehre.dhbw-stuttgart.de/~sgehrig/lostAndFoundDataset"
# Sizes and checksums as TensorFlow Datasets holds the archives against (url_checksums/lost_and_found.txt).
IMAGES_ARCHIVE = Download(
    "lost_and_found/leftImg8bit",
    f"{_HOST}/leftImg8bit.zip",
    members=((r"leftImg8bit/((?:train|test)/.+\.png)", r"\1"),),
    size=5_802_953_400,
    checksum="sha256:307f66002023ab597d309963b94990f5b9a8e5735ee729c3292647a66e9f2b18",
)
_LABELS_ARCHIVE = Download(
    "lost_and_found/gtCoarse",
    f"{_HOST}/gtCoarse.zip",
    members=((r"gtCoarse/((?:train|test)/.+_label(?:Ids|TrainIds)\.png)", r"\1"),),
    size=37_756_896,
    checksum="sha256:53b6d3ab000f08b1fb59d70c1398eecc4d82a7baf4e9cf74fbf60d1858abe9ac",
)

_OBJECTS = range(2, 44)
_NO_HAZARDS = (31, 33, 34, 36, 37, 38, 39)
"""Values of what a car may run over: lying marker pole and post, post stand, timber, wheel cap, thin wood."""
_IDS = "_gtCoarse_labelIds"
_TRAIN_IDS = "_gtCoarse_labelTrainIds"
_KNOWN_OBJECTS = (
    "15_Rechbergstr_Deckenpfronn",  # children
    "01_Hanns_Klemm_Str_45_000006",  # the following: bicycles
    "01_Hanns_Klemm_Str_45_000007",
    "10_Schlossberg_9_000004",
)
_ALL_VOID = (17, 37, 55, 72, 91, 110, 129, 153, 174, 197, 218, 353, 490, 618, 686, 792, 793)
"""Positions, among all test images sorted by name, of those without one labelled pixel."""


class LostAndFound(EvaluationOnly):
    """The archives ``leftImg8bit.zip`` and ``gtCoarse.zip``, unpacked into ``lost_and_found/``; 2048x1024.

    Files are ``leftImg8bit/test/SCENE/NAME_leftImg8bit.png`` and ``gtCoarse/test/SCENE/NAME_gtCoarse_labelIds.png``.
    Values are 0 (background, the own car, unlabelled), 1 (free road) and 2..43 (objects). Only the road and the objects
    on it are measured; everything else is void. Two conventions are in use:

    * ``hazards``, that of the authors' train ids (free road against hazards) and of Meta-OoD (Chan et al., ICCV 2021):
      all 1203 test images; the seven objects that are no hazard are void. ``labelTrainIds`` files, in which 0 and 255
      are void, 1 is road and 2 a hazard, serve where there are no ``labelIds``.
    * ``no-known``, that of SegmentMeIfYouCan ("LostAndFound-NoKnown"): every object is an anomaly; scenes with children
      and bicycles, which networks know, are left out, and so are images without any label: 1043 remain.

    Args:
        split: "test".
        root: the data root.
        variant: "hazards" or "no-known".
    """

    card = replace(
        EvaluationOnly.card,
        title="Lost and Found",
        note="Only the road and the obstacles on it are measured; everything else is void.",
        licence="non-commercial research (the licence that comes with the archives)",
        citation=(
            "Pinggera, Ramos, Gehrig, Franke, Rother, Mester: Lost and Found: Detecting Small Road Hazards for "
            "Self-Driving Vehicles. IROS 2016."
        ),
        url="http://www.6d-vision.com/lostandfounddataset",
        downloads=(IMAGES_ARCHIVE, _LABELS_ARCHIVE),
        sizes={"test": 1203},
    )

    def __init__(self, split: str, root: Path, variant: str = "hazards") -> None:
        super().__init__(split, root)
        if variant not in ("hazards", "no-known"):
            raise BenchmarkError(f"{self.name} has no variant '{variant}'; it has hazards and no-known.")
        found = find_split(homes(self.root, *HOMES), "gtCoarse", split)
        if found is None:
            raise self.absent("Lost and Found (lost_and_found/leftImg8bit/test and lost_and_found/gtCoarse/test)")
        images, labels = found
        end, values = _IDS, {0: IGNORE, 1: 0} | dict.fromkeys(_OBJECTS, ANOMALY)
        if variant == "no-known":
            self.card = replace(self.card, title=f"{self.card.title} (without known objects)", sizes={"test": 1043})
        elif some_file(labels, f"{_TRAIN_IDS}.png") and not some_file(labels, f"{_IDS}.png"):
            end, values = _TRAIN_IDS, {0: IGNORE, 1: 0, 2: ANOMALY, 255: IGNORE}
        else:
            values |= dict.fromkeys(_NO_HAZARDS, IGNORE)
        pairs = pair_up(images, labels, IMAGE_END, end)
        self._open(_without_known(pairs) if variant == "no-known" else pairs, values)

    @classmethod
    def available(cls, root: Path) -> bool:
        return find_split(homes(Path(root), *HOMES), "gtCoarse", "test") is not None


def _without_known(pairs: list[Pair]) -> list[Pair]:
    """The images of the variant "no-known"; of an incomplete set those without labels stay, which changes no value."""
    by_name = sorted(pairs, key=_name)
    complete = len(pairs) == LostAndFound.card.sizes["test"]
    void = {by_name[i].id for i in _ALL_VOID} if complete else set()
    return [p for p in pairs if p.id not in void and not _name(p).startswith(_KNOWN_OBJECTS)]


def _name(pair: Pair) -> str:
    return pair.id.rpartition("/")[2]
