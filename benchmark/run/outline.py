"""What the shared network's layers are, and whether it has what methods ask for, before anything of it is trained."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch

from benchmark.blocks import MASKS
from benchmark.network import PENULTIMATE, Network
from benchmark.networks import buildable, network_of
from benchmark.pool import Need
from benchmark.run.setup import Setup


class Outline:
    """The shared network without values, on the meta device.

    Args:
        setup: whose network it is.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    @cached_property
    def network(self) -> Network:
        """It itself."""
        spec = self.setup.base.checkpoint
        with torch.random.fork_rng([]), torch.device("meta"):
            return network_of(spec, initial=False, folder=self.setup.folder(spec))

    def stated(self, config: Mapping[str, Any], needs: Mapping[str, Need]) -> dict[str, Any]:
        """Options with the penultimate layer under the shared network's name for it, so that a record says what it is.

        The user's own code is not run for that, since a plan builds nothing of it: the alias then stands beside the
        code's digest. A network that names no such layer keeps the alias, too; whoever needs the layer learns of that
        later. Who does not ask for it, since its features are another network's, keeps it as well.
        """
        asked = any(PENULTIMATE in need.taps for need in needs.values())
        if PENULTIMATE not in config.values() or not asked or (self.setup.own and self.setup.own.code):
            return dict(config)
        layer = self.network.penultimate or PENULTIMATE
        return {key: layer if value == PENULTIMATE else value for key, value in config.items()}

    def offers(self, needs: Mapping[str, Need]) -> bool:
        """Whether networks may have what a method asks: features, options; the user's own code all but masks."""
        if self.setup.own and self.setup.own.code:
            return all(MASKS not in need.taps for need in needs.values())
        asked = {need.network.checkpoint for need in needs.values()} - {self.setup.base.checkpoint}
        return self.offered(needs) and all(map(buildable, asked))

    def offered(self, needs: Mapping[str, Need]) -> bool:
        """Whether the shared network has the features that a method asks it for.

        The user's own code, which is not run for that, is taken to have none but those that it calls penultimate.
        """
        base = self.setup.base.checkpoint
        taps = {tap for need in needs.values() if need.network.checkpoint == base for tap in need.taps}
        if self.setup.own and self.setup.own.code:
            return taps <= {PENULTIMATE}
        return not taps or all(self.network.tap(tap) in self.network.channels for tap in taps)
