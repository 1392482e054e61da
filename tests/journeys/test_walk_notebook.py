"""Somebody in a notebook."""

import json
import re

from walk import HOME, text_of

from tests.datasets.files import camvid


def test_the_lines_of_the_page_run(walk):
    section = text_of("benchmark/README.md").partition("\n## From Python\n")[2].partition("\n## ")[0]
    program = "\n".join(re.findall(r"^```python\n(.*?)^```", section, re.M | re.S))
    camvid(walk.folder / "data")
    walk.photos(".", 1)
    for name in ("photo", "normal-1", "normal-2"):
        (walk.folder / f"{name}.jpg").write_bytes((walk.folder / "0.jpg").read_bytes())
    quick = ("train=True)", 'train=True, network="pspnet-small", recipe={"segmentation.epochs": 1})')
    (walk.folder / "results").symlink_to(HOME / "results")
    assert program.count(quick[0]) == 1
    program = program.replace(*quick).replace("range(3)", "range(2)")
    (walk.folder / "lines.py").write_text(program)
    done = walk.run("python lines.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("MSP ('sky', ") and "AUPR 0." in done.stdout
    assert (walk.folder / "scores.png").is_file()


def test_the_notebook_runs(walk):
    book = json.loads((HOME / "benchmark" / "tour.ipynb").read_text(encoding="utf-8"))
    program = "\n".join("".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code")
    assert program.count('"minihazards"') == 1
    _, dataset = walk.harbour()
    (walk.folder / "tour.py").write_text(program.replace('"minihazards"', f'"{dataset}"'))
    (walk.folder / "results").symlink_to(HOME / "results")
    done = walk.run("python tour.py")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"AUPR 0\.\d+, of a constant score 0\.\d+\n", done.stdout)
    assert (walk.folder / "runs" / "weights").is_dir(), "nothing is kept in the installation"
