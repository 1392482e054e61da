"""A method on its way through a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmark.data import Batch
from benchmark.method import Method
from benchmark.network import NetworkSpec
from benchmark.pool import Need, Networks
from benchmark.recipe import Recipe
from benchmark.run.declaration import check_declaration, check_returned
from benchmark.values import format_value


@dataclass
class Entry:
    """A method on its way through a run."""

    method: Method
    base: NetworkSpec  # the shared network as this method tests it
    needs: Mapping[str, Need]
    recipes: Mapping[str, Recipe]
    config: Mapping[str, Any]  # its options as records state them
    fit_key: str  # stem of the file of its fit; empty for a method without fit
    source: Mapping[str, str] = field(default_factory=dict)  # file -> digest of the code that it is made of
    changes: Mapping[str, str] = field(default_factory=dict)  # "task.field" -> value that the command line changes
    normal: str = ""  # label of the normal images to which it is fitted; empty for training images, or without fit
    unasked: bool = False  # only "all" named it
    networks: Networks | None = None
    error: str = ""  # one sentence once it has failed
    mendable: bool = False  # whether the user can mend that (a damaged file), as opposed to the method's author
    left_out: bool = False  # whether it was not asked for and lacks what it needs, so that its error is no failure
    memory_mib: float | None = None  # largest of score() on a GPU, shared work excluded

    @property
    def label(self) -> str:
        """The method's name with its options and with what is not usual about its trainings."""
        normal = [f"normal={format_value(self.normal)}"] if self.normal else []
        return ":".join([self.method.label, *(f"{key}={value}" for key, value in self.changes.items()), *normal])

    @property
    def specs(self) -> list[NetworkSpec]:
        """The networks that it runs."""
        return list(dict.fromkeys(need.network for need in self.needs.values()))


def made_anew(method: Method, **changes: Any) -> Method:
    """A method with another spec, which still knows what the user stated."""
    made = check_declaration(method.made(dataclasses.replace(method.spec, **changes)))
    made.stated = method.stated
    return made


def observed(entry: Entry, batch: Batch) -> None:
    check_returned(entry.method.observe(batch, entry.networks), "observe()")
