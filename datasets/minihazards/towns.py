"""The six towns: what each is built of, what grows there, and in which light it lies."""

from __future__ import annotations

from dataclasses import dataclass

RGB = tuple[int, int, int]


@dataclass(frozen=True)
class Weather:
    """Light and air of a town, before each image varies them a little.

    Attributes:
        sun: strength of direct light; 0 is overcast.
        elevation: degrees of the sun over the horizon.
        sun_colour, ambient: RGB of direct and of sky light, 255 is neutral.
        zenith, horizon: RGB of the sky.
        clouds: share of the sky, 0..1.
        fog: metres at which 63 % of the light is lost.
        wet: share of sky that the road mirrors at grazing angles.
        lamps: share of windows that are lit.
    """

    sun: float
    elevation: float
    sun_colour: RGB
    ambient: RGB
    zenith: RGB
    horizon: RGB
    clouds: float
    fog: float
    wet: float
    lamps: float


@dataclass(frozen=True)
class Town:
    """What a town is built of."""

    name: str
    weather: Weather
    facades: tuple[RGB, ...]
    roofs: tuple[RGB, ...]
    roof: tuple[str, ...]
    floors: tuple[int, int]
    window: tuple[float, float]
    frame: RGB
    shops: float
    gardens: float
    road: RGB
    sidewalk: RGB
    line: RGB
    lawn: RGB
    leaf: tuple[RGB, ...]
    trees: tuple[str, ...]
    fence: str
    fence_colour: RGB
    wall: RGB
    pole: RGB
    lanes: tuple[int, int]


