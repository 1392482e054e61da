"""The Method base class: what it needs, how it is fitted, how it scores."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from torch import Tensor, nn

from benchmark.data import Batch
from benchmark.network import DROPOUT, PENULTIMATE, NetworkSpec
from benchmark.pool import Handle, Need, Networks
from benchmark.recipe import LightRecipe, Recipe
from benchmark.registry import METHODS, Plugin, PluginSpec
from benchmark.released import Release
from benchmark.values import SYNTHETIC, OutlierData

if TYPE_CHECKING:
    from benchmark.training import FitData

__all__ = ["DROPOUT", "PENULTIMATE", "SYNTHETIC", "Batch", "Handle", "Method", "MethodSpec", "Need", "Networks"]


@dataclass(frozen=True)
class MethodSpec(PluginSpec):
    """A method as a value, as :class:`~benchmark.network.NetworkSpec` is for networks: equal specs score alike.

    Attributes:
        recipes: task -> recipe, for what it trains: the authors' values, or what a run has made of them.
    """

    recipes: Mapping[str, Recipe] = dataclasses.field(default_factory=dict)

    def with_defaults(self, options: Collection[str]) -> MethodSpec:
        """The spec with the defaults of some options."""
        config = {k: self.defaults[k] if k in options else v for k, v in self.config.items()}
        return dataclasses.replace(self, config=config)


class Method(Plugin, nn.Module, ABC):
    """An anomaly-segmentation method: networks' outputs in, one score per pixel out.

    Constructor keywords are the options and are recorded verbatim (:attr:`spec`). Statistics, prototypes and students
    are buffers or child modules, so that device, saving and loading come from :class:`torch.nn.Module`. A method knows
    no files, no devices, no metrics and no other image than those of its batch.

    Only :meth:`score` must be written. A method that gathers statistics overrides :meth:`observe` (one pass over the
    training images, shared by all methods) and :meth:`fit`; one that trains a module of its own names the recipe in
    :attr:`recipes` and trains in :meth:`fit`.
    """

    registry = METHODS

    title: ClassVar[str] = ""
    """As printed in tables; the name where empty."""
    paper: ClassVar[str] = ""
    """Authors, venue and year of the source."""
    auxiliary_data: OutlierData = False
    """What outliers were seen in training: none, invented ones (SYNTHETIC), or images of real ones (true). Tables keep
    the three apart."""
    single_scale: ClassVar[bool] = False
    """Whether the authors test at the native size only; ``--preset paper`` then leaves out the test scales."""
    paper_variants: ClassVar[tuple[str, ...]] = ()
    """Further calls ("name:key=value") that ``--preset paper`` measures beside this method."""
    recipes: Mapping[str, Recipe] = {}
    """What :meth:`fit` trains, or a network of its own in :meth:`needs`: task -> recipe with the authors' values. What
    a run makes of them for its dataset and command line stands in ``self.spec.recipes``."""
    light: Mapping[str, LightRecipe] = {}
    """Per task, what differs where a dataset asks for light trainings; without it only length and image sizes do."""
    score_options: ClassVar[frozenset[str]] = frozenset()
    """Constructor keywords that only :meth:`score` reads: methods that differ in nothing else share one fit."""
    needs_classes: bool = True
    """Whether what is fitted reads which class a training pixel shows, and not only whether it is to be ignored. False
    lets it be fitted to normal images of another set (``--normal``), whose pixels have the label 0."""
    released: Mapping[str, Release] = {}
    """Weights that the authors published, by the name under which ``weights import`` takes them."""
    elsewhere: ClassVar[Mapping[str, Any]] = {}
    """Keywords that stand in for what the user did not state on a network without the features that the method would
    ask for; labels then show them."""
    trial: ClassVar[Mapping[str, Any]] = {}
    """Keywords that stand in for their defaults on the few small images of ``check`` and ``bench device``."""
    version: ClassVar[int] = 1
    """Raise it when the method computes something else than before: records and fits of the old version are stale."""

    spec: MethodSpec
    """Name, options and recipes of this instance."""

    def __init__(self) -> None:
        super().__init__()

    @classmethod
    def specify(cls, name: str, config: Mapping[str, Any]) -> MethodSpec:
        return MethodSpec(name, config, cls.defaults(), cls.recipes)

    @classmethod
    def made(cls, spec: MethodSpec) -> Self:
        """A new instance, as a spec describes it."""
        method = cls(**spec.config)
        method.spec = spec
        return method

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        """The networks by role. The default is the shared segmentation network under the role "base".

        Args:
            base: the network that all methods share. Derive others from it (``base.member(1)``,
                ``dataclasses.replace(base, ...)``); equal specs are trained, loaded and run once.
        """
        return {"base": Need(base)}

    def build(self, networks: Networks) -> None:
        """Create child modules and buffers whose shapes depend on the networks; called before fitting or loading."""

    def observe(self, batch: Batch, networks: Networks) -> None:
        """Gather statistics of one training batch (native size, no augmentation, labels included).

        Keep them in the instance: where the memory does not suffice for a batch, a new one begins again with smaller
        batches, since nobody knows what of that batch this one has taken into account.
        """
        raise NotImplementedError

    def fit(self, data: FitData, networks: Networks) -> None:
        """Finish the statistics or train child modules. Called once, after all batches were observed."""

    @abstractmethod
    def score(self, batch: Batch, networks: Networks) -> Tensor:
        """Anomaly score of every pixel.

        Args:
            batch: images uint8 (B, 3, H, W); a method must not look at the labels.
            networks: ``networks["base"](batch)`` gives the :class:`~benchmark.network.Outputs`.
        Returns:
            float32 (B, H, W), higher = more anomalous, raw: not normalised per image or batch, and for each image
            independent of what else is in the batch.
        """

    def reads(self, root: Path) -> str:
        """Digest of what :meth:`fit` reads or makes beside the training images (pasted objects); a part of the name of
        the fit, so that other objects are another fit. Empty where there is nothing.

        Args:
            root: the data root, as ``FitData.root``.
        """
        return ""

    @property
    def forwards(self) -> float:
        """About how many forwards of the shared network :meth:`score` makes, per image and test scale, beside those
        that all methods share; a backward counts as one. Only the plan's estimate of the time reads it."""
        return 0.0

    @property
    def observes(self) -> bool:
        """Whether the method gathers statistics of the training images."""
        return type(self).observe is not Method.observe

    @property
    def fitted(self) -> bool:
        """Whether the method has anything to fit."""
        return self.observes or type(self).fit is not Method.fit
