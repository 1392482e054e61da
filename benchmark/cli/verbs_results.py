"""The verbs that read, draw or compare what was measured."""

from __future__ import annotations

from pathlib import Path

from benchmark.cli.arguments import data, networks, preset, verb


def table(verbs) -> None:
    """Add the verb."""
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
    parser.add_argument(
        "--check",
        action="store_true",
        help="change nothing; fail where a table is stale or a record differs from its rows",
    )
    parser.add_argument(
        "--adopt", type=Path, metavar="DIR", help="first copy the complete records of a run folder into the results"
    )


def score(verbs) -> None:
    """Add the verb."""
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
        "directory", type=Path, help="folder of score maps named by image id (npy, npz, 16-bit png, tif, hdf5)"
    )
    data(parser)
    parser.add_argument(
        "--protocol", default="", metavar="A,B", help="protocols (default: the per-image mean and the pooled values)"
    )


def compare(verbs) -> None:
    """Add the verb."""
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


def show(verbs) -> None:
    """Add the verb."""
    parser = verb(
        verbs,
        "show",
        "show",
        "show",
        "draw images with the heat maps of methods, and their curves; trains nothing",
        """
show --dataset camvid-ood --methods dicnet,msp --images 6
show --dataset camvid-ood --methods dicnet,msp --images 0001TP_008550,Seq05VD_f02730
show --dataset camvid-ood --methods knn,msp --pick worst --to pictures/worst.jpg""",
    )
    networks(parser)
    preset(parser)
    parser.add_argument(
        "--images",
        default="6",
        metavar="N|ID,ID",
        help="how many images, or the ids of which ones (default: %(default)s)",
    )
    parser.add_argument(
        "--pick",
        default="spread",
        choices=("spread", "best", "worst"),
        help="evenly spread over the dataset, or those of highest or lowest AUPR of the first method, as measured by "
        "run (default: %(default)s)",
    )
    parser.add_argument(
        "--to",
        type=Path,
        metavar="FILE",
        help="picture to write, as .png or .jpg; the curves go beside it as NAME-curves (default: "
        "pictures/DATASET-NETWORK.png in the --out folder)",
    )
    parser.add_argument(
        "--width", type=int, default=1600, metavar="PX", help="of the pictures in pixels (default: %(default)s)"
    )
