"""What decides a record's numbers, and in words which part of it changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmark.io.words import some


@dataclass(frozen=True)
class Identity:
    """The parts of a measurement that decide its numbers; two runs of equal identity need not both be made.

    A digest that is not known (the weights are not on this machine, the fit was not made yet) is None and is then not
    compared. Nor is the source where one of two says nothing of it: older records, methods that were made in no file.
    """

    fingerprint: str  # of the images and labels
    limit: int | None  # --limit, None for all images
    network: str  # key of the shared network: architecture, training data, recipe
    code: str = ""  # digest of the user's own file that builds it, with what it imports from its folder
    label_size: str = "image"  # where scores and labels meet
    options: Mapping[str, Any] = field(default_factory=dict)  # keywords of the shared network's build()
    scales: tuple[int, ...] = ()  # test scales
    max_size: int = 0  # bound of the long side in pixels
    weights: str | None = None  # SHA-256 of the shared network's weights
    others: Mapping[str, tuple[str, str | None]] = field(default_factory=dict)  # role -> (key, SHA-256 of weights)
    config: Mapping[str, Any] = field(default_factory=dict)  # the method's constructor keywords
    version: int = 1  # of the method
    fit: tuple[str, str | None] | None = None  # (key, SHA-256) of what fit() made; None for a method without fit
    protocols: Mapping[str, int] = field(default_factory=dict)  # protocol name -> version
    source: Mapping[str, str] = field(default_factory=dict)  # file of the method -> SHA-256; empty where not stated
    validation: str | None = None  # fingerprint of the normal images that a protocol takes its threshold from, empty
    # where these are missing; None where no protocol does

    def differences(self, expected: Identity) -> list[str]:
        """One phrase per part in which `expected` differs from this; protocols that are not expected do not count."""
        words: list[str] = []

        def compare(what: str, old: Any, new: Any) -> None:
            if old != new:
                words.append(f"{what} changed from {_show(old)} to {_show(new)}")

        compare("the dataset's images or labels", self.fingerprint, expected.fingerprint)
        compare("the number of images", _limit(self.limit), _limit(expected.limit))
        compare("the network's training (architecture, data or recipe)", self.network, expected.network)
        compare("the network's code", self.code, expected.code)
        compare("the size at which labels are compared", self.label_size, expected.label_size)
        words += _options("the network", self.options, expected.options)
        compare("the network's test scales", _scales(self), _scales(expected))
        if _known_and_different(self.weights, expected.weights):
            compare("the network's weights", self.weights, expected.weights)
        for role in sorted({*self.others, *expected.others}):
            words += _network(role, self.others.get(role), expected.others.get(role))
        words += _options("the method", self.config, expected.config)
        compare("the method's version", self.version, expected.version)
        if self.source and expected.source and self.source != expected.source:
            words.append(source_changed(self.source, expected.source))
        if (self.fit or ("",))[0] != (expected.fit or ("",))[0]:
            words.append("what the method is fitted with changed (networks, data, recipe or configuration)")
        elif self.fit and expected.fit and _known_and_different(self.fit[1], expected.fit[1]):
            compare("the method's fitted weights", self.fit[1], expected.fit[1])
        if expected.validation is not None and all(name in self.protocols for name in expected.protocols):
            compare("the validation images", self.validation or "none", expected.validation or "none")
        for name, version in sorted(expected.protocols.items()):
            if name not in self.protocols:
                words.append(f"the protocol {name} is not measured yet")
            else:
                compare(f"the protocol {name}'s version", self.protocols[name], version)
        return words


def source_changed(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    """The phrase for two states of a method's source that differ."""
    changed = [file for file in sorted({*old, *new}) if old.get(file) != new.get(file)]
    return f"its source changed ({some(changed)})"


def _options(owner: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    words = []
    for key in sorted({*old, *new}):
        before, after = _plain(old.get(key, "unset")), _plain(new.get(key, "unset"))
        if before != after:
            words.append(f"{owner}'s option {key} changed from {_show(before)} to {_show(after)}")
    return words


def _network(role: str, old: tuple[str, str | None] | None, new: tuple[str, str | None] | None) -> list[str]:
    if old is None:
        return [f"the method now needs a network '{role}'"]
    if new is None:
        return [f"the method no longer needs the network '{role}'"]
    if old[0] != new[0]:
        return [f"the network '{role}' changed from {_show(old[0])} to {_show(new[0])}"]
    if _known_and_different(old[1], new[1]):
        return [f"the weights of the network '{role}' changed from {_show(old[1])} to {_show(new[1])}"]
    return []


def _known_and_different(old: str | None, new: str | None) -> bool:
    return old is not None and new is not None and old != new


def _limit(limit: int | None) -> str:
    return "all" if limit is None else f"the first {limit}"


def _scales(identity: Identity) -> str:
    if not identity.scales:
        return "native size"
    bound = f" (at most {identity.max_size})" if identity.max_size else ""
    return ", ".join(map(str, identity.scales)) + bound


def _plain(value: Any) -> Any:
    """JSON knows no tuples: what was a tuple comes back as a list."""
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def _show(value: Any) -> str:
    text = str(value)
    is_digest = len(text) > 24 and all(c in "0123456789abcdef" for c in text)
    return text[:10] if is_digest else text
