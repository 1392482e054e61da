"""Numbers in the running text are those of the records, each for the method and the dataset that it is told of."""

import csv
import re
from pathlib import Path
from statistics import mean, stdev

from benchmark.recipe import LIGHT_SEGMENTATION, Recipe
from benchmark.records.record import read
from benchmark.registry import DATASETS, METHODS
from benchmark.training.schedule import steps_per_epoch
from tests.test_pages import cells, table

HOME = Path(__file__).resolve().parents[1]
RECORDS = HOME / "results" / "records"
F = "fpn-tf_efficientnet_lite0+encoder_weights=imagenet"
CITY = "espnetv2-2.0+weights=espnetv2_s_2.0_city_1024x512"
NORMAL = "+normal=camvid-ood"
GUIDED = f"guided_knn+encoder=tf_efficientnet_lite0-360{NORMAL}"
NEIGHBOURS = f"knn+bank=5000+encoder=tf_efficientnet_lite0-360+k=3+variant=mean{NORMAL}"
NATIVE = f"knn+bank=10000+encoder=tf_efficientnet_lite0+k=3+variant=mean{NORMAL}"


def page(name):
    """The running text of a page in one line, without its code."""
    text = re.sub(r"^```.*?^```", "", (HOME / name).read_text(encoding="utf-8"), flags=re.M | re.S)
    return " ".join(text.split())


def records(dataset, network, stem):
    """All seeds of a row."""
    paths = [RECORDS / dataset / network / f"{stem}{seed}.json" for seed in ("", "+seed1", "+seed2")]
    return [read(path) for path in paths if path.is_file()]


def percent(dataset, network, stem, protocol="per-image", metric="aupr"):
    return [100 * getattr(each.metrics[protocol], metric) for each in records(dataset, network, stem)]


def pooled(dataset, stem):
    (value,) = percent(dataset, CITY, stem, "pooled")
    return f"{value:.1f}"


def test_the_public_sets_on_the_front_page():
    kinds = ("road-anomaly-21", "road-obstacle-21", "road-anomaly")
    knn, msp, guided = ([pooled(kind, stem) for kind in kinds] for stem in (NEIGHBOURS, "msp", GUIDED))
    text = page("README.md")
    assert (
        f"an AUPR of {knn[0]} on RoadAnomaly21 (MSP {msp[0]}), {knn[1]} on RoadObstacle21 ({msp[1]}) and {knn[2]} on "
        f"RoadAnomaly ({msp[2]}); Guided kNN has {guided[0]}, {guided[1]} and {guided[2]}."
    ) in text
    others = pooled(kinds[0], f"dice{NORMAL}"), pooled(kinds[1], f"vim{NORMAL}")
    assert f"DICE has {others[0]} on RoadAnomaly21 and ViM {others[1]} on RoadObstacle21, whose ten and thirty" in text
    images = [each.metrics["pooled"].images for kind in kinds[:2] for each in records(kind, CITY, "msp")]
    assert images == [10, 30]


def test_the_spread_over_trainings_on_the_front_page():
    text = page("README.md")
    for stem, said in (("cdnp", "cDNP on its features has {}"), ("energy", "the energy {}")):
        values = percent("camvid-ood", F, stem)
        assert len(values) == 3
        assert said.format(f"{mean(values):.1f} ± {stdev(values):.1f}") in text


def test_what_the_front_page_says_in_whole_numbers():
    text = page("README.md")
    nearest, best = (
        mean(percent("camvid-ood", F, stem, metric="fpr95"))
        for stem in ("knn+encoder=tf_efficientnet_lite0+k=3", "fdbd+normaliser=length")
    )
    assert f"with {nearest:.0f} % false positives instead of {best:.0f} %" in text
    miou = [100 * each.segmentation.miou for each in records("camvid-ood", F, "msp")]
    (small,) = (100 * each.segmentation.miou for each in records("camvid-ood", "pspnet-small", "msp"))
    assert f"(mIoU {small:.0f}) to this one (mIoU {min(miou):.0f} to {max(miou):.0f})" in text


