"""What a plugin does to shared maps and functions changes nothing of those whose turn has been, or that are measured
beside it."""

import time

import pytest
from harness import measured

from benchmark.metrics import FirstPass, SecondPass

OUT = 'out = networks["base"](batch)'


def plugin(*lines):
    """Writes a method "bad" whose score() runs these lines first."""
    body = "".join(f"\n        {line}" for line in lines)
    text = f"from benchmark.method import Method\n\nclass Bad(Method):\n    def score(self, batch, networks):{body}"
    return lambda bench: bench.plugin("bad", f'{text}\n        return -networks["base"](batch).logits().amax(dim=1)\n')


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize("line", ["out.prediction().zero_()", "out.logits().mul_(-1)"])
def test_whose_turn_has_been_is_measured_on_what_it_was_scored_on(bench, line, workers):
    wanted = ["run", "--protocols", "failure-split,calibration", "--workers", workers, "--force", "--methods"]
    assert bench(*wanted, "energy,msp") == 0
    alone = [measured(bench.record(label)) for label in ("energy", "msp")]
    plugin(OUT, line)(bench)
    assert bench(*wanted, "energy,bad,msp") == 1 and "bad: score() changes outputs of a network" in bench.err
    assert [measured(bench.record(label)) for label in ("energy", "msp")] == alone


def test_nobody_is_measured_beside_with_a_function_that_is_about_to_be_put_back(bench, monkeypatch):
    update = FirstPass.update
    monkeypatch.setattr(FirstPass, "update", lambda *given: time.sleep(0.3) or update(*given))  # the other has begun
    wanted = ["run", "--workers", "2", "--force", "--methods"]
    assert bench(*wanted, "energy") == 0
    alone = measured(bench.record("energy"))
    line = "import benchmark.metrics.ranking as own; own.Ranking.auroc = lambda self: 0.99"
    plugin(line, "import time; time.sleep(0.6)")(bench)
    assert bench(*wanted, "energy,bad") == 1 and "Ranking.auroc" in bench.err
    assert measured(bench.record("energy")) == alone


def test_so_it_is_in_the_second_pass(bench):
    """After four test and four validation images."""
    wanted = ["run", "--protocols", "open-set-fpr", "--batch-size", "1", "--force", "--methods"]
    assert bench(*wanted, "energy") == 0
    alone = measured(bench.record("energy"))
    plugin("self.seen = getattr(self, 'seen', 0) + 1", OUT, "if self.seen > 8: out.prediction().zero_()")(bench)
    assert bench(*wanted, "bad,energy") == 1 and "bad: score() changes outputs of a network" in bench.err
    assert measured(bench.record("energy")) == alone


@pytest.mark.parametrize("saved", [False, True])
def test_nor_if_it_begins_with_that_at_a_later_batch(bench, monkeypatch, saved):
    """It is found out when its turn is over; the others are then measured again, from the last state on."""
    update = FirstPass.update
    monkeypatch.setattr(FirstPass, "update", lambda *given: time.sleep(0.3) or update(*given))  # the other has begun
    if saved:
        monkeypatch.setattr("benchmark.run.evaluate.SAVE_EVERY", 0.0)
    wanted = ["run", "--workers", "2", "--force", "--methods"]
    assert bench(*wanted, "energy") == 0
    alone = measured(bench.record("energy")), bench.rows("energy")
    import_both = "import time; import benchmark.metrics.ranking as own"
    change = 'if batch.ids[0].endswith("2"): own.Ranking.auroc = lambda self: 0.99; time.sleep(0.6)'
    plugin(import_both, change)(bench)
    assert bench(*wanted, "energy,bad") == 1 and "Ranking.auroc" in bench.err
    assert (measured(bench.record("energy")), bench.rows("energy")) == alone
    assert "bad did that while others were measured beside it" in bench.out
    assert ("Evaluation goes on after 2 of 4 images." in bench.out) == saved
    assert not list((bench.runs / "partial").glob("*")), "no state is left"


def test_in_the_second_pass_the_others_begin_that_again(bench, monkeypatch):
    update = SecondPass.update
    monkeypatch.setattr(SecondPass, "update", lambda *given: time.sleep(0.3) or update(*given))  # the other has begun
    wanted = ["run", "--workers", "2", "--force", "--protocols", "smiyc-obstacles", "--methods"]
    assert bench(*wanted, "energy") == 0
    alone = measured(bench.record("energy"))
    count = "import time; import benchmark.metrics.ranking as own; self.seen = getattr(self, 'seen', 0) + 1"
    change = "if self.seen == 4 + 3: own.Ranking.auroc = lambda self: 0.99; time.sleep(0.6)"
    plugin(count, change)(bench)
    assert bench(*wanted, "energy,bad") == 1 and "Ranking.auroc" in bench.err
    assert measured(bench.record("energy")) == alone
    assert "the others begin the second pass again" in bench.out
