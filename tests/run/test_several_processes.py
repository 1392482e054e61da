"""What `torchrun` starts: one record, whoever evaluated the images; a run goes on after one process was lost."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from harness import FAILING, measured

from benchmark.errors import BenchmarkError
from benchmark.machine import Machine, idle
from benchmark.run.journal import Journal
from benchmark.run.shares import _add, _Share
from benchmark.run.tally import Tally

HOME = Path(__file__).resolve().parents[2]
SBATCH = HOME / "benchmark" / "cluster" / "run.sbatch"
PROTOCOLS = "pooled,smiyc-obstacles,open-set-fpr,calibration,calibration-val,sizes,tpr-fpr05-per-image"
gloo = pytest.mark.skipif(not (dist.is_available() and dist.is_gloo_available()), reason="this PyTorch has no gloo")

DYING = """
import os, pathlib, signal
import benchmark.run.evaluate
from benchmark.distributed import rank
from benchmark.method import Method

benchmark.run.evaluate.SAVE_EVERY = 0.0

class Dying(Method):
    def score(self, batch, networks):
        mark = pathlib.Path(FOLDER) / "mended"
        if rank() == 1 and batch.ids == ("toy/3",) and not mark.exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return networks["base"](batch).logits()[:, 0]
"""


AWAY = """
import os
from dataclasses import replace
from benchmark.run.contract import Toy

class Away(Toy):
    card = replace(Toy.card, title="Away", licence="none", citation="none")

    def fingerprint(self):
        return super().fingerprint() + os.environ["RANK"]
"""


LACKING = """
import os
from dataclasses import replace
from datetime import timedelta
import benchmark.distributed
from benchmark.errors import BenchmarkError
from benchmark.run.contract import Toy

benchmark.distributed.GRACE = timedelta(seconds=2)

class Lacking(Toy):
    card = replace(Toy.card, title="Lacking", licence="none", citation="none")

    def __getitem__(self, index):
        if self.split == "train" and os.environ["RANK"] == "1":
            raise BenchmarkError("it is gone.")
        return super().__getitem__(index)
