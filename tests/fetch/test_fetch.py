"""``fetch`` from the command line, with a dataset whose archives a server on the loopback has."""

import hashlib
import re
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from archives import image, packed, taped
from harness import fresh_registries
from webserver import serving

from benchmark.cli import main as cli
from benchmark.fetch import download as downloading
from tests.datasets.files import noise

PLUGIN = """
from dataclasses import replace
from benchmark.data import ANOMALY, Download
from benchmark.registry import DATASETS

Base = DATASETS.get("road-anomaly")

class Pond(Base):
    folders = ("Pond",)
    card = replace(
        Base.card,
        title="Pond",
        licence="CC0",
        citation="nobody",
        sizes={{"test": 2}},
        downloads=(
            Download("anomaly_val/Pond/images", "{address}/images.zip", ((r"pond/(.+)", r"\\1"),), checksum="{first}"),
            Download("anomaly_val/Pond/labels_masks", "{address}/masks.tar", size={size}),
        ),
        obtain="{obtain}",
    )
"""


IMAGES = packed({f"pond/{n}.png": image(noise(n, size=(60, 80))) for n in (1, 2)})
MASKS = taped({f"{n}.png": image(np.full((60, 80), 2, np.uint8)) for n in (1, 2)})


class Shore:
    """The command line beside a site that serves the pond."""

    def __init__(self, site, folder: Path, capsys) -> None:
        self.site, self.folder, self.capsys = site, folder, capsys
        self.root = folder / "data"
        self.plugin = folder / "pond.py"
        self.write()

    def write(self, first: str = "md5:" + hashlib.md5(IMAGES).hexdigest(), obtain: str = "") -> None:
        text = PLUGIN.format(address=self.site.address, first=first, size=len(MASKS), obtain=obtain)
        self.plugin.write_text(text)

    def __call__(self, *arguments, verb: str = "fetch") -> int:
        line = [verb, "--plugin", str(self.plugin), *map(str, arguments), "--data", str(self.root)]
        with fresh_registries():
            code = cli.main(line)
        self.out, self.err = self.capsys.readouterr()
        return code

    @property
    def files(self) -> set[str]:
        return {p.relative_to(self.root).as_posix() for p in self.root.rglob("*") if p.is_file()}


POND = {
    f"anomaly_val/Pond/{part}" for part in ("images/1.png", "images/2.png", "labels_masks/1.png", "labels_masks/2.png")
}
RECEIPTS = {f"anomaly_val/Pond/{part}/.fetched.json" for part in ("images", "labels_masks")}


@pytest.fixture
def shore(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(downloading, "PAUSE", 0.0)
    monkeypatch.setattr(downloading, "ATTEMPTS", 1)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.chdir(tmp_path)
    with serving() as site:
        site.files |= {"/images.zip": IMAGES, "/masks.tar": MASKS}
        yield Shore(site, tmp_path, capsys)


def test_from_nothing_to_an_open_dataset(shore):
    assert shore("pond") == 0, shore.err
    assert shore.files == POND | RECEIPTS
    assert "Licence: CC0" in shore.out and "test: 2 images" in shore.out and "pond is ready" in shore.out
    sha256 = hashlib.sha256(MASKS).hexdigest()
    assert f"SHA-256 {sha256}, no checksum is published" in shore.out and "as published (md5:" in shore.out
    assert sha256 in (shore.root / "anomaly_val/Pond/labels_masks/.fetched.json").read_text()
    shore("pond", verb="check")
    assert "test opens, 2 images" in shore.out
    asked = len(shore.site.asked)
    assert shore("pond") == 0 and "already there" in shore.out
    assert len(shore.site.asked) == asked


def test_two_interruptions_and_the_same_command_ends_it(shore):
    shore.site.cuts = [1000]
    assert shore("pond") == 2
    assert "goes on from the 1.0 kB" in shore.err and shore.err.count("\n") == 1
    assert not (shore.root / "anomaly_val").exists()
    shore.site.cuts = [10**6, 700]
    assert shore("pond") == 2
    assert {p for p in shore.files if p.startswith("anomaly_val")} == {
        p for p in POND | RECEIPTS if p.startswith("anomaly_val/Pond/images/")
    }
    assert shore("pond") == 0, shore.err
    assert shore.files == POND | RECEIPTS
    assert [(path, offset) for (path, *_), offset in zip(shore.site.asked, shore.site.offsets)] == [
        ("/images.zip", 0),
        ("/images.zip", 1000),
        ("/masks.tar", 0),
        ("/masks.tar", 700),
    ]


def test_a_wrong_checksum_is_refused_and_nothing_is_kept(shore):
    shore.write(first="sha256:" + "0" * 64)
    assert shore("pond") == 2
    assert re.search(
        r"images\.zip has the SHA256 .*published is 0+; it is deleted: `python -m benchmark fetch pond`", shore.err
    )
    assert not shore.files
    shore.write()
    assert shore("pond") == 0


def test_a_tampered_archive_is_refused_and_nothing_is_kept(shore):
    content = bytearray(IMAGES)
    content[200] ^= 1
    shore.site.files["/images.zip"] = bytes(content)
    assert shore("pond") == 2 and "images.zip has the MD5" in shore.err
    assert not shore.files
    shore.site.files["/images.zip"] = packed({"pond/1.png": b"", "../../x": b"evil"})
    shore.write(first="")
    assert shore("pond") == 2
    assert "images.zip holds the entry '../../x', which leads out of the folder" in shore.err
    assert not shore.files and not list(shore.folder.rglob("x"))


def test_an_error_page_is_no_archive(shore):
    shore.write(first="")
    shore.site.files["/images.zip"] = b"<html>log in</html>"
    assert shore("pond") == 2 and "neither a tar nor a zip" in shore.err and not shore.files


def test_a_full_disk_is_refused_before_the_download(shore, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 0, downloading.SPARE + 2 * len(MASKS) - 1))
    assert shore("pond") == 2
    assert re.search(r"free, pond with its archives needs .*free space or name another folder with --data", shore.err)
    assert not shore.site.asked and not shore.files


