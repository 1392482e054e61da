"""The interfaces of this room: what an image gives, what adds it up, and what says which numbers are wanted.

A new family of protocols is one file beside this one: a :class:`Protocol` with its parameters, the :class:`Evaluator`
that it makes, and the named protocols, which ``protocols.py`` lists. Runs, score maps and the console know no family.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

import numpy as np

from benchmark.errors import BenchmarkError
from benchmark.metrics.measurement import Measurement

if TYPE_CHECKING:
    from benchmark.metrics.calibration import Confidences
    from benchmark.metrics.passes import FirstPass
    from benchmark.metrics.pixel_protocols import PixelProtocol

Found = TypeVar("Found")
Measurements = dict[str, Measurement]
"""Protocol name -> what it says."""


@dataclass(frozen=True, eq=False)
class View:
    """What one image gives an evaluator; arrays, or tensors of any device.

    Attributes:
        image: its id, unique within a dataset; names it in messages and rows.
        scores: float (H, W), higher is more anomalous, compared as float32; infinities are allowed. None where only
            the segmentation is evaluated.
        labels: uint8 (H, W): known classes, 254 anomaly, 255 ignore.
        prediction: (H, W) ids of the predicted known classes, None where there is none.
        confidences: :class:`~benchmark.metrics.Confidences` of the network; None where nobody asks for them.
    """

    image: str
    scores: Any
    labels: Any
    prediction: Any = None
    confidences: Confidences | None = None

    @property
    def fold(self) -> str:
        """The part of a dataset (in StreetHazards the town) that the image belongs to: "t5" of "t5/12"."""
        return self.image.rpartition("/")[0].partition("/")[0]


class Evaluator(ABC, Generic[Found]):
    """Adds images up to what a record stores. Every image counts once; their order does not matter.

    An evaluator is made with its configuration, which also is what two must share to be merged, and keeps every
    argument as an attribute of the same name. Subclasses implement the methods with an underscore.

    Args:
        method: label of the method, named in messages; empty where there is none.
    """

    protocol_type: ClassVar[type[Protocol]]
    """Of its `protocol` or `protocols`, where it has such an argument."""

    def __init__(self, method: str = "") -> None:
        self.method = method
        self._images: set[str] = set()

    @property
    def images(self) -> int:
        """Number of images added."""
        return len(self._images)

    def update(self, view: View) -> None:
        """Add one image.

        Raises:
            BenchmarkError: a NaN, shapes or types that do not fit, an image given twice; names method and image.
        """
        where = f"{self.method}: image '{view.image}'" if self.method else f"Image '{view.image}'"
        if view.image in self._images:
            raise BenchmarkError(f"{where} was given twice; every image counts once.")
        self._add(view, where)
        self._images.add(view.image)

    def merge(self, other: Self) -> None:
        """Add the images of another evaluator with the same configuration.

        Raises:
            BenchmarkError: the configurations differ, or an image is in both.
        """
        mine, others = self._configuration(), other._configuration()
        if type(self) is not type(other) or mine != others:
            raise BenchmarkError(f"Evaluators merge only if they have the same {', '.join(mine)}.")
        if shared := self._images & other._images:
            where = f"{self.method}: image" if self.method else "Image"
            raise BenchmarkError(f"{where} '{min(shared)}' is in both evaluators; every image counts once.")
        self._merge(other)
        self._images |= other._images

    def empty(self) -> Self:
        """An evaluator of the same configuration that has seen no image."""
        return self._configured(self._configuration())

    def state(self) -> dict[str, np.ndarray]:
        """Everything as plain arrays for ``np.savez``, to continue later with :meth:`from_state`."""
        plain: dict[str, Any] = {}
        arrays: dict[str, np.ndarray] = {}
        for name, value in self._state().items():
            if isinstance(value, Evaluator):
                arrays |= {f"{name}/{key}": array for key, array in value.state().items()}
            elif isinstance(value, np.ndarray):
                arrays[name] = value
            else:
                plain[name] = value
        header = {"configuration": self._configuration(), "images": sorted(self._images), "plain": plain}
        return {"header": np.array(json.dumps(header)), **arrays}

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray]) -> Self:
        """The evaluator whose :meth:`state` (or an ``NpzFile`` of it) this is."""
        header = json.loads(str(state["header"]))
        kept = header["plain"]
        for name in state:
            part, slash, key = name.partition("/")
            if slash:
                kept.setdefault(part, {})[key] = state[name]
            elif name != "header":
                kept[name] = state[name]
        evaluator = cls._configured(header["configuration"])
        evaluator._images = set(header["images"])
        evaluator._restore(kept)
        return evaluator

    @abstractmethod
    def measurement(self) -> Found:
        """What a record stores of the images added so far.

        Of a method, a :class:`Measurement` for each protocol by its name; values that do not exist (there is no
        anomalous pixel) are None, and ``missing`` says why.
        """

    @abstractmethod
    def _add(self, view: View, where: str) -> None:
        """Add an image that was not there before; `where` names method and image."""

    @abstractmethod
    def _merge(self, other: Self) -> None:
        """Add the images, all of them others, of an evaluator of the same configuration."""

    def _configuration(self) -> dict[str, Any]:
        """Plain JSON values that decide what is evaluated, by the names of the constructor's arguments."""

        def plain(value: Any) -> Any:
            if isinstance(value, Protocol):
                return asdict(value)
            return [plain(each) for each in value] if isinstance(value, (tuple, list)) else value

        return {name: plain(getattr(self, name)) for name in signature(type(self)).parameters}

    @classmethod
    def _configured(cls, configuration: dict[str, Any]) -> Self:
        """An evaluator without images, from what :meth:`_configuration` says (tuples have become lists)."""
        made = dict(configuration)
        if "protocol" in made:
            made["protocol"] = cls.protocol_type.from_dict(made["protocol"])
        if "protocols" in made:
            made["protocols"] = [cls.protocol_type.from_dict(fields) for fields in made["protocols"]]
        return cls(**made)

    @abstractmethod
    def _state(self) -> dict[str, Any]:
        """What was added up, by name (without a slash): arrays, plain JSON values or other evaluators."""

    @abstractmethod
    def _restore(self, kept: dict[str, Any]) -> None:
        """Put back what :meth:`_state` gave (tuples have become lists, evaluators their states)."""


