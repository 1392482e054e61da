"""``bench``."""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path

from benchmark.errors import BenchmarkError


def bench(arguments: argparse.Namespace) -> int:
    """Print a table of speed, of accuracy, of devices or of costs."""
    return {"costs": _costs, "devices": _devices}.get(arguments.what, _metrics)(arguments)


def _devices(arguments: argparse.Namespace) -> int:
    """Print how far a GPU's scores are from the CPU's; 1 where something broke."""
    from benchmark.bench_devices import bench_devices, require, terminal
    from benchmark.plan import split_calls

    device = require(arguments.device)
    rows = bench_devices(split_calls(arguments.methods, "common"), device, say=_say)
    print(f"\n{terminal(rows, device)}")
    return int(any(row.failed for row in rows))


def _metrics(arguments: argparse.Namespace) -> int:
    import torch

    torch.set_num_threads(1)
    if arguments.what == "pooled":
        from benchmark.bench_pooled import bench_pooled

        print(bench_pooled())
    else:
        from benchmark.bench import bench_metrics

        print(bench_metrics())
    return 0


def _costs(arguments: argparse.Namespace) -> int:
    """Print what every row costs; 1 where something of it could not be measured."""
    from benchmark.bench_costs import bench_costs, reduced
    from benchmark.config import Options, parse_recipe
    from benchmark.costs import refuse_reduced, terminal
    from benchmark.plan import split_calls

    found = re.fullmatch(r"(\d+)x(\d+)", arguments.size)
    if not found:
        raise BenchmarkError(f"--size {arguments.size}: write WIDTHxHEIGHT as in 1280x720.")
    options = Options(
        methods=tuple(split_calls(arguments.methods, "paper")),
        dataset=arguments.dataset,
        network=arguments.network,
        recipe=parse_recipe(arguments.recipe),
        device=arguments.device,
        train_precision=arguments.precision,
        workers=arguments.workers,
        batch_size=arguments.batch_size,
    )
    size = int(found[2]), int(found[1])
    if arguments.write:
        refuse_reduced(reduced(options, size, arguments.images))
    with tempfile.TemporaryDirectory() as folder:
        costs = bench_costs(options, Path(folder), size, arguments.steps, arguments.images, _say)
    print(f"\n{terminal(costs)}")
    if arguments.write:
        print(f"\nWrote {costs.write(arguments.write)}; `python -m benchmark table` puts it into the tables.")
    return int(any(part.error for part in (*costs.trainings, *costs.methods)))


def _say(text: str) -> None:
    print(text, flush=True)
