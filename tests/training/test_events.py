"""Event files say of every epoch what the report of a training says, also where it was interrupted in between."""

import importlib.util
import sys

import pytest

from benchmark.errors import BenchmarkError
from benchmark.training import events
from benchmark.weights.store import WeightsStore

needs = pytest.mark.skipif(
    not importlib.util.find_spec("tensorboard"), reason="tensorboard, of the extra [tensorboard], is not installed"
)


def scalars(folder) -> dict[str, dict[int, float]]:
    """Tag -> epoch -> value, as TensorBoard shows them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return {tag: {each.step: each.value for each in found.Scalars(tag)} for tag in found.Tags()["scalars"]}


@needs
def test_a_run_writes_what_its_report_says(bench):
    recipe = ["--recipe", "segmentation.epochs=3", "--recipe", "distillation.epochs=2"]
    assert bench("train", "--methods", "dicnet", "--tensorboard", *recipe) == 0
    store = WeightsStore(bench.runs / "weights")
    runs = {path.name: path for path in (bench.runs / "tensorboard" / "town").iterdir()}
    assert len(runs) == 2
    for entry in store.entries():
        (history,) = (report["history"] for report in entry.sidecar["reports"])
        (folder,) = (path for name, path in runs.items() if name.startswith(entry.path.stem))
        found = scalars(folder)
        assert found["lr"] == pytest.approx({each["epoch"]: each["lr"] for each in history})
        losses = set(history[0]) - {"epoch", "lr", "validation"}
        assert losses and {tag for tag in found if tag.startswith("loss/")} == {f"loss/{name}" for name in losses}
        for name in losses:
            assert found[f"loss/{name}"] == pytest.approx({each["epoch"]: each[name] for each in history})
        for name, value in history[-1]["validation"].items():
            assert found[f"validation/{name}"][len(history)] == pytest.approx(value, nan_ok=True)


@needs
def test_epochs_that_are_done_again_replace_the_old_ones(tmp_path):
    state = tmp_path / "town" / "net.state"
    first = events.Events(tmp_path / "events", state, 0)
    for number in (1, 2, 3):
        first.epoch({"epoch": number, "lr": 0.1, "loss": float(number)})
    first.close()
    again = events.Events(tmp_path / "events", state, 1)
    again.epoch({"epoch": 2, "lr": 0.1, "loss": 20.0})
    again.close()
    assert scalars(tmp_path / "events" / "town" / "net")["loss/loss"] == {1: 1.0, 2: 20.0}


def test_without_the_flag_nothing_is_written(bench):
    assert bench("train", "--methods", "msp") == 0
    assert not (bench.runs / "tensorboard").exists()


def test_a_missing_package_is_said_before_anything_is_trained(bench, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.setattr(sys.modules["torch.utils"], "tensorboard", None, raising=False)
    monkeypatch.delattr(sys.modules["torch.utils"], "tensorboard")
    with pytest.raises(BenchmarkError, match=r"pip install tensorboard"):
        events.available()
    assert bench("train", "--methods", "msp", "--tensorboard") == 2
    assert "takes the package tensorboard" in bench.err and not bench.runs.exists()
