"""Metrics: exact, streaming, mergeable, and every protocol by its name.

    from benchmark.metrics import evaluate_scores
    evaluate_scores(score_maps, label_maps, "streethazards")   # PixelResult

Everything that measures is an :class:`Evaluator`, which adds up the :class:`View` of every image, and everything that
is wanted of it a :class:`Protocol`; ``evaluator.py`` says how to add a family. :class:`FirstPass` evaluates a method
under any protocols at once.

Importing this package imports neither torch nor cv2 nor pandas; what needs them imports them when it is used.
"""

from benchmark.metrics.bootstrap import bootstrap_interval, paired_bootstrap
from benchmark.metrics.calibration import Confidences
from benchmark.metrics.components import ComponentEvaluator, ComponentProtocol
from benchmark.metrics.curves import Curves, read_curves, write_curves
from benchmark.metrics.evaluate import evaluate_scores
from benchmark.metrics.evaluator import Evaluator, Measurements, Protocol, View
from benchmark.metrics.fixed_fpr import FixedFprProtocol
from benchmark.metrics.folds import FoldEvaluator
from benchmark.metrics.hints import hints, hints_of
from benchmark.metrics.measurement import METRICS, Measurement, Segmentation
from benchmark.metrics.openset import OpenSetEvaluator
from benchmark.metrics.operating import OperatingProtocol
from benchmark.metrics.passes import FirstPass, SecondPass
from benchmark.metrics.pixel import PixelEvaluator
from benchmark.metrics.pixel_protocols import FPR_RULES, PixelProtocol, pixel_protocol
from benchmark.metrics.protocols import PROTOCOLS, network_evaluators, network_measurements, protocol
from benchmark.metrics.result import PixelResult, per_image_result
from benchmark.metrics.rows import read_rows, select_rows, write_rows
from benchmark.metrics.segmentation import SegmentationEvaluator
from benchmark.metrics.sizes import SizeProtocol

__all__ = [
    "FPR_RULES",
    "METRICS",
    "PROTOCOLS",
    "ComponentEvaluator",
    "ComponentProtocol",
    "Confidences",
    "Curves",
    "Evaluator",
    "FirstPass",
    "FixedFprProtocol",
    "FoldEvaluator",
    "Measurement",
    "Measurements",
    "OpenSetEvaluator",
    "OperatingProtocol",
    "PixelEvaluator",
    "PixelProtocol",
    "PixelResult",
    "Protocol",
    "SecondPass",
    "Segmentation",
    "SegmentationEvaluator",
    "SizeProtocol",
    "View",
    "bootstrap_interval",
    "evaluate_scores",
    "hints",
    "hints_of",
    "network_evaluators",
    "network_measurements",
    "paired_bootstrap",
    "per_image_result",
    "pixel_protocol",
    "protocol",
    "read_curves",
    "read_rows",
    "select_rows",
    "write_curves",
    "write_rows",
]
