"""``show``: images with the heat maps of methods, and their curves."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Annotated

from benchmark.cli.arguments import networks, number, preset, verb
from benchmark.values import Range


def add(verbs) -> None:
    parser = verb(
        verbs,
        "show",
        show,
        "draw images with the heat maps of methods, and their curves; trains nothing",
        """
show --dataset camvid-ood --methods dicnet,msp --images 6
show --dataset camvid-ood --methods dicnet,msp --images 0001TP_008550,Seq05VD_f02730
show --dataset camvid-ood --methods knn,msp --pick worst --to pictures/worst.jpg
show --dataset camvid-ood --methods knn,msp --images 3 --to figures/knn.pdf""",
    )
    networks(parser)
    preset(parser)
    parser.add_argument(
        "--images",
        default="6",
        metavar="N|ID,ID",
        help="how many images, or the ids of which ones (default: %(default)s)",
    )
    parser.add_argument(
        "--pick",
        default="spread",
        choices=("spread", "best", "worst"),
        help="evenly spread over the dataset, or those of highest or lowest AUPR of the first method, as measured by "
        "run (default: %(default)s)",
    )
    parser.add_argument(
        "--to",
        type=Path,
        metavar="FILE",
        help="picture to write, as .png, .jpg, .pdf (fonts embedded) or .svg (letters as paths); the curves go beside "
        "it as NAME-curves, what the protocol failure-split measured as NAME-failures (default: "
        "pictures/DATASET-NETWORK.png in the --out folder)",
    )
    parser.add_argument(
        "--width",
        type=number(Annotated[int, Range(100, 1 << 14)]),
        default=1600,
        metavar="PX",
        help="of the pictures in pixels, also of the images within a .pdf or .svg (default: %(default)s)",
    )


def show(arguments: argparse.Namespace) -> int:
    """Write a contact sheet and, where the methods are measured, their curves."""
    from benchmark.cli.trained import command, open_trained
    from benchmark.io.names import file_name
    from benchmark.leaderboard.failures import failures
    from benchmark.pictures import contact_sheet, curves, failure_split
    from benchmark.pictures.files import picture_kind
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
    from benchmark.run.plan import network_name

    wanted = count_or_ids(arguments.images)
    if arguments.to:
        picture_kind(arguments.to)
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
        setup.test.card.palette,
        dict(zip(titles, map(caption, measured))),
        classes=setup.test.classes,
        class_labels=setup.test.card.class_labels,
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
    split = failures([each.record for each in measured if not isinstance(each, str)])
    if len(split):
        beside = path.with_name(f"{path.stem}-failures{path.suffix}")
        failure_split(split, beside, arguments.width)
        print(f"False alarms where the network errs: {beside}")
    return 0
