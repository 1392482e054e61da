"""The verbs of the command line: their options and examples."""

from __future__ import annotations

from pathlib import Path

from benchmark.arguments import data, evaluation, networks, out, preset, verb, work
from benchmark.verbs.results import compare, score, show, table


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
run --methods msp,dicnet --repetition 0-2
run --methods msp,energy --protocols open-set,smiyc-components
run --dataset road-anomaly,road-anomaly-21 --network erfnet.py --weights erfnet.pth --classes cityscapes""",
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


def _list(verbs) -> None:
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


def _bench(verbs) -> None:
    parser = verb(
        verbs,
        "bench",
        "bench",
        "bench",
        "measure the suite's own speed and accuracy, or what every row of the paper's table costs on this machine",
        """
bench metrics
bench pooled
bench costs
bench costs --write results
bench costs --device cpu --size 320x180 --network pspnet-small --images 8""",
    )
    parser.add_argument("what", choices=("metrics", "pooled", "costs"), help="the other options are those of costs")
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


def _fetch(verbs) -> None:
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


def _infer(verbs) -> None:
    parser = verb(
        verbs,
        "infer",
        "infer",
        "infer_images",
        "write score maps of images, with or without labels; trains nothing",
        """
infer photos/ --methods msp,dicnet --dataset camvid-ood --pictures
infer a.png b.jpg --methods msp --dataset camvid-ood --to maps --format tif
infer AnomalyTrack/images --methods msp --dataset road-anomaly-21 --format hdf5
infer --methods msp --dataset camvid-ood""",
    )
    parser.add_argument(
        "images",
        nargs="*",
        type=Path,
        metavar="IMAGES",
        help="image files and folders of them (default: the dataset's test images)",
    )
    networks(parser, several=False)
    preset(parser)
    parser.add_argument("--batch-size", type=int, default=0, metavar="N", help="images per forward (default: by size)")
    parser.add_argument(
        "--to",
        type=Path,
        metavar="DIR",
        help="where to write DIR/METHOD/IMAGE.* (default: scores/DATASET-NETWORK/IMAGES in the --out folder)",
    )
    parser.add_argument(
        "--format",
        default="npy",
        choices=("npy", "tif", "png", "hdf5"),
        help="npy or tif: float32; png: 16-bit codes of the same order, half the size; hdf5: float16 as "
        "SegmentMeIfYouCan's toolkit reads it, needs h5py (default: %(default)s)",
    )
    parser.add_argument("--pictures", action="store_true", help="also draw each map over its image")
    parser.add_argument("--force", action="store_true", help="write anew what is there")


VERBS = (
    _run,
    _train,
    _infer,
    _reproduce,
    table,
    show,
    _list,
    _fetch,
    _export,
    _check,
    score,
    compare,
    _bench,
    _weights,
)
"""Each adds its parser to the subparsers that it is given."""
