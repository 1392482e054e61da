"""Methods over several datasets and networks: average ranks, and which of them are told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pandas import DataFrame

from benchmark.errors import BenchmarkError
from benchmark.io.words import quantity
from benchmark.leaderboard.compare import MATRIX_DRAWS
from benchmark.leaderboard.formats import NAME, TERMINAL, terminal_table
from benchmark.leaderboard.measured import Repetitions, label_of, places_of, rows_of, shared_protocol
from benchmark.leaderboard.wording import (
    EXTERNAL,
    METRIC_TITLES,
    STARS,
    external_legend,
    letter,
    marked,
    method_title,
    outlier_legend,
)
from benchmark.metrics import PixelProtocol, select_rows
from benchmark.metrics.bootstrap import HIGHER_IS_BETTER, resampled_means
from benchmark.metrics.ranks import LEVEL, alike, critical_difference, friedman, rank_of
from benchmark.metrics.rows import per_image
from benchmark.records.record import Record


@dataclass(frozen=True)
class Diagram:
    """What a critical-difference diagram shows.

    Attributes:
        names: of the methods as printed in tables, best average rank first.
        averages: their average ranks.
        intervals: 95 % intervals of these over images.
        difference: the critical one.
        groups: positions of methods that are not told apart.
        metric: title of the metric.
        places: number of places.
        note: what the marks behind names mean; empty without any.
    """

    names: Sequence[str]
    averages: Sequence[float]
    intervals: Sequence[tuple[float, float]]
    difference: float
    groups: Sequence[Sequence[int]]
    metric: str
    places: int
    note: str = ""


@dataclass(frozen=True)
class Ranks:
    """Methods ranked at several places, that is datasets with a network.

    Attributes:
        text: as printed.
        values: the same in plain values: metric, places, methods (best first; what outliers they saw in training,
            average_rank, interval, and at each place rank and value in percent), friedman, critical_difference, groups.
        diagram: what is drawn.
    """

    text: str
    values: Mapping[str, Any]
    diagram: Diagram

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class _Place:
    """A dataset and a network with the values of the methods."""

    record: Record  # one of them
    protocol: PixelProtocol
    values: DataFrame  # images x methods


def ranks(
    results: Path, methods: Sequence[str] = (), dataset: str = "", network: str = "", metric: str = "aupr"
) -> Ranks:
    """Average ranks of methods over all datasets and networks where all of them were measured.

    At each place methods are ranked by their per-image mean over the images on which all have a value; repetitions are
    averaged image by image. The interval of an average rank is that of other images of the same sets: images are drawn
    again, the same ones for all methods and for all networks of a dataset. The critical difference (Nemenyi, after
    Friedman's test) is about other datasets: there the places are the sample.

    Args:
        results: folder with records/.
        methods: labels or names as in the tables; none for all that were measured at every place.
        dataset: labels separated by commas; empty for all.
        network: its label; empty for all.
        metric: "aupr", "fpr95" or "auroc".
    Raises:
        BenchmarkError: fewer than two methods or places, or records that cannot be compared.
    """
    labels, places = _chosen(results, methods, places_of(results, dataset, network))
    read = [_read(results, place, labels, metric) for place in places]
    means = np.stack([place.values.mean().to_numpy() for place in read])
    higher = HIGHER_IS_BETTER[metric]
    by_place = np.stack([rank_of(each, higher) for each in means])
    low, high = np.quantile(_resampled(read, higher), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
    averages = by_place.mean(axis=0)
    order = sorted(range(len(labels)), key=lambda i: (averages[i], labels[i]))
    difference = critical_difference(len(labels), len(places))
    statistic, p_value = friedman(by_place)
    records = {label: next(iter(places[0][label].values())) for label in labels}
    external = {label: any(r.external for place in places for r in place[label].values()) for label in labels}
    ordered = [labels[i] for i in order]
    values = {
        "metric": metric,
        "places": [
            {
                "dataset": place.record.dataset.name,
                "title": place.record.dataset.title,
                "network": place.record.network.label,
                "protocol": place.protocol.label,
                "images": len(place.values),
            }
            for place in read
        ],
        "methods": [
            {
                "method": labels[i],
                "title": method_title(records[labels[i]].method),
                "external": external[labels[i]],
                "auxiliary_data": records[labels[i]].method.auxiliary_data,
                "average_rank": float(averages[i]),
                "interval": [float(low[i]), float(high[i])],
                "ranks": by_place[:, i].tolist(),
                "values": (100 * means[:, i]).tolist(),
            }
            for i in order
        ],
        "friedman": {"chi2": statistic, "degrees_of_freedom": len(labels) - 1, "p": p_value},
        "critical_difference": difference,
        "groups": [[ordered[i] for i in group] for group in alike(averages[order], difference)],
    }
    every = [record for place in places for label in labels for record in place[label].values()]
    left_out = 0 if methods else len(set().union(*places)) - len(labels)
    return Ranks(_text(values, external_legend(every), left_out), values, _diagram(values))


def _chosen(
    results: Path, methods: Sequence[str], places: Sequence[dict[str, Repetitions]]
) -> tuple[list[str], list[dict[str, Repetitions]]]:
    """The methods that are compared, and the places where all of them were measured."""
    if any("@" in name for name in methods):
        raise BenchmarkError("--ranks compares methods over all networks; leave out what stands behind an @.")
    if methods:
        labels = [label_of(results, name, places) for name in methods]
        if len(set(labels)) < max(2, len(labels)):
            raise BenchmarkError("--ranks takes two or more different methods, or none for all measured everywhere.")
        found = [place for place in places if set(labels) <= set(place)]
        what = " and ".join(methods)
    else:
        found = list(places)
        labels = sorted(set.intersection(*map(set, found))) if found else []
        what = "methods"
    if len(found) < 2:
        raise BenchmarkError(
            f"Ranks need two or more places, that is datasets with a network, and {results} has {what} at "
            f"{len(found)} of {len(places)}; measure elsewhere with 'run', or name other methods, --dataset or "
            f"--network."
        )
    if len(labels) < 2:
        raise BenchmarkError(
            f"No two methods were measured at all {len(found)} places of {results}; name methods, or choose places "
            f"with --dataset and --network."
        )
    return labels, found


def _read(results: Path, place: Mapping[str, Repetitions], labels: Sequence[str], metric: str) -> _Place:
    """The values of the methods on the images on which all have one."""
    records = [record for label in labels for record in place[label].values()]
    protocol = shared_protocol(records)
    rows = {
        label: [select_rows(rows_of(results, r), protocol).set_index("image") for r in place[label].values()]
        for label in labels
    }
    values = per_image(protocol, rows, metric).dropna().sort_index()
    if values.empty:
        where = f"{records[0].dataset.name} with {records[0].network.label}"
        raise BenchmarkError(
            f"No image of {where} has a {METRIC_TITLES[metric]} of every method; leave that place out with --dataset "
            f"and --network, or name other methods."
        )
    return _Place(records[0], protocol, values)


def _resampled(places: Sequence[_Place], higher: bool) -> np.ndarray:
    """Average ranks on resamples of the images: float (methods, draws)."""
    datasets = sorted({place.record.dataset.name for place in places})
    found = [
        rank_of(
            # A dataset's seed is its own, so that its images are drawn alike for all networks.
            resampled_means(
                place.values.to_numpy().T, draws=MATRIX_DRAWS, seed=datasets.index(place.record.dataset.name)
            ),
            higher,
        )
        for place in places
    ]
    return np.mean(found, axis=0)


def _text(values: Mapping[str, Any], legend: Sequence[str], left_out: int) -> str:
    """The ranks for a terminal.

    Args:
        values: of :class:`Ranks`.
        legend: lines below.
        left_out: number of methods that were not measured everywhere.
    """
    methods, places, count = values["methods"], values["places"], len(values["places"])
    letters = _letters(values)
    lines = []
    for method in methods:
        low, high = method["interval"]
        line = {
            "Method": marked(method["method"], method["external"]) + STARS[method["auxiliary_data"]],
            "average rank": f"{method['average_rank']:.2f}",
            "95 % interval": f"[{low:.2f}, {high:.2f}]",
            "alike": letters[method["method"]],
        }
        lines.append(line | {str(i + 1): f"{rank:g}" for i, rank in enumerate(method["ranks"])})
    test = values["friedman"]
    p_value = f"p = {test['p']:.2g}" if test["p"] >= 1e-4 else "p < 0.0001"
    differ = test["p"] < 1 - LEVEL
    parts = [
        f"Average ranks by {METRIC_TITLES[values['metric']]} over {count} places, {len(methods)} methods; 1 is best",
        "\n".join(
            f"{i + 1:>3}  {p['title']}, {p['network']}, protocol {p['protocol']}, {p['images']} images"
            for i, p in enumerate(places)
        ),
        "\n".join([terminal_table(DataFrame(lines), NAME), *outlier_legend(m["auxiliary_data"] for m in methods)]),
        f"Friedman: chi2({test['degrees_of_freedom']}) = {test['chi2']:.2f}, {p_value}: "
        + ("the methods differ." if differ else "no difference between the methods is shown.")
        + f"\nNemenyi: average ranks that are {values['critical_difference']:.2f} or more apart differ (5 %, "
        f"{count} places); methods with a letter in common are not\ntold apart. "
        "The interval is that of other images of the same sets, the tests that of other datasets.",
    ]
    if left_out:
        some = quantity(left_out, "method")
        parts[-1] += f"\nNot measured at all of these places, and left out: {some}; name some to compare them."
    if len({place["dataset"] for place in places}) < count:
        parts[-1] += "\nSome places share their images, which makes the tests too sure; --network chooses."
    return "\n\n".join([*map(_clean, parts), *map(TERMINAL.escape, legend)])


def _clean(text: str) -> str:
    return "\n".join("".join(c if c.isprintable() else " " for c in line) for line in text.split("\n"))


def _letters(values: Mapping[str, Any]) -> dict[str, str]:
    """Of every method the letters of its groups."""
    found: dict[str, str] = {}
    for i, group in enumerate(values["groups"]):
        for label in group:
            found[label] = found.get(label, "") + letter(i)
    return found


def _diagram(values: Mapping[str, Any]) -> Diagram:
    methods = values["methods"]
    places = {method["method"]: i for i, method in enumerate(methods)}
    return Diagram(
        names=[marked(method["title"], method["external"]) + STARS[method["auxiliary_data"]] for method in methods],
        averages=[method["average_rank"] for method in methods],
        intervals=[tuple(method["interval"]) for method in methods],
        difference=values["critical_difference"],
        groups=[[places[label] for label in group] for group in values["groups"]],
        metric=METRIC_TITLES[values["metric"]],
        places=len(values["places"]),
        note="; ".join(
            [
                *([f"{EXTERNAL} score maps that were made elsewhere"] if any(m["external"] for m in methods) else []),
                *outlier_legend(m["auxiliary_data"] for m in methods),
            ]
        ),
    )
