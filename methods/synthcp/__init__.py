"""SynthCP (Xia et al., ECCV 2020): synthesise the image from its predicted labels, then compare."""

from .method import SynthCP

__all__ = ["SynthCP"]