"""


def environment(**more) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HOME), **more}


def two(bench, *line: str) -> list[subprocess.CompletedProcess]:
    """A command by two processes, started as `torchrun` does, without the seconds that it takes to start itself.

    They meet, as with `torchrun`, where the one that started them listens: nobody can take its port in between.
    """
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "WORLD_SIZE": "2"}
    place |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"}
    command = [sys.executable, "-m", "benchmark", *bench.arguments(*line)]
    started = [
        subprocess.Popen(
            command,
            cwd=bench.folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(RANK=str(rank), LOCAL_RANK=str(rank), **place),
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=240) for process in started]
    finally:
        for process in started:
            process.kill()
    return [
        subprocess.CompletedProcess(command, process.returncode, *each)
        for process, each in zip(started, said, strict=True)
    ]


def files(bench, label: str) -> dict[str, bytes]:
    """What stands beside a record."""
    return {path.name: path.read_bytes() for path in (bench.runs / "records").rglob(f"{label}.*.csv.gz")}


@pytest.mark.parametrize(("images", "batch"), [(7, 2), (8, 2), (3, 2), (1, 2), (5, 1)])
def test_the_digest_of_the_images_seen_is_that_of_one_process(images, batch):
    """Batches go to the processes in turn, and what each has seen is put together in the order of the images."""
    names = [f"{i:x}" for i in range(images)]
    whole = Tally({}, None, batch, Journal(Path("unused")))
    for name in names:
        whole.see(name)
    parts = [_Share({}, {}, {}, [n for i, n in enumerate(names) if i // batch % 2 == rank]) for rank in range(2)]
    together = Tally({}, None, batch, Journal(Path("unused")))
    _add(together, parts, batch)
    assert together.seen == whole.seen != ""


@gloo
def test_two_processes_make_the_record_of_one_bit_for_bit(bench):
    """With a fit and protocols of two passes; a method that fails at an image of the second process fails for both."""
    bench.plugin("failing", FAILING)
    wanted = ("--protocols", PROTOCOLS, "--methods", "msp,mahalanobis", "--no-report")
    assert bench("run", *wanted) == 0
    reference = {m: (measured(bench.record(m)), files(bench, m)) for m in ("msp", "mahalanobis")}
    assert len(reference["msp"][1]) == 2 and "processes" not in bench.record("msp")["provenance"]
    shutil.rmtree(bench.runs / "records")
    first, second = two(bench, "run", *wanted[:3], "msp,failing:at=toy/1,mahalanobis", "--no-report")
    assert first.returncode == 1, first.stderr
    assert (second.returncode, second.stdout, second.stderr) == (0, "", ""), "rank 0 speaks for both"
    assert "by 2 processes" in first.stdout and first.stdout.count("Town, pspnet-small") == 1
    assert "failing:at=toy/1" in first.stderr and "toy/1" in first.stderr
    assert bench.records() == set(reference)
    for label, (record, beside) in reference.items():
        assert measured(bench.record(label)) == record
        assert files(bench, label) == beside
    assert bench.record("msp")["provenance"]["processes"] == 2
    assert not list((bench.runs / "partial").glob("*"))


@gloo
def test_one_process_goes_on_where_two_were_when_one_was_killed(bench):
    bench.plugin("dying", DYING.replace("FOLDER", repr(str(bench.folder))))
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "benchmark"]
    line = bench.arguments("run", "--methods", "dying,dicnet", "--no-report")
    done = subprocess.run(
        [*start, *line], cwd=bench.folder, env=environment(), capture_output=True, text=True, timeout=240
    )
    assert done.returncode != 0 and not bench.records()
    assert "error: Another process of this run has ended" in done.stderr or "one of its processes was" in done.stderr
    (bench.folder / "mended").touch()
    assert bench("run", "--methods", "dying,dicnet", "--no-report") == 0
    assert "goes on after 2 of 4 images" in bench.out
    resumed = [(measured(bench.record(m)), bench.rows(m)) for m in ("dying", "dicnet")]
    assert bench("run", "--methods", "dying,dicnet", "--force", "--no-report") == 0
    assert [(measured(bench.record(m)), bench.rows(m)) for m in ("dying", "dicnet")] == resumed


@gloo
def test_a_training_image_that_only_one_process_lacks_ends_the_run_soon(bench):
    bench.plugin("lacking", LACKING)
    first, second = two(bench, "run", "--methods", "msp", "--no-report", "--dataset", "lacking")
    assert first.returncode == second.returncode == 130
    assert "error: it is gone, in process 1 alone" in second.stderr and "Interrupted; " in first.stderr


@gloo
def test_processes_with_other_images_are_refused_before_anything_is_trained(bench):
    """They would have other names for the same weights, and wait for each other."""
    bench.plugin("away", AWAY)
    first, second = two(bench, "run", "--methods", "msp", "--no-report", "--dataset", "away")
    assert first.returncode == second.returncode == 2
    assert "error: Process 1 has other images and labels below --data than process 0" in first.stderr
    assert not second.stderr and not bench.runs.exists()


@pytest.mark.parametrize("rank", ["0", "1"])
def test_what_is_not_shared_is_refused_once(bench, monkeypatch, rank):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert bench("show", "--methods", "msp") == 2
    sentence = "error: Several processes share run and train only; give this command to `python -m benchmark`, without"
    assert bench.err.startswith(sentence) if rank == "0" else not bench.err
    assert not list(bench.folder.rglob("*.png"))


def test_every_process_takes_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    assert "`torchrun --nproc-per-node 2 -m benchmark`" in idle(torch.device("cuda"))
    assert "cuda:1" in idle(torch.device("cuda:1")) and not idle(torch.device("cpu"))
    monkeypatch.setattr("benchmark.machine.world", lambda: 3)
    for local, device in ((0, "cuda:0"), (1, "cuda:1")):
        monkeypatch.setattr("benchmark.machine.local_rank", lambda local=local: local)
        assert Machine.choose("auto", "fp32").device == torch.device(device)
        assert not idle(torch.device(device))
    with pytest.raises(BenchmarkError, match="give --device cuda"):
        Machine.choose("cuda:1", "fp32")
    monkeypatch.setattr("benchmark.machine.local_rank", lambda: 2)
    with pytest.raises(BenchmarkError, match="--nproc-per-node 2"):
        Machine.choose("cuda", "fp32")


def test_the_batch_file_of_slurm_starts_all_machines(tmp_path):
    """`bash` reads it, `shellcheck` where it is installed finds nothing, and it gives torchrun what Slurm says."""
    subprocess.run(["bash", "-n", str(SBATCH)], check=True)
    if checker := shutil.which("shellcheck"):
        subprocess.run([checker, str(SBATCH)], check=True)
    for name, text in {"scontrol": "printf 'n7\\nn8\\n'", "srun": 'echo "$OMP_NUM_THREADS" "$@"'}.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    slurm = {"JOB_ID": "40123", "JOB_NODELIST": "n[7-8]", "JOB_NUM_NODES": "2", "GPUS_ON_NODE": "4"}
    given = {f"SLURM_{name}": value for name, value in slurm.items()} | {"SLURM_CPUS_PER_TASK": "8"}
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    line = ["bash", str(SBATCH), "--methods", "msp"]
    said = subprocess.run(line, env=environment(PATH=path, **given), capture_output=True, text=True, check=True).stdout
    assert " ".join(said.split()) == (
        "2 --kill-on-bad-exit=1 torchrun --nnodes 2 --nproc-per-node 4 --rdzv-id 40123 --rdzv-backend c10d "
        "--rdzv-endpoint n7:20123 -m benchmark run --methods msp"
    )
