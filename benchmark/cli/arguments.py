"""Options that several verbs share."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, NoReturn

from benchmark.errors import BenchmarkError
from benchmark.values import Count, Pixels, Range, typed

Handler = Callable[[argparse.Namespace], int]
"""Runs a verb and returns the exit code."""


def verb(verbs, name: str, handler: Handler, summary: str, examples: str) -> argparse.ArgumentParser:
    """A verb with its examples.

    Args:
        verbs: subparsers of the command line.
        name: as typed.
        handler: what runs; it imports what it needs only then, so that ``--help`` is quick.
        summary: one line of help.
        examples: command lines without the program's name, one a line.
    """
    parser = _described(verbs, name, summary, examples)
    parser.set_defaults(handler=handler, verbs=verbs.choices, verb=name, several=False)
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="FILE",
        help="also register the method, dataset or network in a file; may be repeated",
    )
    return parser


def family(verbs, name: str, summary: str, examples: str):
    """A verb of several kinds, each a :func:`verb` with options of its own; gives what these are added to."""
    parser = _described(verbs, name, summary, examples)
    return parser.add_subparsers(title="kinds", metavar="KIND", required=True)


def _described(verbs, name: str, summary: str, examples: str) -> argparse.ArgumentParser:
    return verbs.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog="examples:\n" + "\n".join(f"  python -m benchmark {line}" for line in examples.strip().splitlines()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def number(kind: Any) -> Callable[[str], Any]:
    """A type for ``add_argument``: text as this hint reads it, with its range."""

    def read(text: str) -> Any:
        try:
            return typed(text, kind)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"it is {error}, not '{text}'") from None

    return read


COUNT, PIXELS = number(Count), number(Pixels)
"""A number from 1; a side of an image."""
WORKERS = number(Annotated[int, Range(0, 256)])
"""Processes or threads that load images."""


def image_size(text: str) -> tuple[int, int]:
    """``"1280x720"`` to height and width in pixels."""
    try:
        width, height = (typed(side, Pixels) for side in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"write WIDTHxHEIGHT as in 1280x720, not '{text}'") from None
    return height, width


NEGATIVE = re.compile(r"-(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$")
"""A negative number, which is a value and no option: also one that argparse does not know for one, as -1e3."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, as everything else here does; the usage is one ``--help`` away."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._negative_number_matcher = NEGATIVE

    def parse_args(self, args: Any = None, namespace: Any = None) -> argparse.Namespace:
        """As usual, but what a verb does not take is said by the verb, which knows what it takes instead."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            own = found.verbs[found.verb] if hasattr(found, "verbs") else self
            flag = unknown[0].partition("=")[0]
            near = get_close_matches(flag, own._option_string_actions, n=1, cutoff=0.7) if flag[:2] == "--" else []
            hint = f" (did you mean {near[0]}?)" if near else ""
            own.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return found

    def error(self, message: str) -> NoReturn:
        sentence = message.removeprefix("argument ").replace(": it is ", " is ", 1)
        raise BenchmarkError(f"{sentence[:1].upper()}{sentence[1:]}; `{self.prog} --help` shows what may stand there.")


def data(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """Which dataset, and where."""
    parser.add_argument(
        "--dataset",
        default="auto",
        metavar="A,B" if several else "NAME",
        help=f"dataset{'s' * several}, with options as name:key=value (default: auto, the best one found in --data)",
    )
    data_folder(parser)


def data_folder(parser: argparse.ArgumentParser) -> None:
    """Where the datasets are."""
    parser.add_argument("--data", type=Path, metavar="DIR", help="data root (default: $ANOMALY_DATA, else ./data)")


def machine_readable(parser: argparse.ArgumentParser) -> None:
    """Whether the result is for a program: what a verb puts into ``arguments.answer``."""
    parser.add_argument(
        "--json",
        action="store_true",
        help="print the result as JSON on standard output, and everything else on standard error",
    )


def exact_pooled(parser: argparse.ArgumentParser) -> None:
    """Whether pooled values of sets of any size rank every pixel."""
    parser.add_argument(
        "--exact-pooled",
        action="store_true",
        help="rank every pixel for pooled values also where there are more than 13 million, at 4 bytes each and method",
    )


def results_folder(parser: argparse.ArgumentParser) -> None:
    """Whose records are read."""
    parser.add_argument(
        "--results",
        type=Path,
        default=Path("results"),
        metavar="DIR",
        help="folder with records/: results, or runs for this machine's own (default: %(default)s)",
    )


def existing(results: Path) -> Path:
    """A folder of results that is to be read.

    Raises:
        BenchmarkError: there is none.
    """
    if not results.is_dir():
        raise BenchmarkError(
            f"There is no folder {results}; `python -m benchmark run` makes records in runs: add `--results runs`."
        )
    return results


def out(parser: argparse.ArgumentParser) -> None:
    """Where this machine keeps what it made."""
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help="weights, records and tables of this machine (default: %(default)s)",
    )


def work(parser: argparse.ArgumentParser, scales: bool = True) -> None:
    """What is trained, and how; `scales` as of :func:`networks`."""
    networks(parser, repetitions=True, scales=scales)
    group = parser.add_argument_group("training")
    group.add_argument(
        "--train-precision",
        default="auto",
        choices=("auto", "fp32", "tf32", "bf16"),
        help="arithmetic of the training (default: bf16 where the hardware has it)",
    )
    group.add_argument(
        "--compile",
        action="store_true",
        help="compile networks for their training by torch.compile: minutes before the first step, then quicker ones "
        "(`bench switches` says by how much here), rounded otherwise",
    )
    group.add_argument(
        "--retrain",
        action="store_true",
        help="train again even where weights exist; the old ones stay until the new ones are finished",
    )
    group.add_argument(
        "--tensorboard",
        action="store_true",
        help="also write losses, learning rate and validation values of every epoch to DIR/tensorboard of --out",
    )


def networks(
    parser: argparse.ArgumentParser, several: bool = True, repetitions: bool = False, scales: bool = True
) -> None:
    """Which methods on which network, and where they run.

    Args:
        parser: of the verb.
        several: whether it takes several datasets, separated by commas.
        repetitions: whether it takes several repetitions.
        scales: whether test scales are chosen here.
    """
    data(parser, several=several)
    out(parser)
    parser.add_argument(
        "--methods",
        default="all",
        metavar="A,B",
        help="methods, with options as name:key=value, where a value with a comma stands in quotation marks; 'all' is "
        "every one registered that the network has the features for (default)",
    )
    group = parser.add_argument_group("network")
    group.add_argument(
        "--network",
        default="",
        metavar="NAME",
        help="network that the methods share, by name or as file.py[:function] (default: the dataset's)",
    )
    group.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help=".pth or .safetensors file that stands in for its training, or the folder from which the network is read",
    )
    group.add_argument(
        "--classes",
        default="",
        metavar="NAME",
        help="what the outputs are with --weights, or imported ones: a dataset's classes, a number or a file with a "
        "class a line; NAME+1 has one further output, void (default: the dataset's)",
    )
    parser.add_argument(
        "--normal",
        default="",
        metavar="NAME",
        help="fit methods to the normal images of this dataset or in this folder instead of the training images",
    )
    parser.set_defaults(scales=None, max_size=0)
    if scales:
        group.add_argument(
            "--scales", metavar="S,S", help="test scales as short sides in pixels, or 'native' (default: the dataset's)"
        )
        group.add_argument(
            "--max-size", type=PIXELS, metavar="PX", help="bound of the long side at the test scales (default: none)"
        )
    group.add_argument(
        "--recipe",
        action="append",
        default=[],
        metavar="TASK.FIELD=VALUE",
        help="change a training recipe, e.g. segmentation.epochs=2; may be repeated",
    )
    group.add_argument(
        "--repetition",
        default="0",
        metavar="N",
        help="train everything with the seeds of repetition N; several, as 0,1,2 or 0-2, one after the other, and the "
        "table shows their mean and standard deviation (default: %(default)s)"
        if repetitions
        else "what was trained with the seeds of repetition N (default: %(default)s)",
    )
    group = parser.add_argument_group("machine")
    on_device(group)
    group.add_argument(
        "--precision",
        default="fp32",
        choices=("fp32", "tf32", "bf16"),
        help="arithmetic of the evaluation; tf32 on CUDA only (default: %(default)s)",
    )
    group.add_argument(
        "--workers",
        type=WORKERS,
        metavar="N",
        help="threads that read images, and as many that measure, beside the networks (default: up to 8 beside a GPU, "
        "else as many as PyTorch leaves cores)",
    )
    group.add_argument("--quiet", action="store_true", help="no progress bars")


def on_device(parser: argparse._ActionsContainer) -> None:
    """Where it runs."""
    parser.add_argument("--device", default="auto", help="cuda, cuda:1, cpu or auto (default)")


def batch_size(parser: argparse._ActionsContainer) -> None:
    """How many images go through a network at once."""
    parser.add_argument(
        "--batch-size", type=COUNT, default=0, metavar="N", help="images per forward (default: by size)"
    )


def label_size(parser: argparse._ActionsContainer) -> None:
    """Where scores and labels meet."""
    parser.add_argument(
        "--label-size",
        default="image",
        choices=("image", "network"),
        help="where scores and labels meet: scores upsampled to the labels (image, the default), or labels resized by "
        "nearest neighbour to the input size of your own network",
    )


def evaluation(parser: argparse.ArgumentParser) -> None:
    """What is evaluated, and how."""
    group = parser.add_argument_group("evaluation")
    group.add_argument(
        "--protocols",
        default="",
        metavar="A,B",
        help="evaluation protocols beside the dataset's own, e.g. sizes,open-set-fpr; `list protocols` shows all",
    )
    label_size(group)
    batch_size(group)
    group.add_argument(
        "--limit",
        type=COUNT,
        default=0,
        metavar="N",
        help="only the first N images; such records enter no table (default: all)",
    )
    exact_pooled(group)
    group.add_argument("--force", action="store_true", help="evaluate again even where a record is current")
    plan_only(group)


def plan_only(parser) -> None:
    """Whether anything is done."""
    parser.add_argument(
        "--dry-run", action="store_true", help="print the plan, what is missing and how long it takes, and stop"
    )


def preset(parser: argparse.ArgumentParser) -> None:
    """One setting for all methods, or each method's own."""
    parser.add_argument(
        "--preset",
        default="common",
        choices=("common", "paper"),
        help="one setting for all methods, or each method in its authors' setting (default: %(default)s)",
    )
