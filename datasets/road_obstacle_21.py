"""RoadObstacle21 (Chan et al., 2021): the public validation images of SegmentMeIfYouCan's obstacle track."""

from benchmark.data import ANOMALY, IGNORE
from datasets._anomaly_val import SMIYC, AnomalyVal


class RoadObstacle21(AnomalyVal):
    """30 images, 1920x1080; masks hold 0 (road), 1 (obstacle) and 255 (void: everything beside the road)."""

    title = "RoadObstacle21 (validation)"
    note = "Only the road and the obstacles on it are measured; everything else is void."
    license = "none stated with the files; research use, with citation"
    citation = SMIYC
    url = "https://segmentmeifyoucan.com"
    sizes = {"test": 30}  # noqa: RUF012
    folder = "RoadObstacle21"
    values = {0: 0, 1: ANOMALY, 255: IGNORE}  # noqa: RUF012