def test_archives_at_hand_are_used_without_a_connection(shore):
    other = shore.folder / "elsewhere"
    other.mkdir()
    (other / "images.zip").write_bytes(IMAGES)
    (other / "masks.tar").write_bytes(MASKS[:-100])
    assert shore("pond", "--archive", other / "images.zip") == 2
    assert "still missing: masks.tar" in shore.out
    assert shore("pond", "--archive", other / "masks.tar") == 2
    assert "published are" in shore.err and "nothing was unpacked" in shore.err
    (other / "masks.tar").write_bytes(MASKS)
    assert shore("pond", "--archive", other / "images.zip", "--archive", other / "masks.tar") == 0
    assert shore.files == POND | RECEIPTS and not shore.site.asked
    assert {p.name for p in other.iterdir()} == {"images.zip", "masks.tar"}, "the user's files stay"


@pytest.mark.parametrize(("name", "words"), [("gone.zip", "no such file"), ("my.zip", "images.zip and masks.tar")])
def test_an_archive_that_cannot_be_told_is_one_sentence(shore, name, words):
    (shore.folder / "my.zip").write_bytes(IMAGES)
    assert shore("pond", "--archive", shore.folder / name) == 2
    assert words in shore.err and shore.err.count("\n") == 1


def test_kept_archives_carry_their_digest(shore):
    assert shore("pond", "--keep") == 0
    kept = {f"downloads/pond/{name}{end}" for name in ("images.zip", "masks.tar") for end in ("", ".sha256")}
    assert shore.files == POND | RECEIPTS | kept
    line = (shore.root / "downloads/pond/masks.tar.sha256").read_text()
    assert line == f"{hashlib.sha256(MASKS).hexdigest()}  masks.tar\n"
    asked = len(shore.site.asked)
    shutil.rmtree(shore.root / "anomaly_val")
    assert shore("pond") == 0 and len(shore.site.asked) == asked, "kept archives are used again"


def test_force_replaces_what_fetch_made_and_nothing_else(shore):
    assert shore("pond") == 0
    (shore.root / "anomaly_val/Pond/images/1.png").write_bytes(b"damaged")
    assert shore("pond", "--force") == 0, shore.err
    assert (shore.root / "anomaly_val/Pond/images/1.png").read_bytes().startswith(b"\x89PNG")
    assert shore.files == POND | RECEIPTS
    (shore.root / "anomaly_val/Pond/images/.fetched.json").unlink()
    asked = len(shore.site.asked)
    assert shore("pond", "--force") == 2
    assert "images was not made by fetch and is not replaced" in shore.err and len(shore.site.asked) == asked


def test_another_number_of_images_than_published_is_said(shore):
    shore.site.files["/images.zip"] = packed({"pond/1.png": image(noise(1))})
    masks = taped({"1.png": image(np.full((12, 20), 2, np.uint8))})
    shore.site.files["/masks.tar"] = masks + bytes(len(MASKS) - len(masks))
    shore.write(first="")
    assert shore("pond") == 0 and "test: 1 image (published are 2)" in shore.out


def test_steps_behind_a_login_are_printed(shore):
    shore.plugin.write_text(
        "from benchmark.registry import DATASETS\n"
        "from dataclasses import replace\nfrom benchmark.data import Download\n"
        "class Pond(DATASETS.get('road-anomaly')):\n"
        "    folders = ('Pond',)\n"
        "    card = replace(\n"
        "        DATASETS.get('road-anomaly').card,\n"
        "        downloads=(Download('anomaly_val/Pond', file='pond.zip'),),\n"
        "        obtain='Register at example.org, then fetch pond --archive pond.zip',\n"
        "    )\n"
    )
    assert shore("pond") == 2
    assert "still missing: pond.zip" in shore.out and "Register at example.org" in shore.out
    content = {
        f"{part}/1.png": image(np.full((12, 20, *rest), 2, np.uint8))
        for part, rest in (("images", [3]), ("labels_masks", []))
    }
    (shore.folder / "renamed.zip").write_bytes(packed(content))
    assert shore("pond", "--archive", shore.folder / "renamed.zip") == 0, shore.err
    assert not shore.site.asked


def test_the_list_says_what_there_is(shore, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert shore() == 0
    how = {name: "automatic" for name in ("pond", "streethazards", "camvid-ood", "road-anomaly-21")}
    for name, words in {**how, "cityscapes": "partly by"}.items():
        assert re.search(rf"^{name} +{words} ", shore.out, re.MULTILINE)
    assert max(map(len, shore.out.splitlines()[2:])) <= 80
    assert "minihazards" not in shore.out and "CC0" in shore.out and not shore.site.asked
    assert shore("minihazards") == 0 and "nothing to download" in shore.out
    assert shore("streethazard") == 2 and "did you mean streethazards" in shore.err


def test_run_downloads_nothing_and_names_the_command(shore):
    assert shore("--dataset", "pond", "--methods", "msp", verb="run") == 2
    assert "`python -m benchmark fetch pond`" in shore.err and not shore.site.asked and not shore.files
