"""Released weights as the network or the method that they belong to declares them.

A family of networks holds them in a mapping ``RELEASED`` beside its function ``build``, a method in its attribute
``released``: name -> :class:`Release`. ``python -m benchmark weights import NAME FILES`` finds them there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ReleasedFile:
    """A file, and how its tensors are called in our modules.

    Attributes:
        name: what it holds in a word, as the command line calls it ("encoder").
        title: the same in messages ("the encoder 'resnet50dilated' of CSAIL").
        prefixes: (theirs, ours); the first that a name begins with is replaced. Ours are names in the state of the
            network, or of the method.
        sha256: of the file as published; empty where others trained with the same code, so that any file will do.
    """

    name: str
    title: str
    prefixes: tuple[tuple[str, str], ...]
    sha256: str = ""

    def ours(self, name: str) -> str:
        """Our name of a released tensor."""
        return next((b + name.removeprefix(a) for a, b in self.prefixes if name.startswith(a)), name)

    def theirs(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Those of our tensors that such a file holds, under its names."""
        named = {}
        for name, value in state.items():
            released = next((a + name.removeprefix(b) for a, b in self.prefixes if name.startswith(b)), None)
            if released:
                named[released] = value
        return named


@dataclass(frozen=True)
class Release:
    """The files that authors published together.

    Attributes:
        files: in the order of the command line.
        source: where they are published.
        license: under which terms.
        network: name of the network in the registry, where the files hold one.
        teacher: where they belong to a method: name of the release of the shared network, whose files come first.
        outputs: layers with one output per class. Of a file with more classes than the dataset the first are kept.
        dropped: endings of the names of tensors that no inference reads.
        trained_on: dataset on whose classes the network was trained, where that is a published one: then these weights
            stand in for its training wherever such a network is evaluated. Empty where the files are those of whoever
            trained last; they are then imported for one dataset.
        extra: number of outputs beyond those classes, for what the training labels ignore.
        hub: repository on the Hugging Face hub that holds them, where a network is read from a folder; `files` are then
            empty, and ``weights import NAME FOLDER`` downloads the folder.
    """

    files: tuple[ReleasedFile, ...]
    source: str
    license: str
    network: str = ""
    teacher: str = ""
    outputs: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    trained_on: str = ""
    extra: int = 0
    hub: str = ""
