"""DiCNet with a student that is a network of the teacher's own kind, pretrained where the teacher was."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping

from torch import Tensor, nn

from benchmark.method import PENULTIMATE, Networks
from benchmark.network import Network
from benchmark.recipe import FAST, LightRecipe, Recipe
from benchmark.training import FitData, seeded

from .dicnet.distillation import Distillation
from .dicnet.method import DiCNet


class DiCNetTwin(DiCNet):
    r"""DiCNet with a twin as its student: ``s = 1/D sum_k (T_k - S_k)^2``, T and S two networks of one kind.

    The authors' student is another encoder than the teacher's and begins, as that does, with weights of ImageNet. Here
    S is a second network like the shared one up to the layer that is compared, and begins where that began: with the
    same pretrained encoder, or at random. Score, loss and options are DiCNet's otherwise. A twin can follow its teacher
    further than a smaller student, also to places where it should not.

    Args:
        teacher_target: as of DiCNet; "penultimate" exists in every network.
        align_corners: as of DiCNet.

    Source: Zhou et al., arXiv 2112.09908; the twin is this suite's.
    """

    title = "DiCNet (twin student)"
    released: Mapping[str, object] = {}
    recipes: Mapping[str, Recipe] = {"twin": dataclasses.replace(DiCNet.recipes["distillation"], task="twin")}
    light: Mapping[str, LightRecipe] = {
        "twin": LightRecipe(epochs=0.5, segmentation=True, changes={**FAST, "lr": 0.006, "weight_decay": 0.0})
    }

    def __init__(self, teacher_target: str = PENULTIMATE, align_corners: bool = True) -> None:
        super().__init__(teacher_target, align_corners)

    def build(self, networks: Networks) -> None:
        self.student = Twin(copy.deepcopy(networks["base"].module), self.tap)

    def fit(self, data: FitData, networks: Networks) -> None:
        recipe, teacher = data.recipes["twin"], networks["base"]
        with seeded(recipe):
            self.student.network.load_state_dict(teacher.untrained().state_dict())
        self.student.requires_grad_(True)
        data.train(Distillation(teacher.module, self.student, teacher.module.tap(self.tap)), recipe)


class Twin(nn.Module):
    """Normalised images to the features of one layer of a network, which is a network of its own."""

    def __init__(self, network: Network, tap: str) -> None:
        super().__init__()
        self.network, self.tap = network, network.tap(tap)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.network(inputs, (self.tap,))[self.tap]
