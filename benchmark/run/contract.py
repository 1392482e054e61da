"""The contracts of methods, datasets and networks as checks that a plugin's author runs with ``check NAME``."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmark.blocks import MASKS
from benchmark.data import ANOMALY, IGNORE, SPLITS, Batch, Dataset, DatasetCard, Policy, Sample, collate
from benchmark.errors import BenchmarkError, in_words
from benchmark.machine import Machine, arithmetic, check_precision, products
from benchmark.method import Method
from benchmark.network import Network, NetworkSpec
from benchmark.networks import REHEARSAL, REHEARSAL_MASKS, build_network, network_of
from benchmark.progress import counted
from benchmark.recipe import LIGHT_SEGMENTATION, Recipe
from benchmark.registry import DATASETS, METHODS
from benchmark.run.entry import Entry
from benchmark.run.options import Options
from benchmark.run.setup import Setup, resolve_recipe
from benchmark.run.waits import Waits
from benchmark.run.workshop import Workshop
from benchmark.values import format_value, parse_call

TOLERANCE = 1e-3
"""How far float32 scores of a device may be from those of the CPU, as a share of the range of the latter."""
SHORT = {"epochs": 1, "steps_per_epoch": 1, "batch_size": 2, "crop": (), "scale_range": ()}


@dataclass(frozen=True)
class Finding:
    """One clause of a contract: what was tried, and what was wrong (empty if nothing).

    Attributes:
        remark: it breaks nothing, whatever it says.
    """

    clause: str
    wrong: str = ""
    remark: bool = False


class Toy(Dataset):
    """Four images of coloured rectangles with four classes; in the test split one rectangle is an anomaly."""

    card = DatasetCard(
        title="Toy",
        classes=("ground", "box", "sky", "post"),
        palette=((128, 64, 128), (70, 70, 70), (70, 130, 180), (220, 220, 0)),
    )
    policy = Policy(network=REHEARSAL)

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Sample:
        random = np.random.default_rng([index, ("train", "val", "test").index(self.split)])
        labels = np.zeros((48, 64), np.uint8)
        labels[:16] = 2
        top, left = random.integers(8, 24), random.integers(4, 32)
        labels[top : top + 16, left : left + 12] = 1
        labels[10:40, 60:63] = 3
        if self.split == "test":
            labels[30:40, 44:56] = ANOMALY
        colours = np.zeros((256, 3), np.int64)
        colours[: len(self.classes)] = self.card.palette
        colours[ANOMALY] = (250, 40, 200)
        image = np.clip(colours[labels] + random.integers(-20, 20, (*labels.shape, 3)), 0, 255).astype(np.uint8)
        return Sample(f"toy/{index}", torch.from_numpy(image).permute(2, 0, 1).contiguous(), torch.from_numpy(labels))

    def fingerprint(self) -> str:
        return f"toy-{self.split}"


def trial_call(call: str) -> str:
    """A method's call, completed by the keywords of its ``trial`` that the call does not state."""
    name, stated = parse_call(call)
    return ":".join([call, *(f"{k}={format_value(v)}" for k, v in METHODS.get(name).trial.items() if k not in stated)])


def check_method(call: str, device: str = "cpu") -> Iterator[Finding]:
    """Fit a method for one step on toy images with an untrained network, and score with it.

    Args:
        call: name with options.
        device: where to try it; on a device other than the CPU, the same fit also scores on the CPU, and the two are
            compared.
    """
    with tempfile.TemporaryDirectory() as folder:
        method = METHODS.create(call)
        yield Finding("is constructed without required arguments")
        unknown = ", ".join(sorted(set(method.light) - set(method.recipes)))
        yield Finding("declares light versions of its own recipes only", unknown and f"it trains no {unknown}")
        arch = rehearsal(method)
        workshop = toy_workshop(Path(folder), tuple(method.recipes), device, arch=arch)
        entry = prepared(workshop, method, untrained=True)
        yield Finding("needs, builds and fits", entry.error)
        if entry.error:
            return
        batch = toy_batch(workshop)

        def score(images: Batch) -> torch.Tensor:
            return scores_of(workshop, entry, images)

        before = batch.images.clone()
        try:
            scores = score(batch)
        except BaseException as error:
            yield Finding("scores a batch", in_words(error))
            return
        tensor = isinstance(scores, torch.Tensor)
        form = f"{tuple(scores.shape)} {scores.dtype}" if tensor else f"of type {type(scores).__name__}, not a tensor"
        good = tensor and tuple(scores.shape) == tuple(batch.labels.shape) and scores.dtype == torch.float32
        yield Finding("scores are float32, one per pixel", "" if good else f"they are {form}")
        if not good:
            return
        hole = bool(scores.isnan().any())
        yield Finding("scores hold no NaN", _unless(not hole, "some are NaN"))
        if hole:
            return
        yield Finding("leaves the batch as it is", _unless(torch.equal(before, batch.images), "the images changed"))
        # As a new batch, for which nothing is cached.
        with Waits() as waits:
            again = score(replace(batch))
        yield _same("scores are the same when asked again", scores, again)
        yield from _remark(waits)
        alone = torch.cat([score(batch.part(index, 1)) for index in range(len(batch))])
        yield _same("the score of an image does not depend on its batch", scores, alone)
        blind = replace(batch, labels=torch.full_like(batch.labels, IGNORE))
        yield _same("does not look at the labels", scores, score(blind))
        if method.fitted:
            loaded = prepared(workshop, METHODS.create(call))
            clause = "what was fitted comes back from its file"
            if loaded.error:
                yield Finding(clause, loaded.error)
            else:
                entry = loaded
                yield _same(clause, scores, score(replace(batch)))
        if workshop.setup.machine.device.type != "cpu":
            beside = toy_workshop(Path(folder), tuple(method.recipes), arch=arch)
            entry = prepared(beside, METHODS.create(call))
            if entry.error:
                yield Finding("scores on the CPU, too", entry.error)
            else:
                yield _as_on_the_cpu(scores_of(beside, entry, toy_batch(beside)), scores)


