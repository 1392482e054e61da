"""``score``: score maps that were made elsewhere."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmark.cli.arguments import data, exact_pooled, machine_readable, verb
from benchmark.errors import BenchmarkError
from benchmark.values import listed


def add(verbs) -> None:
    parser = verb(
        verbs,
        "score",
        score,
        "measure score maps that were made elsewhere",
        """
score my_scores/ --dataset camvid-ood --data ~/data
score my_scores/ --dataset streethazards --protocols streethazards,pooled
score my_scores/ --dataset camvid-ood --name Mine --network erfnet
score my_scores/ --dataset camvid-ood --name Mine --paper "A. Author et al., CVPR 2026"
score my_scores/ --dataset camvid-ood --protocols pooled,conformal --validation my_validation_scores/
score AnomalyTrack/ --dataset road-anomaly-21 --name Theirs --out results""",
    )
    parser.add_argument(
        "directory",
        type=Path,
        metavar="MAPS",
        help="folder of score maps named by image id (npy, npz, 16-bit png, tif, hdf5)",
    )
    data(parser)
    parser.add_argument(
        "--protocols",
        default="",
        metavar="A,B",
        help="only under these evaluation protocols (default: those that `run` records of the dataset, as far as they "
        "need no predicted classes)",
    )
    parser.add_argument(
        "--name",
        default="",
        metavar="TITLE",
        help="also write a record, which stands under this name in `table --results runs` and in `compare`, where a ‡ "
        "says that its maps were made elsewhere",
    )
    parser.add_argument(
        "--paper", default="", metavar="TEXT", help="with --name: what to cite for it; tables print it below"
    )
    parser.add_argument(
        "--network",
        default="",
        metavar="LABEL",
        help="with --name: the network of the maps, as a heading of tables (default: elsewhere)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help="with --name: folder with records/ (default: %(default)s)",
    )
    parser.add_argument(
        "--validation",
        type=Path,
        metavar="DIR",
        help="folder of score maps of the validation images, for protocols that take a threshold from normal ones",
    )
    exact_pooled(parser)
    machine_readable(parser)


def score(arguments: argparse.Namespace) -> int:
    """Measure a folder of score maps, print the results, and keep them as a record where they have a name."""
    from benchmark.maps.score import score_directory
    from benchmark.metrics import protocol
    from benchmark.registry import DATASETS
    from benchmark.run.options import choose_dataset, data_root

    if arguments.paper and not arguments.name:
        raise BenchmarkError("--paper says what to cite for a record; give its method a --name, too.")
    if arguments.network and not arguments.name:
        raise BenchmarkError("--network says where a record stands; give its method a --name, too.")
    root = data_root(arguments.data)
    call, why = choose_dataset(arguments.dataset, root)
    print(why)
    dataset = DATASETS.create(call, split="test", root=root)
    names = listed(arguments.protocols) or [name for name in dataset.policy.protocols if not protocol(name).predictions]
    validation = None
    if arguments.validation is not None:
        source = dataset.card.trained_on or call
        validation = arguments.validation, DATASETS.create(source, split="val", root=root)
    report = score_directory(arguments.directory, dataset, names, arguments.exact_pooled, validation)
    print(report)
    arguments.answer.update(
        name=report.name,
        dataset=report.dataset,
        pixels=dict(report.pixels),
        metrics=dict(report.metrics),
        hints=list(report.hints),
    )
    if arguments.name:
        from benchmark.maps.record import write_record

        made = write_record(
            report, arguments.directory, dataset, arguments.name, arguments.network, arguments.out, arguments.paper
        )
        print(f"\nRecord: {made.path(arguments.out)}")
        arguments.answer["record"] = str(made.path(arguments.out))
    return 0
