"""``score``: score maps that were made elsewhere."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmark.cli.arguments import data, exact_pooled, verb


def add(verbs) -> None:
    parser = verb(
        verbs,
        "score",
        score,
        "measure score maps that were made elsewhere",
        """
score my_scores/ --dataset camvid-ood --data ~/data
score my_scores/ --dataset streethazards --protocol streethazards,pooled""",
    )
    parser.add_argument(
        "directory", type=Path, help="folder of score maps named by image id (npy, npz, 16-bit png, tif, hdf5)"
    )
    data(parser)
    parser.add_argument(
        "--protocol", default="", metavar="A,B", help="protocols (default: the per-image mean and the pooled values)"
    )
    exact_pooled(parser)


def score(arguments: argparse.Namespace) -> int:
    """Measure a folder of score maps and print the results."""
    from benchmark.maps.score import score_directory
    from benchmark.metrics.pixel import DEFAULT_PROTOCOLS
    from benchmark.registry import DATASETS
    from benchmark.run.options import choose_dataset, data_root

    root = data_root(arguments.data)
    call, why = choose_dataset(arguments.dataset, root)
    print(why)
    dataset = DATASETS.create(call, split="test", root=root)
    names = [n.strip() for n in arguments.protocol.split(",") if n.strip()] or DEFAULT_PROTOCOLS
    print(score_directory(arguments.directory, dataset, names, arguments.exact_pooled))
    return 0
