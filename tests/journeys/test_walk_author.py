"""The author of a method, with a file of their own."""

import re

PAGE = "methods/README.md"


def test_from_a_file_to_a_comparison(walk):
    assert walk.folder / "margin.py" in walk.copy(PAGE, "python")
    assert "margin" in walk.type(PAGE, "python -m benchmark check margin --plugin margin.py")
    run = "python -m benchmark run --methods msp,margin --plugin margin.py"
    printed = walk.type(PAGE, run, *walk.harbour(), "--no-report")
    assert re.search(r"^Margin  ", printed, re.M) and re.search(r"^MSP  ", printed, re.M)
    compared = walk.type(PAGE, "python -m benchmark compare --results runs margin msp")
    assert re.search(r"^AUPR .* is better on \d+ % of resamples", compared, re.M)

    code = (walk.folder / "margin.py").read_text()
    (walk.folder / "margin.py").write_text(code.replace("second - first", "(second - first).exp()"))
    plan = walk.type(PAGE, run, "--dataset", "folder:path=harbour_folder", "--dry-run")
    assert re.search(r"^  margin: .*margin\.py", plan, re.M), "an edited method is measured again"
    assert re.search(r"^  msp: current", plan, re.M)