def test_the_row_of_the_board_beside_those_of_other_sizes():
    """The other rows of that table are in no board; their commands stand below it."""
    text = (HOME / "results" / "README.md").read_text(encoding="utf-8")
    first, *_ = cells(text[text.index("| kNN, 3 neighbours of 10 000 (mean), fitted to CamVid |") :])
    name, *values = first.values()
    assert "the board's row" in name
    kinds = {"RoadAnomaly21": "road-anomaly-21", "RoadAnomaly": "road-anomaly", "RoadObstacle21": "road-obstacle-21"}
    assert list(first)[1:] == list(kinds) and values == [pooled(kind, NATIVE) for kind in kinds.values()]


def test_what_was_best_on_pasted_images_and_not_on_the_others():
    pasted, test = (
        [mean(percent(dataset, F, stem)) for stem in ("pgn+target=uniform", "pgn")]
        for dataset in ("pasted+base=camvid-ood", "camvid-ood")
    )
    assert (
        f"PGN with uniform targets is {pasted[0] - pasted[1]:.1f} points of AUPR above PGN as published on the pasted "
        f"ones and {test[1] - test[0]:.1f} below it on the others"
    ) in page("results/README.md")


def test_the_rows_of_the_leaderboard_of_segment_me_if_you_can():
    count = 0
    for path in (HOME / "results" / "published").glob("*.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            count += sum("assets/leaderboard.json" in row["source"] for row in csv.DictReader(file))
    assert f"So stand the {count} rows of the SegmentMeIfYouCan leaderboard" in page("results/README.md")


def images_seen(recipe, name):
    """By a training on all images of a dataset."""
    return recipe.epochs * steps_per_epoch(recipe, DATASETS.get(name).card.sizes["train"]) * recipe.batch_size


def test_the_lengths_of_trainings():
    trainings = {"segmentation": (Recipe(), LIGHT_SEGMENTATION)}
    for method in map(METHODS.get, METHODS.names()):
        trainings |= {task: (recipe, method.light[task]) for task, recipe in method.recipes.items()}
    rows = table(HOME / "results" / "README.md", "## How long things are trained here")
    assert {row["training"].strip("`") for row in rows} == set(trainings)
    places = {"MiniHazards": ("minihazards", False), "`S`": ("camvid-ood", False), "`F`": ("camvid-ood", True)}
    for row in rows:
        authors, light = trainings[row["training"].strip("`")]
        stated = authors.epochs * authors.steps_per_epoch * authors.batch_size
        assert row["by the authors"] == (f"{stated:,}" if stated else f"{authors.epochs} passes")
        for column, (name, pretrained) in places.items():
            recipe = DATASETS.get(name).policy.of(pretrained).recipe(authors, light)
            assert row[column] == f"{images_seen(recipe, name):,}", row["training"]


def test_how_far_students_follow_their_teachers():
    left = {}
    for network, target in ((F, "penultimate"), ("pspnet-small", "conv")):
        found = [
            100 * record.method.fit["reports"][0]["validation"]["unexplained"]
            for record in records("camvid-ood", network, f"dicnet+teacher_target={target}")
        ]
        low, high = f"{min(found):.0f}", f"{max(found):.0f}"
        left[network] = low if low == high else f"{low} to {high}"
    told = f"leaves {left[F]} % of the teacher's variance unexplained, on `S` {left['pspnet-small']} %"
    assert told in page("results/README.md")


def test_what_becomes_of_the_comparison_with_other_teachers_on_the_front_page():
    text = page("README.md")
    (twin,), (stpm,) = (percent("camvid-ood", F, stem) for stem in ("dicnet_twin", "stpm"))
    (pans,), (synthcp,) = (percent("camvid-ood", F, stem) for stem in ("pans", "synthcp+tap=penultimate"))
    assert (
        f"pretrained as that was, does no better ({twin:.1f}, one training). Of the paper's other methods PAnS has "
        f"{pans:.1f} there and SynthCP {synthcp:.1f} (one training each)."
    ) in text
    (wrong,) = (each.metrics["failure-split"].extra["efpr"] for each in records("camvid-ood", F, "stpm"))
    told = f"(STPM, one training), the same comparison reaches {stpm:.1f}, and {100 * wrong:.0f} % false alarms where"
    assert told in text
    energy, pebal = (percent("camvid-ood", "pspnet-small", stem)[0] for stem in ("energy", "pebal"))
    assert f"PEBAL takes the small network's energy from {energy:.1f} to {pebal:.1f}" in text


CONTROLS = "pasted+base=camvid-ood+objects="


def auroc(dataset, label):
    return percent(dataset, F, label.replace(":", "+"), metric="auroc")[0]


def by_pasting(label):
    """What a thing of a known class gains by having been cut out and laid elsewhere."""
    return auroc(f"{CONTROLS}known", label) - auroc(f"{CONTROLS}unmoved", label)


def test_what_pasting_is_worth():
    rows = table(HOME / "results" / "README.md", "## The unknown, or the pasting?")
    assert len(rows) >= 16
    for row in rows:
        name, label, mark = re.fullmatch(r"`(([a-z_]+)\S*)`( °)?", row["method"]).group(2, 1, 3)
        (of, *_) = records("camvid-ood", F, label.replace(":", "+"))
        assert of.method.name == name and bool(mark) == bool(of.method.auxiliary_data)
        known, unmoved = (auroc(f"{CONTROLS}{kind}", label) for kind in ("known", "unmoved"))
        values = [auroc("camvid-ood", label), auroc("pasted+base=camvid-ood", label), known, unmoved]
        assert list(row.values())[1:] == [*(f"{value:.1f}" for value in values), f"{known - unmoved:+.1f}"]


def test_what_is_said_of_pasting():
    text, knn = page("results/README.md"), "knn:encoder=tf_efficientnet_lite0:k=3"
    learned = [
        by_pasting(label) for label in ("densehybrid", "entropy_max", "rpl:tap=penultimate", "pebal:tap=penultimate")
    ]
    assert (
        f"To the frozen neighbours pasting is worth {by_pasting(knn):.1f} points, so that their "
        f"{auroc('camvid-ood', knn):.1f} are none of the seams; to those that learned from pasted objects "
        f"{min(learned):.1f} to {max(learned):.1f}, and to the energy of the network that they began with "
        f"{by_pasting('energy'):.1f}."
    ) in text
    fdbd, nearest = (auroc(f"{CONTROLS}unmoved", label) for label in ("fdbd:normaliser=length", knn))
    assert f"by fDBD more ({fdbd:.1f}) than by the neighbours ({nearest:.1f})" in text
    pairs = [
        [f"{auroc(f'{CONTROLS}{kind}', label):.1f}" for kind in ("known", "unmoved")]
        for label in (knn, "energy", "densehybrid")
    ]
    assert (
        f"have an AUROC of {pairs[0][0]} with the neighbours, where they belong {pairs[0][1]}; with the energy "
        f"{' and '.join(pairs[1])}, with DenseHybrid {' and '.join(pairs[2])}"
    ) in page("README.md")


def test_what_outliers_are_worth_to_the_pretrained_network():
    energy, hybrid = (percent("camvid-ood", F, stem)[0] for stem in ("energy", "densehybrid"))
    (alarms,) = percent("camvid-ood", F, "densehybrid", metric="fpr95")
    assert (
        f"DenseHybrid takes the pretrained network's energy from {energy:.1f} to {hybrid:.1f} (one training each), "
        f"13.9 [11.8, 16.1] below the neighbours, with {alarms:.0f} % false positives"
    ) in page("README.md")
