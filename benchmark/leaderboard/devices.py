"""What ``bench device`` found out about machines, in a few lines each."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill

from pandas import DataFrame

from benchmark.io.words import quantity
from benchmark.leaderboard.formats import MARKDOWN, TERMINAL, Format, pipe_table
from benchmark.records.device import DeviceReport, DeviceRow, Switch

WIDTH = 100
"""Characters of a line in a terminal."""
PARTS = {
    "contracts": "contracts, and agreement with the CPU",
    "metrics": "metrics",
    "costs": "trainings and rows at full size",
    "pipeline": "pass over test images",
    "switches": "what switches are worth",
}


def markdown(reports: Sequence[DeviceReport]) -> str:
    """The tables of all machines."""
    return "\n\n".join(part for report in reports for part in (MARKDOWN.escape(_sentence(report)), _table(report)))


def terminal(report: DeviceReport) -> str:
    """The same of one machine, for a terminal, whose lines the sentences would not fit into."""
    rows = zip(*(_rows(report, TERMINAL)[head] for head in ("Part", "Found", "s")), strict=True)
    blocks = (fill(f"{part} ({seconds} s): {found}", WIDTH, subsequent_indent="  ") for part, found, seconds in rows)
    return "\n".join([*blocks, "", fill(_sentence(report), WIDTH)])


def _table(report: DeviceReport) -> str:
    return pipe_table(_rows(report, MARKDOWN))


def _rows(report: DeviceReport, form: Format) -> DataFrame:
    lines = []
    for name, part in report.parts.items():
        found = _FOUND[name](report)
        if part.error:
            found = "; ".join(filter(None, (found, f"missing: {part.error}")))
        lines.append({"Part": PARTS[name], "Found": found, "s": f"{part.seconds:.0f}"})
    return DataFrame(lines).map(form.escape)


def _sentence(report: DeviceReport) -> str:
    made = [part.provenance for part in report.parts.values()]
    versions = dict.fromkeys(f"torch {each.versions.get('torch', 'unknown')}" for each in made)
    dates = dict.fromkeys(each.date[:10] for each in made)
    trial = f" This is {report.reduced}, which enters no table." if report.reduced else ""
    return f"{report.device}, {', '.join(versions)}, {', '.join(dates)}; synthetic images, random weights.{trial}"


def _contracts(report: DeviceReport) -> str:
    rows = report.contracts
    if not rows:
        return ""
    failed = [row.call for row in rows if row.failed]
    worst = max((_gap(row) for row in rows), default=0.0)
    text = (
        f"{len(rows) - len(failed)} of {len(rows)} methods keep their contract, with float32 scores within "
        f"{rows[0].tolerance:g} of the range of the CPU's (at most {worst:.1g})"
    )
    return f"{text}; not {', '.join(failed)}" if failed else text


def _gap(row: DeviceRow) -> float:
    return row.gaps["fp32"].relative if "fp32" in row.gaps else 0.0


def _metrics(report: DeviceReport) -> str:
    ours = [one for one in report.metrics if one.name.startswith("ours")]
    return "; ".join(f"{one.name}: {one.milliseconds:.1f} ms, {one.times_faster:.0f} times faster" for one in ours)


def _costs(report: DeviceReport) -> str:
    costs = report.costs
    if costs is None:
        return ""
    steps = [f"{one.title} {1000 * one.seconds:.0f} ms a step" for one in costs.trainings if one.seconds]
    known = [m for m in costs.methods if m.method_ms is not None]
    text = f"{', '.join(steps)}; " if steps else ""
    text += f"{len(known)} of {len(costs.methods)} rows"
    if (hours := costs.together([m.label for m in costs.methods])) is not None and costs.methods:
        text += f", together {hours:.1f} h from nothing"
    return text


def _pipeline(report: DeviceReport) -> str:
    found = report.pipeline
    if found is None:
        return ""
    busy = "" if found.busy is None else f"the GPU busy for {found.busy:.0%}, "
    return (
        f"{1000 / found.whole:.1f} images/s with {quantity(len(found.methods), 'method')}, {found.ratio:.1f} times as "
        f"many as one after the other; {busy}{found.limit} take longest"
    )


def _switches(report: DeviceReport) -> str:
    found = report.switches
    if found is None:
        return ""
    parts = [f"a training step of {found.network}: {found.training[0].milliseconds:.1f} ms"]
    parts += [_worth(one) for one in found.training[1:]]
    parts += [f"a forward: {found.forward[0].milliseconds:.1f} ms"]
    parts += [_worth(one) for one in found.forward[1:]]
    return "; ".join([*parts, *filter(None, [found.limit])])


def _worth(one: Switch) -> str:
    return f"{one.name} {one.error or f'{one.times_faster:.2f} times as fast'}"


_FOUND = {
    "contracts": _contracts,
    "metrics": _metrics,
    "costs": _costs,
    "pipeline": _pipeline,
    "switches": _switches,
}
