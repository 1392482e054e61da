"""``check``: a plugin against the contract of its kind."""

from __future__ import annotations

import argparse
from difflib import get_close_matches
from typing import TYPE_CHECKING

from benchmark.cli.arguments import data_folder, verb
from benchmark.errors import BenchmarkError, in_words

if TYPE_CHECKING:
    from benchmark.run.contract import Finding


def add(verbs) -> None:
    parser = verb(
        verbs,
        "check",
        check,
        "try a plugin against the contract of its kind",
        """
check msp
check my_method --plugin my_method.py
check my_method --plugin my_method.py --device cuda""",
    )
    parser.add_argument("name", metavar="PLUGIN", help="method, dataset or network")
    parser.add_argument(
        "--device",
        default="cpu",
        help="where a method or network is tried: cpu (default), cuda, cuda:1 or auto; on CUDA its scores are also "
        "compared with those on the CPU",
    )
    data_folder(parser)


def check(arguments: argparse.Namespace) -> int:
    """Print every clause of the contract and whether the plugin keeps it."""
    from benchmark.machine import Machine
    from benchmark.networks import split_arch
    from benchmark.registry import DATASETS, METHODS, NETWORKS
    from benchmark.run.contract import Finding, check_dataset, check_method, check_network, trial_call
    from benchmark.run.options import data_root
    from benchmark.values import parse_call

    root = data_root(arguments.data)
    name, _ = parse_call(arguments.name)
    device = str(Machine.choose(arguments.device, progress=False).device)
    if METHODS.canonical(name) in METHODS.names():
        findings = check_method(trial_call(arguments.name), device)
    elif DATASETS.canonical(name) in DATASETS.names():
        findings = check_dataset(arguments.name, root)
    elif split_arch(name)[0] in NETWORKS.names():
        findings = check_network(name, device)
    else:
        known = [*METHODS.names(), *DATASETS.names(), *NETWORKS.names()]
        near = get_close_matches(name.lower(), known, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "`python -m benchmark list` shows what exists."
        raise BenchmarkError(f"There is no plugin '{name}'; {hint}")
    failed = 0
    try:
        for finding in findings:
            failed += bool(finding.wrong)
            print(_line(finding))
    except BaseException as error:
        failed += 1
        print(_line(Finding("runs through", in_words(error))))
    broken = "1 clause is broken" if failed == 1 else f"{failed} clauses are broken"
    verdict = broken if failed else "keeps its contract"
    print(f"{arguments.name}: {verdict}.")
    return 1 if failed else 0


def _line(finding: Finding) -> str:
    mark = "FAIL" if finding.wrong else "note" if finding.remark else "ok  "
    return f"  {mark}  {finding.clause}" + (f": {finding.wrong}" if finding.wrong else "")
