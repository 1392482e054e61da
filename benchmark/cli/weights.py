"""``weights``: list, verify or import weights."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmark.cli.arguments import data, out, verb
from benchmark.errors import BenchmarkError


def add(verbs) -> None:
    parser = verb(
        verbs,
        "weights",
        weights,
        "list, verify or import weights",
        """
weights list
weights verify
weights import csail encoder_epoch_20.pth decoder_epoch_20.pth --dataset streethazards
weights import dicnet encoder.pth decoder.pth student_epoch_115.pth --dataset streethazards""",
    )
    parser.add_argument("action", choices=("list", "verify", "import"))
    parser.add_argument("files", nargs="*", help="for import: csail or dicnet, then its files")
    data(parser)
    out(parser)


def weights(arguments: argparse.Namespace) -> int:
    """Dispatch on the action."""
    actions = {"list": _list, "verify": _verify, "import": _import}
    return actions[arguments.action](arguments)


def _list(arguments: argparse.Namespace) -> int:
    from tabulate import tabulate

    from benchmark.weights.store import WeightsStore

    store = WeightsStore(arguments.out / "weights")
    rows = []
    for entry in store.entries():
        reports = entry.sidecar.get("reports") or [{}]
        validation = next(iter(reports[-1].get("validation", {}).items()), None)
        made = "imported" if "imported" in entry.sidecar else f"{sum(r.get('seconds', 0) for r in reports):.0f} s"
        checked = f"{validation[0]} {validation[1]:.3f}" if validation else ""
        digest = str(entry.sidecar.get("sha256", "no sidecar"))[:12]
        rows.append([entry.key, f"{entry.size / 2**20:.1f}", made, checked, digest])
    print(tabulate(rows, headers=["weights", "MiB", "trained", "validation", "sha256"]) if rows else "No weights yet.")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from benchmark.weights.store import WeightsStore

    store, broken, count = WeightsStore(arguments.out / "weights"), 0, 0
    for entry in store.entries():
        count += 1
        try:
            store.verify(entry.key)
        except BenchmarkError as error:
            broken += 1
            print(error)
    print(f"{count - broken} of {count} files are what was saved.")
    return 2 if broken else 0


def _import(arguments: argparse.Namespace) -> int:
    from benchmark.registry import METHODS
    from benchmark.run.options import Options
    from benchmark.run.setup import make_setup
    from benchmark.run.workshop import Workshop
    from benchmark.weights.released import ARCH, import_csail, import_student

    layout, *files = arguments.files or [""]
    wanted = {"csail": ("encoder", "decoder"), "dicnet": ("encoder", "decoder", "student")}
    if layout not in wanted or len(files) != len(wanted[layout]):
        usage = " or ".join(f"`weights import {k} {' '.join(v).upper()}`" for k, v in wanted.items())
        raise BenchmarkError(f"Say whose files these are and name all of them: {usage}.")
    options = Options(dataset=arguments.dataset, data=arguments.data, out=arguments.out, network=ARCH)
    workshop = Workshop(make_setup(options))
    base = workshop.setup.base
    found = import_csail(Path(files[0]), Path(files[1]), workshop.store, base.key, base.classes)
    cut = f" (the first {base.classes} of {found} outputs)" if found != base.classes else ""
    print(f"{workshop.store.path(base.key)}{cut}")
    if layout == "dicnet":
        entry = workshop.entry(METHODS.create(layout))
        workshop.connect(entry)
        import_student(Path(files[2]), workshop.store, entry.fit_key, entry.method.student)
        print(workshop.store.path(entry.fit_key))
    print(f"`run --network {ARCH} --dataset {arguments.dataset}` now uses them.")
    return 0
