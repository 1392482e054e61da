"""Downloads from a server that cuts, forgets, changes its mind and lies."""

import random
import shutil
import urllib.request
from collections import namedtuple

import pytest
from webserver import serving

from benchmark.errors import BenchmarkError
from benchmark.fetch import download as downloading
from benchmark.fetch.download import CHUNK, download
from benchmark.io.words import bytes_in_words
from benchmark.progress import Meter

CONTENT = random.Random(0).randbytes(300_000)
OTHER = random.Random(1).randbytes(300_000)


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setattr(downloading, "PAUSE", 0.0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as site:
        site.files["/a.tar"] = CONTENT
        yield site


@pytest.fixture
def fetch(site, tmp_path):
    part = tmp_path / "downloads" / "a.tar.part"

    def run(path="/a.tar", **keywords):
        download(site.address + path, part, **keywords, shown=False)
        return part.read_bytes()

    run.part = part
    return run


def test_two_cuts_and_the_file_is_whole(site, fetch):
    site.cuts = [100_000, 50_000]
    assert fetch(size=len(CONTENT)) == CONTENT
    assert site.offsets == [0, 100_000, 150_000]


def test_two_interrupted_commands_and_the_third_ends_it(site, fetch, monkeypatch):
    monkeypatch.setattr(downloading, "ATTEMPTS", 1)
    site.cuts = [100_000, 50_000]
    for reached in (100_000, 150_000):
        with pytest.raises(BenchmarkError, match=r"cut at .*the same command goes on from the 1\d0\.0 kB"):
            fetch()
        assert fetch.part.read_bytes() == CONTENT[:reached]
    assert fetch() == CONTENT
    assert site.offsets == [0, 100_000, 150_000]
    fetch()
    assert len(site.asked) == 3, "a whole file is not asked for again"


def test_ctrl_c_keeps_what_has_come(site, fetch, monkeypatch):
    def interrupt(self, count):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(downloading, "CHUNK", 10_000)
        patch.setattr(Meter, "add", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fetch()
    begun = fetch.part.stat().st_size
    assert 0 < begun <= 10_000
    assert fetch() == CONTENT
    assert site.offsets == [0, begun]


def test_a_server_without_range_starts_again(site, fetch):
    site.ranges = False
    site.cuts = [100_000, 200_000]
    assert fetch() == CONTENT
    assert site.offsets == [0, 100_000, 200_000]


@pytest.mark.parametrize("conditional", [True, False], ids=["If-Range honoured", "If-Range ignored"])
@pytest.mark.parametrize("mark", ["etag", "modified"])
def test_a_file_that_changed_is_fetched_from_its_start(site, fetch, monkeypatch, conditional, mark):
    monkeypatch.setattr(downloading, "ATTEMPTS", 1)
    site.etag = ""
    setattr(site, mark, '"one"')
    site.cuts = [100_000]
    with pytest.raises(BenchmarkError):
        fetch()
    site.files["/a.tar"], site.conditional = OTHER, conditional
    setattr(site, mark, '"two"')
    monkeypatch.setattr(downloading, "ATTEMPTS", 2)
    assert fetch() == OTHER


def test_a_kill_at_the_change_of_files_joins_nothing(site, fetch, monkeypatch):
    """Killed after it was written down which file comes now, before its first byte."""
    monkeypatch.setattr(downloading, "ATTEMPTS", 1)
    site.cuts = [100_000]
    with pytest.raises(BenchmarkError):
        fetch()
    site.files["/a.tar"], site.etag = OTHER, '"two"'

    def kill(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(downloading, "_receive", kill)
        with pytest.raises(KeyboardInterrupt):
            fetch()
    assert fetch() == OTHER


def test_a_file_that_shrank_is_fetched_from_its_start(site, fetch, monkeypatch):
    monkeypatch.setattr(downloading, "ATTEMPTS", 1)
    site.cuts = [100_000]
    with pytest.raises(BenchmarkError):
        fetch()
    monkeypatch.setattr(downloading, "ATTEMPTS", 2)
    site.files["/a.tar"], site.conditional = OTHER[:50_000], False
    assert fetch() == OTHER[:50_000]


def test_a_weak_etag_is_no_condition_but_a_date_is(site, fetch):
    site.etag, site.modified = 'W/"one"', "Tue, 01 Jun 2021 10:00:00 GMT"
    site.cuts = [100_000]
    assert fetch() == CONTENT
    assert site.asked[1][1:] == ("bytes=100000-", site.modified)


def test_without_anything_to_tell_versions_apart_nothing_is_joined(site, fetch):
    site.etag = ""
    site.cuts = [100_000]
    assert fetch() == CONTENT
    assert site.offsets == [0, 0]


def test_a_part_of_another_address_is_not_used(site, fetch):
    site.files["/b.tar"] = OTHER
    assert fetch("/a.tar") == CONTENT
    assert fetch("/b.tar") == OTHER


def test_a_part_of_unknown_origin_is_not_used(site, fetch):
    fetch.part.parent.mkdir()
    fetch.part.write_bytes(b"x" * 1000)
    assert fetch() == CONTENT
    assert site.offsets == [0]


def test_chunks_without_a_total(site, fetch):
    site.length = False
    site.cuts = [100_000]
    assert fetch() == CONTENT
    assert site.offsets == [0, 100_000]


def test_a_redirection_keeps_the_range(site, fetch):
    site.moved["/latest"] = f"{site.address}/a.tar"
    site.cuts = [10**9, 100_000]
    assert fetch("/latest") == CONTENT
    assert [asked[:2] for asked in site.asked[2:]] == [("/latest", "bytes=100000-"), ("/a.tar", "bytes=100000-")]


def test_a_busy_server_is_asked_again_a_missing_file_is_not(site, fetch):
    site.codes = [503, 429]
    assert fetch() == CONTENT
    asked = len(site.asked)
    with pytest.raises(BenchmarkError, match=r"answers 404.*--archive"):
        fetch("/gone.tar")
    assert len(site.asked) == asked + 1


def test_attempts_are_bounded(site, fetch):
    site.codes = [503] * 100
    with pytest.raises(BenchmarkError, match=f"answers 503 .*{downloading.ATTEMPTS} times in a row"):
        fetch()
    assert len(site.asked) == downloading.ATTEMPTS


def test_progress_earns_new_attempts_and_starting_over_does_not(site, fetch):
    site.files["/a.tar"] = content = random.Random(2).randbytes(10 * CHUNK)
    site.cuts = [CHUNK] * 9
    assert fetch() == content
    site.asked.clear()
    site.ranges = False
    site.etag = '"two"'
    site.files["/b.tar"] = content
    site.cuts = [3 * CHUNK] * 100
    with pytest.raises(BenchmarkError, match="times in a row"):
        fetch("/b.tar")
    assert len(site.asked) <= 2 * downloading.ATTEMPTS


def test_no_server_is_one_sentence(fetch, site, tmp_path, monkeypatch):
    monkeypatch.setattr(downloading, "ATTEMPTS", 2)
    with serving() as gone:
        address = gone.address
    with pytest.raises(BenchmarkError, match=r"no connection .*2 times in a row"):
        download(f"{address}/a.tar", tmp_path / "a.tar.part", shown=False)


def test_another_size_than_published_is_refused_before_its_body(site, fetch):
    with pytest.raises(BenchmarkError, match="has 300000 bytes, published are 7"):
        fetch(size=7)
    assert not list(fetch.part.parent.iterdir())


def test_more_than_published_is_refused_where_the_server_names_no_size(site, fetch):
    site.length = False
    with pytest.raises(BenchmarkError, match="sends more than its 7 bytes"):
        fetch(size=7)
    assert not list(fetch.part.parent.iterdir())


@pytest.mark.parametrize("unpacked", [0, 500_000])
def test_a_disk_that_would_be_full_is_refused_before_the_body(site, fetch, monkeypatch, unpacked):
    needed = len(CONTENT) + (unpacked or len(CONTENT)) + downloading.SPARE
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 0, needed - 1))
    with pytest.raises(BenchmarkError, match=r"free, a\.tar with its content needs .*--data"):
        fetch(unpacked=unpacked)
    assert not fetch.part.exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 0, needed))
    assert fetch(unpacked=unpacked) == CONTENT


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/a.tar", "data:,x"])
def test_only_http_and_https(url, tmp_path):
    with pytest.raises(BenchmarkError, match="no http or https address"):
        download(url, tmp_path / "a.part")


