"""DiCNet: anomalies are where a student cannot follow its teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from benchmark.blocks import SYNC_BN
from benchmark.method import PENULTIMATE, Batch, Method, Need, Networks
from benchmark.network import NetworkSpec
from benchmark.recipe import FAST, LightRecipe, Recipe
from benchmark.released import Release, ReleasedFile
from benchmark.training import FitData

from .distillation import Distillation
from .student import Student, on_grid_of

TARGETS = {
    "bn_affine": "conv_last.1",
    "bn_whitened": "conv_last.1.whitened",
    "conv": "conv_last.0",
    PENULTIMATE: PENULTIMATE,
}


class DiCNet(Method):
    r"""Distillation comparison: ``s = 1/D sum_k (T_k - S_k)^2``, the discrepancy of teacher and student features.

    The teacher T is the shared segmentation network up to the normalisation after the last 3x3 convolution (before its
    ReLU and classifier), D x H/8 x W/8. The student S regresses T on normal images only, so that on objects it has
    never seen the two part. The map is upsampled to the image; with several test scales the maps are averaged.

    Args:
        teacher_target: what is regressed: "bn_affine" the normalisation's output (what the released code does),
            "bn_whitened" without its affine map (what the released code seems to intend when it switches ``affine`` off
            after construction, which has no effect), or "conv" the convolution's output before normalisation, all three
            of a PSPNet; "penultimate" is what the classifier of any network sees. A run takes that, and says so in the
            method's label, where the network is none and nobody states a target.
        align_corners: grid convention of the upsampling; true in the released evaluation.
        encoder: encoder of the student; "auto" takes the authors' ResNet-34 for a teacher of at least 512 feature
            channels, and a small one for small teachers.

    Source: Zhou et al., "Anomaly Discovery in Semantic Segmentation via Distillation Comparison Networks",
        arXiv 2112.09908. The released evaluation scales each map to [0, 1] per image, which changes no per-image metric
        and is left out, since it would spoil pooled ones.
    """

    title = "DiCNet"
    paper = "Zhou et al., arXiv 2112.09908"
    single_scale = True
    score_options = frozenset({"align_corners"})
    elsewhere: ClassVar[Mapping[str, Any]] = {"teacher_target": PENULTIMATE}
    needs_classes = False
    released: Mapping[str, Release] = {
        "dicnet": Release(
            files=(
                ReleasedFile(
                    "student",
                    "the student of DiCNet",
                    (
                        ("encoder.", "student.encoder."),
                        ("decoder.ppm.", "student.ppm."),
                        ("decoder.conv_last.0.", "student.conv_last."),
                    ),
                ),
            ),
            source="github.com/zhouhuan-hust/DiCNet (student_epoch_115.pth)",
            license="MIT (the repository's)",
            teacher="csail",
            dropped=SYNC_BN,
        )
    }
    recipes: Mapping[str, Recipe] = {
        # Released training: Adam with L2 on every parameter, constant rate, full 1280x720 images with flips.
        "distillation": Recipe(
            task="distillation",
            epochs=150,
            steps_per_epoch=320,
            batch_size=16,
            optimiser="adam",
            lr=1e-4,
            weight_decay=1e-5,
            decay_everything=True,
            schedule="constant",
            aux_weight=0.0,
            seed=666,
        )
    }
    light: Mapping[str, LightRecipe] = {
        "distillation": LightRecipe(epochs=0.5, changes={**FAST, "lr": 0.006, "weight_decay": 0.0})
    }

    def __init__(self, teacher_target: str = "bn_affine", align_corners: bool = True, encoder: str = "auto") -> None:
        super().__init__()
        if teacher_target not in TARGETS:
            raise ValueError(f"teacher_target is one of {', '.join(TARGETS)}.")
        self.tap = TARGETS[teacher_target]
        self.align_corners = align_corners
        self.encoder = encoder

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        otherwise = f"teacher_target={PENULTIMATE} takes any network with a penultimate layer"
        return {"base": Need(base, (self.tap,), otherwise)}

    def build(self, networks: Networks) -> None:
        channels = networks["base"].channels(self.tap)
        encoder = self.encoder if self.encoder != "auto" else ("resnet34" if channels >= 512 else "small")
        self.student = Student(channels, encoder=encoder)

    def fit(self, data: FitData, networks: Networks) -> None:
        teacher = networks["base"].module
        data.train(Distillation(teacher, self.student, teacher.tap(self.tap)), data.recipes["distillation"])

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        teacher = networks["base"]
        outputs, network, spec = teacher(batch), teacher.module, teacher.spec
        total = 0
        for scale, side in zip(outputs.scales, spec.scales or (0,), strict=True):
            inputs = network.prepare(batch.images, side, spec.max_size).inputs
            features = scale.taps[self.tap]
            student = on_grid_of(features, self.student(inputs).float())
            gap = (features - student).square().mean(dim=1, keepdim=True)
            total = total + scale.upsample(gap, outputs.size, self.align_corners)[:, 0]
        return total / len(outputs.scales)
