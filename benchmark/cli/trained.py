"""What the verbs share that use trained networks and fitted methods but train nothing themselves."""

from __future__ import annotations

import argparse
import shlex

from benchmark.cli.output import say
from benchmark.errors import BenchmarkError
from benchmark.run.options import choose_dataset, options_of
from benchmark.run.plan import Step, check_recipes, make_steps, to_fit, to_train
from benchmark.run.setup import make_setup
from benchmark.run.workshop import Workshop


def open_trained(arguments: argparse.Namespace, verb: str) -> tuple[Workshop, list[Step]]:
    """The methods asked for with everything loaded from the store.

    Args:
        arguments: of a verb that has :func:`benchmark.cli.arguments.networks` and the preset.
        verb: that makes what is missing, "run" or "train", for the message.
    Raises:
        BenchmarkError: something is not trained or fitted yet, or its file is damaged.
    """
    options = options_of(arguments)
    say(choose_dataset(options.dataset, options.root)[1])
    workshop = Workshop(make_setup(options))
    steps, broken = make_steps(workshop, options.methods)
    for sentence in broken.values():
        raise BenchmarkError(sentence)
    check_recipes(workshop.setup, steps)
    missing = [f"the network {spec.key}" for spec in to_train(workshop, steps)]
    missing += [f"the fit of {entry.label}" for entry in to_fit(workshop, steps)]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise BenchmarkError(
            f"Not trained yet: {', '.join(missing[:3])}{more} (looked in {workshop.store.root}); "
            f"make it with `{command(arguments, verb)}`."
        )
    workshop.prepare([step.entry for step in steps])
    for step in steps:
        if step.entry.error:
            raise BenchmarkError(f"{step.entry.label}: {step.entry.error}")
    return workshop, steps


def command(arguments: argparse.Namespace, verb: str) -> str:
    """The command line of another verb with what these arguments change of its defaults."""
    words = ["python -m benchmark", verb]
    for name, default in vars(arguments.verbs[verb].parse_args([])).items():
        value = getattr(arguments, name, default)
        if value == default or name in ("handler", "verbs", "verb", "several", "config", "json"):
            continue
        flag = f"--{name.replace('_', '-')}"
        values = value if isinstance(value, list) else [value]
        words += [flag if each is True else f"{flag} {shlex.quote(str(each))}" for each in values]
    return " ".join(words)