def test_https_does_not_lead_to_http():
    request = urllib.request.Request("https://example.org/a.tar")
    with pytest.raises(BenchmarkError, match="not encrypted"):
        downloading._Redirects().redirect_request(request, None, 302, "Found", {}, "http://example.org/a.tar")


def test_a_log_gets_a_line_per_tenth(site, fetch, capsys):
    with Meter("a.tar", 0, 1000, shown=True) as meter:
        for _ in range(1000):
            meter.add(1)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10 and lines[-1] == "a.tar: 100 % of 1.0 kB"
    assert [bytes_in_words(n) for n in (999, 37_756_896, 5_802_953_400)] == ["999 B", "37.8 MB", "5.8 GB"]


@pytest.mark.parametrize(("length", "kept"), [(True, True), (False, False)])
def test_a_download_stops_before_the_disk_is_full(site, fetch, monkeypatch, length, kept):
    """Also where the server does not say how long it will send; what may never end is not kept."""
    usage = namedtuple("usage", "total used free")
    free = iter([10**9] * 3)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 0, next(free, downloading.SPARE - 1)))
    monkeypatch.setattr(downloading, "CHUNK", 10_000)
    site.length = length
    with pytest.raises(BenchmarkError, match=r"has less than .* left, a\.tar stops there; free space"):
        fetch()
    assert fetch.part.exists() == kept and len(site.asked) == 1
    if kept:
        assert 0 < fetch.part.stat().st_size < len(CONTENT)


@pytest.mark.parametrize("target", ["http://[::1", "http://[zzz]/a.tar", "http://127.0.0.1:port/a.tar"])
def test_a_redirect_to_no_address_is_one_sentence(site, fetch, target):
    site.moved["/a.tar"] = target
    with pytest.raises(BenchmarkError, match="--archive"):
        fetch()
    assert len(site.asked) == 1, "it is not tried again"


def test_an_address_that_is_none_is_one_sentence(tmp_path):
    with pytest.raises(BenchmarkError, match="is no address"):
        download("http://[::1/a.tar", tmp_path / "a.part")
