"""RoadAnomaly21 (Chan et al., 2021): the public validation images of SegmentMeIfYouCan's anomaly track."""

from benchmark.data import ANOMALY, IGNORE
from datasets._anomaly_val import SMIYC, AnomalyVal


class RoadAnomaly21(AnomalyVal):
    """10 images from the web, 1280x720; masks hold 0 (known), 1 (anomaly) and 255 (void)."""

    title = "RoadAnomaly21 (validation)"
    license = "none stated with the files; research use, with citation"
    citation = SMIYC
    url = "https://segmentmeifyoucan.com"
    sizes = {"test": 10}  # noqa: RUF012
    folder = "RoadAnomaly21"
    values = {0: 0, 1: ANOMALY, 255: IGNORE}  # noqa: RUF012