def _remark(waits: Waits) -> Iterator[Finding]:
    """Where a GPU would have nothing to do."""
    if count := sum(waits.lines.values()):
        places = "; ".join(f"{line}{f' ({times} times)' if times > 1 else ''}" for line, times in waits.lines.items())
        often = "once" if count == 1 else f"{count} times"
        yield Finding(
            f"score() reads {often} per batch what a GPU has computed, and waits for it: {places}", remark=True
        )


def check_dataset(call: str, root: Path) -> Iterator[Finding]:
    """Open every split that it says it has, and read every image of it."""
    opened, errors = {}, {}
    for split_name in SPLITS:
        try:
            opened[split_name] = DATASETS.create(call, split=split_name, root=root)
        except BenchmarkError as error:
            errors[split_name] = str(error)
    some = next(iter(opened.values()), DATASETS.get(parse_call(call)[0]))
    seen = {}
    for split_name in some.card.splits:
        if split_name in errors:
            yield Finding(f"{split_name} opens", errors[split_name])
            continue
        dataset = opened[split_name]
        yield Finding(f"{split_name} opens, {len(dataset)} images", _unless(len(dataset) > 0, "it is empty"))
        unread, odd = {}, ""
        for index in counted(range(len(dataset)), len(dataset), f"reading {split_name}"):
            try:
                sample = dataset[index].checked(len(dataset.classes))
            except Exception as error:  # a plugin's; the other images are looked at, too
                unread[index] = in_words(error)
                continue
            if not odd and (sample.labels == ANOMALY).any():
                odd = sample.id
        first, *others = unread.values() or [""]
        more = f" (and {len(others)} more)" if others else ""
        yield Finding(f"every image of {split_name} is read", first + more)
        if 0 not in unread and len(dataset):
            one, again = dataset[0], dataset[0]
            same = torch.equal(one.image, again.image) and torch.equal(one.labels, again.labels)
            yield Finding(f"{split_name} gives the same sample twice", _unless(same, f"{again.id} differs"))
        if split_name != "test":
            yield Finding(f"{split_name} holds no anomaly", _unless(not odd, f"{odd} does"))
        seen[split_name] = dataset.fingerprint()
    yield Finding("fingerprints tell the splits apart", _unless(len(set(seen.values())) == len(seen), str(seen)))
    missing = [k for k in ("title", "classes", "palette", "licence", "citation") if not getattr(some.card, k)]
    yield Finding("metadata is complete", f"{', '.join(missing)} missing" if missing else "")


def check_network(arch: str, device: str = "cpu") -> Iterator[Finding]:
    """Run an untrained network on images of awkward sizes; on a device other than the CPU, compare it with the CPU."""
    network = build_network(arch, 5).eval()
    yield Finding("is built")
    images = torch.randint(0, 256, (2, 3, 60, 92), dtype=torch.uint8)
    chosen = Machine.choose(device, progress=False).device
    with products(chosen, "fp32"):
        if chosen.type != "cpu":
            with torch.no_grad():
                expected = network.segment(images).logits
            network, images = network.to(chosen), images.to(chosen)
            with torch.no_grad():
                yield _as_on_the_cpu(expected, network.segment(images).logits, "logits")
        yield from _run_network(network, images)


