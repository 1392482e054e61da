"""GradNorm: norm of the gradient towards the uniform distribution."""

from __future__ import annotations

from .pgn import PGN


class GradNorm(PGN):
    r"""GradNorm: ``s = -log ||p - 1/C||_1 - log ||f||_1``, per feature cell, upsampled to the image.

    The L1 norm of the gradient of the cross-entropy with the uniform distribution with respect to the weights of the
    last layer, which is large for known inputs; it is that of :mod:`benchmark.methods.pgn` with ``target=uniform``,
    ``form=exact`` and ``r=1``. The released code sums over the classes, with C instead of 1/C, which is the same but
    for the constant log C, and runs a backward per image, of which pixels have no use.

    Source: Huang et al., "On the Importance of Gradients for Detecting Distributional Shifts in the Wild", NeurIPS
        2021.
    """

    title = "GradNorm"
    paper = "Huang et al., NeurIPS 2021"

    def __init__(self) -> None:
        super().__init__("uniform", "exact", 1.0)
