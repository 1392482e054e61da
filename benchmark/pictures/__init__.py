"""Pictures: contact sheets, heat maps, precision-recall and ROC curves, ranks. matplotlib is imported late."""

from benchmark.pictures.colours import colour, colour_limits, overlay
from benchmark.pictures.curves import curves
from benchmark.pictures.failures import failure_split
from benchmark.pictures.files import save_image
from benchmark.pictures.panel import panel
from benchmark.pictures.ranks import critical_difference_diagram
from benchmark.pictures.sheet import SheetRow, contact_sheet

__all__ = [
    "SheetRow",
    "colour",
    "colour_limits",
    "contact_sheet",
    "critical_difference_diagram",
    "curves",
    "failure_split",
    "overlay",
    "panel",
    "save_image",
]
