import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The data root with real photographs, or skip."""
    root = os.environ.get("ANOMALY_DATA", "")
    if not root or not Path(root).is_dir():
        pytest.skip("needs the real data: set ANOMALY_DATA to its folder")
    return Path(root)
