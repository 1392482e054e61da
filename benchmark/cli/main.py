"""The command line. Every verb has a file beside this one, which imports what is heavy only when its verb runs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout

from benchmark import __version__
from benchmark.cli import (
    bench,
    check,
    compare,
    export,
    fetch,
    infer,
    report,
    reproduce,
    retime,
    run,
    runs,
    score,
    show,
    table,
    weights,
)
from benchmark.cli import list as list_
from benchmark.cli.arguments import Parser
from benchmark.cli.completion import complete
from benchmark.cli.config import expanded
from benchmark.cli.environment import launched, prepare
from benchmark.cli.output import answered, complaint, lasting_output
from benchmark.errors import BenchmarkError, PluginError
from benchmark.io.memory import keep_memory

VERBS = (
    run.add,
    run.add_train,
    retime.add,
    infer.add,
    reproduce.add,
    table.add,
    report.add,
    show.add,
    list_.add,
    fetch.add,
    export.add,
    check.add,
    score.add,
    compare.add,
    bench.add,
    weights.add,
    runs.add,
)
"""Each adds the parser of its verb, in the order of ``--help``."""

DESCRIPTION = """\
Train, run and rank anomaly-segmentation methods on road scenes.

Every method gives each pixel a score, higher = more anomalous. `run` trains what is missing, evaluates what is not yet
measured, writes one record per method and prints the leaderboard."""

EPILOG = """\
first steps:
  python -m benchmark run --methods dicnet,msp      train, evaluate and rank two methods (a few minutes on a CPU)
  python -m benchmark list                          methods, datasets and networks
  python -m benchmark VERB --help                   options and examples of a verb"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Returns:
        0 when all went well, 1 when a method failed and the others finished, 2 when the user has to mend something,
        130 after Ctrl-C.
    """
    parser = make_parser()
    complete(parser)
    typed = sys.argv[1:] if arguments is None else arguments
    if not typed:
        parser.print_help()
        return 2
    prepare()  # numpy and torch are first imported below
    keep_memory()
    with lasting_output() as out, ExitStack() as silenced:
        if launched()[0] > 0:  # rank 0 speaks for all
            null = silenced.enter_context(open(os.devnull, "w", encoding="utf-8"))
            silenced.enter_context(redirect_stdout(null))
            silenced.enter_context(redirect_stderr(null))
        code = _run(parser, typed)
    if reason := complaint(out):
        print(f"error: {reason}", file=sys.stderr)
        return 2
    return code


def _run(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> int:
    broken: list[str] = []
    try:
        options = expanded(parser, arguments)
        with answered(options):
            broken += _load(options.plugin)
            code = options.handler(options) if launched()[1] == 1 else _together(options)
            return max(code, 2 if broken else 0)
    except BenchmarkError as error:
        if str(error) not in broken:
            print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        truth = str(stop) or "what was finished is kept, the same command does the rest"
        print(f"\nInterrupted; {truth}.", file=sys.stderr)
        return 130


def _together(options: argparse.Namespace) -> int:
    """Run a verb as one of the processes that ``torchrun`` has started."""
    if not options.several:
        raise BenchmarkError(
            "Several processes share run and train only; give this command to `python -m benchmark`, without torchrun."
        )
    from benchmark.distributed import joined

    with joined():
        code = options.handler(options)
    return code if launched()[0] == 0 else 0


def _load(plugins: Sequence[str]) -> list[str]:
    """Register the plugins of files; one that cannot be imported is named here and left out."""
    from benchmark.registry import load_plugin

    broken = []
    for path in plugins:
        try:
            load_plugin(path)
        except PluginError as error:
            broken.append(str(error))
            print(f"error: {error}", file=sys.stderr)
    return broken


def make_parser() -> argparse.ArgumentParser:
    """All verbs with their options."""
    parser = Parser(
        prog="python -m benchmark",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"anomaly-benchmark {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for add in VERBS:
        add(verbs)
    return parser
