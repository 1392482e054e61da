"""A board as a web page that needs nothing else."""

from __future__ import annotations

from jinja2 import BaseLoader, Environment
from markupsafe import Markup

from benchmark.leaderboard.board import Block, Board
from benchmark.leaderboard.formats import HTML, WORDS, block_texts, extra_texts, html_table, plain
from benchmark.leaderboard.further import TITLE as FURTHER_TITLE
from benchmark.leaderboard.further import Further, further
from benchmark.leaderboard.protocols import Extra

_PAGE = """\
{% macro bullets(remarks) %}
{% if remarks %}
<ul class="remarks">
{% for remark in remarks %}
<li>{{ remark }}</li>
{% endfor %}
</ul>
{% endif %}
{% endmacro %}
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ board.title }}: anomaly segmentation</title>
<style>
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #667078; --line: #d5dade; --page: #fff; --mark: #eef4fb; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8eb; --soft: #98a2aa; --line: #3a4148; --page: #16191c; --mark: #1f2a36; }
}
body { margin: 2rem auto; max-width: 96rem; padding: 0 1.5rem; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .25rem; }
p, li { max-width: 60rem; }
p.note { border-left: 3px solid #d98c00; padding-left: .75rem; }
p.setting, .remarks, footer { color: var(--soft); font-size: .87rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .75rem 0; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .3rem .55rem; text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; }
thead th { font-weight: 600; }
thead tr:first-child:not(:last-child) th { color: var(--soft); font-weight: 500; text-align: center; }
thead tr:last-child th, tbody tr:last-child td { border-bottom: 1px solid var(--ink); }
thead tr:first-child th { border-top: 1px solid var(--ink); }
tbody tr + tr td { border-top: 1px solid var(--line); }
tbody tr:hover td { background: var(--mark); }
thead tr:first-child:not(:last-child) th:not(:empty) { border-bottom: 1px solid var(--line); }
td small { display: block; color: var(--soft); font-size: .75rem; }
td em { color: var(--soft); }
.words1 :is(th, td):last-child, .words2 :is(th, td):nth-last-child(-n+2) { text-align: left; white-space: normal; }
summary { cursor: pointer; font-weight: 600; }
</style>
</head>
<body>
<h1>{{ board.title }}</h1>
{% if board.note %}
<p class="note">{{ board.note }}</p>
{% endif %}
{% for block, table, extras in blocks %}
{% if block.network %}
<h2>{{ block.network }}</h2>
{% endif %}
<p class="setting">{{ block.setting | join(" · ") }}</p>
{% if table %}
<div class="scroll">
{{ table | safe }}</div>
{% endif %}
{{- bullets(block.remarks) }}
{% for extra, cells in extras %}
<p class="setting">{{ extra.title }}. {{ extra.legend }}</p>
<div class="scroll">
{{ cells | safe }}</div>
{% endfor %}
{% endfor %}
{% if further %}
<h2>{{ further_title }}</h2>
{% for made, table in further %}
{% if made.folded %}
<details>
<summary>{{ made.title }}</summary>
{% else %}
<p class="setting">{{ made.title }}</p>
{% endif %}
{% if made.remark %}
<p class="note">{{ made.remark }}</p>
{% endif %}
<div class="scroll">
{{ table | safe }}</div>
{% if made.folded %}
</details>
{% endif %}
{% endfor %}
{% endif %}
{{- bullets(board.remarks) }}
<footer><p>{{ legend }}
{%- if board.sources %} Published values: {{ board.sources | join("; ") }}.{% endif %}</p></footer>
</body>
</html>
"""


def _block(block: Block) -> tuple[Block, str, list[tuple[Extra, str]]]:
    """A block with its tables as HTML."""
    table = html_table(block_texts(block, HTML)) if len(block.table) else ""
    return block, table, [(extra, html_table(extra_texts(extra, HTML))) for extra in block.extras]


def _further(made: Further) -> str:
    words = sum(title in WORDS for title in made.cells) - 1  # columns behind the numbers
    return html_table(made.texts(HTML), f'class="words{words}"')


def environment(loader: BaseLoader | None = None) -> Environment:
    """Templates of web pages: texts that are no :class:`Markup` are escaped, on one line and without control
    characters."""
    return Environment(
        loader=loader,
        autoescape=True,
        finalize=lambda value: plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def html(board: Board, legend: str) -> str:
    """A whole page: no scripts, no fonts, no images from elsewhere; light or dark as the reader's system is."""
    return (
        environment()
        .from_string(_PAGE)
        .render(
            board=board,
            blocks=[_block(block) for block in board.blocks],
            further=[(made, _further(made)) for made in further(board.further)],
            further_title=FURTHER_TITLE,
            legend=legend,
        )
    )
