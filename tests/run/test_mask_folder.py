"""Mask-classification networks from a folder to records, and what the command line says of folders."""

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mask_folders import write_folder
from own_networks import SETS, record

from benchmark.registry import DATASETS

HOME = Path(__file__).resolve().parents[2]
POST_HOC = ["msp", "max_logit", "max_entropy", "energy", "rba", "eam", "mask2anomaly", "maskomaly"]
HUB = "huggingface_hub.snapshot_download"


@pytest.fixture(scope="module", params=["mask2former", "eomt"])
def folder(request, tmp_path_factory):
    """A tiny network of 19 classes; its name is the family's."""
    return write_folder(request.param, tmp_path_factory.mktemp("folders") / request.param)


def run(bench, folder, *rest, methods="rba", dataset="road-anomaly"):
    where = ["--network", folder.name, "--weights", folder, "--dataset", dataset, "--methods", methods]
    return bench("run", *where, *rest)


def digest(folder):
    """As ``sha256sum *.json *.safetensors | sort -k 2 | sha256sum`` has it."""
    files = sorted([*folder.glob("*.json"), *folder.glob("*.safetensors")], key=lambda file: file.name)
    lines = (f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def test_from_a_folder_to_records(roads, folder, forwards):
    kind = folder.name
    assert run(roads, folder, methods=",".join(POST_HOC), dataset="road-anomaly,road-obstacle-21") == 0, roads.err
    for dataset in ("road-anomaly", "road-obstacle-21"):
        found = {name: record(roads, name, dataset, f"{kind}+weights={kind}") for name in POST_HOC}
        assert all(r["network"]["weights_sha256"] == digest(folder) for r in found.values())
        assert len({json.dumps(r["metrics"], sort_keys=True) for r in found.values()}) > 4
    part = found["rba"]["network"]
    assert part["arch"] == kind and part["weights_file"] == kind and not part["recipe"] and part["options"] == {}
    assert part["preparation"]["transformers"] and str(folder.parent) not in json.dumps(found)
    forwards.clear()
    assert run(roads, folder, methods=",".join(POST_HOC)) == 0 and roads.out.count(": current, ") == 8 and not forwards


def test_a_new_process_imports_the_library_when_a_method_asks_for_its_network(roads, tmp_path):
    folder = write_folder("mask2former", tmp_path / "mask2former")
    line = roads.arguments("run", "--network", folder.name, "--weights", folder, "--dataset", "road-anomaly")
    done = subprocess.run(
        [sys.executable, "-m", "benchmark", *line, "--methods", "rba,eam"],
        env={**os.environ, "PYTHONPATH": str(HOME)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert roads.records() == {"rba", "eam"}


def test_other_weights_in_the_folder_are_measured_again(roads, folder, tmp_path):
    place = shutil.copytree(folder, tmp_path / folder.name)
    assert run(roads, place) == 0, roads.err
    first = record(roads, "rba", network=f"{place.name}+weights={place.name}")
    shutil.rmtree(place)
    write_folder(folder.name, place, seed=1)
    assert run(roads, place, "--dry-run") == 0
    assert re.search(r"rba: the network's weights changed from \w{10} to \w{10}", roads.out)
    assert run(roads, place) == 0
    second = record(roads, "rba", network=f"{place.name}+weights={place.name}")
    assert first["network"]["key"] == second["network"]["key"] and first["metrics"] != second["metrics"]


def test_the_same_classes_in_another_order_are_refused(roads, folder, tmp_path):
    place = shutil.copytree(folder, tmp_path / folder.name)
    config = json.loads((place / "config.json").read_text())
    names = list(DATASETS.get("cityscapes").card.classes)
    for order, code in ((names, 0), (names[::-1], 2)):
        labels = {str(index): name.replace(" ", "-").upper() for index, name in enumerate(order)}
        (place / "config.json").write_text(json.dumps(config | {"id2label": labels}))
        assert run(roads, place) == code, roads.err
    assert f"the classes in another order: output 0 is {names[-1]} and not {names[0]}" in roads.err + roads.out


def test_an_output_for_objects_of_no_class(roads, tmp_path):
    folder = write_folder("mask2former", tmp_path / "mask2former", classes=20)
    assert run(roads, folder, "--classes", "cityscapes+1", methods="uno,eam") == 0, roads.err
    label = "mask2former+classes=cityscapes-and-1+weights=mask2former"
    assert record(roads, "uno", network=label)["method"]["auxiliary_data"]
    assert run(roads, folder, methods="uno") == 2
    assert "tells 20 classes apart where 19 are wanted; say by --classes" in roads.err + roads.out


def test_all_leaves_out_what_reads_masks_that_are_not_there(bench):
    assert bench("run", "--methods", "all", "--dry-run") == 0
    (line,) = re.findall(r"pspnet-small lacks features or options .*left out of all: (.*)\.", bench.out)
    assert line.split(", ") == ["eam", "mask2anomaly", "maskomaly", "rba", "uno"]
    assert not re.search(r"^  rba:", bench.out, re.M) and re.search(r"^  msp:", bench.out, re.M)


def test_who_names_such_a_method_is_told_why_it_cannot_be(bench):
    assert bench("run", "--methods", "msp,rba", "--dry-run") == 0
    assert "pspnet-small lacks features or options that these methods ask for, which fail: rba." in bench.out
    assert bench("run", "--methods", "msp,rba") == 2
    assert re.search(r"rba: needs the features masks, queries .*--network mask2former --weights FOLDER", bench.out)
    assert bench.records() == {"msp"}


def test_on_a_network_with_masks_all_brings_them(bench):
    assert bench("run", "--network", "maskformer-small", "--methods", "all", "--dry-run") == 0
    (line,) = re.findall(r"left out of all: (.*)\.", bench.out)
    assert {"knn", "dicnet", "mc_dropout"} <= set(line.split(", ")) and re.search(r"^  rba:", bench.out, re.M)
    assert bench("run", "--network", "maskformer-small", "--methods", "rba,eam") == 0
    assert bench.records() == {"rba", "eam"}


@pytest.mark.parametrize(
    ("network", "weights", "sentence"),
    [
        ("mask2former", "nothing", r"--weights nothing: there is no such folder of weights"),
        ("mask2former", "m2f/config.json", r"'mask2former' is read from a folder; give m2f"),
        ("pspnet-small", "m2f", r"--weights m2f: that is a folder, and 'pspnet-small' takes a file"),
        ("mask2former", "m2f", r"holds a network of the type 'maskformer' and not 'mask2former'"),
        ("mask2former", None, r"'mask2former' is not trained here; give `--weights FOLDER`"),
    ],
)
def test_what_is_no_folder_of_weights(roads, network, weights, sentence):
    Path("m2f").mkdir()
    Path("m2f/config.json").write_text('{"model_type": "maskformer"}')
    line = ["--network", network, *(["--weights", weights] if weights else [])]
    dataset = "road-anomaly" if weights else "town"
    assert roads("run", *line, "--dataset", dataset, "--methods", "msp") == 2
    assert re.search(sentence, roads.err + roads.out) and "Traceback" not in roads.err


def test_weights_are_downloaded_by_import_alone_after_its_licence_was_printed(bench, monkeypatch, tmp_path):
    source = write_folder("eomt", tmp_path / "source")
    seen = {}

    def download(repository, *, local_dir, allow_patterns):
        seen.update(repository=repository, said=bench.capsys.readouterr().out, patterns=allow_patterns)
        shutil.copytree(source, local_dir)

    monkeypatch.setattr(HUB, download)
    assert bench("weights", "import", "eomt-large", "mine") == 0, bench.err
    assert seen["repository"] == "tue-mps/cityscapes_semantic_eomt_large_1024" and "Licence: MIT" in seen["said"]
    assert seen["patterns"] == ["*.json", "*.safetensors"]
    assert digest(Path("mine")) in bench.out and "`run --network eomt --weights mine`" in bench.out


def test_the_page_does_what_it_says(roads, monkeypatch, tmp_path):
    source = write_folder("mask2former", tmp_path / "source")
    monkeypatch.setattr(HUB, lambda *_, local_dir, **__: shutil.copytree(source, local_dir))
    page = (HOME / "benchmark" / "networks" / "README.md").read_text()
    block = re.search(r"^## Mask-classification networks$.*?^```sh\n(.*?)^```", page, re.S | re.M)[1]
    _, *lines = block.replace("\\\n", " ").splitlines()
    for line in lines:
        _, _, _, verb, *rest = shlex.split(line)
        assert roads(verb, *rest) == 0, roads.err
    label = "mask2former+weights=m2f-swin-large"
    assert {record(roads, m, d, label)["method"]["name"] for m in POST_HOC for d in SETS} == set(POST_HOC)


def test_a_download_that_fails_is_one_sentence(bench, monkeypatch):
    def download(*_, **__):
        raise OSError("no route to the hub")

    monkeypatch.setattr(HUB, download)
    assert bench("weights", "import", "mask2former-swin-large", "mine") == 2
    assert "CC BY-NC 4.0" in bench.out
    assert re.fullmatch(r"error: facebook/mask2former\S+ cannot be had \(OSError: no route to the hub\)\.\n", bench.err)
    monkeypatch.setattr(HUB, lambda *_, local_dir, **__: Path(local_dir).mkdir())
    assert bench("weights", "import", "mask2former-swin-large", "mine") == 2 and "holds no *.safetensors" in bench.err
    assert bench("weights", "import", "eomt-large") == 2 and "weights import eomt-large FOLDER" in bench.err
