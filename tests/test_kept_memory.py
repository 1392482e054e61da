"""What tensors have freed is kept, unless the user says otherwise, and given back where memory is measured; how much of
the machine's is free."""

import os
import platform
import subprocess
import sys

import pytest

from benchmark import HOME
from benchmark.io.memory import KEPT, free_memory, keep_memory

PAGES = 2 * (48 << 20) // os.sysconf("SC_PAGE_SIZE")
SCRIPT = """
import resource, sys
from pathlib import Path
from benchmark.io.memory import give_back, given_back, keep_memory
if sys.argv[1] == "keep":
    assert keep_memory()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    maps = [b"1" * (48 << 20) for _ in range(2)]
    del maps
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])

found = [faults() for _ in range(20)]  # the heap takes a few rounds until it has room for all
print(max(found[-3:]))
with given_back() as done:
    print(faults() if done else -1)
found = [faults() for _ in range(20)]
print(max(found[-3:]))
before = resident()
give_back()
print(before - resident())
"""


def _pages(how, **variables):
    """Pages that the system gives a process for maps as large as those that it has just freed: as it is, in between as
    if nothing were kept, and afterwards; and how many it has back in the end."""
    clean = {name: text for name, text in os.environ.items() if name not in (*KEPT, "GLIBC_TUNABLES")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, how], cwd=HOME, env={**clean, **variables}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return [int(line) for line in done.stdout.split()]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these parameters")
@pytest.mark.parametrize("how", ["keep", "started by one that keeps", "leave"])
def test_what_tensors_have_freed_is_kept_for_the_next_ones(how):
    mine = {variable: str(size) for variable, (_, size) in KEPT.items()} if how.startswith("started") else {}
    kept, between, again, returned = _pages(how, **mine)
    if how == "leave":
        assert kept > PAGES / 2 and between == -1
        return
    assert kept < PAGES / 100 and again < PAGES / 100
    assert between > PAGES / 2, "as if nothing were kept"
    assert returned > PAGES / 2, "so that what a process holds says something of it"


@pytest.mark.parametrize("name", [*KEPT, "GLIBC_TUNABLES"])
def test_how_the_user_has_memory_kept_stays(name):
    mine = {name: "glibc.malloc.trim_threshold=5"}
    assert not keep_memory(mine) and list(mine) == [name]


MACHINE = {"proc/meminfo": "MemTotal:       900 kB\nMemAvailable:   600 kB\n"}
JOB = {"proc/self/cgroup": "0::/batch/job\n", "sys/fs/cgroup/batch/memory.max": "max\n"}
JOB |= {"sys/fs/cgroup/batch/job/memory.max": "300000\n", "sys/fs/cgroup/batch/job/memory.current": "200000\n"}
OLD = {"proc/self/cgroup": "9:name=systemd:/\n4:cpu,memory:/docker/1f\n0::/\n"}
OLD |= {f"sys/fs/cgroup/memory/memory.{name}_in_bytes": size for name, size in (("limit", "500"), ("usage", "100"))}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        (MACHINE, 600 * 1024),
        (MACHINE | JOB, 100_000),
        (MACHINE | JOB | {"sys/fs/cgroup/batch/job/memory.stat": "anon 1\ninactive_file 5000\n"}, 105_000),
        (MACHINE | JOB | {"proc/self/cgroup": "0::/elsewhere\n"}, 600 * 1024),
        (MACHINE | OLD, 400),
        (MACHINE | OLD | {"sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2**63 - 4096}"}, 600 * 1024),
        (MACHINE | OLD | {"sys/fs/cgroup/memory/memory.usage_in_bytes": "600"}, 0),
    ],
)
def test_free_is_what_the_machine_has_and_its_groups_allow(tmp_path, files, expected):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert free_memory(tmp_path) == expected
