"""``infer``."""

from __future__ import annotations

import argparse
import sys

from benchmark.commands.trained import open_trained
from benchmark.images import ImageFiles
from benchmark.infer import Maps, draw, infer
from benchmark.plan import network_name
from benchmark.record import file_name
from benchmark.scoremaps import hdf5


def infer_images(arguments: argparse.Namespace) -> int:
    """Write score maps of images, labelled or not."""
    if arguments.format == "hdf5":
        hdf5()
    given = ImageFiles(arguments.images) if arguments.images else None
    workshop, steps = open_trained(arguments, "train")
    setup, entries = workshop.setup, [step.entry for step in steps]
    images = setup.test if given is None else given
    folder = (
        arguments.to or setup.options.out / "scores" / f"{file_name(setup.dataset)}-{file_name(network_name(setup))}"
    )
    maps = Maps(folder, arguments.format)
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
