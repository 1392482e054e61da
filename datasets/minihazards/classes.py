"""The thirteen classes of StreetHazards (Hendrycks et al. 2022), their order and their colours."""

from __future__ import annotations

from enum import IntEnum


class Label(IntEnum):
    """Label id of everything that is drawn; `ANOMALY` is `benchmark.data.ANOMALY`."""

    SKY = 0
    BUILDING = 1
    FENCE = 2
    OTHER = 3
    PEDESTRIAN = 4
    POLE = 5
    ROAD_LINE = 6
    ROAD = 7
    SIDEWALK = 8
    VEGETATION = 9
    CAR = 10
    WALL = 11
    TRAFFIC_SIGN = 12
    ANOMALY = 254


NAMES = (
    "unlabeled",
    "building",
    "fence",
    "other",
    "pedestrian",
    "pole",
    "road line",
    "road",
    "sidewalk",
    "vegetation",
    "car",
    "wall",
    "traffic sign",
)

PALETTE = (
    (0, 0, 0),
    (70, 70, 70),
    (190, 153, 153),
    (250, 170, 160),
    (220, 20, 60),
    (153, 153, 153),
    (157, 234, 50),
    (128, 64, 128),
    (244, 35, 232),
    (107, 142, 35),
    (0, 0, 142),
    (102, 102, 156),
    (220, 220, 0),
)
