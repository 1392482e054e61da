"""``score``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from benchmark.config import choose_dataset
from benchmark.registry import DATASETS
from benchmark.score import DEFAULT_PROTOCOLS, score_directory


def score(arguments: argparse.Namespace) -> int:
    """Measure a folder of score maps and print the results."""
    root = Path(arguments.data or os.environ.get("ANOMALY_DATA") or "data")
    call, why = choose_dataset(arguments.dataset, root)
    print(why)
    dataset = DATASETS.create(call, split="test", root=root)
    names = [n.strip() for n in arguments.protocol.split(",") if n.strip()] or DEFAULT_PROTOCOLS
    print(score_directory(arguments.directory, dataset, names))
    return 0
