"""The page: content, style, scripts and Plotly in one file that needs no server and no network."""

from __future__ import annotations

import base64
import gzip
import json
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jinja2 import PackageLoader
from markupsafe import Markup

from benchmark.errors import BenchmarkError
from benchmark.io.atomic import replacing
from benchmark.io.words import quantity
from benchmark.leaderboard.failures import TITLE as FAILURES_TITLE
from benchmark.leaderboard.formats import HTML, LEGEND, WORDS, extra_texts, html_table
from benchmark.leaderboard.further import Further, further
from benchmark.leaderboard.page import environment
from benchmark.leaderboard.protocols import SIZES_TITLE
from benchmark.leaderboard.wording import METRIC_TITLES
from benchmark.report.content import KINDS, Content, Place, content
from benchmark.report.heat import IMAGES

NAME = "report.html"
SCRIPTS = ("state.js", "table.js", "record.js", "maps.js", "charts.js", "images.js", "main.js")
"""In the order of their use; each is a classic script that shares its top-level names with those behind it."""


def available() -> bool:
    """Whether the package that draws the charts is installed."""
    return find_spec("plotly") is not None


def write(results: Path, root: Path, to: Path | None = None, drawn: int = IMAGES) -> Path:
    """Write the report of a results folder.

    Args:
        results: folder with records/, published/ or both, and scores/ where ``infer`` wrote score maps.
        root: the data root, for the images of heat maps.
        drawn: images of a board that have heat maps, where there are score maps.
        to: the page; ``report.html`` in that folder by default.
    Raises:
        BenchmarkError: there is nothing to show, Plotly is missing, or the page cannot be written.
    """
    path = Path(to) if to else Path(results) / NAME
    text = render(content(results, root, drawn))
    with replacing(path, disposable=True) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def render(found: Content) -> str:
    """The page of a content; equal contents give equal pages.

    Raises:
        BenchmarkError: Plotly is missing.
    """
    plotly = _packed_plotly()
    template = environment(PackageLoader("benchmark.report")).get_template("report.html.j2")
    return template.render(
        places=found.places,
        kinds=KINDS,
        metrics=METRIC_TITLES,
        sizes_title=SIZES_TITLE,
        problems=found.problems,
        counts=_counts(found),
        legend=LEGEND,
        failures_title=FAILURES_TITLE,
        tables=_Tables(),
        style=Markup(_template("report.css")),
        scripts=[Markup(_template(name)) for name in SCRIPTS],
        data=Markup(as_script(_data(found))),
        plotly=Markup(plotly),
    )


def as_script(value: Any) -> str:
    """JSON that no HTML parser takes for an end of its script, whatever texts it holds."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _data(found: Content) -> dict[str, Any]:
    return {
        "metrics": METRIC_TITLES,
        "places": {
            place.name: {"title": place.board.title, "network": place.block.network, **place.views}
            for place in found.places
        },
        "records": found.records,
    }


def _counts(found: Content) -> str:
    measured = [place for place in found.places if place.block.network]
    methods = {row.label for place in measured for row in place.rows if row.records}
    counts = {
        "dataset": len({place.board.name for place in measured}),
        "method": len(methods),
        "record": len(found.records),
    }
    return ", ".join(quantity(count, word) for word, count in counts.items()) + " measured"


class _Tables:
    """Tables that need no script, as the web pages of the boards show them."""

    def extras(self, place: Place) -> list[tuple[str, str, Markup]]:
        """Title, legend and table of every further protocol."""
        return [(e.title, e.legend, Markup(html_table(extra_texts(e, HTML)))) for e in place.block.extras]

    def further(self, place: Place) -> list[tuple[Further, int, Markup]]:
        """What was published on other images or by methods that are not here, with the number of columns of words."""
        return [
            (made, sum(title in WORDS for title in made.cells) - 1, Markup(html_table(made.texts(HTML))))
            for made in further(place.board.further)
        ]


def _template(name: str) -> str:
    return (files("benchmark.report") / "templates" / name).read_text(encoding="utf-8")


@cache
def _packed_plotly() -> str:
    """Plotly's script, compressed and in base64: a browser unpacks it when the first chart is drawn.

    Raises:
        BenchmarkError: the package is not installed.
    """
    if not available():
        raise BenchmarkError("A report needs the package plotly; `pip install plotly` brings it.")
    script = (files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    return base64.b64encode(gzip.compress(script, 6, mtime=0)).decode()
