"""The harness: registry, networks, training, metrics, runs, records and leaderboard.

It knows no method and no dataset by name; those are ``benchmark.methods`` and ``benchmark.datasets``. In a checkout
they are the folders ``methods/`` and ``datasets/`` beside this one; in an installed wheel they lie inside it, since a
top-level ``datasets`` would overwrite the files of Hugging Face's package of that name. For the same reason neither
folder has an ``__init__.py``: ``import datasets`` prefers an installed package to a folder without one.
"""

from pathlib import Path

__version__ = "0.1.0"

HOME = Path(__file__).resolve().parent
"""The folder that holds ``methods/``, ``datasets/`` and ``results/``."""
if not (HOME / "methods").is_dir():  # a checkout
    HOME = HOME.parent
    __path__.append(str(HOME))
