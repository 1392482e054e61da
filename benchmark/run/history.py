"""What trainings and evaluations took before on this machine, as the weights and records of a run folder state it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmark.distributed import world
from benchmark.io.jsonfile import to_plain
from benchmark.network import NetworkSpec
from benchmark.recipe import Recipe
from benchmark.records.provenance import BUSY, cpu_model
from benchmark.records.record import Record, method_call, read_all
from benchmark.weights.store import WeightsStore

STEPS = 10
"""Steps or images from which a former time tells of later ones: the first of a process are slower."""
COSTLY = ("task", "batch_size", "crop", "scales", "max_size", "scale_range", "label_size", "optimiser")
"""The fields of a recipe on which the time of a step depends."""


@dataclass(frozen=True)
class Past:
    """What something took before.

    Attributes:
        seconds: the middle of those that were taken on a quiet machine, else the least.
        quiet: whether there are any.
    """

    seconds: float
    quiet: bool

    @classmethod
    def of(cls, found: Sequence[tuple[float, float | None]]) -> Past | None:
        """From pairs of seconds and the load of the machine then (None where it is not stated); None from none."""
        quiet = [seconds for seconds, load in found if (load or 0.0) <= BUSY]
        if quiet:
            return cls(median(quiet), True)
        return cls(min(seconds for seconds, _ in found), False) if found else None


@dataclass(frozen=True)
class History:
    """Former times of the same work on the same device, with the same threads and in the same arithmetic.

    Args:
        out: run folder.
        device: where the work is to be done.
        training: arithmetic of trainings.
        evaluation: arithmetic of evaluations.
        compiled: whether the networks of trainings are compiled.
    """

    out: Path
    device: torch.device
    training: str
    evaluation: str
    compiled: bool = False

    def network_step(self, spec: NetworkSpec) -> Past | None:
        """Of a step of a network's training, validation included; None where none like it was made."""

        def like(sidecar: Mapping[str, Any]) -> bool:
            here = (sidecar.get("network"), sidecar.get("data")) == (spec.arch, spec.data)
            return here and _same(dict(sidecar.get("options", ())), dict(spec.options))

        return self._step([spec.recipe], like)

    def fit_step(self, label: str, recipes: Sequence[Recipe], base: NetworkSpec) -> Past | None:
        """Of a step of a method's own trainings, their mean; None where none like them were made.

        Args:
            label: of the method with its options.
            recipes: of its trainings.
            base: the shared network.
        """
        stem = f"{base.key.rpartition('-m')[0]}-m"

        def like(sidecar: Mapping[str, Any]) -> bool:
            here = (method_call(sidecar.get("method", "")), sidecar.get("data")) == (method_call(label), base.data)
            return here and any(key.startswith(stem) for key in sidecar.get("networks", {}))

        return self._step(recipes, like)

    def network_image(self, spec: NetworkSpec, dataset: str) -> float | None:
        """Seconds of a network's forwards of one image of a dataset; None where they were not measured."""
        found = [
            (record.cost.network_ms / 1000, record.timing.load)
            for record in self._measured(dataset)
            if record.cost.network_ms
            and not record.other_networks
            and record.network.arch == spec.arch
            and _same(record.network.options, dict(spec.options))
            and (tuple(record.network.scales), record.network.max_size) == (spec.scales, spec.max_size)
        ]
        return _seconds(Past.of(found))

    def method_image(self, label: str, arch: str, dataset: str) -> float | None:
        """Seconds of a method's own work on one image of a dataset, its metrics left out; None where unknown."""
        found = [
            (record.cost.method_ms / 1000, record.timing.load)
            for record in self._measured(dataset)
            if record.cost.method_ms is not None
            and method_call(record.method.label) == method_call(label)
            and record.network.arch == arch
        ]
        return _seconds(Past.of(found))

    def _step(self, recipes: Sequence[Recipe], like: Callable[[Mapping[str, Any]], bool]) -> Past | None:
        """Of a step of trainings by these recipes, whose sidecars are like what is wanted."""
        wanted = sorted((costly(recipe) for recipe in recipes), key=str)
        found = []
        for sidecar in self._trained:
            # Whoever wrote into a sidecar what is not the suite's makes no plan impossible.
            with suppress(AttributeError, TypeError, ValueError):
                stated = sidecar.get("recipe") or {}
                each = [stated] if "task" in stated else list(stated.values())
                if not like(sidecar) or sorted((_stated(recipe) for recipe in each), key=str) != wanted:
                    continue
                reports = sidecar.get("reports", ())
                steps = sum(report.get("steps", 0) for report in reports)
                if steps >= STEPS:
                    seconds = sum(report.get("seconds", 0.0) for report in reports) / steps
                    found.append((seconds, sidecar["provenance"].get("load")))
        return Past.of(found)

    @cached_property
    def _trained(self) -> list[Mapping[str, Any]]:
        """Sidecars of what was trained here."""
        entries = WeightsStore(self.out / "weights").entries()
        sidecars = (entry.sidecar for entry in entries)
        alike = (each for each in sidecars if self._here(each.get("provenance", {}), self.training))
        return [each for each in alike if bool(each["provenance"].get("compiled")) == self.compiled]

    @cached_property
    def _records(self) -> list[Record]:
        records, _ = read_all(self.out)
        return [each for each in records if self._here(to_plain(each.timing), self.evaluation)]

    def _measured(self, dataset: str) -> Iterator[Record]:
        return (each for each in self._records if each.dataset.name == dataset and each.dataset.images >= STEPS)

    def _here(self, made: Mapping[str, Any], precision: str) -> bool:
        """Whether something was made on this machine, as far as a provenance says."""
        return all(made.get(key) == value for key, value in {**self._machine, "precision": precision}.items())

    @cached_property
    def _machine(self) -> dict[str, Any]:
        on_gpu = self.device.type == "cuda"
        name = torch.cuda.get_device_name(self.device) if on_gpu else str(self.device)
        several = world() if world() > 1 else None
        return {"device": name, "cpu": cpu_model(), "threads": torch.get_num_threads(), "processes": several}


def costly(recipe: Recipe) -> dict[str, Any]:
    """The fields of a recipe on which the time of a step depends, as plain values."""
    return _stated(recipe.as_dict())


def _stated(recipe: Mapping[str, Any]) -> dict[str, Any]:
    return {name: recipe.get(name) for name in COSTLY}


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether options are equal once JSON has them."""
    return to_plain(dict(one)) == to_plain(dict(other))


def _seconds(past: Past | None) -> float | None:
    return past.seconds if past else None
