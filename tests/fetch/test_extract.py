"""Archives that are damaged, hostile or merely cut short, and one that is killed half unpacked."""

import io
import random
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest

from benchmark.errors import BenchmarkError
from benchmark.fetch.download import SPARE
from benchmark.fetch.extract import BadArchive, check, extract, whole

HOME = Path(__file__).resolve().parents[2]
ALL = ((r"(.+)", r"\1"),)
NOISE = random.Random(0).randbytes(5000)
"""What no compression makes smaller."""
FILES = {"set/images/1.png": b"one" * 1000, "set/masks/1_mask.png": b"mask" * 500}


def make_tar(path: Path, files: dict[str, bytes], mode: str = "w", *extra: tarfile.TarInfo) -> Path:
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in extra:
            tar.addfile(info)
    return path


def make_zip(path: Path, files: dict[str, bytes], *links: tuple[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
        for name, target in links:
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            file.writestr(info, target)
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def unpack(tmp_path):
    """Unpack into the folder of a set; afterwards nothing else may lie below the root."""
    root = tmp_path / "root"
    target = root / "data" / "set"

    def run(archive, members=ALL, limit=0):
        with whole(target) as folder:
            extract(archive, folder, members, limit, shown=False)
        return tree(target)

    run.target = target
    yield run
    assert not root.exists() or [p.name for p in root.iterdir()] == ["data"]
    assert {p.name for p in (root / "data").glob("*")} <= {"set"}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_tar(tmp_path, unpack, mode):
    assert unpack(make_tar(tmp_path / "a", FILES, mode)) == FILES


def test_zip(tmp_path, unpack):
    assert unpack(make_zip(tmp_path / "a", FILES)) == FILES


def test_members_are_chosen_and_renamed(tmp_path, unpack):
    members = ((r"[^/]+/images/(.+)", r"\1"), (r"[^/]+/masks/(\d+)_mask\.png", r"labels/\1.png"))
    archive = make_tar(tmp_path / "a", {"./set/images/1.png": b"1", "set/masks/1_mask.png": b"m", "set/other": b""})
    assert unpack(archive, members) == {"1.png": b"1", "labels/1.png": b"m"}


def test_files_have_plain_permissions(tmp_path, unpack):
    info = tarfile.TarInfo("run.sh")
    info.mode = 0o6777
    unpack(make_tar(tmp_path / "a", {}, "w", info))
    assert not (unpack.target / "run.sh").stat().st_mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IXUSR)


@pytest.mark.parametrize(
    "name", ["../x", "../../x", "a/../../x", "/x", "//x", "C:/x", "..\\x", "a/b/../../../x", "a/../x"]
)
@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_an_entry_that_leads_outside_is_refused(tmp_path, unpack, make, name):
    archive = make(tmp_path / "a.archive", {**FILES, name: b"evil"})
    with pytest.raises(BadArchive, match=r"a\.archive holds the entry .*leads out"):
        unpack(archive)
    with pytest.raises(BadArchive, match="leads out"):
        unpack(archive, ((r"set/(.+)", r"\1"),))
    assert not unpack.target.exists()
    assert {p.name for p in tmp_path.rglob("*")} <= {"a.archive", "root", "data"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize("target", ["/etc/hostname", "../../outside", "../../../outside"])
def test_a_link_to_outside_is_refused(tmp_path, unpack, kind, target):
    (tmp_path / "outside").write_text("keep me")
    archive = make_tar(tmp_path / "a.tar", FILES, "w", special("set/link", kind, target))
    with pytest.raises(BadArchive, match="leads out"):
        unpack(archive)
    assert not unpack.target.exists() and (tmp_path / "outside").read_text() == "keep me"


@pytest.mark.parametrize("target", ["/etc/hostname", "../../outside", "x" * 5000 + "/../../../../y"])
def test_a_link_to_outside_in_a_zip_is_refused(tmp_path, unpack, target):
    archive = make_zip(tmp_path / "a.zip", FILES, ("set/link", target))
    if len(target) > 4096:  # cut off it is a link to nothing
        assert "set/link" not in unpack(archive)
        return
    with pytest.raises(BadArchive, match="leads out"):
        unpack(archive)
    assert not unpack.target.exists()


def test_writing_through_a_link_does_not_work(tmp_path, unpack):
    """A link to a folder and then a file "in" the link: the classic way out, here within the archive."""
    (tmp_path / "elsewhere").mkdir()
    archive = make_tar(tmp_path / "a.tar", FILES, "w", special("set/door", tarfile.SYMTYPE, "images"))
    with tarfile.open(archive, "a") as tar:
        info = tarfile.TarInfo("set/door/2.png")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"two"))
    assert unpack(archive) == {**FILES, "set/door/2.png": b"two"}
    assert not any(p.is_symlink() for p in unpack.target.rglob("*"))


