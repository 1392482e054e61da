"""``show``."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmark.cli.trained import command, open_trained
from benchmark.pictures import contact_sheet, curves
from benchmark.pictures.show import (
    caption,
    choose,
    count_or_ids,
    find_measured,
    make_row,
    note,
    pooled_curves,
    titles_of,
)
from benchmark.records.published import RESULTS
from benchmark.records.record import file_name
from benchmark.run.plan import network_name


def show(arguments: argparse.Namespace) -> int:
    """Write a contact sheet and, where the methods are measured, their curves."""
    wanted = count_or_ids(arguments.images)
    workshop, steps = open_trained(arguments, "run")
    setup = workshop.setup
    measured = [find_measured(workshop, step, RESULTS) for step in steps]
    titles = titles_of(steps)
    samples = choose(setup.test, wanted, arguments.pick, measured[0], steps[0].entry.label)
    rows = [make_row(workshop, steps, titles, sample) for sample in samples]
    name = f"{file_name(setup.dataset)}-{file_name(network_name(setup))}.png"
    path: Path = arguments.to or setup.options.out / "pictures" / name
    contact_sheet(
        rows,
        path,
        setup.test.palette,
        dict(zip(titles, map(caption, measured))),
        classes=setup.test.classes,
        class_labels=setup.test.class_labels,
        note=note(workshop, measured),
        width=arguments.width,
    )
    print(f"Contact sheet: {path}")
    drawn, prevalence = pooled_curves(titles, measured)
    for step, each in zip(steps, measured):
        if isinstance(each, str):
            print(f"No curves of {step.entry.label}: {each}; measure it with `{command(arguments, 'run')}`.")
        elif not each.record.curves:
            print(f"No curves of {step.entry.label}: its record in {each.folder} names none.")
    if drawn:
        beside = path.with_name(f"{path.stem}-curves{path.suffix}")
        curves(drawn, beside, prevalence, arguments.width)
        print(f"Curves: {beside}")
    return 0
