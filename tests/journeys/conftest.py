"""One environment with the installed wheel for all walks, and an empty folder for each."""

from pathlib import Path

import pytest
from installed import Environment, once_of_all
from walk import Walk


@pytest.fixture(scope="session")
def programs(shared, wheel) -> Path:
    """The folder with ``python``, ``torchrun`` and ``anomaly-benchmark`` of an environment that has the wheel."""

    def install(place: Path) -> None:
        environment = Environment(place / "environment")
        environment.install(wheel)
        torchrun = environment.python.with_name("torchrun")
        torchrun.write_text(f'#!/bin/sh\nexec "{environment.python}" -m torch.distributed.run "$@"\n')
        torchrun.chmod(0o755)

    return once_of_all(shared, "installed", install) / "environment" / "bin"


@pytest.fixture
def walk(programs, tmp_path) -> Walk:
    """Somebody in an empty folder, with the suite installed and its pages before them."""
    return Walk(tmp_path, programs)
