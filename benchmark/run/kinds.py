"""What kind of method a method is, what it needs and what it costs: read off its class, its needs and its recipes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.blocks import MASKS
from benchmark.encoders import unseen
from benchmark.errors import in_words
from benchmark.network import NetworkSpec
from benchmark.recipe import Recipe

if TYPE_CHECKING:
    from benchmark.method import Method
    from benchmark.pool import Need

KINDS = {
    "Post-hoc": "score what the trained network gives, with nothing to fit",
    "Fitted": "gather statistics of the training images in one pass, which all methods share",
    "Trained": "train a module or networks of their own on the training images",
    "Outlier exposure": "see outliers in training, and stand apart in tables",
    "Mask classification": "read the queries of a mask-classification network",
}
"""Every kind of method, what most users can run first -> what its methods do."""

_BASE = NetworkSpec("network", "dataset", 19, Recipe())
"""Stands for the shared network: only what a method derives from it is looked at."""


@dataclass(frozen=True)
class Profile:
    """What a method says of itself.

    Attributes:
        kind: a key of :data:`KINDS`.
        needs: networks and features in words; "base" is the shared network.
        cost: in words, beside the forward of the shared network that all methods share; empty where there is none.
    """

    kind: str
    needs: str
    cost: str


def profile(method: Method) -> Profile:
    """Sum up a method with the options that it was made with.

    A method that cannot say what it needs (an optional package is missing) has the reason there.
    """
    try:
        with unseen():
            needs, words = dict(method.needs(_BASE)), ""
    except Exception as error:  # a plugin's; the list goes on
        needs, words = {}, in_words(error)
    others = [n.network for n in needs.values() if n.network.checkpoint != _BASE.checkpoint]
    trained, frozen = ([spec for spec in others if spec.frozen is it] for it in (False, True))
    kind = "Post-hoc"
    if any(MASKS in need.taps for need in needs.values()):
        kind = "Mask classification"
    elif method.auxiliary_data:
        kind = "Outlier exposure"
    elif method.recipes or trained:
        kind = "Trained"
    elif method.fitted:
        kind = "Fitted"
    costs = [
        _forwards(method.forwards),
        f"a forward of {_count(trained, 'further network')}" if trained and not method.forwards else "",
        f"a forward of {_count(frozen, 'frozen encoder')}" if frozen else "",
        "a pass over the training images" if method.observes else "",
        f"trains {', '.join(method.recipes)}" if method.recipes else "",
        f"trains {_count(trained, 'further network')}" if trained and not method.recipes else "",
    ]
    return Profile(kind, words or "; ".join(_need(n) for n in needs.values()), "; ".join(filter(None, costs)))


def _need(need: Need) -> str:
    spec = need.network
    name = "base"
    if spec.frozen:
        name = f"frozen encoder {spec.arch.removeprefix('frozen-')}"
    elif spec.checkpoint != _BASE.checkpoint:
        same = spec.arch == _BASE.arch and not spec.options
        name = f"member {spec.recipe.member}" if same and spec.recipe.member else "a network of its own"
    return f"{name} ({', '.join(need.taps)})" if need.taps else name


def _forwards(count: float) -> str:
    whole = round(count)
    return f"{'about ' * (count != whole)}{whole} forward{'s' * (whole != 1)}" if count else ""


def _count(items: Iterable[object], name: str) -> str:
    count = len(list(items))
    return f"{count} {name}s" if count > 1 else f"a {name}"
