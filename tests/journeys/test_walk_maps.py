"""A team that has score maps of its own."""

import numpy as np

from tests.datasets.files import camvid

PAGE = "results/README.md"


def test_maps_stand_in_tables_and_comparisons(walk):
    camvid(walk.folder / "data")
    maps = walk.folder / "my_scores"
    maps.mkdir()
    rng = np.random.default_rng(0)
    for n in range(2):
        np.save(maps / f"drive_{n}.npy", rng.normal(size=(12, 20)).astype(np.float32))
    printed = walk.type(PAGE, "python -m benchmark score my_scores/ --dataset camvid-ood")
    assert "AUPR" in printed and not (walk.folder / "runs").exists()
    kept = walk.json(PAGE, "python -m benchmark score my_scores/ --dataset camvid-ood --name Mine", "--json")
    assert (walk.folder / kept["record"]).is_file()

    run = "python -m benchmark run --methods dicnet,msp"
    quick = ("--recipe=segmentation.epochs=1", "--methods=msp", "--no-report", "--network=pspnet-small")
    assert "MSP" in walk.type("README.md", run, "--dataset=camvid-ood", *quick)
    compare = "python -m benchmark compare --results runs Mine@elsewhere msp@pspnet-small"
    trained = ("msp@pspnet-small", "msp@pspnet-small:segmentation.epochs=1")
    assert "Mine@elsewhere" in walk.type(PAGE, compare, instead=trained)