def test_a_link_inside_becomes_a_copy(tmp_path, unpack):
    links = (
        special("set/a", tarfile.SYMTYPE, "images/1.png"),
        special("set/b", tarfile.LNKTYPE, "set/images/1.png"),
        special("set/c", tarfile.SYMTYPE, "../set/nothing"),
    )
    copies = {"set/a": FILES["set/images/1.png"], "set/b": FILES["set/images/1.png"]}
    assert unpack(make_tar(tmp_path / "a", FILES, "w", *links)) == {**copies, **FILES}
    assert not any(p.is_symlink() or p.stat().st_nlink > 1 for p in unpack.target.rglob("*") if p.is_file())


def test_a_link_inside_a_zip_becomes_a_copy(tmp_path, unpack):
    archive = make_zip(tmp_path / "a", FILES, ("set/masks/link", "../images/1.png"))
    assert unpack(archive) == {**FILES, "set/masks/link": FILES["set/images/1.png"]}


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_and_pipes_are_refused(tmp_path, unpack, kind):
    with pytest.raises(BadArchive, match="'set/null', which is a device or a pipe"):
        unpack(make_tar(tmp_path / "a.tar", FILES, "w", special("set/null", kind)))


def test_two_members_of_one_name_are_refused(tmp_path, unpack):
    archive = make_tar(tmp_path / "a.tar", {"x/1.png": b"1", "y/1.png": b"2"})
    with pytest.raises(BadArchive, match=r"two files for '1\.png'"):
        unpack(archive, ((r"./(1\.png)", r"\1"),))


def test_more_than_published_is_refused(tmp_path, unpack):
    archive = make_zip(tmp_path / "bomb.zip", {"zeros": bytes(10**6)})
    assert archive.stat().st_size < 2000
    with pytest.raises(BadArchive, match=r"would unpack to 1\.0 MB, published are 100\.0 kB"):
        unpack(archive, limit=100_000)
    assert len(unpack(archive, limit=10**6)["zeros"]) == 10**6


def test_more_than_the_disk_holds_is_refused(tmp_path, unpack, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 0, SPARE + 10**6 - 1))
    with pytest.raises(BenchmarkError, match=r"free, the content of bomb\.zip needs .*--data"):
        unpack(make_zip(tmp_path / "bomb.zip", {"zeros": bytes(10**6)}))


