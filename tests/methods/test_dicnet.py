"""DiCNet: the discrepancy is zero where student and teacher agree, on the published grid."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from benchmark.methods.dicnet.method import TARGETS, DiCNet
from method_toys import Given, make_batch, view_of
from torch import nn

from benchmark.errors import BenchmarkError
from benchmark.network import NetworkSpec
from benchmark.networks import build_network
from benchmark.recipe import Recipe
from benchmark.registry import METHODS

TAP = "conv_last.1"


@pytest.fixture(scope="module")
def teacher():
    torch.manual_seed(0)
    network = build_network("pspnet-small", 5)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
    return network.eval().requires_grad_(False)


class Copy(nn.Module):
    """A perfect student, or one that is wrong everywhere by as much."""

    def __init__(self, teacher, tap=TAP, error=0.0):
        super().__init__()
        self.teacher, self.tap, self.error = (teacher,), teacher.tap(tap), error

    def forward(self, inputs):
        return self.teacher[0](inputs, (self.tap,))[self.tap] + self.error


def view(method, teacher, **spec):
    return view_of(method, teacher, NetworkSpec("pspnet-small", "toy", 5, Recipe(), **spec))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("spec", [{}, {"scales": (40, 64), "max_size": 72}], ids=["native", "scales"])
@pytest.mark.parametrize("error", [0.0, 0.5])
def test_is_the_squared_error_of_a_student_that_errs_everywhere_alike(teacher, target, spec, error):
    method = DiCNet(teacher_target=target)
    method.student = Copy(teacher, method.tap, error)
    scores = method.score(make_batch(2, 48, 60), view(method, teacher, **spec))
    assert scores.shape == (2, 48, 60)
    torch.testing.assert_close(scores, torch.full_like(scores, error**2), rtol=1e-4, atol=1e-8)


def test_is_the_mean_square_over_channels_on_the_eighth_grid():
    features = torch.randn(2, 6, 5, 7, generator=torch.Generator().manual_seed(0))
    student = torch.randn(2, 6, 5, 7, generator=torch.Generator().manual_seed(1))
    given = Given(torch.zeros(2, 3, 5, 7), taps=[{TAP: features}])
    given.module = SimpleNamespace(prepare=lambda *_: SimpleNamespace(inputs=None))
    expected = (features - student).square().mean(1, keepdim=True)
    for corners in (True, False):
        method = DiCNet(align_corners=corners)
        method.student = lambda _: student
        scores = method.score(make_batch(), {"base": given})
        full = F.interpolate(expected, (40, 56), mode="bilinear", align_corners=corners)[:, 0]
        assert torch.allclose(scores, full, atol=1e-6)
    assert torch.allclose(
        DiCNetOf(student).score(make_batch(), {"base": given})[:, [0, 0, -1, -1], [0, -1, 0, -1]],
        expected[:, 0][:, [0, 0, -1, -1], [0, -1, 0, -1]],  # corners are aligned
        atol=1e-6,
    )


def DiCNetOf(student):
    method = DiCNet()
    method.student = lambda _: student
    return method


def test_grid_of_a_full_size_image():
    with torch.device("meta"):
        network = build_network("pspnet-resnet50", 13).eval()
        features = network(torch.zeros(1, 3, 720, 1280), (TAP,))[TAP]
        method = DiCNet()
        method.build({"base": SimpleNamespace(channels=network.channels.get)})
        assert method.student.eval()(torch.zeros(1, 3, 720, 1280)).shape == features.shape == (1, 512, 90, 160)
    assert sum(p.numel() for p in method.student.parameters()) == 34_133_824


def test_switching_affine_off_after_construction_changes_nothing(teacher):
    """Why the released switch has no effect, and "bn_whitened" is an option of its own."""
    inputs = teacher.prepare(make_batch(1, 48, 64).images).inputs
    maps = teacher(inputs, tuple(map(teacher.tap, TARGETS.values())))
    norm = teacher.conv_last[1]
    try:
        norm.affine = False
        assert torch.equal(teacher(inputs, (TAP,))[TAP], maps[TAP])
    finally:
        norm.affine = True
    whitened = maps[TARGETS["bn_whitened"]]
    assert not torch.allclose(whitened, maps[TAP], atol=0.1)
    rebuilt = whitened * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)
    assert torch.allclose(rebuilt, maps[TAP], atol=1e-4)


def test_labels_spell_the_options():
    assert METHODS.create("dicnet:teacher_target=conv:align-corners=false").label == (
        "dicnet:align_corners=false:teacher_target=conv"
    )
    assert METHODS.create("dicnet:teacher_target=bn_affine").label == "dicnet"
    with pytest.raises(BenchmarkError, match="bn_affine, bn_whitened, conv, penultimate"):
        METHODS.create("dicnet:teacher_target=logits")


def test_released_recipe():
    recipe = DiCNet.recipes["distillation"]
    assert (recipe.epochs, recipe.steps_per_epoch, recipe.batch_size, recipe.seed) == (150, 320, 16, 666)
    assert (recipe.optimiser, recipe.lr, recipe.weight_decay, recipe.schedule) == ("adam", 1e-4, 1e-5, "constant")
    assert recipe.decay_everything and recipe.flip and not recipe.scales and not recipe.crop
