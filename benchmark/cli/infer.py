"""``infer``: score maps of photos and videos, or of a dataset's test images."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.cli.arguments import COUNT, PIXELS, batch_size, networks, preset, verb
from benchmark.cli.config import config
from benchmark.io.words import quantity

if TYPE_CHECKING:
    from benchmark.data import Dataset
    from benchmark.maps.infer import Maps
    from benchmark.run.entry import Entry
    from benchmark.run.setup import Setup

LONGEST = 2048
"""Pixels of the long side to which larger photos are reduced unless --longest says otherwise."""


def add(verbs) -> None:
    parser = verb(
        verbs,
        "infer",
        infer,
        "write score maps, masks and overlays of photos and videos, or of a dataset's test images; trains nothing",
        """
infer photos/ --methods msp,dicnet --dataset camvid-ood --pictures
infer photos/ --methods msp --dataset camvid-ood --threshold fpr=5 --pictures
infer photos/ --methods msp --network mynet.py --weights mynet.pth --classes names.txt
infer photos/ --methods msp --network mynet.py --weights mynet.pth --classes 19 --threshold fpr=1 --threshold-on normal/
infer drive.mp4 --methods msp --dataset camvid-ood --every 5 --pictures --format png
infer a.png b.heic --methods msp --dataset camvid-ood --to maps --format tif
infer AnomalyTrack/images --methods msp --dataset road-anomaly-21 --format hdf5
infer --methods msp --dataset camvid-ood""",
    )
    parser.add_argument(
        "images",
        nargs="*",
        type=Path,
        metavar="IMAGES",
        help="photos of any format that Pillow reads, turned upright as their EXIF says, folders of them, and videos "
        "(default: the dataset's test images)",
    )
    networks(parser, several=False)
    preset(parser)
    group = parser.add_argument_group("images")
    group.add_argument(
        "--longest",
        type=_longest,
        default=LONGEST,
        metavar="PX",
        help="photos and frames with a longer side are reduced to it for the network, and their scores enlarged to the "
        "photo's size; 0 reduces nothing (default: %(default)s)",
    )
    group.add_argument(
        "--every", type=COUNT, default=1, metavar="N", help="of a video, every Nth frame (default: %(default)s)"
    )
    batch_size(group)
    group = parser.add_argument_group("output")
    group.add_argument(
        "--to",
        type=Path,
        metavar="DIR",
        help="where to write the maps DIR/METHOD/IMAGE.* and, beside each METHOD, what they were made with "
        "(METHOD.json) and of which pixels (METHOD.images.tsv); maps that are there and were made of the same are kept "
        "(default: scores/DATASET-NETWORK/IMAGES in the --out folder)",
    )
    group.add_argument(
        "--format",
        default="npy",
        choices=("npy", "tif", "png", "hdf5"),
        help="npy or tif: float32; png: 16-bit codes of the same order, half the size; hdf5: float16 as "
        "SegmentMeIfYouCan's toolkit reads it, needs h5py (default: %(default)s)",
    )
    group.add_argument(
        "--pictures",
        action="store_true",
        help="also draw each image beside its map, with a colour bar, in DIR/pictures; of a video an .mp4",
    )
    group.add_argument(
        "--threshold",
        metavar="T",
        help="also write masks of the pixels whose score reaches a threshold, in DIR/masks: a number; fpr=5, the one "
        "that 5 %% of the pixels of normal images reach; or conformal=5, which bounds the expected share in a further "
        "image of their kind. METHOD.json states it",
    )
    group.add_argument(
        "--threshold-on",
        default="",
        metavar="NAME",
        help="a dataset, or a folder of photos, whose images are normal, for fpr and conformal (default: the "
        "validation images of what the methods are fitted to)",
    )
    group.add_argument("--force", action="store_true", help="write anew what is there")
    config(parser)


def infer(arguments: argparse.Namespace) -> int:
    """Write score maps of images, labelled or not, and what else is asked for."""
    from benchmark.cli.trained import open_trained
    from benchmark.errors import BenchmarkError
    from benchmark.maps.draw import draw
    from benchmark.maps.files import hdf5
    from benchmark.maps.infer import Maps
    from benchmark.maps.infer import infer as write_maps
    from benchmark.maps.photos import Photos
    from benchmark.run.options import NO_DATASET

    if arguments.format == "hdf5":
        hdf5()
    if arguments.threshold_on and arguments.threshold is None:
        raise BenchmarkError("--threshold-on is for --threshold fpr=5 or conformal=5; give that, too.")
    given = Photos(arguments.images, arguments.longest, arguments.every) if arguments.images else None
    if given and arguments.weights and arguments.classes and arguments.dataset == "auto":
        arguments.dataset = NO_DATASET
    workshop, steps = open_trained(arguments, "train")
    setup, entries = workshop.setup, [step.entry for step in steps]
    images = setup.test if given is None else given
    arguments.intent.keep()
    maps = Maps(arguments.to or _folder(setup, arguments.images), arguments.format, _source(setup, given))
    thresholds = _thresholds(arguments, setup, entries)
    write_maps(workshop, entries, images, maps, setup.options.force)
    for entry in entries:
        written, kept = maps.written.get(entry.label, 0), maps.kept.get(entry.label, 0)
        if written or kept:
            print(f"{entry.label}: {quantity(written, 'score map')} written, {kept} kept, in {maps.of(entry)}")
    if given is not None and given.reduced:
        print(f"{given.reduced} of {len(given)} images were reduced to a long side of {given.longest} (--longest).")
    found = thresholds(workshop, images, maps)
    if arguments.pictures:
        print(f"Pictures: {draw(entries, images, maps, found)}")
    for entry in entries:
        if entry.error:
            print(f"failed: {entry.label}: {entry.error}", file=sys.stderr)
    for problem in maps.problems:
        print(f"skipped: {problem}", file=sys.stderr)
    if maps.problems:
        return 2
    return 1 if any(entry.error for entry in entries) else 0


def _thresholds(arguments: argparse.Namespace, setup: Setup, entries: Sequence[Entry]):
    """What writes the masks; mistakes in what was typed are found before anything is scored."""
    from benchmark.maps.draw import write_masks
    from benchmark.maps.threshold import normal_images, parse_threshold, thresholds_of

    if arguments.threshold is None:
        return lambda workshop, images, maps: {}
    rule = parse_threshold(arguments.threshold)
    normal = normal_images(setup, rule, arguments.threshold_on, entries, arguments.longest)

    def write(workshop, images: Dataset, maps: Maps) -> dict[str, Any]:
        found = thresholds_of(workshop, entries, rule, normal, maps, setup.options.force)
        for label, threshold in found.items():
            how = f", {threshold.rule} of {threshold.images} images of {threshold.normal}" if threshold.normal else ""
            print(f"{label}: threshold {threshold.value:.6g}{how}")
        print(f"Masks: {write_masks(entries, images, maps, found)}")
        return found

    return write


def _source(setup: Setup, given: Any) -> dict[str, Any]:
    """Where the images come from, and how they were read."""
    if given is None:
        return {"images": setup.dataset}
    videos = {"every": next(iter(given.videos.values())).every} if given.videos else {}
    return {"images": ", ".join(str(path.resolve()) for path in given.sources), "longest": given.longest, **videos}


def _folder(setup: Setup, images: Sequence[Path]) -> Path:
    """Where maps go by default: apart for every dataset, network and source of images; a short name of each."""
    from benchmark.io.names import file_name
    from benchmark.run.options import NO_DATASET
    from benchmark.run.plan import network_name

    dataset = "" if setup.dataset == NO_DATASET else f"{file_name(setup.dataset, longest=60)}-"
    network = file_name(network_name(setup), longest=60)
    names = [path.resolve().name for path in images] or [setup.test.split]
    return setup.options.out / "scores" / f"{dataset}{network}" / file_name("+".join(names), longest=40)


def _longest(text: str) -> int:
    return 0 if text == "0" else PIXELS(text)
