"""In words: names and numbers as printed, what the rows of a table share, what a reader must know of single values."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from string import ascii_lowercase

from benchmark.io.words import quantity
from benchmark.records.provenance import BUSY
from benchmark.records.record import Measurement, MethodPart, Record, recipe_changes
from benchmark.values import SYNTHETIC, OutlierData, format_value

METRIC_TITLES = {"aupr": "AUPR", "fpr95": "FPR95", "auroc": "AUROC"}
"""The metrics in the order in which they are printed."""
AGGREGATIONS = {"per-image": "per image", "pooled": "pooled"}
"""How each aggregation is called in tables."""
UNITS = "All metrics in percent; AUPR and AUROC: larger is better, FPR95: smaller is better."
"""Below every table of them."""
MARK = "†"
"""Behind times that were taken on a busy machine."""
EXTERNAL = "‡"
"""Behind methods whose score maps were made elsewhere."""
SAMPLED = "≈"
"""Before pooled values of a sample of the pixels whose bound exceeds the tolerance."""
NOTHING = "–"
"""What stands where there is no value."""
STARS = {False: "", SYNTHETIC: " °", True: " *"}
"""Behind methods in tables where those that saw outliers in training do not stand apart."""


def setting(records: Sequence[Record]) -> list[str]:
    """What the rows share; where they do not, every value that occurs."""

    def all_of(read: Callable[[Record], str | None]) -> str:
        return " or ".join(distinct(text for r in records if (text := read(r))))

    phrases = [
        f"network {all_of(lambda r: r.network.arch)}{all_of(_options)}",
        all_of(_recipe),
        all_of(_weights),
        all_of(_pretrained),
        all_of(_size),
        all_of(lambda r: _LABELS.get(r.dataset.label_size)),
        *(
            f"{words}: protocol {text}"
            for aggregation, words in AGGREGATIONS.items()
            if (text := all_of(partial(protocol_of, aggregation=aggregation)))
        ),
        f"{all_of(lambda r: str(r.dataset.images))} images",
    ]
    if {r.provenance.precision for r in records if not r.external} - {"fp32"}:
        phrases.append(f"evaluated in {all_of(lambda r: None if r.external else r.provenance.precision)}")
    phrases += _miou(records)
    constants = [
        f"{text} ({words})"
        for aggregation, words in AGGREGATIONS.items()
        if (text := all_of(partial(_constant, aggregation=aggregation)))
    ]
    phrases += [f"AUPR of a constant score {', '.join(constants)}"] if constants else []
    return [*filter(None, phrases), *_timed(records)]


def _options(record: Record) -> str:
    options = "".join(f" {k}={v}" for k, v in sorted(record.network.options.items()))
    return options + _digest(record, record.network.code_sha256)


def _weights(record: Record) -> str | None:
    network = record.network
    if not network.weights_file:
        return None
    return f"weights of the file {network.weights_file}{_digest(record, network.weights_sha256)}"


def _pretrained(record: Record) -> str | None:
    """The weights with which the encoder of the shared network began."""
    found = record.network.pretrained
    return f"encoder pretrained ({_origin(found)})" if found else None


def _origin(found: Mapping[str, str]) -> str:
    parts = (found.get(key, "") for key in ("encoder", "source", "version"))
    return f"{' '.join(filter(None, parts))}, SHA-256 {found.get('sha256', '')[:8]}"


def _encoders(record: Record) -> list[str]:
    """The pretrained encoders that a method uses beside that of the shared network; a frozen one has no training."""
    return distinct(
        f"{'a pretrained' if n.trained else 'a frozen'} encoder ({_origin(n.pretrained)})"
        for n in record.other_networks.values()
        if n.pretrained and (not n.trained or n.pretrained != record.network.pretrained)
    )


def _digest(record: Record, sha256: str) -> str:
    """The digest of a file where the label needs it to tell the file from another of its name."""
    return f" ({sha256[:8]})" if sha256 and sha256[:8] in record.network.label else ""


def _recipe(record: Record) -> str | None:
    changes = recipe_changes(record.network.label)
    return f"trained with {', '.join(changes)}" if changes else None


def _size(record: Record) -> str | None:
    """The sizes at which the network sees an image, and how it gets there; None where nobody says."""
    if record.external:
        return None
    prepared, words = record.network.preparation, scales_in_words(record.network.scales, record.network.max_size)
    if size := prepared.get("size"):
        words = f"input {size[1]}x{size[0]}"
    return f"{words} ({prepared['filter']})" if prepared and words != scales_in_words(()) else words


_LABELS = {"network": "labels resized to the network's input by nearest neighbour"}
"""How a rule is described that is not the default."""


def protocol_of(record: Record, aggregation: str) -> str | None:
    """Name and version of the protocol behind the :func:`primary` measurement."""
    return next((f"{n} v{m.version}" for n, m in record.metrics.items() if m.aggregation == aggregation), None)


def _constant(record: Record, aggregation: str) -> str | None:
    found = primary(record, aggregation)
    return percent(found.constant_aupr, 2) if found and found.constant_aupr is not None else None


def _miou(records: Sequence[Record]) -> list[str]:
    found = [(s.miou, s.miou_denominator) for r in records if (s := r.segmentation) and s.miou is not None]
    if not found:
        return []
    low, high = (percent(f(miou for miou, _ in found)) for f in (min, max))
    classes = " or ".join(distinct(str(count) for _, count in found))
    return [f"mIoU of the network {low if low == high else f'{low} to {high}'} over {classes} classes"]


def machine_of(record: Record) -> str | None:
    """What a record was timed on, with arithmetic, threads and batch; None where it was not."""
    if record.cost.network_ms is None and record.cost.method_ms is None:
        return None
    made = record.timing
    name = made.cpu or "CPU" if made.device in ("cpu", "") else made.device
    threads = f", {quantity(made.threads, 'thread')}" if made.device in ("cpu", "") else ""
    return f"{name} ({made.precision}{threads}, batch {record.cost.batch_size})"


def scales_in_words(scales: Sequence[int], max_size: int = 0) -> str:
    """Test scales as printed above a table."""
    if not scales:
        return "native size"
    bound = f", long side at most {max_size}" if max_size else ""
    return f"test scale{'s' * (len(scales) > 1)} {', '.join(map(str, scales))}{bound}"


def remarks(records: Sequence[Record]) -> list[str]:
    found = []
    for record in sorted(records, key=lambda r: (r.method.label, r.network.seed)):
        for protocol, measured in record.metrics.items():
            found += [f"{record.method.label} under {protocol}: {gap}." for gap in measured.gaps()]
            if measured.uncertain:
                bounds = ", ".join(f"{METRIC_TITLES[m]} ±{100 * b:.1g}" for m, b in measured.uncertain.items())
                found.append(
                    f"{record.method.label}: values under {protocol} with {SAMPLED} rank a sample of the pixels, off "
                    f"by at most {bounds} points; run --exact-pooled ranks all."
                )
            if measured.skipped and measured.aggregation == "per-image":
                found.append(f"{measured.skipped} images hold one kind of pixel only and are skipped by {protocol}.")
        found += [f"{record.method.label} uses {text}." for text in _encoders(record)]
    found += external_legend(records)
    dirty = sum(r.provenance.dirty is True for r in records)
    if dirty:
        found.append(f"{dirty} of {len(records)} records were measured with uncommitted changes in the code.")
    return distinct(found)


def letter(place: int) -> str:
    """a, b, ..., z, a1, b1, ..."""
    return ascii_lowercase[place % 26] + (str(place // 26) if place >= 26 else "")


def _machines(records: Iterable[Record]) -> list[str]:
    return sorted(distinct(machine for r in records if (machine := machine_of(r))))


def busy(record: Record) -> bool:
    """Whether its times were taken beside other work on the machine."""
    return machine_of(record) is not None and (record.timing.load or 0) > BUSY


def _timed(records: Sequence[Record]) -> list[str]:
    """Where the rows were timed; with the marks of :func:`timing_marks`, where they need some."""
    machines = _machines(records)
    named = [f"({letter(place)}) {machine}" for place, machine in enumerate(machines)]
    found = [f"timed on {' or '.join(named if len(machines) > 1 else machines)}"] if machines else []
    found += _retimed(records)
    if any(map(busy, records)):
        found.append(f"times with {MARK} were taken beside other work on the machine and are too long")
    return found


def _retimed(records: Sequence[Record]) -> list[str]:
    """How many of the rows have times of another pass than their metrics, and over how many images."""
    images = [record.cost.retimed.images for record in records if record.cost.retimed]
    if not images:
        return []
    timed = sum(machine_of(record) is not None for record in records)
    low, high = min(images), max(images)
    of = f"those of {len(images)} of {timed} records" if len(images) < timed else "times"
    return [f"{of} taken in a later pass, over {low if low == high else f'{low} to {high}'} images"]


def timing_marks(records: Sequence[Record]) -> dict[str, str]:
    """What stands behind the times of a method, by its label: the letters of its machines where there are several, and
    :data:`MARK`."""
    machines = _machines(records)
    marks: dict[str, set[str]] = {}
    for record in records:
        marks.setdefault(record.method.label, set())
        if len(machines) > 1 and (machine := machine_of(record)):
            marks[record.method.label].add(f"({letter(machines.index(machine))})")
        if busy(record):
            marks[record.method.label].add(MARK)
    return {label: " ".join(sorted(each, key=lambda mark: (mark == MARK, mark))) for label, each in marks.items()}


def sampled(records: Sequence[Record]) -> dict[str, str]:
    """Per label of a method, the pooled metrics before which :data:`SAMPLED` stands."""
    found: dict[str, set[str]] = {}
    for record in records:
        measured = primary(record, "pooled")
        found.setdefault(record.method.label, set()).update(measured.uncertain if measured else ())
    return {label: " ".join(sorted(metrics)) for label, metrics in found.items()}


def marked(name: str, external: bool) -> str:
    """A method's name, with a mark where its score maps were made elsewhere."""
    return f"{name} {EXTERNAL}" if external else name


