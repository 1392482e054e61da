"""The verbs around the measurements: plugins, data, weights and the speed of the suite."""

from __future__ import annotations

from pathlib import Path

from benchmark.arguments import data, out, verb


def list_(verbs) -> None:
    """Add the verb."""
    parser = verb(
        verbs,
        "list",
        "list",
        "list_plugins",
        "list methods, datasets and networks, and what is unavailable and why",
        """
list
list methods
list --plugin my_method.py""",
    )
    parser.add_argument("kind", nargs="?", choices=("methods", "datasets", "networks"))
    parser.add_argument("--data", type=Path, metavar="DIR", help="data root (default: $ANOMALY_DATA, else ./data)")


def fetch(verbs) -> None:
    """Add the verb."""
    parser = verb(
        verbs,
        "fetch",
        "fetch",
        "fetch",
        "download a published dataset into the data root, or list what can be downloaded",
        """
fetch
fetch road-anomaly-21
fetch streethazards --data ~/data --keep
fetch streethazards --archive streethazards_train.tar --archive streethazards_test.tar""",
    )
    parser.add_argument("name", nargs="?", metavar="DATASET", help="none for a list with sizes and licences")
    parser.add_argument("--data", type=Path, metavar="DIR", help="data root (default: $ANOMALY_DATA, else ./data)")
    parser.add_argument(
        "--archive",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="unpack an archive that is already here instead of downloading; may be repeated",
    )
    parser.add_argument("--force", action="store_true", help="download again and replace what an earlier fetch made")
    parser.add_argument("--keep", action="store_true", help="keep the archives in DIR/downloads after unpacking")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")


def export(verbs) -> None:
    """Add the verb."""
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


def check(verbs) -> None:
    """Add the verb."""
    parser = verb(
        verbs,
        "check",
        "check",
        "check",
        "try a plugin against the contract of its kind",
        """
check msp
check my_method --plugin my_method.py
check my_method --plugin my_method.py --device cuda""",
    )
    parser.add_argument("name", help="method, dataset or network")
    parser.add_argument(
        "--device",
        default="cpu",
        help="where a method or network is tried: cpu (default), cuda, cuda:1 or auto; on CUDA its scores are also "
        "compared with those on the CPU",
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="data root (default: $ANOMALY_DATA, else ./data)")


def bench(verbs) -> None:
    """Add the verb."""
    parser = verb(
        verbs,
        "bench",
        "bench",
        "bench",
        "measure the suite's own speed and accuracy, or what every row of the paper's table costs on this machine, or "
        "compare a GPU with the CPU",
        """
bench metrics
bench pooled
bench devices --methods msp,dicnet
bench costs
bench costs --write results
bench costs --device cpu --size 320x180 --network pspnet-small --images 8""",
    )
    parser.add_argument(
        "what",
        choices=("metrics", "pooled", "devices", "costs"),
        help="the other options are those of costs; devices takes --methods and --device",
    )
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
        choices=("auto", "fp32", "tf32", "bf16"),
        help="arithmetic of training and evaluation (default: bf16 where the hardware has it)",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="threads that load images (default: by device)")
    parser.add_argument(
        "--write", type=Path, metavar="DIR", help="also store the measurement for the tables, usually in results"
    )


def weights(verbs) -> None:
    """Add the verb."""
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
