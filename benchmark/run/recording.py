"""From what a pass gathered to the record of one method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmark.errors import BenchmarkError
from benchmark.metrics import Measurements, network_measurements, protocol
from benchmark.network import NetworkSpec
from benchmark.networks import pretrained_of
from benchmark.records.provenance import gather
from benchmark.records.record import (
    Cost,
    DatasetPart,
    MethodPart,
    NetworkPart,
    OtherNetwork,
    Record,
    validation_part,
    write_whole,
)
from benchmark.run.entry import Entry
from benchmark.run.plan import Step, other_networks
from benchmark.run.scoring import network_cost
from benchmark.run.setup import Setup
from benchmark.run.tally import Tally
from benchmark.run.workshop import Workshop


def make_record(workshop: Workshop, step: Step, tally: Tally, further: Measurements, results: Path) -> Record:
    """Write the record of a method, its per-image rows and its pooled curves.

    Args:
        workshop: with everything trained and loaded.
        step: the method.
        tally: of the pass, in which it did not fail.
        further: what the second pass measured of it.
        results: folder that holds ``records/``.
    """
    setup, entry = workshop.setup, step.entry
    first = tally.methods[entry.label]
    measured = first.measurement() | further
    measured |= network_measurements(setup.protocols, tally.network)
    others = other_networks(setup.base, entry)
    pixels = {"anomalous": tally.anomalous, "normal": tally.valid - tally.anomalous, "ignored": tally.ignored}
    record = Record(
        dataset=DatasetPart.of(setup.test, pixels, setup.options.limit or None, setup.options.label_size),
        network=_network(workshop, step),
        method=_method(workshop, entry),
        metrics={name: measured[name] for name in setup.protocols},
        segmentation=tally.segmentation.measurement() if tally.segmentation else None,
        cost=cost_of(workshop, entry, tally),
        provenance=gather(str(setup.machine.device), setup.options.precision),
        other_networks={role: _other(workshop, spec) for role, spec in others.items()},
        validation=_validation(setup) if any(protocol(name).validates for name in setup.protocols) else {},
    )
    return write_whole(record, results, first.rows(), first.curves())


def _network(workshop: Workshop, step: Step) -> NetworkPart:
    setup, base, own = workshop.setup, step.entry.base, workshop.setup.own
    given = setup.given(base)
    return NetworkPart(
        label=step.network,
        arch=base.arch,
        options=dict(base.options),
        key=setup.identify(base),
        scales=list(base.scales),
        max_size=base.max_size,
        weights_sha256=workshop.digest(base) or "",
        recipe={} if given else base.recipe.as_dict(),
        trained=_brief(workshop, (own.imported if own else "") or base.key),
        seed=setup.options.repetition,
        code_sha256=own.code if own else "",
        weights_file=own.weights.name if given else "",
        preparation=dict(workshop.pool.network(base).preparation) if own else {},
        place=own.place if own else "",
        pretrained=_pretrained(workshop, base),
    )


def _other(workshop: Workshop, spec: NetworkSpec) -> OtherNetwork:
    trained = {} if spec.frozen else _brief(workshop, spec.key)
    return OtherNetwork(spec.key, workshop.digest(spec) or "", trained, _pretrained(workshop, spec))


def _pretrained(workshop: Workshop, spec: NetworkSpec) -> dict[str, str]:
    """What is known of the weights with which the encoder of a network began."""
    found = pretrained_of(spec.arch, dict(spec.options)) if spec.pretrained else None
    return found.as_dict() if found else {}


def _method(workshop: Workshop, entry: Entry) -> MethodPart:
    method = entry.method
    return MethodPart(
        name=method.name,
        label=entry.label,
        title=method.title or method.name,
        paper=method.paper,
        config=dict(entry.config),
        version=method.version,
        auxiliary_data=method.auxiliary_data,
        fit_key=entry.fit_key,
        fit_sha256=workshop.store.digest(entry.fit_key) if entry.fit_key else None,
        fit=_brief(workshop, entry.fit_key) if entry.fit_key else None,
        normal=_normal(workshop) if entry.normal else {},
        source=dict(entry.source),
    )


def _validation(setup: Setup) -> dict[str, Any]:
    """The images from which protocols took thresholds; empty where they are missing."""
    try:
        images = setup.validation
        return validation_part(images) if images is not None and len(images) else {}
    except BenchmarkError:
        return {}


def _normal(workshop: Workshop) -> dict[str, Any]:
    """The normal images to which methods were fitted."""
    normal = workshop.setup.normal
    assert normal is not None
    return validation_part(normal) | {"title": normal.card.title, "class_labels": normal.card.class_labels}


def _brief(workshop: Workshop, key: str) -> dict[str, Any]:
    """The part of a sidecar that a reader of the record wants: how every training went, on what and how exactly."""
    if not workshop.store.has(key):
        return {}
    sidecar = workshop.store.sidecar(key)
    kept = ("steps", "epochs", "seconds", "loss", "validation", "resumed")
    brief = {"reports": [{k: r[k] for k in kept if k in r} for r in sidecar.get("reports", ())]}
    brief["recipe"] = sidecar.get("recipe")
    made = sidecar.get("provenance", {})
    brief |= {
        key: made[key]
        for key in ("device", "cpu", "threads", "precision", "compiled", "processes", "commit", "date")
        if key in made
    }
    if "seconds" in sidecar:
        brief["seconds"] = sidecar["seconds"]
    if "imported" in sidecar:
        brief["imported"] = sidecar["imported"]
    return brief


def cost_of(workshop: Workshop, entry: Entry, tally: Tally) -> Cost:
    """What a pass has taken for an image, as far as it was timed, and what the method's fit has taken.

    Args:
        workshop: of the pass.
        entry: the method.
        tally: of the pass.
    """

    def per_image(seconds: float) -> float | None:
        return 1000 * seconds / tally.timed if tally.timed else None

    specs: list[NetworkSpec] = entry.specs
    memory = workshop.pool.memory_mib
    fit = _brief(workshop, entry.fit_key) if entry.fit_key else {}
    return Cost(
        network_ms=per_image(sum(tally.seconds.get(network_cost(s), 0.0) for s in specs)),
        method_ms=per_image(tally.seconds.get(entry.label, 0.0)),
        peak_memory_mib=entry.memory_mib,
        memory_of="" if entry.memory_mib is None else "score() for a batch, beyond weights and what methods share",
        network_memory_mib=max((memory[s] for s in specs if s in memory), default=None),
        batch_size=tally.batch_size,
        fit_seconds=fit.get("seconds"),
    )
