"""Mean and variance of every weight during training, by a scalar Kalman filter."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

MEAN_NOISE = 1e-4
"""Q_mu: process noise of the mean."""
VARIANCE_NOISE = 5e-5
"""Q_v: process noise of the variance."""
MEASUREMENT_NOISE = 10.0
"""R, of both filters."""

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)


class NamedBuffers(nn.Module):
    """Buffers by the dotted names that parameters have, which a module itself does not allow."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            self.register_buffer(name.replace(".", "/"), tensor)

    def __getitem__(self, name: str) -> Tensor:
        return self._buffers[name.replace(".", "/")]

    def names(self) -> Iterator[str]:
        """In the order of registration."""
        return (name.replace("/", ".") for name in self._buffers)


def sampled_parameters(network: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that TRADI samples, by name: all but weight and bias of normalisation layers."""
    fixed = {id(p) for m in network.modules() if isinstance(m, _NORMS) for p in m.parameters(recurse=False)}
    return {name: p for name, p in network.named_parameters() if id(p) not in fixed}


class WeightTracker(nn.Module):
    r"""After every optimiser step, with w the weights, d the step's displacement and gains K, Kv:

    .. code-block:: text

        P  <- P + Q_mu     K  = P  / (P  + R)     mu <- (1-K)  (mu + d)   + K  w            P  <- (1-K)  P
        Pv <- Pv + Q_v     Kv = Pv / (Pv + R)     v  <- (1-Kv) (v + d^2)  + Kv (w - mu)^2   Pv <- (1-Kv) Pv

    From P = 0 the gains rise to K = 0.003157 and Kv = 0.002234, memories of 317 and 448 steps. Where d is the step that
    w made, mu - w shrinks by 1 - K in every step whatever the gradients are, and v tends to (1-Kv)/Kv = 447 times the
    mean squared step: TRADI is the last weights and a noise in proportion to the latest steps.

    Args:
        network: whose weights are tracked; a parameter without gradient is left alone in that step.
        displacement: "actual" ``d = w_t - w_{t-1}``, or "gradient" ``d = -lr * gradient`` as in the released code; they
            are the same only under SGD without momentum and weight decay.
        start: "weights" ``mu = w_0, v = 0``, or "paper" ``mu = 0, v = sqrt(2 / n_0)`` with n_0 the size of the first
            dimension, which is forgotten after some thousand steps.

    Source: Franchi et al., ECCV 2020 (arXiv 1912.11316), and their code for MNIST.
    """

    def __init__(self, network: nn.Module, displacement: str = "actual", start: str = "weights") -> None:
        super().__init__()
        self._parameters_of = (sampled_parameters(network),)  # in a tuple: the network is not a part of its tracker
        weights = {name: p.detach() for name, p in self._parameters_of[0].items()}
        if start == "weights":
            means = {name: w.clone() for name, w in weights.items()}
            variances = {name: torch.zeros_like(w) for name, w in weights.items()}
        else:
            means = {name: torch.zeros_like(w) for name, w in weights.items()}
            variances = {name: torch.full_like(w, math.sqrt(2 / (w.shape or (1,))[0])) for name, w in weights.items()}
        self.means, self.variances = NamedBuffers(means), NamedBuffers(variances)
        actual = displacement == "actual"
        self.previous = NamedBuffers({n: w.clone() for n, w in weights.items()}) if actual else None
        self._uncertainty = (0.0, 0.0)

    @torch.no_grad()
    def update(self, lr: float) -> None:
        """Take in the step that was just made.

        Args:
            lr: learning rate of that step.
        """
        moved = {name: p for name, p in self._parameters_of[0].items() if p.grad is not None}
        weights = [p.detach() for p in moved.values()]
        means = [self.means[name] for name in moved]
        variances = [self.variances[name] for name in moved]
        if self.previous is None:
            steps = torch._foreach_mul([p.grad for p in moved.values()], -lr)
        else:
            previous = [self.previous[name] for name in moved]
            steps = torch._foreach_sub(weights, previous)
            torch._foreach_copy_(previous, weights)
        mean_gain, variance_gain = self._gains()
        torch._foreach_add_(means, steps)
        torch._foreach_lerp_(means, weights, mean_gain)
        gaps = torch._foreach_sub(weights, means)
        torch._foreach_mul_(gaps, gaps)
        torch._foreach_mul_(steps, steps)
        torch._foreach_add_(variances, steps)
        torch._foreach_lerp_(variances, gaps, variance_gain)

    def _gains(self) -> tuple[float, float]:
        priors = [p + q for p, q in zip(self._uncertainty, (MEAN_NOISE, VARIANCE_NOISE))]
        gains = [prior / (prior + MEASUREMENT_NOISE) for prior in priors]
        self._uncertainty = tuple((1 - gain) * prior for gain, prior in zip(gains, priors))
        return gains[0], gains[1]

    def get_extra_state(self) -> tuple[float, float]:
        """P and Pv in full precision, for the resume state."""
        return self._uncertainty

    def set_extra_state(self, state: tuple[float, float]) -> None:
        """The inverse of :meth:`get_extra_state`."""
        self._uncertainty = tuple(state)
