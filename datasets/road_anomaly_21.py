"""RoadAnomaly21 (Chan et al., 2021): the public validation images of SegmentMeIfYouCan's anomaly track."""

from dataclasses import replace

from benchmark.data import Download

from ._evaluation import SMIYC, Bundled, validation_members


class RoadAnomaly21(Bundled):
    """10 images from the web, 1280x720; masks hold 0 (known), 1 (anomaly) and 255 (void)."""

    card = replace(
        Bundled.card,
        title="RoadAnomaly21 (validation)",
        licence="none stated with the files; research use, with citation",
        citation=SMIYC,
        url="https://segmentmeifyoucan.com",
        # The archive holds the 100 test images, too, whose labels are not public; only "validation*" is taken. The
        # checksum is the one that pytorch-ood holds the archive against.
        downloads=(
            Download(
                "anomaly_val/RoadAnomaly21",
                "https://zenodo.org/record/5270237/files/dataset_AnomalyTrack.zip",
                members=validation_members("dataset_AnomalyTrack", "jpg"),
                checksum="md5:231bf79ed58924bcd33d9cbe22e61076",
            ),
        ),
        sizes={"test": 10},
    )
    folders = ("RoadAnomaly21",)
