"""The verbs of the command line: their options and examples."""

from __future__ import annotations

from pathlib import Path

from benchmark.cli.arguments import evaluation, networks, preset, verb, work
from benchmark.cli.verbs_results import compare, score, show, table
from benchmark.cli.verbs_tools import bench, check, export, fetch, list_, weights


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
    list_,
    fetch,
    export,
    check,
    score,
    compare,
    bench,
    weights,
)
"""Each adds its parser to the subparsers that it is given."""