def _run_network(network: Network, images: torch.Tensor) -> Iterator[Finding]:
    with torch.no_grad():
        for scale in (0,) if network.size else (0, 40):
            out = network.segment(images, scale, taps=tuple(network.channels))
            logits = out.upsample(out.logits, (60, 92))
            good = tuple(logits.shape) == (2, 5, 60, 92) and bool(logits.isfinite().all())
            yield Finding(
                f"gives logits at {'the native size' if not scale else f'scale {scale}'}", _unless(good, "no")
            )
            wrong = [t for t, c in network.channels.items() if out.taps[t].shape[1] != c]
            yield Finding("taps have the channels that it states", ", ".join(wrong))
        alone = network.segment(images[:1]).logits
        yield _same("an image does not depend on its batch", alone, network.segment(images).logits[:1])
        if network.head is not None:
            out = network.segment(images, taps=(network.penultimate,))
            logits = network.head(out.taps[network.penultimate])
            yield _same(f"head maps {network.penultimate} to the logits", out.logits, logits)
    torch.manual_seed(0)
    result = network.train()(network.prepare(images).inputs)
    result["logits"].square().mean().backward()
    has_gradient = any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    yield Finding("trains", _unless(has_gradient, "no parameter has a gradient"))


def rehearsal(method: Method) -> str:
    """The small network on which a method is tried."""
    needs = method.needs(NetworkSpec(REHEARSAL, "toy", len(Toy.card.classes), Recipe()))
    return REHEARSAL_MASKS if any(MASKS in need.taps for need in needs.values()) else REHEARSAL


def toy_workshop(
    folder: Path, tasks: tuple[str, ...], device: str = "cpu", precision: str = "fp32", arch: str = REHEARSAL
) -> Workshop:
    """A workshop on the toy images in which every training lasts one step."""
    machine = Machine.choose(device, progress=False)
    recipe = {task: SHORT for task in ("segmentation", *tasks)}
    options = Options(out=folder, progress=False, device=device, precision=precision, recipe=recipe)
    check_precision(machine.device, precision)
    train, val, test = (Toy(name, folder) for name in ("train", "val", "test"))
    recipe = resolve_recipe(Recipe(), LIGHT_SEGMENTATION, train.policy, options)
    base = NetworkSpec(arch, train.label, len(train.classes), recipe, data=train.fingerprint())
    setup = Setup(options, test.label, test, train, val, base, machine, class_names=tuple(train.classes))
    return Workshop(setup, say=lambda text: None)


def prepared(workshop: Workshop, method: Method, untrained: bool = False) -> Entry:
    """A method, fitted or loaded; `untrained` first stores initial weights as those of its networks."""
    entry = workshop.entry(method)
    entry.keeps_made = untrained
    if untrained:
        _untrained(workshop, [spec.checkpoint for spec in entry.specs])
    workshop.prepare([entry])
    if entry.made is not None:  # what its fit made, which a run would not score with
        entry.method = entry.made
        workshop.settle(entry)
    return entry


def toy_batch(workshop: Workshop) -> Batch:
    """Three test images as one batch on the workshop's device."""
    (batch,) = collate([workshop.setup.test[i] for i in range(3)])
    return batch.to(workshop.setup.machine.device)


def scores_of(workshop: Workshop, entry: Entry, batch: Batch) -> torch.Tensor:
    """What the method returns, float32 (B, H, W) if it keeps its contract; nothing is checked."""
    with torch.no_grad(), arithmetic(workshop.pool.device, workshop.pool.precision):
        return entry.method.score(batch, entry.networks)


def _untrained(workshop: Workshop, specs: list[NetworkSpec]) -> None:
    for spec in dict.fromkeys(spec for spec in specs if not spec.frozen):
        with torch.random.fork_rng([]):
            torch.manual_seed(spec.recipe.seed + spec.recipe.member)
            network = network_of(spec)
        workshop.store.save(spec.key, network.state_dict(), {})


def _same(clause: str, first: torch.Tensor, second: torch.Tensor) -> Finding:
    gap = float((first - second).abs().max())
    scale = float(first.abs().max())
    return Finding(clause, _unless(gap <= 1e-4 * max(scale, 1e-6), f"they differ by up to {gap:.3g}"))


def _as_on_the_cpu(expected: torch.Tensor, found: torch.Tensor, what: str = "scores") -> Finding:
    gap = float((expected.double() - found.double().cpu()).abs().max())
    share = gap / max(float(expected.max() - expected.min()), 1e-12)
    clause = f"{what} are those of the CPU to {TOLERANCE:g} of their range"
    return Finding(
        f"{clause} (largest difference {share:.2g})", _unless(share <= TOLERANCE, f"they differ by {gap:.3g}")
    )


def _unless(good: bool, otherwise: str) -> str:
    return "" if good else otherwise
