"""Networks drawn from the tracked distribution of weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from benchmark.data import Batch
from benchmark.network import Network

from .tracker import NamedBuffers

FEATURES = 10
"""D, the number of random Fourier features."""
KEPT_BYTES = 2 << 30
"""Sampled networks kept in the memory of the CPU; one of a ResNet-50 takes 0.2 GiB."""


def sample_weights(mean: Tensor, variance: Tensor, generator: torch.Generator, shared_phase: bool = False) -> Tensor:
    r"""Draw a tensor: ``w'_i = mu_i + sqrt(2 v_i / D) sum_d a_d cos(omega_d mu_i + u_d)``.

    omega and a are standard normal, u is uniform in [0, 2 pi); D = 10. One phase u_d for all weights of the tensor
    gives ``Cov(w'_i, w'_j) = sqrt(v_i v_j) exp(-(mu_i - mu_j)^2 / 2)``, the kernel that random Fourier features stand
    for. A phase for every weight, as in the released code, gives the same variance and no covariance.

    Args:
        mean: mu, float32, any shape.
        variance: v, of the same shape.
        generator: on the CPU, so that a draw is the same on every device.
        shared_phase: whether the weights of the tensor share their phases.
    """
    omega = torch.randn(FEATURES, generator=generator).tolist()
    amplitude = torch.randn(FEATURES, generator=generator).tolist()
    shape = () if shared_phase else mean.shape
    total = torch.zeros_like(mean)
    for frequency, factor in zip(omega, amplitude):
        phase = torch.rand(shape, generator=generator).to(mean.device) * (2 * math.pi)
        total += factor * torch.cos(frequency * mean + phase)
    return mean + (variance.clamp(min=0) * (2 / FEATURES)).sqrt() * total


def sample_network(network: Network, variances: NamedBuffers, seed: int, shared_phase: bool = False) -> Network:
    """A copy of the mean network with drawn weights.

    Args:
        network: holds the means.
        variances: by the names of the parameters that are drawn.
        seed: decides the draw.
        shared_phase: as in :func:`sample_weights`.
    """
    member = copy.deepcopy(network).requires_grad_(False).eval()
    generator = torch.Generator().manual_seed(seed)
    for name in variances.names():
        weight = member.get_parameter(name)
        weight.copy_(sample_weights(weight, variances[name], generator, shared_phase))
    return member


def capacity(network: Network, device: torch.device) -> int:
    """How many sampled networks may be kept in memory, at least one.

    On the CPU they take up to `KEPT_BYTES`: a draw of a ResNet-50 costs a fifth of what the member then computes for
    an image of 1280x720 at five scales (measured). A GPU would wait for the CPU's random numbers, ten per weight, much
    longer than for its own forward, so there they may take half of the free memory.
    """
    budget = KEPT_BYTES
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        budget = (torch.cuda.mem_get_info(device)[0] + unused) // 2
    return max(1, budget // sum(tensor.nbytes for tensor in network.state_dict().values()))


def batch_norms(network: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """The batch normalisations that keep running statistics, in the network's order."""
    return [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]


def reestimate(networks: Sequence[Network], batches: Iterable[Batch], scales: Sequence[int], max_size: int = 0) -> None:
    """Replace the running statistics of all batch normalisations by their average over batches.

    Images are prepared as in testing; with several scales the batches take them in turn. The layers that no forward in
    eval mode reaches (deep supervision) keep the statistics that they had.

    Args:
        networks: changed in place; every batch is decoded once for all of them.
        batches: of training images.
        scales: test scales, empty is the native size.
        max_size: bound of the long side.
    """
    norms = [norm for network in networks for norm in batch_norms(network)]
    kept = [(norm.momentum, norm.running_mean.clone(), norm.running_var.clone()) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
        norm.train()
    for index, batch in enumerate(batches):
        scale = scales[index % len(scales)] if scales else 0
        for network in networks:
            network.segment(batch.images, scale, max_size)
    for norm, (momentum, mean, variance) in zip(norms, kept):
        norm.momentum = momentum
        norm.eval()
        if not int(norm.num_batches_tracked):
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)
