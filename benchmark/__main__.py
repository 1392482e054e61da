"""``python -m benchmark``, and the command ``anomaly-benchmark`` of an installed copy."""

import os
import sys

from benchmark.cli.environment import launched
from benchmark.cli.main import main


def run() -> int:
    """Run the command line; one of several processes ends here and does not return."""
    code = main()
    if launched()[1] > 1:  # a thread of gloo's that is left aborts an interpreter that ends, though all is written
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(run())
