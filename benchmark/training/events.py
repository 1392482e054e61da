"""Event files of trainings, which TensorBoard draws: a run for every training, a point for every epoch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.errors import BenchmarkError


def available() -> None:
    """Look for what writes event files.

    Raises:
        BenchmarkError: it is not installed.
    """
    try:
        from torch.utils import tensorboard  # noqa: F401
    except ImportError as error:
        raise BenchmarkError(
            f"--tensorboard takes the package tensorboard; `pip install tensorboard` brings it ({error})."
        ) from None


class Events:
    """The event file of one training.

    It holds ``loss/NAME`` (means over the epoch), ``lr`` and ``validation/NAME``, at the number of the epoch. A
    training that goes on after a kill writes a further file, whose points replace those of epochs that are done again.

    Args:
        folder: of all event files; None writes none.
        state: file of the training's resume state, which the run is called after: ``DATASET/WEIGHTS``.
        epochs: done before.
    """

    def __init__(self, folder: Path | None, state: Path, epochs: int) -> None:
        self._writer = None
        if folder is not None:
            from torch.utils.tensorboard import SummaryWriter

            place = folder / state.parent.name / state.name.removesuffix(".state")
            try:
                self._writer = SummaryWriter(str(place), purge_step=epochs + 1)
            except OSError as error:
                raise BenchmarkError(f"Cannot write {place} ({error.strerror}); leave out --tensorboard.") from None

    def epoch(self, entry: Mapping[str, Any]) -> None:
        """Write what is known of an epoch, an entry of :attr:`benchmark.training.Report.history`."""
        if self._writer is None:
            return
        number = entry["epoch"]
        for name, value in entry.items():
            if name == "lr":
                self._writer.add_scalar("lr", value, number)
            elif name == "validation":
                for metric, found in value.items():
                    self._writer.add_scalar(f"validation/{metric}", found, number)
            elif name != "epoch":
                self._writer.add_scalar(f"loss/{name}", value, number)
        self._writer.flush()

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()
