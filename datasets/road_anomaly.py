"""RoadAnomaly (Lis et al., 2019): photographs of animals, rocks and machines on or beside roads."""

from dataclasses import replace

from benchmark.data import ANOMALY, Download

from ._evaluation import Bundled


class RoadAnomaly(Bundled):
    """60 images from the web, 1280x720; masks hold 0 (known) and 2 (anomaly), nothing is ignored."""

    card = replace(
        Bundled.card,
        title="RoadAnomaly",
        licence="provided for research; the images' owners keep their rights",
        citation="Lis, Nakka, Fua, Salzmann: Detecting the Unexpected via Image Resynthesis. ICCV 2019.",
        url="https://www.epfl.ch/labs/cvlab/data/road-anomaly/",
        # Frames and, for each, a folder with its masks; the checksum is the one that pytorch-ood holds the archive
        # against.
        downloads=(
            Download(
                "anomaly_val/RoadAnomaly",
                "https://datasets-cvlab.epfl.ch/2019-road-anomaly/RoadAnomaly_jpg.zip",
                members=(
                    (r"RoadAnomaly_jpg/frames/([^/]+\.jpg)", r"images/\1"),
                    (r"RoadAnomaly_jpg/frames/([^/]+)\.labels/labels_semantic\.png", r"labels_masks/\1.png"),
                ),
                checksum="md5:87a0908e5c72827824693913cf2e4fb0",
            ),
        ),
        sizes={"test": 60},
    )
    folders = ("RoadAnomaly",)
    values = {0: 0, 2: ANOMALY}  # noqa: RUF012
