"""``infer``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmark.cli.trained import open_trained
from benchmark.images import ImageFiles
from benchmark.maps.files import hdf5
from benchmark.maps.infer import Maps, draw, infer
from benchmark.records.record import file_name
from benchmark.run.plan import network_name
from benchmark.run.setup import Setup


def infer_images(arguments: argparse.Namespace) -> int:
    """Write score maps of images, labelled or not."""
    if arguments.format == "hdf5":
        hdf5()
    given = ImageFiles(arguments.images) if arguments.images else None
    workshop, steps = open_trained(arguments, "train")
    setup, entries = workshop.setup, [step.entry for step in steps]
    images = setup.test if given is None else given
    source = setup.dataset if given is None else ", ".join(str(path.resolve()) for path in arguments.images)
    folder = arguments.to or _folder(setup, arguments.images)
    maps = Maps(folder, arguments.format, source)
    infer(workshop, entries, images, maps, setup.options.force)
    for entry in entries:
        written, kept = maps.written.get(entry.label, 0), maps.kept.get(entry.label, 0)
        if written or kept:
            print(f"{entry.label}: {written} score maps written, {kept} kept, in {maps.of(entry)}")
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
    network = f"{file_name(setup.dataset)}-{file_name(network_name(setup))}"
    names = [path.resolve().name for path in images] or [setup.test.split]
    return setup.options.out / "scores" / network / "+".join(names)[:100]
