"""``score``."""

from __future__ import annotations

import argparse

from benchmark.maps.score import DEFAULT_PROTOCOLS, score_directory
from benchmark.registry import DATASETS
from benchmark.run.setup import choose_dataset, data_root


def score(arguments: argparse.Namespace) -> int:
    """Measure a folder of score maps and print the results."""
    root = data_root(arguments.data)
    call, why = choose_dataset(arguments.dataset, root)
    print(why)
    dataset = DATASETS.create(call, split="test", root=root)
    names = [n.strip() for n in arguments.protocol.split(",") if n.strip()] or DEFAULT_PROTOCOLS
    print(score_directory(arguments.directory, dataset, names))
    return 0
