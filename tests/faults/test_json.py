"""JSON files of any shape: a sentence that names the file, never a traceback."""

import pytest
from faulty import Fault

from benchmark.io.jsonfile import DEEPEST, loads


def write(place, text):
    """Arrange by the text of one file."""

    def arrange(bench):
        path = bench.folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return arrange


def nested(depth, opening="[", closing="]"):
    return opening * depth + closing * depth


RECORD = "runs/records/town/pspnet-small/msp.json"
READ = ["compare", "--results", "{}/runs"]
SAYS = r"msp\.json is (not a whole record|not a record)"
FAULTS = [
    Fault(f"a record of {title}", write(RECORD, text), READ, SAYS)
    for title, text in (
        ("100,000 nested lists", nested(100_000)),
        ("100,000 nested objects", nested(100_000, '{"a":', "}")[:-1]),
        ("900 nested lists", nested(900)),
        ("a number without end", "1" * 5000),
        ("two marks of order", "\ufeff\ufeff{}"),
        ("nothing", ""),
    )
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_survived(bench, fault):
    fault.meet(bench)


def test_the_bound_of_depth():
    assert loads(nested(DEEPEST)) is not None
    with pytest.raises(ValueError, match="lists within lists"):
        loads(nested(DEEPEST + 1))
