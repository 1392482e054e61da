"""Where people stumble, ``run`` says so in one line, and measures all the same."""

import pytest
from faulty import Fault

SOFTMAX = """
from torch import nn
from benchmark.networks import External

def build(classes):
    return External(nn.Sequential(nn.Conv2d(3, classes, 1), nn.Softmax(1)), classes)
"""
BACKWARDS = """
from benchmark.method import Method

class Backwards(Method):
    title = "Backwards"

    def __init__(self, constant: bool = False):
        super().__init__()
        self.constant = constant

    def score(self, batch, networks):
        looks = (batch.images.float() - batch.images.new_tensor([250, 40, 200]).view(3, 1, 1)).abs().sum(1)
        return looks * 0 if self.constant else looks
"""


def plugin(name, text):
    """Arrange by a plugin."""

    def arrange(bench):
        bench.plugin(name, text)

    return arrange


def unlabelled(bench):
    """The anomalies of the town have the label 255."""
    text = bench.plugins[0].read_text()
    old = "return super().__getitem__(index)"
    assert old in text
    new = "s = super().__getitem__(index); s.labels[s.labels == 254] = 255; return s"
    bench.plugins[0].write_text(text.replace(old, new))


FAULTS = [
    Fault(
        "probabilities given as logits", plugin("soft", SOFTMAX), ["run", "--methods", "msp", "--network", "soft"],
        "Hint: The network's outputs are probabilities", 0,
    ),
    Fault(
        "inverted", plugin("backwards", BACKWARDS), ["run", "--methods", "backwards"],
        "Hint.*: AUROC is .* inverted", 0,
    ),
    Fault(
        "constant", plugin("backwards", BACKWARDS), ["run", "--methods", "backwards:constant=true,msp"],
        "Hint, Backwards.*: All pixels have the same score", 0,
    ),
    Fault(
        "255 for anomalies", unlabelled, ["run", "--methods", "msp,energy", "--protocols", "smiyc-obstacles"],
        "Hint: No pixel is labelled as anomaly, and .* are ignored", 0,
    ),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_advised(bench, fault):
    fault.meet(bench)


def test_nothing_is_said_of_what_looks_as_usual(bench):
    bench.plugin("forwards", BACKWARDS.replace("Backwards", "Forwards").replace("else looks", "else -looks"))
    assert bench("run", "--methods", "forwards") == 0 and "Hint" not in bench.out + bench.err
