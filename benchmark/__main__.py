"""``python -m benchmark``."""

import os
import sys

from benchmark.cli.environment import launched
from benchmark.cli.main import main

if __name__ == "__main__":
    code = main()
    if launched()[1] > 1:  # a thread of gloo's that is left aborts an interpreter that ends, though all is written
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
