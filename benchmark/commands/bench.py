"""``bench``."""

from __future__ import annotations

import argparse


def bench(arguments: argparse.Namespace) -> int:
    """Print a table of speed or of accuracy."""
    import torch

    torch.set_num_threads(1)
    if arguments.what == "pooled":
        from benchmark.bench_pooled import bench_pooled

        print(bench_pooled())
    else:
        from benchmark.bench import bench_metrics

        print(bench_metrics())
    return 0
