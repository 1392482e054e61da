"""RoadAnomaly21 (Chan et al., 2021): the public validation images of SegmentMeIfYouCan's anomaly track."""

from datasets._evaluation import SMIYC, Bundled


class RoadAnomaly21(Bundled):
    """10 images from the web, 1280x720; masks hold 0 (known), 1 (anomaly) and 255 (void)."""

    title = "RoadAnomaly21 (validation)"
    license = "none stated with the files; research use, with citation"
    citation = SMIYC
    url = "https://segmentmeifyoucan.com"
    sizes = {"test": 10}  # noqa: RUF012
    folders = ("RoadAnomaly21",)
