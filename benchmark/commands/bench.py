"""``bench``."""

from __future__ import annotations

import argparse


def bench(arguments: argparse.Namespace) -> int:
    """Print the table of a speed comparison."""
    import torch

    from benchmark.bench import bench_metrics

    torch.set_num_threads(1)
    print(bench_metrics())
    return 0
