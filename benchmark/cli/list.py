"""``list``: what is registered, what is unavailable and why, and which options a plugin has."""

from __future__ import annotations

import argparse
import inspect
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.cli.arguments import data_folder, machine_readable, verb
from benchmark.cli.describe import NETWORK_GIVEN, options_of, summary
from benchmark.cli.output import line_width
from benchmark.errors import BenchmarkError
from benchmark.io.columns import fitted

if TYPE_CHECKING:
    from benchmark.registry import Registry

About = Mapping[str, Any]
"""What there is to say of one plugin, in plain values."""
KINDS = ("methods", "datasets", "networks", "protocols")


def add(verbs) -> None:
    parser = verb(
        verbs,
        "list",
        list_plugins,
        "list methods, datasets, networks and protocols, what is unavailable and why, and the options of one",
        """
list
list methods
list methods knn
list networks pspnet
list protocols --json
list --plugin my_method.py""",
    )
    parser.add_argument("kind", nargs="?", type=_kind, choices=KINDS, help="what to list (default: all of them)")
    parser.add_argument("name", nargs="?", metavar="PLUGIN", help="one of that kind, with its options")
    data_folder(parser)
    machine_readable(parser)


def _kind(text: str) -> str:
    """A kind, in the plural or not."""
    kind = f"{text.removesuffix('s')}s"
    if kind not in KINDS:
        raise argparse.ArgumentTypeError(f"write {', '.join(KINDS[:-1])} or {KINDS[-1]} before '{text}'")
    return kind


def list_plugins(arguments: argparse.Namespace) -> int:
    """Print what is registered, and what is unavailable and why; or one plugin with its options."""
    from benchmark.registry import DATASETS, METHODS, NETWORKS
    from benchmark.run.options import data_root

    root = data_root(arguments.data)
    registries: dict[str, Registry[Any]] = {"methods": METHODS, "datasets": DATASETS, "networks": NETWORKS}
    abouts = {"methods": _method, "datasets": lambda name: _dataset(name, root), "networks": _network}
    heads = {"methods": _methods, "datasets": lambda found: _datasets(found, root), "networks": _networks}
    if arguments.name:
        if arguments.kind == "protocols":
            about = _protocol(arguments.name)
        else:
            about = abouts[arguments.kind](_registered(registries[arguments.kind], arguments.name))
        arguments.answer.update(about)
        print(_page(about))
        return 0
    for kind, registry in registries.items():
        if arguments.kind not in (None, kind):
            continue
        found = [abouts[kind](name) for name in registry.available()]
        broken = registry.unavailable()
        print(heads[kind](found))
        for error in broken.values():
            print(f"unavailable: {error}")
        print()
        arguments.answer[kind] = found
        arguments.answer.setdefault("unavailable", {}).update(broken)
    if arguments.kind in (None, "protocols"):
        from benchmark.metrics import PROTOCOLS

        arguments.answer["protocols"] = found = [_protocol(name) for name in PROTOCOLS]
        print(_protocols(found))
        print()
    return 0


def _registered(registry: Registry[Any], name: str) -> str:
    """The name of a plugin; of a network that of its family."""
    if registry.kind == "network":
        from benchmark.networks import split_arch

        name = split_arch(name)[0]
    registry.get(name)  # says what is near where there is none
    return registry.canonical(name)


def _method(name: str) -> About:
    from benchmark.registry import METHODS
    from benchmark.run.kinds import profile

    cls = METHODS.get(name)
    found = profile(cls())
    return {
        "name": name,
        "title": cls.title,
        "kind": found.kind,
        "paper": cls.paper,
        "source": METHODS.source(name),
        "needs": found.needs,
        "cost": found.cost,
        "about": summary(inspect.getdoc(cls) or ""),
        "options": options_of(cls, cls.given),
    }


def _dataset(name: str, root: Path) -> About:
    from benchmark.registry import DATASETS

    cls = DATASETS.get(name)
    card = cls.card
    try:
        found = "found" if cls.available(root) else "not found"
    except BenchmarkError as error:
        found = str(error)
    return {
        "name": name,
        "title": card.title,
        "found": found,
        "sizes": dict(card.sizes),
        "classes": list(card.classes),
        "trained_on": card.trained_on or name,
        "licence": card.licence,
        "citation": card.citation,
        "url": card.url,
        "note": card.note,
        "source": DATASETS.source(name),
        "about": summary(inspect.getdoc(cls) or ""),
        "options": options_of(cls, cls.given),
    }


