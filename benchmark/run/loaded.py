"""Methods with trained networks and their fits, for whoever scores with them and measures nothing."""

from __future__ import annotations

from collections.abc import Callable

from benchmark.errors import BenchmarkError
from benchmark.io.words import some
from benchmark.run.options import Options
from benchmark.run.plan import Step, check_recipes, make_steps, to_fit, to_train
from benchmark.run.setup import make_setup
from benchmark.run.workshop import Workshop


def loaded(options: Options, say: Callable[[str], None], mend: str) -> tuple[Workshop, list[Step]]:
    """The methods asked for, with everything loaded from the store.

    Args:
        options: what was asked for.
        say: prints a line.
        mend: how what is missing is made, for the message; empty makes it now.
    Raises:
        BenchmarkError: something is not trained or fitted yet, its file is damaged, or a method fails.
    """
    workshop = Workshop(make_setup(options), say)
    steps, broken = make_steps(workshop, options.methods)
    for sentence in broken.values():
        raise BenchmarkError(sentence)
    check_recipes(workshop.setup, steps)
    missing = [f"the network {spec.key}" for spec in to_train(workshop, steps)]
    missing += [f"the fit of {entry.label}" for entry in to_fit(workshop, steps)]
    if missing and mend:
        raise BenchmarkError(f"Not trained yet: {some(missing)} (looked in {workshop.store.root}); {mend}.")
    workshop.prepare([step.entry for step in steps])
    for step in steps:
        if step.entry.error:
            raise BenchmarkError(f"{step.entry.label}: {step.entry.error}")
    return workshop, steps
