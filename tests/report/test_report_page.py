"""The page of a results folder in a real browser: its numbers are the records', and what one clicks works."""

import re
from pathlib import Path

import pytest
from chromium import Page, start
from toy_records import measurement, published, record

pytest.importorskip("plotly", reason="needs the package plotly: pip install -e '.[report]'")

from benchmark.leaderboard.board import boards
from benchmark.leaderboard.formats import sections
from benchmark.metrics.rows import COLUMNS, write_rows
from benchmark.records.published import read_published
from benchmark.records.record import read_all
from benchmark.report.page import NAME, write

HOME = Path(__file__).resolve().parents[2]
RESULTS = HOME / "results"
HOSTILE = "</script><script>document.title='taken'</script> | \"quoted\" <b>bold</b> & 'more'"


@pytest.fixture(scope="module")
def committed(tmp_path_factory) -> Path:
    """The page of the committed results."""
    return write(RESULTS, HOME / "data", tmp_path_factory.mktemp("report") / "committed.html")


@pytest.fixture(scope="module")
def browser():
    driver = start()
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, committed) -> Page:
    return Page(browser, committed)


TABLES = """
const found = {};
for (const section of document.querySelectorAll("section.place")) {
  const table = section.querySelector("table.board");
  if (table) found[section.dataset.place] = [...table.querySelectorAll("tbody tr:not(.heading)")].map(
    row => [...row.cells].map(cell => {
      const copy = cell.cloneNode(true), small = copy.querySelector("small");
      small?.remove();
      return [copy.textContent.trim(), small?.textContent ?? ""];
    }));
}
return found;
"""


def test_every_number_of_the_tables_is_the_boards(page):
    records, problems = read_all(RESULTS)
    assert not problems
    records = [record for record in records if not record.dataset.control]
    wanted = []
    for board in boards(records, read_published(RESULTS)):
        for block in board.blocks:
            cells = [row for _, part in sections(block, compact=not block.network) for row in part.to_numpy()]
            if cells:
                wanted.append([[[cell.text, cell.small] for cell in row] for row in cells])
    shown = page.js(TABLES)
    assert sorted(shown.values()) == sorted(wanted) and sum(map(len, wanted)) > 100
    assert not page.errors


def opened(page) -> float:
    page.driver.refresh()
    return page.js("return performance.getEntriesByType('navigation')[0].loadEventEnd")


def test_the_page_is_one_file_that_opens_quickly(page, committed):
    text = committed.read_text(encoding="utf-8")
    assert len(text.encode()) < 15e6
    outside = re.findall(
        r"""(?:src|href)=["']?(?!#)[^"'\s>]+|@import|url\(""", re.sub(r"(?s)<script.*?</script>", "", text)
    )
    assert not outside
    assert page.js("return performance.getEntriesByType('resource').length") == 0
    assert min(opened(page) for _ in range(3)) < 2000  # milliseconds, and the machine may be busy


def place_of(page) -> str:
    """The board with the most rows among those with every view."""
    return page.js(
        "return Object.keys(data.places).filter(name => data.places[name].failures).reduce("
        "(a, b) => data.places[a].rows.length >= data.places[b].rows.length ? a : b)"
    )


ROWS = """
return [...sectionOf().querySelectorAll("table.board tbody:first-of-type tr:not(.heading)")].filter(r => !r.hidden)
  .map(row => [row.dataset.label, row.querySelector(`[data-key="${arguments[0]}"]`)?.dataset.value]);
"""


def test_columns_sort_best_first_and_the_other_way_round(page):
    page.go(place_of(page), "table")
    page.click("tr.heads th[data-key='measured.fpr95'] button")
    values = [float(value) for _, value in page.js(ROWS, "measured.fpr95")]
    assert len(values) > 20 and values == sorted(values)
    page.click("tr.heads th[data-key='measured.fpr95'] button")
    assert [float(value) for _, value in page.js(ROWS, "measured.fpr95")] == sorted(values, reverse=True)
    page.click("tr.heads th[data-key='pooled.aupr'] button")
    values = [float(value) for _, value in page.js(ROWS, "pooled.aupr")]
    assert values == sorted(values, reverse=True)
    assert not page.errors


