"""What the verbs share that use trained networks and fitted methods but train nothing themselves."""

from __future__ import annotations

import argparse
import shlex

from benchmark.cli.output import say
from benchmark.run.loaded import loaded
from benchmark.run.options import choose_dataset, options_of
from benchmark.run.plan import Step
from benchmark.run.workshop import Workshop


def open_trained(arguments: argparse.Namespace, verb: str) -> tuple[Workshop, list[Step]]:
    """:func:`benchmark.run.loaded.loaded` of a command line.

    Args:
        arguments: of a verb that has :func:`benchmark.cli.arguments.networks` and the preset.
        verb: that makes what is missing, "run" or "train", for the message.
    """
    options = options_of(arguments)
    say(choose_dataset(options.dataset, options.root)[1])
    return loaded(options, print, f"make it with `{command(arguments, verb)}`")


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
