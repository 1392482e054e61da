"""RoadObstacle21 (Chan et al., 2021): the public validation images of SegmentMeIfYouCan's obstacle track."""

from dataclasses import replace

from benchmark.data import Download

from ._evaluation import SMIYC, Bundled, validation_members


class RoadObstacle21(Bundled):
    """30 images, 1920x1080; masks hold 0 (road), 1 (obstacle) and 255 (void: everything beside the road)."""

    card = replace(
        Bundled.card,
        title="RoadObstacle21 (validation)",
        note="Only the road and the obstacles on it are measured; everything else is void.",
        licence="none stated with the files; research use, with citation",
        citation=SMIYC,
        url="https://segmentmeifyoucan.com",
        # The archive holds the test images, too, whose labels are not public; only "validation*" is taken, and of its
        # 40 images not 19 and 21..29, which the benchmark's own code leaves out. The checksum is the one that
        # pytorch-ood holds the archive against.
        downloads=(
            Download(
                "anomaly_val/RoadObstacle21",
                "https://zenodo.org/record/5281633/files/dataset_ObstacleTrack.zip",
                members=validation_members("dataset_ObstacleTrack", "webp", but=r"(19|2[1-9])"),
                checksum="md5:895fb36d18765482cc291f69e63d6da6",
            ),
        ),
        sizes={"test": 30},
    )
    folders = ("RoadObstacle21", "RoadObsticle21")  # the latter as some copies spell it