TOWNS = {
    town.name: town
    for town in (
        Town(
            name="t1",  # old brick town on a bright morning
            weather=Weather(
                0.75, 42, (255, 244, 222), (150, 158, 172), (92, 142, 208), (196, 214, 232), 0.35, 260, 0, 0.05
            ),
            facades=((164, 92, 72), (186, 128, 96), (204, 178, 140), (146, 78, 64), (190, 160, 130)),
            roofs=((124, 62, 50), (96, 70, 62), (140, 76, 56)),
            roof=("gable", "gable", "hip"),
            floors=(2, 4),
            window=(1.1, 1.6),
            frame=(232, 228, 218),
            shops=0.4,
            gardens=0.5,
            road=(106, 106, 110),
            sidewalk=(172, 164, 152),
            line=(236, 236, 230),
            lawn=(110, 142, 70),
            leaf=((92, 132, 56), (112, 140, 60), (78, 118, 58)),
            trees=("round", "round", "tall"),
            fence="picket",
            fence_colour=(226, 222, 210),
            wall=(158, 112, 92),
            pole=(82, 90, 88),
            lanes=(1, 1),
        ),
        Town(
            name="t2",  # new town of concrete and glass under clouds
            weather=Weather(
                0.12, 60, (246, 248, 255), (206, 212, 222), (158, 170, 186), (214, 220, 226), 0.9, 190, 0.25, 0.12
            ),
            facades=((170, 174, 178), (142, 152, 164), (196, 196, 190), (124, 138, 150), (178, 160, 146)),
            roofs=((110, 112, 116), (90, 94, 100)),
            roof=("flat",),
            floors=(4, 8),
            window=(1.9, 1.5),
            frame=(92, 100, 110),
            shops=0.6,
            gardens=0.35,
            road=(92, 96, 102),
            sidewalk=(176, 178, 178),
            line=(228, 230, 232),
            lawn=(98, 128, 76),
            leaf=((70, 108, 62), (84, 118, 70), (96, 124, 66)),
            trees=("round", "tall", "cone"),
            fence="rail",
            fence_colour=(120, 128, 134),
            wall=(158, 158, 156),
            pole=(128, 134, 138),
            lanes=(1, 2),
        ),
        Town(
            name="t3",  # low southern town in evening light
            weather=Weather(
                0.8, 20, (255, 206, 150), (150, 142, 158), (108, 128, 178), (246, 206, 164), 0.5, 220, 0, 0.3
            ),
            facades=((226, 196, 150), (222, 168, 128), (206, 206, 190), (198, 138, 112), (232, 218, 182)),
            roofs=((172, 98, 66), (152, 88, 62)),
            roof=("hip", "gable", "flat"),
            floors=(1, 3),
            window=(1.0, 1.4),
            frame=(126, 92, 66),
            shops=0.3,
            gardens=0.65,
            road=(112, 106, 104),
            sidewalk=(190, 172, 150),
            line=(240, 232, 214),
            lawn=(138, 140, 74),
            leaf=((104, 120, 56), (126, 130, 64), (84, 110, 58)),
            trees=("tall", "palm", "round"),
            fence="board",
            fence_colour=(150, 112, 80),
            wall=(214, 192, 160),
            pole=(98, 84, 74),
            lanes=(1, 1),
        ),
        Town(
            name="t4",  # harbour town after rain
            weather=Weather(
                0.4, 36, (250, 246, 238), (182, 192, 204), (122, 158, 200), (212, 222, 230), 0.7, 150, 0.3, 0.08
            ),
            facades=((206, 200, 188), (150, 104, 88), (178, 190, 196), (216, 190, 148), (160, 130, 116)),
            roofs=((92, 84, 86), (132, 74, 60)),
            roof=("gable", "hip", "flat"),
            floors=(2, 5),
            window=(1.2, 1.5),
            frame=(240, 240, 236),
            shops=0.5,
            gardens=0.5,
            road=(98, 100, 104),
            sidewalk=(166, 164, 158),
            line=(238, 238, 234),
            lawn=(104, 136, 74),
            leaf=((82, 124, 64), (100, 128, 58), (90, 116, 62)),
            trees=("round", "cone", "tall"),
            fence="picket",
            fence_colour=(176, 172, 160),
            wall=(172, 152, 134),
            pole=(104, 110, 112),
            lanes=(1, 2),
        ),
        Town(
            name="t5",  # mill town in morning fog
            weather=Weather(
                0.22, 30, (255, 246, 230), (196, 198, 200), (178, 184, 190), (214, 214, 210), 0.6, 85, 0.15, 0.15
            ),
            facades=((152, 110, 92), (168, 150, 112), (142, 146, 136), (178, 140, 104), (120, 112, 108)),
            roofs=((88, 82, 84), (110, 78, 66)),
            roof=("flat", "gable"),
            floors=(3, 5),
            window=(1.4, 1.7),
            frame=(214, 206, 190),
            shops=0.4,
            gardens=0.45,
            road=(100, 98, 98),
            sidewalk=(160, 156, 148),
            line=(226, 224, 214),
            lawn=(112, 132, 78),
            leaf=((94, 118, 64), (116, 124, 62), (84, 108, 66)),
            trees=("round", "tall"),
            fence="rail",
            fence_colour=(104, 98, 88),
            wall=(148, 124, 108),
            pole=(88, 92, 92),
            lanes=(1, 1),
        ),
        Town(
            name="t6",  # garden city in clear light
            weather=Weather(
                0.68, 32, (255, 236, 206), (160, 166, 182), (84, 138, 204), (208, 220, 228), 0.45, 240, 0.1, 0.1
            ),
            facades=((214, 184, 144), (178, 188, 178), (202, 150, 122), (222, 212, 196), (160, 116, 96)),
            roofs=((136, 80, 64), (104, 92, 90), (150, 96, 66)),
            roof=("hip", "gable", "flat"),
            floors=(2, 4),
            window=(1.2, 1.4),
            frame=(236, 230, 220),
            shops=0.4,
            gardens=0.7,
            road=(108, 108, 108),
            sidewalk=(180, 172, 162),
            line=(238, 236, 228),
            lawn=(116, 146, 70),
            leaf=((98, 136, 60), (118, 136, 56), (82, 122, 68)),
            trees=("round", "cone", "tall"),
            fence="picket",
            fence_colour=(206, 200, 186),
            wall=(182, 160, 138),
            pole=(96, 100, 98),
            lanes=(1, 2),
        ),
    )
}

SPLIT_TOWNS = {"train": ("t1", "t2", "t3"), "val": ("t4",), "test": ("t5", "t6")}
