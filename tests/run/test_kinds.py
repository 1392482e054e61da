"""The kind of a method, its needs and its cost are read off what it declares."""

import dataclasses
from typing import ClassVar

import pytest
import torch

from benchmark.method import Method, Need
from benchmark.recipe import Recipe
from benchmark.run.kinds import KINDS, profile


class Plain(Method):
    """Nothing beyond the shared network."""

    def score(self, batch, networks):
        return torch.zeros(batch.labels.shape)


class Observing(Plain):
    def observe(self, batch, networks): ...


class Training(Observing):
    recipes: ClassVar = {"student": Recipe(task="student")}

    def fit(self, data, networks): ...


class Exposed(Training):
    auxiliary_data = True


class Masks(Exposed):
    def needs(self, base):
        return {"base": Need(base, ("masks", "queries"))}


class Ensemble(Plain):
    forwards = 2

    def needs(self, base):
        return {"base": Need(base), "second": Need(base.member(1)), "third": Need(base.member(2))}


class Denoiser(Plain):
    forwards = 25 / 3


class Encoder(Plain):
    def needs(self, base):
        return {"encoder": Need(dataclasses.replace(base, arch="frozen-small", classes=0), ("16",))}


class Broken(Plain):
    def needs(self, base):
        raise ModuleNotFoundError("timm is not installed")


@pytest.mark.parametrize(
    ("method", "kind", "needs", "cost"),
    [
        (Plain, "Post-hoc", "base", ""),
        (Observing, "Fitted", "base", "a pass over the training images"),
        (Training, "Trained", "base", "a pass over the training images; trains student"),
        (Exposed, "Outlier exposure", "base", "a pass over the training images; trains student"),
        (Masks, "Mask classification", "base (masks, queries)", "a pass over the training images; trains student"),
        (Ensemble, "Trained", "base; member 1; member 2", "2 forwards; trains 2 further networks"),
        (Denoiser, "Post-hoc", "base", "about 8 forwards"),
        (Encoder, "Post-hoc", "frozen encoder small (16)", "a forward of a frozen encoder"),
    ],
)
def test_a_method_is_what_it_declares(method, kind, needs, cost):
    assert dataclasses.astuple(profile(method())) == (kind, needs, cost) and kind in KINDS


def test_a_method_that_cannot_say_what_it_needs_says_why():
    found = profile(Broken())
    assert found.kind == "Post-hoc" and "timm is not installed" in found.needs


def test_options_decide_as_they_do_in_a_run():
    from benchmark.methods.void import Void

    assert profile(Void()).kind == "Post-hoc" and profile(Void(extra=True)).kind == "Outlier exposure"


def test_an_encoder_is_described_without_looking_for_its_weights(monkeypatch):
    from benchmark.methods.stpm import STPM

    from benchmark import encoders

    monkeypatch.setattr(encoders, "_check", lambda encoder: pytest.fail("timm was asked"))
    assert "frozen encoder tf_efficientnet_lite0" in profile(STPM()).needs
    with pytest.raises(pytest.fail.Exception, match="timm was asked"):
        encoders.find("tf_efficientnet_lite0")
