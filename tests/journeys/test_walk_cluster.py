"""Somebody at a cluster: options in a file, two processes, a job that is killed, JSON."""

import re
from pathlib import Path

import pytest
import torch.distributed as dist
from walk import blocks

PAGE = "benchmark/cli/README.md"
DYING = """
import os, pathlib, signal
import benchmark.run.evaluate
from benchmark.method import Method

benchmark.run.evaluate.SAVE_EVERY = 0.0

class Dying(Method):
    def score(self, batch, networks):
        if "test/2" in batch.ids[0] or "2" == batch.ids[0]:
            if not pathlib.Path("mended").exists():
                os.kill(os.getpid(), signal.SIGKILL)
        return networks["base"](batch).logits()[:, 0]
"""


def test_options_from_a_file_a_kill_and_what_is_left(walk):
    (config,) = (b for b in blocks(PAGE, "toml") if b.startswith("# run.toml\n"))
    (walk.folder / "run.toml").write_text(config)
    (walk.folder / "dying.py").write_text(DYING)
    here = (*walk.harbour(), "--no-report", "--repetition=0", "--batch-size=1", "--recipe=segmentation.epochs=1")
    line = "python -m benchmark run --config run.toml --limit 20"
    plan = walk.type(PAGE, line, *walk.harbour(), "--dry-run")
    assert re.search(r"^  knn:k=5: not measured yet", plan, re.M) and "Repetition 2" in plan
    assert not list(walk.folder.glob("runs/w*"))

    short = (*here, "--methods=msp,dying", "--plugin=dying.py")
    killed = walk.run(" ".join([line, *short]))
    assert killed.returncode == 137 or killed.returncode < 0, killed.stderr
    left = walk.type(PAGE, "python -m benchmark runs")
    assert "partial/" in left
    gone = walk.type(PAGE, 'python -m benchmark runs --delete "partial/*" --dry-run')
    kept = list((walk.folder / "runs" / "partial").iterdir())
    assert "partial/" in gone and kept
    (walk.folder / "mended").touch()
    resumed = walk.json(PAGE, line, *short, "--json")
    assert "goes on after 2 of 4 images" in walk.err
    assert [Path(record["path"]).name for record in resumed["records"]] == ["msp+first20.json", "dying+first20.json"]
    assert not any(path.exists() for path in kept)


@pytest.mark.skipif(not (dist.is_available() and dist.is_gloo_available()), reason="this PyTorch has no gloo")
def test_two_processes_share_a_run(walk):
    line = "torchrun --nproc-per-node 4 -m benchmark run --dataset streethazards --methods all"
    here = (*walk.harbour(), "--no-report", "--methods=msp", "--device=cpu")
    printed = walk.type("benchmark/README.md", line, *here, instead=("node 4", "node 2"))
    assert "by 2 processes" in printed and len(re.findall("^MSP  ", printed, re.M)) == 1
