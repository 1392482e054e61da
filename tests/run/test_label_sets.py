"""Which classes a given network tells apart, which images fit methods to it, and at which size it is evaluated."""

import numpy as np
import torch
from own_networks import module, record, run
from PIL import Image

from benchmark.leaderboard.wording import setting
from benchmark.records.record import read


def test_methods_that_need_training_fail_alone_and_say_what_they_need(roads):
    assert run(roads, methods="msp,sml,knn:tap=features,deep_ensemble", options=":taps=true") == 2
    assert roads.records() == {"msp"}
    lines = roads.err.strip().splitlines()
    assert [line.split(": ")[1] for line in lines] == ["sml", "knn:tap=features", "deep_ensemble"]
    assert all("It needs the train images of cityscapes, which cannot be had: " in line for line in lines[:2])
    assert "It needs a further network (tiny:taps=true, member 1), and --weights gives one" in lines[2]


def test_with_training_images_methods_are_fitted(roads):
    torch.save(module(4).state_dict(), roads.weights)
    methods = "sml,knn:tap=features,mahalanobis:tap=features"
    assert run(roads, "--classes", "town", dataset="town", methods=methods, options=":taps=true") == 0
    assert roads.records() == {"sml", "knn+tap=features", "mahalanobis+tap=features"}
    first = record(roads, "sml", "town", "tiny+taps=True+weights=w")
    torch.save(module(4, seed=1).state_dict(), roads.weights)
    assert run(roads, dataset="town", methods="sml", options=":taps=true") == 0
    assert "the network's weights changed" in roads.out and "what the method is fitted with changed" in roads.out
    again = record(roads, "sml", "town", "tiny+taps=True+weights=w")
    assert again["method"]["fit_sha256"] != first["method"]["fit_sha256"]


def test_installing_the_training_images_makes_no_record_stale(roads):
    avenue = """
        from dataclasses import replace
        from benchmark.run.contract import Toy

        class Avenue(Toy):
            card = replace(Toy.card, title="Avenue", trained_on="town", class_labels=False)
    """
    roads.plugin("avenue", avenue)
    torch.save(module(4).state_dict(), roads.weights)
    hidden = roads.plugins.pop(0)  # the town
    assert run(roads, dataset="avenue", methods="msp,sml") == 2 and roads.records() == {"msp"}
    roads.plugins.append(hidden)
    assert run(roads, dataset="avenue", methods="msp,sml") == 0
    assert "msp: current" in roads.out and roads.records() == {"msp", "sml"}


def test_classes_that_are_not_the_datasets(roads):
    torch.save(module(4).state_dict(), roads.weights)
    for text, words in {
        "road-anomaly": "has 19 classes and town labels 4 which are not the same",
        "5": "has 5 classes and town labels 4",
        "town+x": "after the + stands a number of outputs, for instance town+1",
        "twon": "no dataset 'twon'",
        "0": "names no class",
    }.items():
        assert run(roads, "--classes", text, dataset="town") == 2 and words in roads.err, text
    names = roads.folder / "names.txt"
    names.write_text("ground\nbox\n\nsky\npost\n")
    assert run(roads, "--classes", str(names), "--limit", "1", dataset="town") == 0
    names.write_text("ground\nbox\npost\nsky\n")
    assert run(roads, "--classes", str(names), dataset="town") == 2 and "not the same" in roads.err
    for text in ("4", "town", str(names)):  # a set that labels no classes takes any
        assert run(roads, "--classes", text, "--dry-run") == 0, text


def test_a_void_output_is_excluded_or_scored(roads):
    whole = module(5)
    with torch.no_grad():
        whole[2].bias[4] += 5  # nearly always the largest
    torch.save(whole.state_dict(), roads.weights)
    assert run(roads, dataset="town", methods="msp,void:index=4", options=":outputs=5") == 2
    assert roads.records() == {"msp"} and "there is no class 4 among 4" in roads.err
    assert run(roads, "--classes", "town+1", dataset="town", methods="msp,void:index=4") == 0
    without, kept = (record(roads, "msp", "town", f"tiny+{o}+weights=w") for o in ("outputs=5", "classes=town-and-1"))
    assert without["segmentation"] == kept["segmentation"] and without["metrics"] != kept["metrics"]
    assert without["network"]["preparation"]["exclude"] == [4]
    assert run(roads, dataset="town", options=":outputs=4") == 2 and "does not fit" in roads.err


