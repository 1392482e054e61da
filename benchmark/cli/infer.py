"""``infer``: score maps of images, labelled or not."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.cli.arguments import COUNT, networks, preset, verb

if TYPE_CHECKING:
    from benchmark.run.setup import Setup


def add(verbs) -> None:
    parser = verb(
        verbs,
        "infer",
        infer,
        "write score maps of images, with or without labels; trains nothing",
        """
infer photos/ --methods msp,dicnet --dataset camvid-ood --pictures
infer a.png b.jpg --methods msp --dataset camvid-ood --to maps --format tif
infer AnomalyTrack/images --methods msp --dataset road-anomaly-21 --format hdf5
infer --methods msp --dataset camvid-ood""",
    )
    parser.add_argument(
        "images",
        nargs="*",
        type=Path,
        metavar="IMAGES",
        help="image files and folders of them (default: the dataset's test images)",
    )
    networks(parser, several=False)
    preset(parser)
    parser.add_argument(
        "--batch-size", type=COUNT, default=0, metavar="N", help="images per forward (default: by size)"
    )
    parser.add_argument(
        "--to",
        type=Path,
        metavar="DIR",
        help="where to write the maps DIR/METHOD/IMAGE.* and, beside each METHOD, what they were made with "
        "(METHOD.json) and of which pixels (METHOD.images.tsv); maps that are there and were made of the same are kept "
        "(default: scores/DATASET-NETWORK/IMAGES in the --out folder)",
    )
    parser.add_argument(
        "--format",
        default="npy",
        choices=("npy", "tif", "png", "hdf5"),
        help="npy or tif: float32; png: 16-bit codes of the same order, half the size; hdf5: float16 as "
        "SegmentMeIfYouCan's toolkit reads it, needs h5py (default: %(default)s)",
    )
    parser.add_argument("--pictures", action="store_true", help="also draw each map over its image, in DIR/pictures")
    parser.add_argument("--force", action="store_true", help="write anew what is there")


def infer(arguments: argparse.Namespace) -> int:
    """Write score maps of images, labelled or not."""
    from benchmark.cli.trained import open_trained
    from benchmark.images import ImageFiles
    from benchmark.maps.files import hdf5
    from benchmark.maps.infer import Maps, draw
    from benchmark.maps.infer import infer as write_maps

    if arguments.format == "hdf5":
        hdf5()
    given = ImageFiles(arguments.images) if arguments.images else None
    workshop, steps = open_trained(arguments, "train")
    setup, entries = workshop.setup, [step.entry for step in steps]
    images = setup.test if given is None else given
    source = setup.dataset if given is None else ", ".join(str(path.resolve()) for path in arguments.images)
    folder = arguments.to or _folder(setup, arguments.images)
    maps = Maps(folder, arguments.format, source)
    write_maps(workshop, entries, images, maps, setup.options.force)
    for entry in entries:
        written, kept = maps.written.get(entry.label, 0), maps.kept.get(entry.label, 0)
        if written or kept:
            print(f"{entry.label}: {written} score map{'s' * (written != 1)} written, {kept} kept, in {maps.of(entry)}")
    if arguments.pictures:
        print(f"Pictures: {draw(entries, images, maps)}")
    for entry in entries:
        if entry.error:
            print(f"failed: {entry.label}: {entry.error}", file=sys.stderr)
    for problem in maps.problems:
        print(f"skipped: {problem}", file=sys.stderr)
    if maps.problems:
        return 2
    return 1 if any(entry.error for entry in entries) else 0


def _folder(setup: Setup, images: Sequence[Path]) -> Path:
    """Where maps go by default: apart for every dataset, network and source of images."""
    from benchmark.io.names import file_name
    from benchmark.run.plan import network_name

    network = f"{file_name(setup.dataset)}-{file_name(network_name(setup))}"
    names = [path.resolve().name for path in images] or [setup.test.split]
    return setup.options.out / "scores" / network / "+".join(names)[:100]
