"""Somebody in a notebook."""

import json
import re

from walk import HOME, QUICK, text_of

from tests.datasets.files import camvid

WITHOUT_A_SCREEN = "import matplotlib; matplotlib.use('agg')\n"


def test_the_lines_of_the_page_run(walk):
    section = text_of("benchmark/README.md").partition("\n## From Python\n")[2].partition("\n## ")[0]
    program = "\n".join(re.findall(r"^```python\n(.*?)^```", section, re.M | re.S))
    camvid(walk.folder / "data")
    walk.photos(".", 1)
    for name in ("photo", "normal-1", "normal-2"):
        (walk.folder / f"{name}.jpg").write_bytes((walk.folder / "0.jpg").read_bytes())
    quick = ('train=True)', 'train=True, network="pspnet-small", recipe={"segmentation.epochs": 1})')
    run = "python -m benchmark run --methods dicnet,msp"
    walk.type("README.md", run, *walk.harbour(), *QUICK, "--no-report", "--methods=msp")
    assert program.count(quick[0]) == 1 and program.count('"results"') == 1
    program = program.replace(*quick).replace('"results"', '"runs"').replace("range(3)", "range(2)")
    (walk.folder / "lines.py").write_text(program)
    done = walk.run("python lines.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("MSP ('sky', ") and "AUPR 0." in done.stdout
    assert (walk.folder / "scores.png").is_file()


def test_the_notebook_runs(walk):
    book = json.loads((HOME / "benchmark" / "tour.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
    program = "\n".join(cells)
    (walk.folder / "tour.py").write_text(program)
