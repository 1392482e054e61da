"""ODIN: temperature, and a step of the input towards confidence."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchmark.method import Batch, Handle, Method, Networks
from benchmark.network import ScaleOutputs

from ._confidence import negative_log_max


class ODIN(Method):
    r"""ODIN: ``x' = x - epsilon sign(dL/dx)``, then ``s = -log max_c softmax(z(x') / T)_c``.

    ``L = -mean_pixels log max_c softmax(z(x) / T)_c`` is the cross-entropy with the network's own prediction, so that
    the step makes every image more confident: known pixels more than unknown ones, says the paper. The gradient is
    taken with respect to the image as it was read, one image at a time (its memory is that of a training step). With
    several test scales, L is the mean over the scales, and the score comes from the mean softmax at T.

    Cost: two forwards and one backward per scale, none of them shared with other methods.

    Args:
        temperature: T > 0. Image classification takes 1000, segmentation less.
        epsilon: size of the step, in units of the full range of pixel values (1/255 is one grey level); in units of
            normalised inputs that is epsilon / std.
        inverted_sign: step up the loss instead, as the released code of SegmentMeIfYouCan does (which further applies
            the softmax twice and no temperature in its loss). For comparison only.

    Source: Liang et al., ICLR 2018; values for segmentation: Chan et al., "SegmentMeIfYouCan", NeurIPS 2021, tuned on
        Lost and Found, with epsilon in units of normalised inputs.
    """

    title = "ODIN"
    paper = "Liang et al., ICLR 2018"
    version = 2  # 1 took the logarithm of the maximum, in which the surest pixels are ties

    def __init__(self, temperature: float = 3.0, epsilon: float = 1e-4, inverted_sign: bool = False) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError("the temperature must be positive.")
        if epsilon < 0:
            raise ValueError("epsilon must not be negative; inverted_sign=true turns the step round.")
        self.temperature = float(temperature)
        self.epsilon = float(epsilon)
        self.inverted_sign = inverted_sign

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        base = networks["base"]
        return torch.cat([self._score_image(image.float(), base) for image in batch.images.split(1)])

    @property
    def forwards(self) -> float:
        return 3.0

    def perturbed(self, image: Tensor, base: Handle) -> Tensor:
        """x' of images (B, 3, H, W), float in 0..255; it may leave that range by the size of the step."""
        gradient = torch.zeros_like(image)
        for side in base.spec.scales or (0,):  # one graph at a time
            with torch.enable_grad():
                x = image.detach().clone().requires_grad_(True)
                log_p = self._log_softmax(base.run(x, scales=(side,)).scales[0], image)
                # A sum, since only the sign of the gradient counts and a mean would bring it near underflow.
                gradient += torch.autograd.grad(-log_p.amax(dim=1).sum(), x)[0]
        step = 255 * self.epsilon * gradient.sign()
        return image + step if self.inverted_sign else image - step

    def _score_image(self, image: Tensor, base: Handle) -> Tensor:
        total = None
        for scale in base.run(self.perturbed(image, base)).scales:
            log_p = self._log_softmax(scale, image)
            total = log_p if total is None else torch.logaddexp(total, log_p)
        return negative_log_max((total - math.log(len(base.spec.scales) or 1)).exp())

    def _log_softmax(self, scale: ScaleOutputs, image: Tensor) -> Tensor:
        logits = scale.upsample(scale.logits, tuple(image.shape[-2:]))
        return torch.log_softmax(logits / self.temperature, dim=1)
