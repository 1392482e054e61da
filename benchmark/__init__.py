"""The harness: registry, networks, training, metrics, runner, records and leaderboard.

It knows no method and no dataset by name; those live in the top-level packages ``methods`` and ``datasets``.
"""

__version__ = "0.1.0"
