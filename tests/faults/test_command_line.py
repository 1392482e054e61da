"""What a user may type that makes no sense: one sentence, exit code 2, nothing written."""

import pytest
from faulty import Fault


def nothing(bench):
    assert not bench.runs.exists()


FAULTS = [
    Fault("a method that is misspelt", lambda bench: None, ["run", "--methods", "mps"], "did you mean msp", 2, nothing),
    Fault("a verb that is none", lambda bench: None, ["dance"], "invalid choice", 2, nothing),
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_survived(bench, fault):
    fault.meet(bench)
