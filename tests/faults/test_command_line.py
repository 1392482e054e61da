"""What a user may type that makes no sense: one sentence, exit code 2, nothing written."""

import pytest
from faulty import Fault

RUN = ["run", "--methods", "msp"]


def nothing(bench):
    assert not bench.runs.exists()


def typed(title: str, line: list[str], says: str) -> Fault:
    """A fault that is in the command line alone."""
    return Fault(title, lambda bench: None, line, says, 2, nothing)


FAULTS = [
    typed("a method that is misspelt", ["run", "--methods", "mps"], "did you mean msp"),
    typed("a verb that is none", ["dance"], "invalid choice"),
    typed("a negative batch size", [*RUN, "--batch-size", "-1"], "--batch-size is a whole number from 1"),
    typed("a batch of no image", [*RUN, "--batch-size", "0"], "--batch-size is a whole number from 1"),
    typed("a limit that is negative", [*RUN, "--limit", "-1"], "--limit is a whole number from 1"),
    typed("a limit of nothing", [*RUN, "--limit", "0"], "--limit is a whole number from 1"),
    typed("a limit that is no number", [*RUN, "--limit", "ten"], "--limit is a whole number"),
    typed("a limit with a fraction", [*RUN, "--limit", "1.5"], "--limit is a whole number"),
    typed("a limit beyond all integers", [*RUN, "--limit", "9" * 40], "--limit is a whole number"),
    typed("negative workers", [*RUN, "--workers", "-3"], "--workers is a whole number from 0"),
    typed("a million workers", [*RUN, "--workers", "1000000"], "--workers is .* up to 256"),
    typed("a scale of 0", [*RUN, "--scales", "0"], "--scales 0: write short sides"),
    typed("a negative scale", [*RUN, "--scales", "300,-5"], "--scales 300,-5: write short sides"),
    typed("no scale at all", [*RUN, "--scales", ""], "write short sides"),
    typed("a scale twice", [*RUN, "--scales", "24,24"], "a scale stands there twice"),
    typed("a negative longest side", [*RUN, "--max-size", "-5"], "--max-size is a whole number from 8"),
    typed("a longest side without scales", [*RUN, "--max-size", "500"], "give --scales, too"),
    typed("a device that computes nothing", [*RUN, "--device", "meta"], "Device 'meta': nothing here was tried on it"),
    typed("a device that is none", [*RUN, "--device", "gpu"], "no device 'gpu'"),
    typed("a second CPU", [*RUN, "--device", "cpu:7"], "Device 'cpu:7': there is one"),
    typed("a thousand million repetitions", [*RUN, "--repetition", "0-999999999"], "a repetition is .* up to 9999"),
    typed("more repetitions than anybody waits for", [*RUN, "--repetition", "0-5000"], "one command takes 100"),
    typed("repetitions backwards", [*RUN, "--repetition", "3-1"], "write numbers from 0"),
    typed("a repetition below 0", [*RUN, "--repetition=-1"], "write numbers from 0"),
    typed(
        "no epochs", [*RUN, "--recipe", "segmentation.epochs=0"], "segmentation.epochs of a recipe is a whole number"
    ),
    typed("epochs in words", [*RUN, "--recipe", "segmentation.epochs=abc"], "epochs .* not 'abc'"),
    typed("epochs that are true", [*RUN, "--recipe", "segmentation.epochs=true"], "epochs .* not 'true'"),
    typed("half an epoch", [*RUN, "--recipe", "segmentation.epochs=0.5"], "epochs .* not '0.5'"),
    typed("a crop with one side", [*RUN, "--recipe", "segmentation.crop=5"], "crop .* 0 or 2 values"),
    typed("a training batch of nothing", [*RUN, "--recipe", "segmentation.batch_size=0"], "batch_size .* from 1"),
    typed("a learning rate of nan", [*RUN, "--recipe", "segmentation.lr=nan"], "lr .* a number above 0"),
    typed("a learning rate of 0", [*RUN, "--recipe", "segmentation.lr=0"], "lr .* a number above 0"),
    typed(
        "an unknown optimiser", [*RUN, "--recipe", "segmentation.optimiser=lion"], "optimiser .* sgd or adam or adamw"
    ),
    typed("an unknown schedule", [*RUN, "--recipe", "segmentation.schedule=cos"], "schedule .* poly or cosine"),
    typed("a flip that is maybe", [*RUN, "--recipe", "segmentation.flip=maybe"], "flip .* true or false"),
    typed("another task by recipe", [*RUN, "--recipe", "segmentation.task=x"], "no field 'task' to change"),
    typed(
        "a recipe of a misspelt task", [*RUN, "--recipe", "segmentatio.epochs=1"], "none of the methods named trains"
    ),
    typed(
        "a recipe of another method", [*RUN, "--recipe", "distillation.epochs=1"], "none of the methods named trains"
    ),
    typed("a recipe's field twice", [*RUN, *["--recipe", "segmentation.epochs=1"] * 2], "given twice"),
    typed(
        "a switch that is maybe", ["run", "--methods", "msp:double_softmax=maybe"], "double_softmax is true or false"
    ),
    typed("a switch that is 1", ["run", "--methods", "msp:double_softmax=1"], "double_softmax is true or false"),
    typed("members in words", ["run", "--methods", "deep_ensemble:members=two"], "members is a whole number"),
    typed("two and a half members", ["run", "--methods", "deep_ensemble:members=2.5"], "members is a whole number"),
    typed("a temperature of nan", ["run", "--methods", "odin:temperature=nan"], "temperature is a number"),
    typed("an infinite temperature", ["run", "--methods", "energy:temperature=inf"], "temperature is a number"),
    typed("an option twice", ["run", "--methods", "knn:k=5:k=50"], "says twice what k is"),
    typed("an option of the harness", ["run", "--dataset", "town:split=train", "--methods", "msp"], "it knows edition"),
    typed("a quotation mark left open", ["run", "--methods", 'knn:tap="a,b'], "a quotation mark is not closed"),
    typed(
        "a switch of a network",
        [*RUN, "--network", "pspnet-small:encoder_weights=maybe"],
        "encoder_weights is none or imagenet",
    ),
    typed("no picture", ["show", "--methods", "msp", "--images", "-2"], "--images -2: write how many"),
    typed(
        "a picture without width", ["show", "--methods", "msp", "--width", "0"], "--width is a whole number from 100"
    ),
    typed("a size that is none", ["export", "minihazards", "x", "--size", "0x0"], "--size: write WIDTHxHEIGHT"),
    typed("an export of nothing", ["export", "minihazards", "x", "--limit", "-1"], "--limit is a whole number from 1"),
    typed("a bench of no size", ["bench", "costs", "--size", "-5x3"], "--size"),
    typed(
        "a bench with an option of another", ["bench", "metrics", "--write", "x"], "nrecognized arguments: --write x"
    ),
    typed(
        "an option that is misspelt", ["run", "--metods", "msp"], "metods msp .did you mean --methods.*benchmark run -"
    ),
    typed(
        "an option of another verb", ["table", "--limit", "3"], "arguments: --limit 3; `python -m benchmark table --h"
    ),
    typed("a bench of nothing", ["bench"], "KIND"),
    typed("weights with an option of another kind", ["weights", "verify", "--dataset", "x"], "nrecognized arguments"),
    typed("a bench of negative steps", ["bench", "costs", "--steps", "-1"], "--steps is a whole number from 1"),
    typed("a share beyond 1", ["run", "--methods", "tradi:lr_floor=-1"], "lr_floor is a number from 0 up to 1"),
    typed("a thousand million samples", ["run", "--methods", "mc_dropout:samples=999999999"], "samples .* up to 10000"),
    typed("an image of ten gigapixels", ["export", "minihazards:size=99999x99999", "x"], "at most 16384"),
    typed("an output that is a file", [*RUN, "--out", __file__], "is a file; name a folder"),
    typed("a part to adopt from nowhere", ["table", "--methods", "msp"], "--adopt takes; name its run folder"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_survived(bench, fault):
    fault.meet(bench)