def test_one_file_has_a_label_for_every_set_of_classes(roads):
    """What its outputs are called decides what methods make of them, so that no record replaces another's."""
    text = roads.file.read_text()
    roads.file.write_text(text.replace("classes, outputs=0", "classes, outputs=5").replace("or classes, 1", "and 5, 1"))
    torch.save(module(5).state_dict(), roads.weights)
    labels = {"": "", "town": "", "4": "classes=4-classes+", "town+1": "classes=town-and-1+"}
    for classes, label in labels.items():
        words = ("--classes", classes) if classes else ()
        assert run(roads, *words, dataset="town") == 0, roads.err
        assert ("current" in roads.out) == (classes == "town")
        assert record(roads, "msp", "town", f"tiny+{label}weights=w")
    assert {path.name for path in (roads.runs / "records" / "town").iterdir()} == {
        f"tiny+{label}weights=w" for label in labels.values()
    }


def test_labels_resized_to_the_network_are_another_number(roads):
    name = "road-anomaly-21"
    for more in ((), ("--label-size", "network")):
        assert run(roads, *more, dataset=name, options=":size=10") == 0
    image, network = (
        record(roads, "msp", name, f"tiny+{o}size=10+weights=w")["dataset"] for o in ("", "label_size=network+")
    )
    for part, size in ((image, (40, 24)), (network, (20, 10))):
        masks = [Image.open(p) for p in (roads.data / "anomaly_val" / "RoadAnomaly21" / "labels_masks").iterdir()]
        raw = np.stack([np.asarray(m.resize(size, Image.Resampling.NEAREST)) for m in masks])
        expected = {"anomalous": (raw == 1).sum(), "normal": (raw == 0).sum(), "ignored": (raw == 255).sum()}
        assert part["pixels"] == expected
    assert (image["label_size"], network["label_size"]) == ("image", "network")
    assert (
        "Pixels: 94 anomalous" not in roads.out and f"Pixels: {network['pixels']['anomalous']} anomalous" in roads.out
    )
    assert run(roads, "--label-size", "network", dataset=name) == 2 and "takes images of any size" in roads.err
    assert roads("run", "--label-size", "network", "--methods", "msp") == 2
    assert "is for a network of your own" in roads.err


def test_scores_at_the_networks_size_are_those_of_its_own_input(roads):
    """A method sees the resized image, floats included, and its map has the labels' size."""
    seen = roads.folder / "seen.npy"
    roads.plugin(
        "dump",
        f"""
        import numpy as np
        from benchmark.method import Method

        class Dump(Method):
            def score(self, batch, networks):
                np.save({str(seen)!r}, batch.images.numpy())
                return networks["base"](batch).logits()[:, 0]
        """,
    )
    assert run(roads, "--label-size", "network", methods="dump", options=":size=10") == 0
    images = np.load(seen)
    (image,) = (Image.open(p) for p in (roads.data / "anomaly_val" / "RoadAnomaly" / "images").glob("1.jpg"))
    channels = [Image.fromarray(np.asarray(image)[..., c].astype(np.float32)) for c in range(3)]
    expected = np.stack([np.asarray(c.resize((20, 10), Image.Resampling.BILINEAR)) for c in channels])
    np.testing.assert_allclose(images[-1], expected, atol=1e-3)


def test_the_setting_names_the_file_and_the_sizes(roads):
    for more in ((), ("--label-size", "network")):
        assert run(roads, *more, options=":size=10") == 0
    paths = sorted((roads.runs / "records").rglob("msp.json"))
    network, image = (" | ".join(setting([read(path)])) for path in paths)
    for text in (network, image):
        assert "weights of the file w.pth | input 20x10 (antialias)" in text
    assert "labels resized to the network's input by nearest neighbour" in network and "labels" not in image
