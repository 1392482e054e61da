"""``bench``: the suite's own speed and accuracy, and what rows cost."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.cli.arguments import COUNT, WORKERS, family, image_size, on_device, verb
from benchmark.cli.output import say

if TYPE_CHECKING:
    from benchmark.run.options import Options


def add(verbs) -> None:
    kinds = family(
        verbs,
        "bench",
        "measure the suite itself: its speed, its accuracy, what methods cost",
        """
bench metrics
bench pooled
bench device
bench pipeline --methods msp,dicnet
bench switches --network pspnet-small --size 320x180
bench costs --write results""",
    )
    verb(kinds, "metrics", _metrics, "compare the metrics' speed with scikit-learn's", "bench metrics")
    verb(
        kinds,
        "pooled",
        _pooled,
        "measure the error of pooled values and of their stored bounds",
        "bench pooled",
    )
    device = verb(
        kinds,
        "device",
        _device,
        "find out in ten minutes, without any data, whether all methods work on a machine, and how fast it is",
        """
bench device --write results
bench device --parts contracts --methods msp,dicnet
bench device --parts costs,pipeline --write results
bench device --device cpu --quick""",
    )
    pipeline = verb(
        kinds,
        "pipeline",
        _pipeline,
        "find what limits a pass over test images: reading, networks and scores, or metrics; needs no data",
        """
bench pipeline --methods msp,dicnet
bench pipeline --device cpu --size 320x180 --network pspnet-small --images 30""",
    )
    costs = verb(
        kinds,
        "costs",
        _costs,
        "measure what every row of the paper's table costs on this machine, without any data",
        """
bench costs
bench costs --write results
bench costs --device cpu --size 320x180 --network pspnet-small --images 8""",
    )
    switches = verb(
        kinds,
        "switches",
        _switches,
        "measure what each switch of speed is worth here in a training step and a forward; needs no data",
        """
