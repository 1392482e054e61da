import numpy as np
import pytest
import torch

from benchmark.data import ANOMALY
from benchmark.errors import BenchmarkError
from benchmark.registry import DATASETS
from tests.datasets.files import camvid, ids, noise, write


def open_split(split, root, base="camvid-ood"):
    return DATASETS.create(f"pasted:base={base}", split=split, root=root)


@pytest.fixture
def root(tmp_path):
    camvid(tmp_path)
    for n in range(12):
        size = (30 + 7 * n, 90 - 5 * n)
        write(tmp_path / f"camvid/val/x_{n}.png", noise(n, size=size) // 2)
        write(tmp_path / f"camvid/valannot/x_{n}.png", ids(0, 11, size))
    return tmp_path


def test_every_image_gets_an_anomaly_and_is_otherwise_the_validation_image(root):
    base = DATASETS.create("camvid-ood", split="val", root=root)
    pasted = open_split("test", root)
    assert len(pasted) == len(base) == 14
    for before, after in zip(base, pasted):
        assert before.id == after.id
        new = after.labels == ANOMALY
        assert 0 < new.float().mean() < 0.5
        assert torch.equal(before.labels[~new], after.labels[~new])
        far = torch.nn.functional.max_pool2d(new[None].float(), 25, 1, 12)[0] == 0
        if far.any() and not new.any(1)[int(0.5 * len(new)) :].any():  # in the air: no shadow
            assert torch.equal(before.image[:, far], after.image[:, far])
        assert (before.image != after.image).any(0)[new].float().mean() > 0.9


def test_the_same_index_shows_the_same_object(root):
    first, again = open_split("test", root), open_split("test", root)
    assert torch.equal(first[3].image, again[3].image) and torch.equal(first[3].labels, again[3].labels)
    assert first.fingerprint() == again.fingerprint()


def test_train_and_val_are_the_base_and_its_networks_are_used(root):
    for split in ("train", "val"):
        base, pasted = DATASETS.create("camvid-ood", split=split, root=root), open_split(split, root)
        assert base.fingerprint() == pasted.fingerprint()
        assert torch.equal(base[0].image, pasted[0].image)
    assert open_split("test", root).fingerprint() != open_split("val", root).fingerprint()
    assert pasted.card.trained_on == "camvid-ood"
    assert (pasted.classes, pasted.card.palette) == (base.classes, base.card.palette)
    for key in ("network", "scales", "light", "recipes", "method_options"):
        assert getattr(pasted.policy, key) == getattr(base.policy, key)
    assert pasted.policy.protocols == ("per-image", "pooled") and pasted.policy.auto is None
    assert "CamVid-OOD" in pasted.card.title and "pasted" in pasted.card.title


def within(mask, pixels):
    """What of a mask is further than so many pixels from what is not of it."""
    return torch.nn.functional.max_pool2d((~mask)[None].float(), 2 * pixels + 1, 1, pixels)[0] == 0


def thing_and_its_place(root, index):
    """What objects=known lays into an image, and what objects=unmoved marks in the image that it is from."""
    known, unmoved = (open_split("test", root, f"camvid-ood:objects={kind}") for kind in ("known", "unmoved"))
    return known[index], unmoved[(index + len(known) // 2) % len(known)]


@pytest.fixture
def street(tmp_path):
    """Noise of which every label is a place of its own: sky over road, on it a bright car that grows from image to
    image, and one that is cut by the border."""
    camvid(tmp_path)
    for file in (*tmp_path.glob("camvid/val/*"), *tmp_path.glob("camvid/valannot/*")):
        file.unlink()
    for n in range(6):
        image, labels = noise(n, size=(60, 80)) // 4, np.zeros((60, 80), np.uint8)
        labels[25:] = 3
        labels[30 + n : 42 + n, 50 : 62 + n] = 8
        labels[40:60, 0:12] = 8
        image[labels == 8] = 200 + n
        write(tmp_path / f"camvid/val/y_{n}.png", image)
        write(tmp_path / f"camvid/valannot/y_{n}.png", labels)
    return tmp_path


def test_a_known_thing_is_moved_along_its_row_and_stays_the_same_thing(street):
    base = DATASETS.create("camvid-ood", split="val", root=street)
    moved = 0
    for index, before in enumerate(base):
        after, origin = thing_and_its_place(street, index)
        there = origin.labels == ANOMALY
        here = after.labels == ANOMALY
        assert torch.equal(here.any(1), there.any(1)) and here.sum() == there.sum()
        inside = [within(mask, 3) for mask in (here, there)]
        assert inside[0].any() and torch.equal(after.image[:, inside[0]], origin.image[:, inside[1]])
        assert torch.equal(after.labels[~here], before.labels[~here])
        edge = ~within(~here, 4)
        assert torch.equal(after.image[:, ~edge], before.image[:, ~edge])
        assert (before.labels[edge] == 3).float().mean() > 0.5  # upon the road, as it was
        moved += not torch.equal(here, there)
    assert moved >= 3


def test_unmoved_things_are_whole_and_their_images_untouched(street):
    base = DATASETS.create("camvid-ood", split="val", root=street)
    for before, after in zip(base, open_split("test", street, "camvid-ood:objects=unmoved")):
        assert torch.equal(before.image, after.image)
        marked = after.labels == ANOMALY
        if before.id.startswith("y"):
            assert (
                marked.any() and torch.equal(marked[:, 20:], (before.labels == 8)[:, 20:]) and not marked[:, :20].any()
            )
        assert torch.equal(before.labels[~marked], after.labels[~marked])


def test_things_of_images_of_other_sizes_are_scaled(street):
    """The thing keeps its share of the height."""
    for n in range(6):  # these lend theirs to the six before
        labels = np.full((120, 160), 3, np.uint8)
        labels[60:84, 40:80] = 8
        write(street / f"camvid/val/z_{n}.png", np.full((120, 160, 3), 90, np.uint8))
        write(street / f"camvid/valannot/z_{n}.png", labels)
    known = open_split("test", street, "camvid-ood:objects=known")
    for index in range(6):
        rows = (known[index].labels == ANOMALY).any(1).nonzero()[:, 0]
        assert (rows[0], rows[-1]) == (30, 41)


def test_where_an_image_shows_no_thing_none_is_laid(street):
    write(street / "camvid/valannot/y_3.png", np.full((60, 80), 3, np.uint8))
    after, origin = thing_and_its_place(street, 0)
    before = DATASETS.create("camvid-ood", split="val", root=street)[0]
    assert origin.id == "y_3" and not (origin.labels == ANOMALY).any()
    assert torch.equal(after.image, before.image) and torch.equal(after.labels, before.labels)


def test_kinds_of_objects_are_datasets_of_their_own(root):
    kinds = [open_split("test", root, f"camvid-ood{more}") for more in ("", ":objects=known", ":objects=unmoved")]
    assert len({data.fingerprint() for data in kinds}) == len({data.card.title for data in kinds}) == 3
    assert [data.label for data in kinds][1:] == [
        f"pasted:base=camvid-ood:objects={kind}" for kind in ("known", "unmoved")
    ]
    assert open_split("test", root, "camvid-ood:objects=invented").label == kinds[0].label
    with pytest.raises(BenchmarkError, match="pasted has no objects=clay; there are invented, known, unmoved"):
        open_split("test", root, "camvid-ood:objects=clay")


def test_bases_that_cannot_serve_are_refused(root):
    with pytest.raises(BenchmarkError, match="no val split"):
        open_split("test", root, "road-anomaly")
    with pytest.raises(BenchmarkError, match="paste into itself"):
        open_split("test", root, "pasted")


def test_real_photographs(real_data):
    if not DATASETS.get("camvid-ood").available(real_data):
        pytest.skip("ANOMALY_DATA holds no camvid and camvid_ood")
    data = open_split("test", real_data)
    shares = [float((data[i].labels == ANOMALY).float().mean()) for i in range(0, len(data), 4)]
    assert min(shares) > 0.001 and max(shares) < 0.15 and 0.01 < np.mean(shares) < 0.05


def test_a_base_with_options_stands_in_quotation_marks(root):
    """Its networks are the base's with these options, and no place of this machine is in the label."""
    home = root / "own"
    for part in ("a", "b"):
        write(home / part / "images/1.png", noise(1, size=(24, 32)))
        write(home / part / "labels/1.png", np.zeros((24, 32), np.uint8))
    (home / "dataset.toml").write_text(
        'classes = ["road"]\n[labels]\n0 = "road"\n[splits]\ntrain = "a"\nval = "b"\ntest = "b"\n'
    )
    base = DATASETS.create(f"folder:path={home}", split="train", root=root)
    pasted = open_split("test", root, f'"folder:path={home}"')
    assert pasted.label == f'pasted:base="{base.label}"' and str(root) not in pasted.label
    assert (pasted[0].labels == ANOMALY).any()
    assert DATASETS.create(pasted.card.trained_on, split="train", root=root).label == base.label
    assert open_split("test", root, "camvid_ood").label == "pasted:base=camvid-ood"
    with pytest.raises(BenchmarkError, match='stands in quotation marks: base="folder:path='):
        open_split("test", root, f"folder:path={home}")
