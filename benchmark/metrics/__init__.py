"""Metrics: exact, streaming, mergeable, and every protocol by its name.

    from benchmark.metrics import evaluate_scores
    evaluate_scores(score_maps, label_maps, "streethazards")   # PixelResult

Importing this package imports neither torch nor cv2 nor pandas; what needs them imports them when it is used.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "evaluate": ("evaluate_scores",),
    "protocols": (
        "PROTOCOLS",
        "FPR_RULES",
        "Protocol",
        "PixelProtocol",
        "pixel_protocol",
        "ComponentProtocol",
        "OpenSetProtocol",
        "protocol",
    ),
    "pixel": ("PixelEvaluator",),
    "result": ("PixelResult", "Quantisation", "per_image_result"),
    "curves": ("Curves", "read_curves", "write_curves"),
    "rows": ("read_rows", "select_rows", "write_rows"),
    "bootstrap": ("Comparison", "Interval", "bootstrap_interval", "paired_bootstrap"),
    "segmentation": ("SegmentationEvaluator", "SegmentationResult"),
    "components": ("ComponentEvaluator", "ComponentResult"),
    "openset": ("cross_thresholds", "OpenSetEvaluator", "OpenSetResult"),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}
__all__ = sorted(_MODULE)


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'benchmark.metrics' has no attribute '{name}'")
    return getattr(import_module(f"benchmark.metrics.{_MODULE[name]}"), name)


def __dir__() -> list[str]:
    return __all__
