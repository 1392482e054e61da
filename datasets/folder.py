"""Images and labels of your own: a folder with a ``dataset.toml``."""

from __future__ import annotations

import hashlib
import math
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmark.data import ANOMALY, IGNORE, SPLITS, Dataset, DatasetCard, LightTraining, Policy
from benchmark.errors import BenchmarkError, printable
from benchmark.images import find_images
from benchmark.registry import DATASETS

from ._files import FileDataset, pair_up

_TEXTS = ("title", "trained_on", "note", "licence", "citation", "url")
_KEYS = (*_TEXTS, "classes", "palette", "network", "scales", "labels", "splits", "light")
_NORMAL = "normal"
FEW = 500
"""Training images below which a set is trained on lightly unless it says how."""
LIGHT_SAMPLES = 4000
"""Images that its light training sees, counted each time; in at most so many epochs:"""
MOST_EPOCHS = 100
LARGEST_SIDE = 1 << 14
"""Pixels of a test scale, as on the command line."""
_WORDS = {"anomaly": ANOMALY, "ignore": IGNORE}


class Folder(FileDataset):
    """``--dataset folder:path=DIR``, where DIR holds ``images/``, ``labels/`` and ``dataset.toml``.

    An image and its label file have the same relative name; label files are single-channel with 8 bits. The path is
    taken as the shell would take it; records and weights are named by its last part and a digest of the whole, which
    all ways to write it share. A set with classes of its own to train on::

        title = "Harbour roads"
        classes = ["road", "crane", "sky"]
        palette = [[128, 64, 128], [220, 20, 60], [70, 130, 180]]   # optional
        licence = "CC BY 4.0"                                       # optional, as are citation, url and note
        network = "pspnet-small"                                    # optional, as are the test scales
        scales = [240]

        [labels]             # value in the label files -> a class, "anomaly" or "ignore"
        0 = "ignore"
        1 = "road"
        2 = "crane"
        3 = "sky"
        9 = "anomaly"        # in test images only

        [splits]             # folders that hold images/ and labels/; without this table, DIR is the test split
        train = "train"
        val = "val"
        test = "test"

        [light]              # optional: every method trains from scratch on a CPU, not by its authors' recipe;
                             # where it is missing, a set of fewer than 500 training images gets one by their number
        epochs = 40          # of the shared network
        scales = [240]       # short side in training, where it is not the images' own
        colour = 0.3         # strength of the jitter

    A set that only evaluates networks trained elsewhere, and whose labels say "normal" instead of classes (there is no
    mIoU then)::

        title = "Lost cargo"
        trained_on = "camvid-ood"    # a registered dataset; classes, palette, network and test scales are its own

        [labels]
        0 = "normal"
        1 = "anomaly"
        255 = "ignore"

    Args:
        split: "train", "val" or "test".
        root: not used; `path` says where the folder is.
        path: the folder.
    Raises:
        BenchmarkError: the folder or its TOML is missing or says something that cannot be.
    """

    card = DatasetCard(
        title="Folder of your own (path=DIR)",
        licence="as the folder's owner says",
        citation="none",
    )

    def __init__(self, split: str, root: Path, path: str = "") -> None:
        super().__init__(split, root)
        if not path:
            raise BenchmarkError("The dataset folder needs its place: --dataset folder:path=DIR.")
        home = _resolved(path)
        self.spec = replace(self.spec, config={"path": _short(home)})
        self._file = home / "dataset.toml"
        content = self._read()
        splits = self._get(content, "splits", dict, {"test": "."})
        for name, place in splits.items():
            if name not in SPLITS:
                raise self._wrong(f"[splits] has '{name}'; splits are {', '.join(SPLITS)}")
            if not isinstance(place, str):
                raise self._wrong(f"[splits] {name} must be the text of a folder's path")
        if split not in splits:
            raise self._wrong(f"there is no {split} split; name its folder under [splits]")
        texts = {key: self._get(content, key, str, "") for key in _TEXTS}
        origin = self._origin(texts["trained_on"])
        classes, palette = self._classes(content, origin)
        labels = self._get(content, "labels", dict)
        values = self._values(labels, classes)
        self.card = DatasetCard(
            **texts | {"title": texts["title"] or home.name},
            classes=classes,
            palette=palette,
            splits=tuple(splits),
            class_labels=self._class_labels(labels, classes, texts["trained_on"]),
        )
        self.policy = self._policy(content, origin, home / splits["train"] if "train" in splits else None)
        place = home / splits[split]
        self._open(pair_up(place / "images", place / "labels"), values)

    @classmethod
    def available(cls, root: Path) -> bool:
        return False  # only an instance knows its path

    def _read(self) -> dict[str, Any]:
        try:
            if self._file.exists() and not self._file.is_file():
                raise self._wrong("it is a folder, a pipe or a device, no file")
            content = tomllib.loads(self._file.read_text(encoding="utf-8-sig"))  # some editors begin with a mark
        except FileNotFoundError:
            raise BenchmarkError(
                f"{self._file} is missing; write it as `python -m pydoc benchmark.datasets.folder` shows."
            ) from None
        except OSError as error:
            raise self._wrong(f"it cannot be read ({error.strerror})") from None
        except RecursionError:
            raise self._wrong("it holds lists within lists without end") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValueError) as error:
            raise self._wrong(str(error)) from None
        for key in content:
            if key not in _KEYS:
                raise self._wrong(f"'{key}' means nothing; known are {', '.join(_KEYS)}")
        return content

    def _origin(self, name: str) -> type[Dataset] | None:
        """The dataset that the networks are trained on, where it is another one."""
        if not name:
            return None
        origin = DATASETS.get(name)
        if origin.card.trained_on:
            raise self._wrong(f"{name} only evaluates networks; say trained_on = '{origin.card.trained_on}'")
        if not origin.card.classes:
            raise self._wrong(f"{name} has no classes of its own; say trained_on = 'a dataset that has'")
        return origin

    def _classes(
        self, content: Mapping[str, Any], origin: type[Dataset] | None
    ) -> tuple[tuple[str, ...], tuple[tuple[int, int, int], ...]]:
        """Classes and palette, from the file or of the dataset that the networks are trained on."""
        names = self._get(content, "classes", list, [])
        colours = self._get(content, "palette", list, [])
        if not names:
            if origin is None:
                raise self._wrong('it needs classes = [...] or trained_on = "a dataset"')
            names, colours = list(origin.card.classes), list(origin.card.palette)
        if not all(isinstance(n, str) for n in names) or len(set(names)) != len(names):
            raise self._wrong("classes must be different names")
        if reserved := {*_WORDS, _NORMAL}.intersection(names):
            raise self._wrong(f"'{min(reserved)}' is no class; it is a word for [labels]")
        if len(names) > 250:
            raise self._wrong(f"{len(names)} classes are more than the 250 that labels can hold")
        colours = colours or [_colour(i) for i in range(len(names))]
        if len(colours) != len(names) or not all(_is_colour(c) for c in colours):
            raise self._wrong(f"palette must hold one [red, green, blue] in 0..255 for each of {len(names)} classes")
        return tuple(names), tuple((int(r), int(g), int(b)) for r, g, b in colours)

    def _values(self, labels: Mapping[str, Any], classes: Sequence[str]) -> dict[int, int]:
        """[labels] as value -> label."""
        values: dict[int, int] = {}
        for key, word in labels.items():
            if not re.fullmatch("[0-9]{1,3}", key) or int(key) > 255:
                raise self._wrong(f"[labels] has '{key}'; values of an 8-bit label file are 0..255")
            if int(key) in values:
                raise self._wrong(f"[labels] says twice what {int(key)} is")
            if not isinstance(word, str):
                raise self._wrong(f"[labels] {key} = {word!r} is no text")
            if word == _NORMAL:
                values[int(key)] = 0
            elif word in _WORDS:
                values[int(key)] = _WORDS[word]
            elif word in classes:
                values[int(key)] = classes.index(word)
            else:
                raise self._wrong(f"[labels] {key} = {word!r} is neither a class nor anomaly, ignore or normal")
        return values

    def _class_labels(self, labels: Mapping[str, Any], classes: Sequence[str], trained_on: str) -> bool:
        """Whether known pixels carry their class."""
        if _NORMAL not in labels.values():
            return True
        if any(word in classes for word in labels.values()):
            raise self._wrong('[labels] mixes "normal" with classes; known pixels must all have a class or none')
        if not trained_on:
            raise self._wrong('labels without classes train nothing; say trained_on = "a dataset"')
        return False

    def _policy(self, content: Mapping[str, Any], origin: type[Dataset] | None, train: Path | None) -> Policy:
        policy = origin.policy.for_other_images() if origin else _own_policy(train)
        scales = self._sides(content, "scales", policy.scales)
        policy = replace(policy, network=self._get(content, "network", str, policy.network), scales=scales)
        if "network" in content or "scales" in content:
            policy = replace(policy, pretrained=None)  # what the user states is for every network
        light = self._get(content, "light", dict, {})
        if not light:
            return policy
        if origin:
            raise self._wrong(f"[light] is for sets that train; networks are those of {DATASETS.name_of(origin)}")
        epochs, colour = light.get("epochs"), light.get("colour", 0.0)
        if not _is_count(epochs) or not {"epochs", "scales", "colour"}.issuperset(light):
            raise self._wrong("[light] holds epochs = 1 or more and, where wanted, scales and colour")
        if isinstance(colour, bool) or not isinstance(colour, int | float) or not 0 <= colour <= 1:
            raise self._wrong("colour is the strength of the jitter, 0 to 1")
        return replace(
            policy, light=LightTraining(epochs=epochs, scales=self._sides(light, "scales"), colour=float(colour))
        )

    def _sides(self, content: Mapping[str, Any], key: str, default: Sequence[int] = ()) -> tuple[int, ...]:
        sides = self._get(content, key, list, list(default))
        if not all(map(_is_count, sides)):
            raise self._wrong(f"{key} must be short sides in pixels, as in {key} = [240]")
        if len(set(sides)) < len(sides) or max(sides, default=0) > LARGEST_SIDE:
            raise self._wrong(f"{key} must be different sides of at most {LARGEST_SIDE} pixels")
        return tuple(sides)

    def _get(self, content: Mapping[str, Any], key: str, kind: type, default: Any = None) -> Any:
        value = content.get(key, default)
        if not isinstance(value, kind):
            words = {str: "a text", list: "a list", dict: f"a table [{key}]"}
            raise self._wrong(f"it needs {words[kind]} named {key}")
        return value

    def _wrong(self, sentence: str) -> BenchmarkError:
        return BenchmarkError(f"{self._file}: {sentence}.")