@dataclass(frozen=True)
class Protocol:
    """What a number means, as named and versioned data.

    Published values of one method on one dataset differ by several points with the evaluation alone, so a value is
    only ever stored and printed together with its protocol. A change that can change a value raises the version.

    Attributes:
        name: key in ``PROTOCOLS``.
        version: raised whenever a value could change.
        source: whose evaluation it reproduces.
    """

    name: str
    version: int
    source: str

    headlines: ClassVar[Mapping[str, str]] = {}
    """The metrics that are printed, at least one -> their titles."""
    family: ClassVar[str]
    """What a record calls ``aggregation``: protocols of one family have the same metrics."""
    predictions: ClassVar[bool] = False
    """Whether the predicted known classes are needed beside the scores."""
    rankings: ClassVar[tuple[PixelProtocol, ...]] = ()
    """The pixel protocols under which the first pass ranks the pixels of all images for this one."""
    passes: ClassVar[int] = 1
    """Two where it reads thresholds from the rankings of a first pass and so sees all images once more."""
    validates: ClassVar[bool] = False
    """Whether it sees normal validation images: to take a threshold from them, ``FirstPass.validation``, or to measure
    the network on them."""
    of_network: ClassVar[bool] = False
    """Whether it measures the shared network and no method's scores, once for all methods: ``network_evaluator``."""

    @property
    def label(self) -> str:
        """Name and version, as printed: ``streethazards v1``."""
        return f"{self.name} v{self.version}"

    @property
    def fold_rankings(self) -> tuple[PixelProtocol, ...]:
        """The pixel protocols under which the first pass ranks the pixels of every fold for this one."""
        return ()

    def evaluator(self, first: FirstPass, classes: Sequence[str], method: str) -> Evaluator[Measurements] | None:
        """The evaluator of one method, None where the rankings of the first pass already measure it.

        Args:
            first: with two ``passes`` the completed first one, else one that has seen no image yet.
            classes: names of the known classes; empty where the labels do not tell them apart.
            method: label of the method.
        Raises:
            BenchmarkError: why it has no threshold on these images, or cannot be evaluated on this dataset.
        """
        return None

    def network_evaluator(self, classes: Sequence[str], label: str) -> Evaluator[Measurements]:
        """The evaluator of the shared network, for a protocol that measures it.

        Args:
            classes: names of the known classes; empty where the labels do not tell them apart.
            label: of the network, for messages.
        Raises:
            BenchmarkError: it cannot be evaluated on this dataset.
        """
        raise NotImplementedError

    def measured(self, first: FirstPass) -> Measurements:
        """What the rankings of the first pass say, for a protocol that only reads them; nothing for all others."""
        return {}

    def says(self, images: int, extra: Mapping[str, float | None], **more: Any) -> Measurements:
        """What an evaluator of this protocol alone gives; arguments as of :class:`Measurement`."""
        return {self.name: Measurement(self.version, self.family, images, extra=dict(extra), **more)}

    def unmeasured(self, reason: str, images: int = 0, skipped: int = 0) -> Measurements:
        """The same where the protocol cannot be evaluated."""
        first = next(iter(self.headlines))
        return self.says(images, {first: None}, skipped=skipped, missing={first: reason.rstrip(".")})

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """The protocol with these fields, of whose tuples JSON has made lists."""
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
        return cls(**values)
