"""RoadAnomaly (Lis et al., 2019): photographs of animals, rocks and machines on or beside roads."""

from benchmark.data import ANOMALY
from datasets._evaluation import Bundled


class RoadAnomaly(Bundled):
    """60 images from the web, 1280x720; masks hold 0 (known) and 2 (anomaly), nothing is ignored."""

    title = "RoadAnomaly"
    license = "provided for research; the images' owners keep their rights"
    citation = "Lis, Nakka, Fua, Salzmann: Detecting the Unexpected via Image Resynthesis. ICCV 2019."
    url = "https://www.epfl.ch/labs/cvlab/data/road-anomaly/"
    sizes = {"test": 60}  # noqa: RUF012
    folders = ("RoadAnomaly",)
    values = {0: 0, 2: ANOMALY}  # noqa: RUF012