def test_a_zip_that_lies_about_a_size_is_refused(tmp_path, unpack):
    archive = make_zip(tmp_path / "a.zip", {"zeros": bytes(10**6)})
    content = archive.read_bytes()
    archive.write_bytes(content.replace((10**6).to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    with pytest.raises(BadArchive, match=r"a\.zip is (truncated or )?damaged"):
        unpack(archive)
    assert not unpack.target.exists()


@pytest.mark.parametrize("end", [100, 512, 1000, 3584, 4096, 6144, 6500])
def test_a_truncated_tar_is_refused(tmp_path, unpack, end):
    """Its blocks: header, 6 of content, header, 4 of content, the end mark from 6144 on."""
    archive = make_tar(tmp_path / "a.tar", FILES)
    assert archive.read_bytes()[6144:] == bytes(10240 - 6144) and archive.read_bytes()[6095]
    archive.write_bytes(archive.read_bytes()[:end])
    with pytest.raises(BadArchive):
        unpack(archive)
    assert not unpack.target.exists()


@pytest.mark.parametrize("lost", [1, 22, 60, 200])
def test_a_truncated_zip_is_refused(tmp_path, unpack, lost):
    archive = make_zip(tmp_path / "a.zip", FILES)
    archive.write_bytes(archive.read_bytes()[:-lost])
    with pytest.raises(BadArchive):
        unpack(archive)
    assert not unpack.target.exists()


def test_a_damaged_zip_is_refused(tmp_path, unpack):
    archive = make_zip(tmp_path / "a.zip", {"x": NOISE})
    content = bytearray(archive.read_bytes())
    content[2500] ^= 1
    archive.write_bytes(content)
    with pytest.raises(BadArchive, match="damaged"):
        unpack(archive)
    assert not unpack.target.exists()


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("place", [-6, -2, 0.3, 0.7])
def test_a_flipped_bit_in_a_compressed_tar_is_found_without_a_published_checksum(tmp_path, unpack, mode, place):
    """The checksum and the length at the end of a gzip file are among the places."""
    archive = make_tar(tmp_path / "a.tar", {"x": NOISE}, mode)
    content = bytearray(archive.read_bytes())
    content[place if place < 0 else int(place * len(content))] ^= 1
    archive.write_bytes(content)
    with pytest.raises(BadArchive, match=r"a\.tar is (truncated or damaged|neither)"):
        unpack(archive)
    assert not unpack.target.exists()


@pytest.mark.parametrize("make", [make_tar, make_zip])
@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a"), ("a", "a/b/c")])
def test_a_file_that_is_also_a_folder_is_refused(tmp_path, unpack, make, names):
    archive = make(tmp_path / "x.archive", dict.fromkeys(names, b"1"))
    with pytest.raises(BadArchive, match=r"x\.archive holds 'a[/bc]*', for which no file can be made here"):
        unpack(archive)
    assert not unpack.target.exists()


@pytest.mark.parametrize("make", [make_tar, make_zip])
@pytest.mark.parametrize("name", ["n" * 300, "d" * 300 + "/x", "e/" * 2500 + "x"])
def test_a_name_that_no_file_system_holds_is_refused(tmp_path, unpack, make, name):
    with pytest.raises(
        BadArchive, match=r"holds '.{80}\.\.\.', for which no file can be made here \(File name too long"
    ):
        unpack(make(tmp_path / "x.archive", {name: b"1"}))
    assert not unpack.target.exists()


def test_unpacking_stops_before_the_disk_is_full(tmp_path, unpack, monkeypatch):
    """Others write, too, after the space was looked at."""
    usage = namedtuple("usage", "total used free")
    free = iter([SPARE + 10**7, SPARE + 10**6, SPARE - 1])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 0, next(free)))
    with pytest.raises(BenchmarkError, match=r"less than .* left, unpacking a\.zip stops there; free space"):
        unpack(make_zip(tmp_path / "a.zip", {"zeros": bytes(5 * 10**6)}))
    assert not unpack.target.exists()


@pytest.mark.parametrize("content", [b"", b"<html>Please log in</html>" * 100])
def test_what_is_no_archive_is_refused(tmp_path, unpack, content):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(BadArchive, match=r"a\.zip is neither a tar nor a zip file"):
        unpack(tmp_path / "a.zip")


def test_another_archive_is_refused(tmp_path, unpack):
    with pytest.raises(BadArchive, match=r"holds no file like train/.*another archive"):
        unpack(make_zip(tmp_path / "a.zip", FILES), ((r"train/(.+)", r"\1"),))


def test_checksums(tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(b"abc")
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    md5 = "900150983cd24fb0d6963f7d28e17f72"
    for checksum in ("", f"sha256:{sha256}", f"md5:{md5}", f"md5:{md5.upper()}"):
        assert check(path, 3, checksum) == sha256
    for size, checksum, words in ((4, "", "3 bytes, published are 4"), (3, "md5:" + "0" * 32, f"MD5 {md5}, published")):
        with pytest.raises(BadArchive, match=words):
            check(path, size, checksum)


def test_a_failure_keeps_what_was_there(tmp_path, unpack):
    unpack(make_zip(tmp_path / "a", FILES))
    bad = make_zip(tmp_path / "b", {"new": b"", "../x": b""})
    with pytest.raises(BadArchive):
        unpack(bad)
    assert tree(unpack.target) == FILES
    assert unpack(make_zip(tmp_path / "c", {"new": b"1"})) == {"new": b"1"}


def test_a_kill_leaves_nothing_that_looks_whole(tmp_path, unpack):
    archive = make_tar(tmp_path / "a.tar", FILES)
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from benchmark.fetch import extract\n"
        "from benchmark.progress import Meter\n"
        "Meter.add = lambda self, count: os.kill(os.getpid(), signal.SIGKILL)\n"
        "with extract.whole(Path(sys.argv[2])) as folder:\n"
        "    extract.extract(Path(sys.argv[1]), folder, [(r'(.+)', r'\\1')], shown=False)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(archive), str(unpack.target)], cwd=HOME)
    assert done.returncode == -signal.SIGKILL
    assert [p.name for p in unpack.target.parent.iterdir()] == [".set.unpacking"]
    assert list(unpack.target.parent.rglob("*.png")), "it was killed too early to tell anything"
    assert unpack(archive) == FILES
