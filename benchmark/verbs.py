"""The verbs of the command line: their options and examples."""

from __future__ import annotations

from pathlib import Path

from benchmark.arguments import data, evaluation, out, preset, verb, work


def _run(verbs) -> None:
    parser = verb(
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
run --dataset streethazards --preset paper
run --methods msp,energy --protocols open-set,smiyc-components""",
    )
    work(parser)
    preset(parser)
    evaluation(parser)


def _train(verbs) -> None:
    parser = verb(
        verbs,
        "train",
        "run",
        "train",
        "train networks and fit methods without evaluating them",
        """
train --methods deep_ensemble
train --methods dicnet --dataset streethazards --retrain""",
    )
    work(parser)
    preset(parser)


def _reproduce(verbs) -> None:
    parser = verb(
        verbs,
        "reproduce",
        "reproduce",
        "reproduce",
        "measure a dataset in both presets, each method as its authors test it and all in one setting",
        """
reproduce streethazards --data ~/data
reproduce streethazards --dry-run""",
    )
    parser.add_argument("name", nargs="?", metavar="DATASET", help="the same as --dataset")
    work(parser)
    evaluation(parser)


def _table(verbs) -> None:
    parser = verb(
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
    parser = verb(
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
    parser = verb(
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
    parser = verb(
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
    parser = verb(
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
    data(parser)
    parser.add_argument(
        "--protocol", default="", metavar="A,B", help="protocols (default: the per-image mean and the pooled values)"
    )


def _compare(verbs) -> None:
    parser = verb(
        verbs,
        "compare",
        "compare",
        "compare",
        "say whether one measured method is better than another, image by image",
        """
compare dicnet msp
compare dicnet msp --dataset streethazards --results runs
compare --dataset streethazards""",
    )
    parser.add_argument(
        "methods", nargs="*", metavar="METHOD", help="two labels of methods; none for a matrix of all by AUPR"
    )
    parser.add_argument("--dataset", default="", metavar="NAME", help="dataset (default: the only one measured)")
    parser.add_argument(
        "--network", default="", metavar="LABEL", help="network as in the tables (default: the only one measured)"
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=Path("results"),
        metavar="DIR",
        help="folder with records/: results, or runs for this machine's own (default: %(default)s)",
    )


def _bench(verbs) -> None:
    parser = verb(
        verbs,
        "bench",
        "bench",
        "bench",
        "measure the metrics against their peers, or what every row of the paper's table costs on this machine",
        """
bench metrics
bench costs
bench costs --write results
bench costs --device cpu --size 320x180 --network pspnet-small --images 8""",
    )
    parser.add_argument("what", choices=("metrics", "costs"), help="the other options are those of costs")
    parser.add_argument("--methods", default="all", metavar="A,B", help="methods as for `run` (default: all)")
    parser.add_argument(
        "--dataset",
        default="streethazards",
        metavar="NAME",
        help="whose sizes, classes and recipes; its files are not needed (default: %(default)s)",
    )
    parser.add_argument("--network", default="", metavar="NAME", help="shared network (default: the dataset's)")
    parser.add_argument("--size", default="1280x720", metavar="WxH", help="of the images (default: %(default)s)")
    parser.add_argument(
        "--steps", type=int, default=0, metavar="N", help="timed steps and batches (default: by device)"
    )
    parser.add_argument("--images", type=int, default=0, metavar="N", help="images of a split, for trials")
    parser.add_argument("--batch-size", type=int, default=0, metavar="N", help="images per forward (default: by size)")
    parser.add_argument(
        "--recipe", action="append", default=[], metavar="TASK.FIELD=VALUE", help="change a training recipe, for trials"
    )
    parser.add_argument("--device", default="auto", help="cuda, cuda:1, cpu or auto (default)")
    parser.add_argument(
        "--precision",
        default="auto",
        choices=("auto", "fp32", "bf16"),
        help="arithmetic of training and evaluation (default: bf16 where the hardware has it)",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="threads that load images (default: by device)")
    parser.add_argument(
        "--write", type=Path, metavar="DIR", help="also store the measurement for the tables, usually in results"
    )


def _weights(verbs) -> None:
    parser = verb(
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
    data(parser)
    out(parser)


VERBS = (_run, _train, _reproduce, _table, _list, _export, _check, _score, _compare, _bench, _weights)
"""Each adds its parser to the subparsers that it is given."""