def test_rows_and_columns_are_filtered(page):
    name = place_of(page)
    page.go(name, "table")
    page.driver.find_element("css selector", f"section[data-place='{name}'] .filter").send_keys("KNN")
    labels = [label for label, _ in page.js(ROWS, "title")]
    assert len(labels) > 1 and all("knn" in label for label in labels)
    page.js("sectionOf().querySelector('.filter').value = ''")
    page.click(".menu summary", "Kinds")
    page.click(".kinds label", "Fitted")
    kinds = page.js("return place().rows.map(row => [row.label, row.kind])")
    shown = page.js(
        "return [...sectionOf().querySelectorAll('tr[data-label]')].filter(r => !r.hidden).map(r => r.dataset.label)"
    )
    assert sorted(shown) == sorted(label for label, kind in kinds if kind != "Fitted") != sorted(dict(kinds))
    page.click(".menu summary", "Columns")
    page.click(".columns label", "FPR95 pooled")
    heads = page.js(
        "return [...sectionOf().querySelectorAll('tr.heads th')].filter(h => !h.hidden).map(h => h.dataset.key)"
    )
    assert "pooled.fpr95" not in heads and "measured.fpr95" in heads
    spans = page.js("return [...sectionOf().querySelectorAll('tr.groups th')].map(h => h.colSpan)")
    assert sum(spans) == len(heads)
    assert not page.errors


def test_a_cell_opens_the_record_behind_it(page):
    name = place_of(page)
    page.go(name, "table")
    page.click("tr[data-label='msp'] td[data-key='measured.aupr']")
    shown = page.js("return rowOf('msp').records[0]")
    record = next(r for r in read_all(RESULTS)[0] if r.path(Path()).with_suffix("").as_posix() == f"records/{shown}")
    text = page.js("return document.getElementById('panel').innerText")
    for value in (
        record.provenance.command,
        record.provenance.commit,
        record.provenance.versions["torch"],
        record.network.weights_sha256,
        record.dataset.fingerprint,
        str(record.metrics["pooled"].aupr),
        "pooled v2, shares of 1",
        record.path(Path()).as_posix(),
    ):
        assert value in text
    page.click("#panel .close")
    assert not page.js("return document.getElementById('panel').open")
    assert not page.errors


def test_an_image_shows_what_every_method_makes_of_it(page):
    name = place_of(page)
    page.go(name, "images")
    values = page.js(
        "return [...sectionOf().querySelectorAll('table.images td:nth-child(2)')].map(cell => Number(cell.textContent))"
    )
    assert values == sorted(values) and len(values) == 25
    page.click("table.images button.name")
    image = page.js("return panel.querySelector('h2').textContent")
    shown = page.js("return [...panel.querySelectorAll('tbody tr')].map(r => [...r.cells].map(c => c.textContent))")
    number = page.js("return place().images.ids.indexOf(arguments[0])", image)
    wanted = page.js(
        "return place().rows.filter(r => place().images.values.aupr[r.label])"
        ".map(r => [r.title, ...Object.keys(data.metrics).map(m => place().images.values[m][r.label][arguments[0]])])",
        number,
    )
    assert sorted(shown) == sorted(wanted) and len(shown) > 30
    assert "no heat maps" in page.js("return sectionOf().querySelector('[data-view=images] > .legend').textContent")
    assert not page.errors


def test_charts_are_drawn_and_say_the_records_numbers(page):
    name = place_of(page)
    for view in ("ranks", "curves", "costs", "sizes", "failures"):
        page.go(name, view)
        charts = f"[...sectionOf().querySelectorAll(`[data-view='{view}'] .chart`)]"
        page.until(f"return {charts}.length && {charts}.every(chart => chart.data?.length)")
    point = page.js("return sectionOf().querySelector('.chart.costs').data[1].customdata.find(p => p[3] === 'msp')")
    assert point[1:3] == page.js("const t = rowOf('msp').texts; return [t['measured.aupr'].join(' '), t.cost[0]]")
    assert not page.errors


