"""The tables of what a row costs."""

from __future__ import annotations

from collections.abc import Sequence

from pandas import DataFrame

from benchmark.leaderboard.formats import MARKDOWN, TERMINAL, Format, pipe_table, terminal_table
from benchmark.leaderboard.wording import NOTHING
from benchmark.records.costs import Costs


def markdown(records: Sequence[Costs]) -> str:
    """The tables of all machines."""
    parts = []
    for costs in records:
        parts += [MARKDOWN.escape(sentence(costs)), *map(pipe_table, _tables(costs, MARKDOWN))]
    return "\n\n".join(parts)


def terminal(costs: Costs) -> str:
    """The same of one machine, for a terminal."""
    return "\n\n".join([*map(terminal_table, _tables(costs, TERMINAL)), sentence(costs)])


def _tables(costs: Costs, form: Format) -> list[DataFrame]:
    """Trainings and methods, where there are any, as a format writes them."""
    tables = DataFrame(_trainings(costs)), DataFrame(_methods(costs))
    return [table.map(form.escape) for table in tables if len(table)]


def _trainings(costs: Costs) -> list[dict[str, str]]:
    return [
        {
            "Training step": f"{one.title}: {one.error}" if one.error else one.title,
            "batch": str(one.batch_size),
            "image sizes": one.sizes,
            "ms/step": _number(None if one.seconds is None else 1000 * one.seconds, 0),
            "images/s": _number(one.batch_size / one.seconds if one.seconds else None, 1),
            "GiB": _number(one.memory_gib, 1),
            "steps": str(one.steps),
            "hours": _number(None if costs.reduced else one.hours, 1),
        }
        for one in costs.trainings
    ]


def _methods(costs: Costs) -> list[dict[str, str]]:
    return [
        {
            "Method": f"{one.title}: {one.error}" if one.error else one.title,
            "net + own ms/image": f"{_number(one.network_ms, 1)} + {_number(one.method_ms, 1)}",
            "GiB": _number(one.memory_gib, 1),
            **{f"{part} h": _number(hours, 2) for part, hours in costs.hours(one).items()},
        }
        for one in costs.methods
    ]


def sentence(costs: Costs) -> str:
    """What was measured where, and what the hours are made of."""
    height, width = costs.size
    text = (
        f"{costs.title} at {width}x{height}, {costs.network}, random weights, synthetic images, on {costs.machine}; "
        f"evaluation in batches of {costs.batch_size}."
    )
    if costs.reduced:
        return f"{text} Reduced ({costs.reduced}), so that no hours follow."
    return (
        f"{text} Hours: the recipe's steps, {costs.train_images} training images for statistics and "
        f"{costs.test_images} test images; a network that rows share counts in each of them. Validation, metrics and "
        f"resume states are not in them."
    )


def _number(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"
