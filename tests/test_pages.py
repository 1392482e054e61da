"""The pages do what they say: links lead somewhere, commands exist, code runs, tables are those of the registries."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import threading
from functools import cache
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest
from test_architecture import RANKS, graph

from benchmark.cli.main import make_parser
from benchmark.data import Batch, Sample
from benchmark.leaderboard.compare import comparisons
from benchmark.metrics import PROTOCOLS, View
from benchmark.metrics.sorted_image import SortedImage
from benchmark.network import NetworkSpec, Outputs
from benchmark.recipe import Recipe
from benchmark.registry import DATASETS, METHODS
from benchmark.run.kinds import KINDS, profile
from tests.datasets.files import noise, write

HOME = Path(__file__).resolve().parents[1]
PAGES = sorted(
    path
    for path in HOME.rglob("*.md")
    if not any(p.startswith(".") or p == "runs" for p in path.relative_to(HOME).parts)
)
VERBS = make_parser()._subparsers._group_actions[0].choices


def name_of(path: Path) -> str:
    return path.relative_to(HOME).as_posix()


def prose(text: str) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S)


def words(text: str) -> list[list[str]]:
    """The shell commands of a block, each as its words."""
    lines = text.replace("\\\n", " ").splitlines()
    return [shlex.split(part) for line in lines for part in re.sub(r"\s# .*", "", line).split(" && ") if part.strip()]


def commands(path: Path) -> list[list[str]]:
    """What a page tells the reader to type after ``python -m benchmark``, in blocks and between backticks."""
    found = [
        line[3:] for block in blocks(path, "sh") for line in words(block) if line[:3] == ["python", "-m", "benchmark"]
    ]
    for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose(path.read_text(encoding="utf-8"))):
        line = words(" ".join(code.split()))[0]
        line = line[3:] if line[:3] == ["python", "-m", "benchmark"] else line
        if line and line[0] in VERBS and len(line) > 1:
            found.append(line)
    return found


def table(path: Path, heading: str) -> list[dict[str, str]]:
    """The first table below a heading, a dict per row, by the titles of its columns."""
    text = path.read_text(encoding="utf-8")
    return cells(text[text.index(f"\n{heading}\n") :])


def cells(text: str) -> list[dict[str, str]]:
    """The first table of a text, likewise."""
    found = re.search(r"(?:^\|.*(?:\n|$))+", text, re.M)[0]
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split(" | ")] for line in found.splitlines())
    return [dict(zip(head, row, strict=True)) for row in rows]


def by_method(text: str) -> dict[str, dict[str, str]]:
    """The rows of the first table of a text, by the method."""
    return {row["Method"].strip(): row for row in cells(text)}


def anchors(path: Path) -> set[str]:
    """The anchors that a page's headings have."""
    titles = re.findall(r"^#+ (.+)$", prose(path.read_text(encoding="utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path.read_text(encoding="utf-8"))):
        if not re.match(r"https?://", target):
            place, _, anchor = target.partition("#")
            found = (path.parent / place).resolve() if place else path
            assert found.exists() and found.is_relative_to(HOME), f"{name_of(path)} links to {target}"
            assert not anchor or anchor in anchors(found), f"{name_of(path)} links to {target}"


def test_every_room_of_plugins_and_results_has_a_page_and_every_page_is_linked():
    names = {name_of(path) for path in PAGES}
    assert {f"{room}README.md" for room in ("", "benchmark/", "methods/", "datasets/", "results/")} <= names
    top = (HOME / "README.md").read_text(encoding="utf-8")
    for name in names - {"README.md"}:
        assert f"({name}" in top, f"the README leads nobody to {name}"


def named(options, key: str, default: str) -> list[str]:
    """The plugins that an option of a command line names; capitals stand for a name of the reader's."""
    value = getattr(options, key, default)
    return [call for call in (value if isinstance(value, str) else "").split(",") if call not in ("", default, "NAME")]


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_commands_exist(path, capsys):
    for line in commands(path):
        try:
            options = make_parser().parse_args(line)
        except SystemExit:
            pytest.fail(f"{name_of(path)}: {shlex.join(line)}: {capsys.readouterr().err}")
        if not options.plugin:
            for call in named(options, "methods", "all"):
                METHODS.create(call)
            for call in named(options, "dataset", "auto"):
                DATASETS.get(call.partition(":")[0])


def test_the_two_commands_and_the_one_picture_of_the_front_page():
    text = (HOME / "README.md").read_text(encoding="utf-8")
    install, tests = blocks(HOME / "README.md", "sh")
    assert install == "pip install -e . && python -m benchmark run --methods dicnet,msp\n"
    assert tests == "pip install -e '.[test]' && python -m pytest\n"
    assert text.count("![") == 1


def lay_out(bench) -> None:
    """Files for the examples: a page's named files come beside them."""
    for home, values in ((bench.folder / "harbour_folder", (0, 1, 2, 9)), (bench.data / "harbour", (0, 1, 2, 9))):
        for split in ("train", "val", "test"):
            known = values if split == "test" else values[:-1]
            labels = np.array(known, np.uint8)[np.arange(24 * 40).reshape(24, 40) % len(known)]
            write(home / split / "images" / "0.png", noise(len(split), size=(24, 40)))
            write(home / split / "labels" / "0.png", labels)
    write(bench.folder / "cargo" / "images" / "0.png", noise(0, size=(24, 40)))
    write(bench.folder / "cargo" / "labels" / "0.png", np.eye(24, 40, dtype=np.uint8))


@pytest.mark.parametrize("room", ["methods", "datasets"])
def test_the_examples_of_a_page_run(room, bench, monkeypatch):
    """Named files are written, other Python is executed, and every ``check`` and ``run`` of a plugin is typed."""
    page = HOME / room / "README.md"
    monkeypatch.chdir(bench.folder)
    lay_out(bench)
    for language in ("python", "toml"):
        for block in blocks(page, language):
            if named := re.match(r"# (\S+\.(?:py|toml))\n", block):
                Path(named[1]).parent.mkdir(exist_ok=True)
                Path(named[1]).write_text(block)
            elif language == "python":
                exec(block, {})
    typed = [line for block in blocks(page, "sh") for line in words(block)]
    ran = 0
    for _, _, _, verb, *rest in typed:
        if verb == "check" or (verb == "run" and "--plugin" in rest):
            assert bench(verb, *rest) == 0, bench.out + bench.err
            ran += 1
    assert ran == {"methods": 7, "datasets": 3}[room]


def test_the_notebook_example_prints_what_it_says(capsys):
    (code,) = (b for b in blocks(HOME / "methods" / "README.md", "python") if "networks_for" in b)
    exec(code, {})
    assert capsys.readouterr().out.strip() == re.search(r"print\(.*\)  # (.*)", code)[1]


def test_the_table_of_methods_is_the_registrys():
    page = HOME / "methods" / "README.md"
    heads = [kind for kind in KINDS if f"### {kind}\n" in page.read_text().partition("## All methods")[2]]
    groups = {kind: table(page, f"### {kind}") for kind in heads}
    kinds = {name: profile(METHODS.create(name)).kind for name in METHODS.names()}
    expected = {kind: [name for name in METHODS.names() if kinds[name] == kind] for kind in KINDS}
    found = {kind: [row["plugin"].strip("`") for row in rows] for kind, rows in groups.items()}
    assert found == {kind: names for kind, names in expected.items() if names}
    rows = [row for group in groups.values() for row in group]
    base = NetworkSpec("pspnet-small", "x", 13, Recipe())
    for row in rows:
        method = METHODS.create(row["plugin"].strip("`"))
        assert (row["method"], row["paper"]) == (method.title, method.paper)
        needs = method.needs(base)
        assert ("statistics" in row["needs"]) == method.observes, method.name
        others = [need.network for need in needs.values() if need.network != base and not need.network.frozen]
        trains = bool(method.recipes or others)
        assert ("trains" in row["needs"]) == trains or "extra=true" in row["needs"], method.name
        taps = {tap for need in needs.values() for tap in need.taps}
        assert set(re.findall(r"tap `(\S+)`", row["needs"])) == taps, method.name


def test_the_table_of_protocols_is_the_registrys():
    rows = table(HOME / "results" / "README.md", "## The protocol is part of a number")
    assert {name for row in rows for name in re.findall(r"`([\w-]+)`", row["protocol"])} == set(PROTOCOLS)


def test_the_table_of_data_sets_is_the_registrys():
    rows = table(HOME / "datasets" / "README.md", "## All datasets")
    assert [row["name"].strip("`") for row in rows] == DATASETS.names()
    for row in rows:
        name = row["name"].strip("`")
        card = DATASETS.get(name).card
        assert (row["dataset"], row["licence"]) == (card.title, card.licence)
        if card.sizes:
            sizes = (str(card.sizes.get(split, "-")) for split in ("train", "val", "test"))
            assert row["train/val/test"] == "/".join(sizes), name
            assert row["label rule"].startswith("c" if card.class_labels else "k"), name
        assert (f"networks of `{card.trained_on}`" in row["label rule"]) == bool(card.trained_on), name
        assert (f"fetch {name}" in row["how to get it"]) == bool(card.downloads), name
        assert row["how to get it"].startswith("login") == bool(card.obtain), name


def test_the_differences_are_those_of_compare(tmp_path):
    """Row by row, as printed, up to the last digit of a resampling."""
    results = HOME / "results"
    part = "records/camvid-ood"  # the others need not be read again and again
    shutil.copytree(results / part, tmp_path / part)
    said = cache(lambda *methods, network: comparisons(tmp_path, methods, "camvid-ood", network)[0].text)
    column = "`python -m benchmark compare --dataset camvid-ood` ..."
    rows = table(results / "README.md", "## Which differences are real")
    networks = {"`S`": "pspnet-small", "`F`": "fpn-tf_efficientnet_lite0:encoder_weights=imagenet"}
    assert len(rows) > 10
    for row in rows:
        methods, network = row[column].strip("`").split(), networks[row["`--network`"]]
        (line,) = re.findall(rf"^{row['metric']} .*", said(*methods, network=network), re.M)
        found = re.search(r"([-+][\d.]+) \[([-+][\d.]+), ([-+][\d.]+)\]", line).groups()
        stated = re.search(r"([-+][\d.]+) \[([-+][\d.]+), ([-+][\d.]+)\]", row["difference [95 % interval]"]).groups()
        assert [float(v) for v in stated] == pytest.approx([float(v) for v in found], abs=0.1), row[column]
        better, share = re.search(r"(\S+)(?: °)? is better on (\d+) %", line).groups()
        share = int(share) if better in (methods[0], "1") else 100 - int(share)
        assert int(row["first is better on"].strip(" %")) == pytest.approx(share, abs=1), row[column]


def test_the_figures_of_the_front_page_are_those_of_its_tables():
    """A number in the running text is one of the leaderboards or of the differences beside them.

    The best of a segmenter is that of the methods without outliers, which stand above the first heading.
    """
    text = (HOME / "README.md").read_text(encoding="utf-8")
    told = text[text.index("On the photographs") : text.index("StreetHazards itself")]
    board = (HOME / "results" / "LEADERBOARD.md").read_text(encoding="utf-8")
    known = re.sub(r"[^\d.]+", " ", board).split()
    known += re.sub(r"[^\d.]+", " ", text[text.index("leaderboard:begin") : text.index("leaderboard:end")]).split()
    rows = table(HOME / "results" / "README.md", "## Which differences are real")
    intervals = [re.findall(r"[\d.]+", row["difference [95 % interval]"]) for row in rows]
    known += [f"{float(number) + 1e-9:.1f}" for numbers in intervals for number in numbers]
    for number in re.findall(r"\d+\.\d", told.replace("0.3 million", "")):
        assert number in known, number
    board = (HOME / "results" / "LEADERBOARD.md").read_text(encoding="utf-8")
    section = board.partition("\n## CamVid-OOD\n")[2].partition("\n## ")[0]
    pretrained, small = section.partition("\n### pspnet-small\n")[::2]
    rows = {name: by_method(part) for name, part in (("F", pretrained), ("S", small))}
    aupr = {
        network: {
            name: row["AUPR<br>per image"].split()[0].strip("*")
            for name, row in takewhile(lambda item: not item[0].startswith("*"), found.items())
        }
        for network, found in rows.items()
    }
    frozen = aupr["F"][r"kNN (encoder=tf\_efficientnet\_lite0, k=3)"]
    spec = NetworkSpec("pspnet-small", "x", 11, Recipe())
    methods = [METHODS.create(name) for name in METHODS.names()]
    others = {m.title for m in methods if any(need.network.frozen for need in m.needs(spec).values())}
    own = {name: float(value) for name, value in aupr["F"].items() if "encoder=" not in name and name not in others}
    best = max(own, key=own.get)
    line = told.replace("\n", " ")
    assert f"({frozen} against {own[best]} of {best}" in line
    assert f"MSP rises from {aupr['S']['MSP']} to {aupr['F']['MSP']}" in line
    assert f"the energy from {aupr['S']['Energy']} to {aupr['F']['Energy']}" in line
    assert f"follow the edges of the image, has {aupr['F']['Guided kNN']}" in line
    split = by_method(small[small.index("False alarms where the network errs") :])
    wrong, right = (
        {name: f"{float(row[column].strip('* ')):.0f} %" for name, row in split.items() if not name.startswith("*")}
        for column in ("wrongly classified", "correctly classified")
    )
    dicnet = r"DiCNet (teacher\_target=conv)"
    assert f"{wrong[dicnet]} of the pixels are false alarms" in line and f"against {wrong['MSP']} for MSP" in line
    assert f"same features: {wrong['kNN (k=5)']}" in line and f"{right[dicnet]} against {right['MSP']} where" in line


def test_the_rooms_are_those_of_the_code():
    """Mend a row by what the message says."""
    found = {room: set() for room in RANKS}
    for name, targets in graph().items():
        room = name.split(".")[1] if "." in name else ""
        if room in found:
            found[room] |= {t.split(".")[1] for t in targets if "." in t} - {room}
    page = HOME / "benchmark" / "README.md"
    rows = {row["room"].strip("`"): row["imports"] for row in table(page, "## The rooms")}
    assert list(rows) == RANKS
    for room, targets in found.items():
        assert rows[room] == (", ".join(sorted(targets, key=RANKS.index)) or "–"), room


GRIDS = {(24 // n, 40 // n) for n in (1, 2, 4, 8)}
"""Heights and widths under which the image of the trace appears; nothing else there has such a shape."""
FLAT = {24 * 40 * n // 4 for n in (1, 2, 3, 4)}
"""Numbers of pixels of all its labels, each of which a quarter of them has, when they are sorted."""


def holds_pixels(value, depth: int = 0) -> bool:
    """Whether something is an array with the grid of the image or with its sorted pixels, or has such a grid in it."""
    shape = getattr(value, "shape", None)
    shape = shape if isinstance(shape, tuple) else None  # that of numpy itself is a function
    if shape is not None and len(shape) == 1:
        return not depth and shape[0] in FLAT
    if shape is not None and len(shape) > 1:
        return tuple(shape[-2:]) in GRIDS or tuple(shape[:2]) in GRIDS or tuple(shape[1:3]) in GRIDS
    if depth > 2:
        return False
    if isinstance(value, list | tuple):
        return any(holds_pixels(item, depth + 1) for item in value[:4])
    if isinstance(value, dict):
        return any(holds_pixels(item, depth + 1) for item in list(value.values())[:8])
    if isinstance(value, Sample | Batch | Outputs | View):
        return holds_pixels(dict(vars(value)), depth)
    return isinstance(value, SortedImage)


def test_the_way_of_one_image(bench, monkeypatch):
    """Traced: the files of which a function holds the pixels of a test image while ``evaluate`` runs."""
    lay_out(bench)
    (bench.folder / "harbour_folder" / "dataset.toml").write_text(blocks(HOME / "datasets" / "README.md", "toml")[0])
    where = ["--dataset", f"folder:path={bench.folder}/harbour_folder", "--methods", "msp", "--workers", "0"]
    short = ["--recipe", "segmentation.epochs=1", "--recipe", "segmentation.batch_size=2"]
    assert bench("run", *where, *short) == 0, bench.err
    monkeypatch.setattr("benchmark.run.evaluate.SAVE_EVERY", 0.0)  # the state is kept, as of every longer pass
    seen: dict[str, None] = {}
    inside = 0

    def watch(frame, event, result):
        nonlocal inside
        file = Path(frame.f_code.co_filename)
        if event not in ("call", "return") or not file.is_relative_to(HOME):
            return
        name = name_of(file)
        if name == "benchmark/run/evaluate.py" and frame.f_code.co_name == "evaluate":
            inside += {"call": 1, "return": -1}[event]
        if inside and name not in seen and not name.startswith("tests/"):
            held = [*frame.f_locals.values(), result]
            if any(holds_pixels(value) for value in held):
                seen[name] = None

    sys.setprofile(watch)
    threading.setprofile(watch)  # the metrics may have threads of their own
    try:
        assert bench("run", *where, *short, "--force") == 0, bench.err
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    text = (HOME / "benchmark" / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\d+\. `(\S+)`:", text[text.index("way:begin") : text.index("way:end")], re.M)
    assert set(seen) == set(listed)
    assert len(listed) <= 22