bench switches
bench switches --device cpu --network pspnet-small --size 320x180 --batch-size 4""",
    )
    for parser in (device, pipeline, costs):
        parser.add_argument("--methods", default="all", metavar="A,B", help="methods as for `run` (default: all)")
    for parser in (device, pipeline, costs, switches):
        on_device(parser)
    for parser in (pipeline, costs, switches):
        _setup(parser)
    device.add_argument(
        "--parts",
        default="contracts,metrics,costs,pipeline,switches",
        metavar="A,B",
        help="of which one is measured in this process, several each in one of its own (default: %(default)s)",
    )
    device.add_argument(
        "--minutes", type=COUNT, default=10, metavar="N", help="for all five parts together (default: %(default)s)"
    )
    device.add_argument("--quick", action="store_true", help="a trial at reduced size, which enters no table")
    device.add_argument(
        "--write",
        type=Path,
        metavar="DIR",
        help="also store what was measured for the tables, usually in results; other parts stay as they are there",
    )
    switches.add_argument("--rounds", type=COUNT, default=0, metavar="N", help="timed steps (default: by device)")
    pipeline.add_argument("--images", type=COUNT, default=0, metavar="N", help="images of a pass (default: by device)")
    costs.add_argument("--images", type=COUNT, default=0, metavar="N", help="images of a split, for trials")
    costs.add_argument(
        "--steps", type=COUNT, default=0, metavar="N", help="timed steps and batches (default: by device)"
    )
    costs.add_argument(
        "--recipe", action="append", default=[], metavar="TASK.FIELD=VALUE", help="change a training recipe, for trials"
    )
    costs.add_argument(
        "--write", type=Path, metavar="DIR", help="also store the measurement for the tables, usually in results"
    )


def _setup(parser: argparse.ArgumentParser) -> None:
    """What is measured, without any data."""
    parser.add_argument(
        "--dataset",
        default="",
        metavar="NAME",
        help="whose sizes, classes and recipes; its files are not needed (default: the first choice of `run`)",
    )
    parser.add_argument("--network", default="", metavar="NAME", help="shared network (default: the dataset's)")
    parser.add_argument(
        "--size", type=image_size, default="1280x720", metavar="WxH", help="of the images (default: %(default)s)"
    )
    parser.add_argument(
        "--batch-size", type=COUNT, default=0, metavar="N", help="images per forward (default: by size), or per step"
    )
    parser.add_argument(
        "--precision",
        default="auto",
        choices=("auto", "fp32", "tf32", "bf16"),
        help="arithmetic (default: bf16 where the hardware has it)",
    )
    parser.add_argument("--workers", type=WORKERS, metavar="N", help="threads that load images (default: by device)")


def _options(arguments: argparse.Namespace, **more: Any) -> Options:
    """The options of a run of what was asked for, without any data."""
    from benchmark.run.options import Options, ranked_datasets

    return Options(
        dataset=arguments.dataset or ranked_datasets()[0],
        network=arguments.network,
        device=arguments.device,
        workers=arguments.workers,
        batch_size=arguments.batch_size,
        **more,
    )


def _device(arguments: argparse.Namespace) -> int:
    """Print what a machine gives and costs; 1 where something broke."""
    from benchmark.bench import agreement, pipeline, switches
    from benchmark.bench.device import Asked, empty_report, measure_apart, measure_part, parse_parts
    from benchmark.leaderboard import costs
    from benchmark.leaderboard.devices import terminal
    from benchmark.records.device import read_report

    methods = "" if arguments.methods == "all" else arguments.methods
    asked = Asked(methods, arguments.device, arguments.minutes, arguments.quick)
    parts, report = parse_parts(arguments.parts), empty_report(asked)
    if arguments.write and (path := report.path(arguments.write)).exists():
        report = read_report(path)
    if len(parts) == 1:
        made = [measure_part(parts[0], asked, say)]
    else:
        made = measure_apart(parts, asked, arguments.plugin or (), say)
    failed = False
    for name, newer in zip(parts, made, strict=True):
        report = report.with_part(name, newer)
        failed |= bool(newer.parts[name].error) or any(row.failed for row in newer.contracts)
        if arguments.write:
            path = report.write(arguments.write)  # part by part, so that a kill loses one
        if newer.contracts:
            print(f"\n{agreement.terminal(newer.contracts, report.device)}")
        if newer.costs:
            print(f"\n{costs.terminal(newer.costs)}")
        if newer.pipeline:
            print(f"\n{pipeline.terminal(newer.pipeline)}")
        if newer.switches:
            print(f"\n{switches.terminal(newer.switches)}")
    say(f"\n{terminal(report)}")
    if arguments.write:
        then = "a trial, which enters no table" if report.reduced else "`python -m benchmark table` puts it into one"
        print(f"\nWrote {path}; {then}.")
    return int(failed)


def _metrics(arguments: argparse.Namespace) -> int:
    """Print the metrics' speed beside scikit-learn's."""
    import torch

    from benchmark.bench.metrics import bench_metrics

    torch.set_num_threads(1)
    print(bench_metrics())
    return 0


def _pooled(arguments: argparse.Namespace) -> int:
    """Print the error of the pooled values."""
    import torch

    from benchmark.bench.pooled import bench_pooled

    torch.set_num_threads(1)
    print(bench_pooled())
    return 0


def _pipeline(arguments: argparse.Namespace) -> int:
    """Print what limits a pass over test images."""
    from benchmark.bench.pipeline import bench_pipeline, terminal
    from benchmark.run.options import asked_methods

    options = _options(arguments, **asked_methods(arguments.methods, "paper"), precision=arguments.precision)
    print(terminal(bench_pipeline(options, arguments.size, arguments.images, say=say)))
    return 0


def _switches(arguments: argparse.Namespace) -> int:
    """Print what each switch is worth."""
    from benchmark.bench.switches import bench_switches, terminal

    options = _options(arguments, train_precision=arguments.precision)
    print(f"\n{terminal(bench_switches(options, arguments.size, arguments.rounds, say))}")
    return 0


def _costs(arguments: argparse.Namespace) -> int:
    """Print what every row costs; 1 where something of it could not be measured."""
    from benchmark.bench.costs import bench_costs, reduced
    from benchmark.leaderboard.costs import terminal
    from benchmark.records.costs import refuse_reduced
    from benchmark.run.options import asked_methods, parse_recipe

    options = _options(
        arguments,
        **asked_methods(arguments.methods, "paper"),
        recipe=parse_recipe(arguments.recipe),
        train_precision=arguments.precision,
    )
    if arguments.write:
        refuse_reduced(reduced(options, arguments.size, arguments.images))
    with tempfile.TemporaryDirectory() as folder:
        costs = bench_costs(options, Path(folder), arguments.size, arguments.steps, arguments.images, say)
    print(f"\n{terminal(costs)}")
    if arguments.write:
        print(f"\nWrote {costs.write(arguments.write)}; `python -m benchmark table` puts it into the tables.")
    return int(any(part.error for part in (*costs.trainings, *costs.methods)))
