"""The suite from Python: a notebook, a script, a service.

    from benchmark import api

    detector = api.load("msp", dataset="camvid-ood")     # what `python -m benchmark train` has made
    scores = detector.score("photo.jpg")                 # float32 (H, W), higher = more anomalous
    api.plot("photo.jpg", scores, detector.title)        # a PIL image, which a notebook shows

What stands in ``__all__`` is stable: it changes with the version of the package only; the page ``benchmark/README.md``
has examples, which the tests run. Nothing here prints (what the command line would say goes to the logger "benchmark"),
ends the process or keeps anything for the next call; what the user can mend is a
:class:`~benchmark.errors.BenchmarkError`. Nothing is trained unless :func:`load` is told to.
"""

from benchmark.api.detector import Detector, by_hand
from benchmark.api.pictures import plot
from benchmark.api.records import records
from benchmark.api.trained import load, open_dataset
from benchmark.errors import BenchmarkError
from benchmark.metrics import evaluate_scores, read_rows
from benchmark.registry import load_plugin

__all__ = [
    "BenchmarkError",
    "Detector",
    "by_hand",
    "evaluate_scores",
    "load",
    "load_plugin",
    "open_dataset",
    "plot",
    "read_rows",
    "records",
]
