"""``check``."""

from __future__ import annotations

import argparse

from benchmark.config import data_root
from benchmark.contract import Finding, check_dataset, check_method, check_network
from benchmark.errors import BenchmarkError
from benchmark.networks import split_arch
from benchmark.registry import DATASETS, METHODS, NETWORKS, parse_call
from benchmark.training import Settings


def check(arguments: argparse.Namespace) -> int:
    """Print every clause of the contract and whether the plugin keeps it."""
    root = data_root(arguments.data)
    name, _ = parse_call(arguments.name)
    device = str(Settings.choose(arguments.device, progress=False).device)
    if METHODS.canonical(name) in METHODS.names():
        findings = check_method(arguments.name, device)
    elif DATASETS.canonical(name) in DATASETS.names():
        findings = check_dataset(arguments.name, root)
    elif split_arch(name)[0] in NETWORKS.names():
        findings = check_network(name, device)
    else:
        raise BenchmarkError(f"There is no plugin '{name}'; `python -m benchmark list` shows what exists.")
    failed = 0
    try:
        for finding in findings:
            failed += bool(finding.wrong)
            print(_line(finding))
    except Exception as error:
        failed += 1
        print(_line(Finding("runs through", f"{type(error).__name__}: {error}")))
    print(f"{arguments.name}: {'keeps its contract' if not failed else f'{failed} clauses are broken'}.")
    return 1 if failed else 0


def _line(finding: Finding) -> str:
    return f"  {'FAIL' if finding.wrong else 'ok  '}  {finding.clause}" + (
        f": {finding.wrong}" if finding.wrong else ""
    )
