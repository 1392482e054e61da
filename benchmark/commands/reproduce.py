"""``reproduce``."""

from __future__ import annotations

import argparse

from benchmark.commands.run import run

PRESETS = ("paper", "common")


def reproduce(arguments: argparse.Namespace) -> int:
    """Every method as its authors test it, then every method in one common setting; resumable like `run`."""
    codes = []
    for dry in (True,) if arguments.dry_run else (True, False):
        for preset in PRESETS:
            print(f"\n== preset {preset}{', plan' if dry else ''}", flush=True)
            codes.append(run(argparse.Namespace(**{**vars(arguments), "preset": preset, "dry_run": dry})))
    return max(codes)
