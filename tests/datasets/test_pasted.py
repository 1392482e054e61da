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