def names(labels: Iterable[str], titles: Iterable[str], external: Iterable[bool]) -> list[str]:
    """The methods of a table as printed; where two have the same name, each with its label behind it."""
    found = list(zip(labels, titles, external, strict=True))
    bearers: dict[str, set[str]] = {}
    for label, title, _ in found:
        bearers.setdefault(title, set()).add(label)
    return [marked(f"{t} [{label}]" if len(bearers[t]) > 1 else t, each) for label, t, each in found]


def outlier_legend(saw: Iterable[OutlierData]) -> list[str]:
    """What those :data:`STARS` mean that occur."""
    words = {True: "* saw outlier images in training", SYNTHETIC: "° saw invented outliers in training"}
    found = list(saw)
    return [text for kind, text in words.items() if kind in found]


def external_legend(records: Iterable[Record]) -> list[str]:
    """What :data:`EXTERNAL` means and behind whom it stands, with the papers that are cited; nothing without any."""
    named = sorted(
        distinct(
            f"{r.method.label} ({r.method.paper})" if r.method.paper else r.method.label for r in records if r.external
        )
    )
    if not named:
        return []
    listed = "; ".join(named)
    return [f"{EXTERNAL} Score maps that were made elsewhere, of whose network nothing is known: {listed}."]


def primary(record: Record, aggregation: str) -> Measurement | None:
    """The measurement that the tables show: the first one stored of that aggregation."""
    return next((m for m in record.metrics.values() if m.aggregation == aggregation), None)


def method_title(method: MethodPart) -> str:
    """A method's name as printed: its title, with the options that are not default in brackets."""
    title, options = method.title or method.name, method.label.removeprefix(method.name).removeprefix(":")
    words = [options.replace(":", ", ")] if options else []
    if method.normal:
        stated = options.removesuffix(f"normal={format_value(method.normal['name'])}").rstrip(":")
        words = [stated.replace(":", ", ")] if stated else []
        words.append(f"fitted on {method.normal['title'] or method.normal['name']}")
    return f"{title} ({', '.join(words)})" if words else title


def percent(fraction: float, digits: int = 1) -> str:
    """A fraction as a percentage without its sign."""
    return f"{100 * fraction:.{digits}f}"


def mean_percent(fractions: Sequence[float], digits: int = 1) -> str:
    """The mean in percent, with the sample standard deviation where there are several values."""
    if not fractions:
        return NOTHING
    deviation = f" ± {percent(statistics.stdev(fractions), digits)}" if len(fractions) > 1 else ""
    return percent(statistics.fmean(fractions), digits) + deviation


def distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))
