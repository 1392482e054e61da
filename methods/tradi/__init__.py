"""TRADI (Franchi et al., ECCV 2020): an ensemble sampled around the weights that one training passed through."""

from .method import TRADI

__all__ = ["TRADI"]