def _network(family: str) -> About:
    from benchmark.registry import NETWORKS

    build = NETWORKS.get(family)
    about = summary(inspect.getdoc(build) or "")
    variants = getattr(inspect.getmodule(build), "VARIANTS", {}) or {None: about.partition("\n")[0]}
    return {
        "name": family,
        "variants": {f"{family}-{variant}" if variant else family: text for variant, text in variants.items()},
        "source": NETWORKS.source(family),
        "about": about,
        "options": options_of(build, NETWORK_GIVEN),
    }


def _protocol(name: str) -> About:
    """A protocol, what it gives, and what it needs beside one pass over scores and labels."""
    from benchmark.metrics import protocol

    found = protocol(name)
    needs = {
        "a second pass": found.passes == 2,
        "validation images": found.validates,
        "predicted classes": found.predictions,
    }
    return {
        "name": found.name,
        "version": found.version,
        "gives": dict(found.headlines),
        "needs": [what for what, has in needs.items() if has],
        "source": found.source,
    }


def _methods(found: Sequence[About]) -> str:
    """A table for each kind of method."""
    from benchmark.run.kinds import KINDS

    kinds: dict[str, list[list[str]]] = {kind: [] for kind in KINDS}
    for each in found:
        kinds[each["kind"]].append([each["name"], each["paper"], each["needs"]])
    heads = ["method", "paper", "needs"]
    parts = [
        f"{kind}: they {KINDS[kind]}\n\n{fitted(rows, heads, line_width())}" for kind, rows in kinds.items() if rows
    ]
    return "\n\n".join(parts) + _sources(found)


def _sources(found: Sequence[About]) -> str:
    """A line for every plugin that did not come along."""
    return "".join(f"\n\n{each['name']} is of {each['source']}." for each in found if each["source"] != "built in")


def _datasets(found: Sequence[About], root: Path) -> str:
    from benchmark.data import SPLITS

    rows = []
    for each in found:
        sizes = "/".join(str(each["sizes"].get(split, "-")) for split in SPLITS) if each["sizes"] else ""
        rows.append([each["name"], each["found"], sizes, each["title"]])
    table = fitted(rows, ["dataset", "found", "train/val/test", "title"], line_width())
    return f"Under {root}:\n\n{table}{_sources(found)}"


def _networks(found: Sequence[About]) -> str:
    rows = [row for each in found for row in each["variants"].items()]
    return fitted(rows, ["network", "description"], line_width()) + _sources(found)


def _protocols(found: Sequence[About]) -> str:
    rows = [[f"{p['name']} v{p['version']}", ", ".join(p["gives"].values()), ", ".join(p["needs"])] for p in found]
    return fitted(rows, ["protocol", "gives", "needs"], line_width())


SHOWN = {"found": "data", "trained_on": "networks of", "sizes": "images"}
"""What facts are called on a plugin's page where it is not their name."""


def _page(about: About) -> str:
    """All that there is to say of one plugin."""
    name = about["name"]
    told = {key: _words(value) for key, value in about.items() if key not in ("name", "about", "options") and value}
    facts = [[SHOWN.get(key, key), text] for key, text in told.items() if text not in (name, "none")]
    parts = [name, fitted(facts, (), line_width())]
    if about.get("about"):
        parts += ["\n\n".join(_wrapped(part, line_width()) for part in about["about"].split("\n\n"))]
    if "options" in about:
        rows = [
            [o.name, o.values, "must be given" if o.default is None else o.default or '""', o.meaning]
            for o in about["options"]
        ]
        heads = ["option", "takes", "default", "meaning"]
        parts.append(fitted(rows, heads, line_width()) if rows else "It has no options.")
        if rows:
            parts.append(f"As in {name}:{rows[0][0]}=..., several joined by colons.")
    return "\n\n".join(parts)


def _wrapped(paragraph: str, width: int) -> str:
    """A paragraph of running text in lines of a width; formulas and lists keep theirs."""
    lines = paragraph.splitlines()
    if any(line.startswith((" ", "-", "*")) for line in lines):
        return paragraph
    return textwrap.fill(" ".join(lines), width)


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return "\n".join(f"{key}: {each}" for key, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