def _resolved(path: str) -> Path:
    """The folder, by the one path that all ways to write it lead to."""
    try:
        return Path(path).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:  # links in a ring, no such user's home, a zero byte
        raise BenchmarkError(f"folder:path={printable(path)} is no path ({error}); name the folder.") from None


def _short(home: Path) -> str:
    """What tells a folder from others in names of records and weights, without saying where on this machine it is."""
    name = re.sub("[^A-Za-z0-9._-]+", "-", home.name).strip("-.")[:40]
    return f"{name or 'set'}-{hashlib.sha256(os.fsencode(home)).hexdigest()[:6]}"


def _own_policy(train: Path | None) -> Policy:
    """How a set with classes of its own trains: too few images for the authors' recipes are trained on lightly."""
    images = 0
    if train is not None and (train / "images").is_dir():
        images = len(find_images(train / "images"))
    if not 0 < images < FEW:
        return Policy()
    epochs = min(MOST_EPOCHS, math.ceil(LIGHT_SAMPLES / images))
    return Policy(network="pspnet-small", light=LightTraining(epochs=epochs))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_colour(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 3 and all(v in range(256) for v in value)


def _colour(index: int) -> tuple[int, int, int]:
    """The PASCAL VOC colour map: bits of the index, spread over the channels from the highest bit down."""
    channels = [0, 0, 0]
    index += 1
    for bit in range(7, -1, -1):
        for channel in range(3):
            channels[channel] |= (index >> channel & 1) << bit
        index >>= 3
    return tuple(channels)  # type: ignore[return-value]
