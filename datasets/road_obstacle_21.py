"""RoadObstacle21 (Chan et al., 2021): the public validation images of SegmentMeIfYouCan's obstacle track."""

from datasets._evaluation import SMIYC, Bundled


class RoadObstacle21(Bundled):
    """30 images, 1920x1080; masks hold 0 (road), 1 (obstacle) and 255 (void: everything beside the road)."""

    title = "RoadObstacle21 (validation)"
    note = "Only the road and the obstacles on it are measured; everything else is void."
    license = "none stated with the files; research use, with citation"
    citation = SMIYC
    url = "https://segmentmeifyoucan.com"
    sizes = {"test": 30}  # noqa: RUF012
    folders = ("RoadObstacle21", "RoadObsticle21")  # the latter as some copies spell it