@pytest.fixture
def hostile(tmp_path) -> Path:
    """A results folder whose texts are made to break out of whatever they are put into."""
    results = published(tmp_path)
    rows = {name: ["known"] * 9 if name == "negatives" else [1.0] * 9 for name in COLUMNS}
    for number, name in enumerate(("msp", "knn")):
        made = record(
            name,
            title=f"Toy set {HOSTILE}",
            note=HOSTILE,
            method_title=HOSTILE + str(number),
            aupr=0.2 + number / 10,
            metrics={"per-image": measurement(aupr=0.2 + number / 10), "pooled": measurement("pooled")},
        )
        path = made.write(results)
        from pandas import DataFrame

        rows |= {"image": [f"{HOSTILE}/{i}" for i in range(9)], "aupr": [(i + number) / 10 for i in range(9)]}
        rows |= {"anomalous": list(range(1, 10)), "normal": [100] * 9, "ignored": [0] * 9}
        write_rows(path.parent / made.rows, DataFrame(rows))
    return results


def test_no_text_of_a_record_is_taken_for_markup_or_script(browser, hostile):
    page = Page(browser, write(hostile, HOME / "data"))
    assert page.js("return document.title") != "taken"
    name = page.js("return Object.keys(data.places)[0]")
    for view in ("table", "ranks", "costs", "sizes", "images"):
        page.go(name, view)
    page.until("return sectionOf().querySelector('.chart.ranks').data")
    page.go(name, "table")
    page.click("tr[data-label='knn'] button.name")
    assert page.js("return panel.querySelector('h2').textContent") == HOSTILE + "1"
    assert page.js("return document.querySelectorAll('b:not(.cell b, .card b), main script').length") == 0
    assert page.js("return sectionOf().querySelector('.note').textContent") == HOSTILE
    assert page.js("return plain(arguments[0])", "a%{x}<b>") == "a%&#123;x}&lt;b&gt;", "no place for a value either"
    assert not page.errors


def test_one_slider_sets_the_threshold_of_every_heat_map(browser, bench):
    assert bench("run", "--methods", "msp,energy") == 0 and bench("infer", "--methods", "msp,energy") == 0
    assert bench("report", "--results", bench.runs, "--data", bench.data) == 0
    page = Page(browser, bench.runs / NAME)
    page.go(page.js("return Object.keys(data.places)[0]"), "images")
    page.until("return sectionOf().querySelectorAll('.grid figure').length === 3")
    shares = []
    for code in (0, 161, 255):
        page.js("const s = document.querySelector('.slider input'); s.value = arguments[0]; s.oninput()", code)
        level = page.js("return place().maps.rates.msp.tpr[arguments[0]]", code)
        page.until("return sectionOf().querySelector('.grid').textContent.includes(`${arguments[0]} % found`)", level)
        shares.append(float(level))
    assert shares[0] == 100 and shares == sorted(shares, reverse=True)
    page.click(".thumb:last-child")
    last = page.js("return place().maps.images.at(-1).id")
    page.until("return sectionOf().querySelector('.grid figcaption').textContent.includes(arguments[0])", last)
    assert not page.errors


def test_a_phone_shows_it_without_scrolling_sideways_and_the_theme_can_be_switched(browser, committed):
    metrics = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page = Page(browser, committed)
        name = place_of(page)
        for view in ("table", "ranks", "curves", "images", "failures"):
            page.go(name, view)
            assert page.js("return document.documentElement.scrollWidth") <= 360, view
        shades = []
        for _ in range(3):
            page.click("#theme")
            shades.append(
                (
                    page.js("return document.getElementById('theme').textContent"),
                    page.js("return getComputedStyle(document.body).backgroundColor"),
                )
            )
        assert dict(shades)["Theme: light"] != dict(shades)["Theme: dark"]
        assert not page.errors
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
