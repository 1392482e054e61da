"""DiCNet (Zhou et al., arXiv 2112.09908): the seed method of this suite."""

from .method import DiCNet

__all__ = ["DiCNet"]
