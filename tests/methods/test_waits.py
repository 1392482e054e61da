"""What methods wait for while a GPU scores, counted on a pretended one; scores and fits there are those of the CPU."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from encoders import random_encoder
from pretended_gpu import pretended_gpu

from benchmark.registry import METHODS
from benchmark.run.contract import prepared, rehearsal, scores_of, toy_batch, toy_workshop, trial_call

NUMBER, DOWN, MASK = "_local_scalar_dense", "copy to the GPU", "index by a mask"
KNOWN = {
    # Noise and what depends on a seed is drawn on the CPU, so that it is the same on every device.
    "abnn": {DOWN: 38, NUMBER: 2},
    "dood": {DOWN: 9},
    "mc_dropout": {DOWN: 90},
    # Constants that are made anew for every batch.
    "mask2anomaly": {DOWN: 1},
    "maskomaly": {DOWN: 2},
    # Numbers of the fit that are read for every batch, as how much of a bank is filled; a system of equations' residue.
    "cdnp": {NUMBER: 1},
    "guided_knn": {NUMBER: 1, "_linalg_check_errors": 1},
    "knn": {NUMBER: 1},
    "mahalanobis": {MASK: 1},
    "mahalanobis_pp": {MASK: 1},
    "neco": {NUMBER: 2},
    "nnguide": {NUMBER: 1},
    "react": {NUMBER: 3},
    "rmds": {MASK: 2},
    "synthcp": {NUMBER: 1},
    "vim": {NUMBER: 1},
}
"""Method -> what its score() waits for, per batch of three images; no other method waits at all."""


@pytest.fixture(scope="module", autouse=True)
def encoders(tmp_path_factory):
    """Random weights in the place of the pretrained ones, which not every machine has."""
    with pytest.MonkeyPatch.context() as patch:
        random_encoder("tf_efficientnet_lite0", tmp_path_factory.mktemp("encoders"), patch)
        yield


@pytest.mark.parametrize("name", METHODS.names())
def test_scores_of_a_gpu_are_those_of_the_cpu_and_wait_for_what_is_known(name, tmp_path):
    call = trial_call(name)
    method = METHODS.create(call)
    tasks, arch = tuple(method.recipes), rehearsal(method)
    workshop = toy_workshop(tmp_path, tasks, arch=arch)
    expected = scores_of(workshop, prepared(workshop, method, untrained=True), toy_batch(workshop))
    with pretended_gpu() as waits:
        workshop = toy_workshop(tmp_path, tasks, "cuda", arch=arch)
        workshop.pool.time(False)
        entry, batch = prepared(workshop, METHODS.create(call)), toy_batch(workshop)
        try:
            scores_of(workshop, entry, batch)  # what is made once and kept is made now
        except RuntimeError as error:
            if "hasPrimaryContext" in str(error):
                pytest.skip("torch asks the driver before it goes backward")
            raise
        waits.found.clear()
        scores = scores_of(workshop, entry, replace(batch))
        found = Counter()
        for (_, _, what), count in waits.found.items():
            found[what] += count
        assert scores.is_cuda
        assert torch.allclose(scores.cpu(), expected, rtol=1e-5, atol=1e-5)
    assert found == KNOWN.get(name, {})


def gathers(name):
    """Whether a method is fitted to statistics and trains nothing; torch goes backward on no pretended GPU."""
    method = METHODS.create(trial_call(name))
    return method.observes and not method.recipes


@pytest.mark.parametrize("name", [name for name in METHODS.names() if gathers(name)])
def test_statistics_of_a_gpu_are_those_of_the_cpu(name, tmp_path):
    call = trial_call(name)
    arch, scores = rehearsal(METHODS.create(call)), {}
    for device in ("cpu", "cuda"):
        with pretended_gpu():
            workshop = toy_workshop(tmp_path / device, (), device, arch=arch)
            entry = prepared(workshop, METHODS.create(call), untrained=True)
            assert not entry.error
            scores[device] = scores_of(workshop, entry, toy_batch(workshop)).cpu()
    assert torch.allclose(scores["cuda"], scores["cpu"], rtol=1e-4, atol=1e-5)
