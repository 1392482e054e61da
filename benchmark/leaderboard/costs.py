"""The tables of what a row costs."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.records.costs import Costs

NOTHING = "–"
TRAINING_HEADS = ("Training step", "batch", "image sizes", "ms/step", "images/s", "GiB", "steps", "hours")
METHOD_HEADS = ("Method", "net + own ms/image", "GiB", "training h", "fit h", "evaluation h", "row h")


def training_rows(costs: Costs) -> list[list[str]]:
    """The trainings as text under `TRAINING_HEADS`."""
    rows = []
    for one in costs.trainings:
        rate = None if not one.seconds else one.batch_size / one.seconds
        numbers = [
            _number(None if one.seconds is None else 1000 * one.seconds, 0),
            _number(rate, 1),
            _number(one.memory_gib, 1),
            str(one.steps),
            _number(None if costs.reduced else one.hours, 1),
        ]
        name = f"{one.title}: {one.error}" if one.error else one.title
        rows.append([name, str(one.batch_size), one.sizes, *numbers])
    return rows


def method_rows(costs: Costs) -> list[list[str]]:
    """The methods as text under `METHOD_HEADS`."""
    rows = []
    for one in costs.methods:
        hours = costs.hours(one)
        name = f"{one.title}: {one.error}" if one.error else one.title
        times = f"{_number(one.network_ms, 1)} + {_number(one.method_ms, 1)}"
        rows.append([name, times, _number(one.memory_gib, 1), *(_number(value, 2) for value in hours.values())])
    return rows


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


def markdown(records: Sequence[Costs]) -> str:
    """The tables of all machines."""
    parts = []
    for costs in records:
        parts += [
            sentence(costs),
            _pipes(TRAINING_HEADS, training_rows(costs), words=(0, 2)),
            _pipes(METHOD_HEADS, method_rows(costs), words=(0,)),
        ]
    return "\n\n".join(parts)


def _pipes(heads: Sequence[str], rows: list[list[str]], words: Sequence[int]) -> str:
    ruler = [":--" if i in words else "--:" for i in range(len(heads))]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in [heads, ruler, *rows])


def _number(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"
