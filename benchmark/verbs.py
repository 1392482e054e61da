"""The verbs of the command line: their options and examples."""

from __future__ import annotations

import argparse
from pathlib import Path


def _verb(verbs, name: str, module: str, handler: str, summary: str, examples: str) -> argparse.ArgumentParser:
    parser = verbs.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog="examples:\n" + "\n".join(f"  python -m benchmark {line}" for line in examples.strip().splitlines()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(module=module, handler=handler)
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="FILE",
        help="also register the method, dataset or network in a file",
    )
    return parser


def _data(parser: argparse.ArgumentParser, default: str = "auto") -> None:
    parser.add_argument(
        "--dataset",
        default=default,
        metavar="NAME",
        help="dataset, with options as name:key=value (default: %(default)s)",
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="data root (default: $ANOMALY_DATA, else ./data)")


def _out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help="weights, records and tables of this machine (default: %(default)s)",
    )


def _work(parser: argparse.ArgumentParser) -> None:
    _data(parser)
    _out(parser)
    parser.add_argument(
        "--methods",
        default="all",
        metavar="A,B",
        help="methods, with options as name:key=value; 'all' is every one registered (default)",
    )
    parser.add_argument(
        "--network", default="", metavar="NAME", help="network that the methods share (default: the dataset's)"
    )
    parser.add_argument(
        "--preset",
        default="common",
        choices=("common", "paper"),
        help="one setting for all methods, or each method in its authors' setting (default: %(default)s)",
    )
    parser.add_argument(
        "--scales", metavar="S,S", help="test scales as short sides in pixels, or 'native' (default: the dataset's)"
    )
    parser.add_argument(
        "--max-size", type=int, default=0, metavar="PX", help="bound of the long side at the test scales"
    )
    parser.add_argument(
        "--recipe",
        action="append",
        default=[],
        metavar="TASK.FIELD=VALUE",
        help="change a training recipe, e.g. segmentation.epochs=2",
    )
    parser.add_argument(
        "--repetition",
        type=int,
        default=0,
        metavar="N",
        help="train everything again with other seeds, as repetition N",
    )
    parser.add_argument("--device", default="auto", help="cuda, cuda:1, cpu or auto (default)")
    parser.add_argument(
        "--precision",
        default="fp32",
        choices=("fp32", "bf16"),
        help="arithmetic of the evaluation (default: %(default)s)",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes that load images (default: by device)")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    parser.add_argument("--retrain", action="store_true", help="train again even where weights exist")


def _run(verbs) -> None:
    parser = _verb(
        verbs,
        "run",
        "run",
        "run",
        "train what is missing, evaluate what is not measured yet, print the table",
        """
run --methods dicnet,msp
run --methods all --dataset camvid-ood --data ~/data
run --methods msp,msp:double_softmax=true --limit 20
run --methods my_method --plugin my_method.py
run --methods dicnet --recipe distillation.epochs=5 --force
run --dataset streethazards --preset paper""",
    )
    _work(parser)
    parser.add_argument("--batch-size", type=int, default=0, metavar="N", help="images per forward (default: by size)")
    parser.add_argument(
        "--limit", type=int, default=0, metavar="N", help="only the first N images; such records enter no table"
    )
    parser.add_argument("--force", action="store_true", help="evaluate again even where a record is current")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop")


def _train(verbs) -> None:
    parser = _verb(
        verbs,
        "train",
        "run",
        "train",
        "train networks and fit methods without evaluating them",
        """
train --methods deep_ensemble
train --methods dicnet --dataset streethazards --retrain""",
    )
    _work(parser)


def _table(verbs) -> None:
    parser = _verb(
        verbs,
        "table",
        "table",
        "table",
        "regenerate the leaderboards from published and measured results",
        """
table
table --check
table --results runs --no-readme""",
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=Path("results"),
        metavar="DIR",
        help="folder with published/ and records/ (default: %(default)s)",
    )
    parser.add_argument(
        "--readme",
        type=Path,
        default=Path("README.md"),
        metavar="FILE",
        help="file with the leaderboard block (default: %(default)s)",
    )
    parser.add_argument("--no-readme", action="store_true", help="leave the README alone")
    parser.add_argument("--check", action="store_true", help="change nothing; fail where a table is stale")
    parser.add_argument(
        "--adopt", type=Path, metavar="DIR", help="first copy the complete records of a run folder into the results"
    )


def _list(verbs) -> None:
    parser = _verb(
        verbs,
        "list",
        "show",
        "list_plugins",
        "list methods, datasets and networks, and what is unavailable and why",
        """
list
list methods
list --plugin my_method.py""",
    )
    parser.add_argument("kind", nargs="?", choices=("methods", "datasets", "networks"))
    parser.add_argument("--data", type=Path, metavar="DIR", help="data root (default: $ANOMALY_DATA, else ./data)")


def _export(verbs) -> None:
    parser = _verb(
        verbs,
        "export",
        "export",
        "export",
        "write a dataset in the StreetHazards layout",
        """
export minihazards data/streethazards
export minihazards data/streethazards --size 1280x720 --limit 24""",
    )
    parser.add_argument("dataset", help="dataset with the 13 StreetHazards classes")
    parser.add_argument("directory", type=Path, help="where to write")
    parser.add_argument("--data", type=Path, metavar="DIR", help="data root (default: $ANOMALY_DATA, else ./data)")
    parser.add_argument("--size", metavar="WxH", help="image size, for datasets that are rendered")
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="only the first N images of every split")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def _check(verbs) -> None:
    parser = _verb(
        verbs,
        "check",
        "check",
        "check",
        "try a plugin against the contract of its kind",
        """
check msp
check my_method --plugin my_method.py""",
    )
    parser.add_argument("name", help="method, dataset or network")
    parser.add_argument("--data", type=Path, metavar="DIR", help="data root (default: $ANOMALY_DATA, else ./data)")


def _score(verbs) -> None:
    parser = _verb(
        verbs,
        "score",
        "score",
        "score",
        "measure score maps that were made elsewhere",
        """
score my_scores/ --dataset camvid-ood --data ~/data
score my_scores/ --dataset streethazards --protocol streethazards,pooled""",
    )
    parser.add_argument(
        "directory", type=Path, help="folder of score maps named by image id (npy, npz, 16-bit png, tif)"
    )
    _data(parser)
    parser.add_argument(
        "--protocol", default="", metavar="A,B", help="protocols (default: the per-image mean and the pooled values)"
    )


def _bench(verbs) -> None:
    parser = _verb(
        verbs,
        "bench",
        "bench",
        "bench",
        "measure the suite's own speed against its peers",
        """
bench metrics""",
    )
    parser.add_argument("what", choices=("metrics",))


def _weights(verbs) -> None:
    parser = _verb(
        verbs,
        "weights",
        "weights",
        "weights",
        "list, verify or import weights",
        """
weights list
weights verify
weights import csail encoder_epoch_20.pth decoder_epoch_20.pth --dataset streethazards
weights import dicnet encoder.pth decoder.pth student_epoch_115.pth --dataset streethazards""",
    )
    parser.add_argument("action", choices=("list", "verify", "import"))
    parser.add_argument("files", nargs="*", help="for import: csail or dicnet, then its files")
    _data(parser)
    _out(parser)


VERBS = (_run, _train, _table, _list, _export, _check, _score, _bench, _weights)
"""Each adds its parser to the subparsers that it is given."""
