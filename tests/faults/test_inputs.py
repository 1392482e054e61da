"""Files that are not what they should be: read right, or refused in one sentence with the file's name, exit code 2."""

import os

import numpy as np
import pytest
import torch
from faulty import Fault, Refusal
from harness import METHOD
from PIL import Image
from roads import SCORE, SIZE, TOML, lay_out, npy, pipe, png, relabel, rescore, save

from benchmark.errors import BenchmarkError
from benchmark.images import find_images, read_image
from benchmark.maps.files import read_scores
from benchmark.metrics import (
    PROTOCOLS,
    ComponentEvaluator,
    OpenSetEvaluator,
    PixelEvaluator,
    View,
    evaluate_scores,
    hints,
)
from benchmark.network import are_probabilities
from benchmark.registry import DATASETS


@pytest.fixture
def bench(bench):
    """The command line beside a folder set and its score maps."""
    lay_out(bench.folder)
    return bench


def at(place, change):
    """Arrange by a function of one path below the bench's folder."""

    def arrange(bench):
        change(bench.folder / place)

    return arrange


def content(place, made):
    """Arrange by the bytes of one file."""
    return at(place, lambda path: path.write_bytes(made))


def link(place, target):
    """Arrange by a link."""
    return at(place, lambda path: path.symlink_to(target))


def toml(text):
    """dataset.toml with this text."""
    return Fault(f"dataset.toml: {text[:30]!r}", content("set/dataset.toml", text.encode()), SCORE, "dataset.toml: ")


def scores(title, change, says, code=2):
    """Score maps changed by a function."""
    return Fault(f"scores: {title}", lambda bench: rescore(bench.folder, change), SCORE, says, code)


def labels(title, change, says, *line):
    """Label files changed by a function, which is no error but wants advice."""
    return Fault(f"labels: {title}", lambda bench: relabel(bench.folder, change), [*SCORE, *line], says, 0)


def all_measured(bench):
    assert " 3 (0)" in bench.out, bench.out


def garbage(path):
    path.unlink()
    path.with_suffix(".npz").write_bytes(b"PK\3\4" + b"x" * 99)


def turn(path):
    """A viewer shows the labels upside down; the pixels are what they were."""
    image, exif = Image.open(path), Image.Exif()
    exif[274] = 3
    image.save(path, exif=exif)


def channels(path):
    Image.open(path).convert("RGB").save(path)


def twice(path):
    image = Image.open(path)
    image.save(path, save_all=True, append_images=[image.point(lambda value: 255 - value)])


def shorten(path):
    image = Image.open(path)
    image.crop((0, 0, image.width, image.height - 1)).save(path)


def grey(path):
    Image.fromarray((np.load(path) * 30 + 100).clip(0, 255).astype(np.uint8)).save(path.with_suffix(".png"))
    path.unlink()


def one_a_map(bench):
    """Every map has one score, and these are one part in 1e9 apart."""
    for number in range(3):
        np.save(bench.folder / f"maps/{number}.npy", np.full(SIZE, 1 + 1e-9 * number))
        labels = np.zeros(SIZE, np.uint8)
        labels[: 4 + 6 * number] = 1
        save(bench.folder / f"set/labels/{number}.png", labels)


def wide(bench):
    bench.plugin("wide", METHOD.replace("return -self", "return 1e300 - 1e300 * self").replace("amax", "double().amax"))


DEEP = "[" * 100_000 + "]" * 100_000
BOMB = png(60000, 60000, 8, 0, b"")
HUGE = str({"descr": "<f8", "fortran_order": False, "shape": (1 << 20, 1 << 20)})
FAULTS = [
    # images and labels
    Fault("labels as JPEG", at("set/labels/1.png", lambda p: Image.open(p).save(p, "JPEG")), SCORE, "1.png is a JPEG"),
    Fault("labels in three channels", at("set/labels/1.png", channels), SCORE, r"1\.png is an image of mode RGB"),
    Fault("labels of two pictures", at("set/labels/1.png", twice), SCORE, r"1\.png holds 2 images; save"),
    Fault("labels a row too short", at("set/labels/1.png", shorten), SCORE, r"1\.png has 32x23 .* 32x24"),
    Fault("what a Mac leaves beside an image", content("set/images/._1.png", b"\0\5"), SCORE, "AUPR", 0, all_measured),
    Fault("two images of one name", at("set/images/1.jpg", lambda p: Image.new("RGB", (32, 24)).save(p)),
          SCORE,
          r"1\.jpg and .*1\.png have the same name"),
    Fault("labels stored turned", at("set/labels/1.png", turn), SCORE, r"1\.png is stored turned .*n 3\)"),
    Fault("a header of 60000x60000", content("set/images/1.png", BOMB), SCORE, r"1\.png cannot be decoded"),
    Fault("labels of 60000x60000", content("set/labels/1.png", BOMB), SCORE, r"1\.png cannot be decoded"),
    Fault("an empty image", content("set/images/1.png", b""), SCORE, r"images/1\.png cannot be decoded"),
    Fault("PostScript named png", content("set/images/1.png", b"%!PS-Adobe-3.0 EPSF"), SCORE, r"1\.png cannot be"),
    Fault("a pipe among the images", at("set/images/1.png", pipe), SCORE, r"1\.png is a .*pipe"),
    Fault("a pipe among the maps", at("maps/1.npy", pipe), SCORE, r"1\.npy is a .*pipe"),
    Fault("a pipe for dataset.toml", at("set/dataset.toml", pipe), SCORE, r"dataset\.toml: it is a .*pipe"),
    Fault("a link to nothing", link("set/images/9.png", "gone.png"), SCORE, r"9\.png is a link that leads nowhere"),
    Fault("a link to itself", link("set/images/9.png", "9.png"), SCORE, r"9\.png is a link that leads nowhere"),
    Fault("a lost folder", link("set/images/town", "/nowhere/town"), SCORE, "town is a link that leads nowhere"),
    Fault("an image named in two lines", lambda bench: "a\rb.png", ["infer", "--methods", "msp", ""], "neither"),
    Fault("capitals", at("maps/1.npy", lambda p: p.rename(p.with_suffix(".NPY"))), SCORE, "AUPR", 0, all_measured),
    Fault("a name in two lines", content("set/images/a\rb.png", b"x"), SCORE, r"a\\rb\.png is no UTF-8 or holds"),
    Fault("a name not in UTF-8", content(os.fsdecode(b"set/images/\xff.png"), b"x"), SCORE, r"udcff\.png is no UTF-8"),
    Fault("a ring of links", link("set/images/loop", "."), SCORE, "AUPR", 0, all_measured),
    Fault("a link to a folder above", link("set/images/up", "../.."), SCORE, "AUPR", 0, all_measured),
    Fault("a ring among the maps", link("maps/loop", "."), SCORE, "AUPR", 0, all_measured),
    Fault("a name of 300 letters", lambda bench: "x" * 300, ["infer", "--methods", "msp", ""], "xx is neither an"),
    # dataset.toml
    *map(toml, [
        TOML.replace("labels]", "labels]\n9 = [1]"), TOML.replace("labels]", "labels]\n9 = 1"),
        TOML.replace("labels]", "labels]\n01 = 'ignore'"), TOML.replace("labels]", "labels]\n'²' = 'ignore'"),
        TOML + "[splits]\ntest = 5", "labels = 5\n" + TOML.split("[")[0], f"title = {DEEP}\n{TOML}", "\0",
        "title = 5" + TOML,
        "scales = [24, 24]\n" + TOML, "scales = [99999999]\n" + TOML, "scales = [1e9]\n" + TOML,
        "licence = nan\n" + TOML,
        TOML.replace("0 =", "0x00 ="), TOML.replace('"anomaly"', '"Anomaly"'), TOML + TOML,
        "scales = [true]" + TOML, TOML.replace("minihazards", "road-anomaly"), TOML.replace("minihazards", "folder"),
        "classes = [[1]]\n[labels]\n0 = 'ignore'\n", "classes = ['a']\n[labels]\n0 = 'a'\n[light]\nepochs = true",
        "classes = ['a']\n[labels]\n0 = 'a'\n[light]\nepochs = 1\nscales = 5",
        "classes = ['a']\n[labels]\n0 = 'a'\n[light]\nepochs = 1\ncolour = 'red'",
    ]),
    Fault("dataset.toml in Latin-1", content("set/dataset.toml", b"title = '\xe9'"), SCORE, r"dataset\.toml: .*utf-8"),
    Fault("dataset.toml with a mark", content("set/dataset.toml", b"\xef\xbb\xbf" + TOML.encode()), SCORE, "AUPR", 0),
    Fault("dataset.toml a folder", at("set/dataset.toml", lambda p: (p.unlink(), p.mkdir())), SCORE, "a folder"),
    # score maps
    Fault("an npz of garbage", at("maps/1.npy", garbage), SCORE, r"1\.npz cannot be read"),
    Fault("an npy of 8 TiB", content("maps/1.npy", npy(HUGE)), SCORE, r"1\.npy (cannot be read|holds)"),
    Fault("an npz named npy", at("maps/1.npy", lambda p: np.savez(p.open("wb"), a=p)), SCORE, r"1\.npy is an archive"),
    Fault("an npy named npz", at("maps/1.npy", lambda p: p.rename(p.with_suffix(".npz"))), SCORE, "1.npz cannot"),
    scores("of text", lambda s: s.astype("U8"), r"holds values of type <U8"),
    scores("of structures", lambda s: np.zeros(SIZE, [("a", "f4"), ("b", "f4")]), r"holds values of type"),
    scores("of dates", lambda s: s.astype("M8[s]"), "holds values of type datetime64"),
    scores("complex", lambda s: s.astype(np.complex64), "holds values of type complex64"),
    scores("with an axis too many", lambda s: s[None], r"shape \(1, 24, 32\)"),
    scores("none", lambda s: s[:0], r"shape \(0, 32\)"),
    scores("beyond float32", lambda s: s.astype(np.float64) * 1e300, "image '0': scores exceed the range of flo"),
    scores("one part in 1e9 apart", lambda s: 1 + 1e-9 * s.astype(np.float64), "image '0': .*lie closer together"),
    Fault("scores: one part in 1e9 apart between images", one_a_map, SCORE, "maps: .* all images .*closer"),
    scores("HxWx1", lambda s: s[..., None], r"shape \(24, 32, 1\)"),
    scores("half as large", lambda s: s[::2, ::2], r"image '0': scores are \(12, 16\), labels \(24, 32\)"),
    scores("turned", lambda s: s.T, r"image '0': scores are \(32, 24\), labels \(24, 32\)"),
    scores("with NaN", lambda s: np.where(s > 2, np.nan, s), "image '0': 17 of 768 .* NaN"),
    scores("differences of dates", lambda s: s.astype("m8[s]"), "holds values of type timedelta64"),
    scores("beyond 2 to the 63rd", lambda s: (s * 9 + 99).astype(np.uint64) + np.uint64(1 << 63), "lie closer"),
    scores("zeros of both signs", lambda s: np.where(s > 0, -0.0, 0.0), "Hint: All pixels have the same score", 0),
    scores("large integers", lambda s: (s * 50).astype(np.int64) + (1 << 40), "image '0': .*lie closer together"),
    Fault("a plugin's float64", wide, ["run", "--methods", "wide,msp"], "wide: .*float64 values beyond the range", 1),
    Fault("a folder of 300 letters", lambda bench: None, ["score", "x" * 300, *SCORE[2:]], "xx is no folder"),
    Fault("a PNG of 8 bits for a map", at("maps/1.npy", grey), SCORE, r"1\.png is of mode L; write one channel"),
    Fault("two maps of an image", at("maps/1.npy", lambda p: np.savez(p.with_suffix(".npz"), a=np.zeros(SIZE))),
          SCORE,
          r"1\.npy and 1\.npz are both maps of image '1'"),
    Fault("a map too many", at("maps/9.npy", lambda p: np.save(p, np.zeros(SIZE))), SCORE, "1 file belongs to no"),
    # advice
    labels("0 and 255", lambda m: (m == 1) * np.uint8(255), "Hint: .*if 255 marks the anomalies"),
    labels("only ignored", lambda m: m * 0 + 255, "Hint: Every pixel is labelled 255"),
    labels("no anomaly", lambda m: m * 0, "Hint: No pixel is label", "--protocols", "pooled,smiyc-obstacles"),
    labels("only anomalies", lambda m: m * 0 + 1, "Hint: No pixel is labelled as normal"),
    scores("constant", lambda s: s * 0, "Hint: All pixels have the same score", 0),
    scores("inverted", lambda s: -s, "Hint: AUROC is .* inverted", 0),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_survived(bench, fault):
    fault.meet(bench)


LABELS = np.array([[0, 1, 254, 255]], np.uint8)
SCORES = np.array([[0.1, 0.2, 0.9, 0.5]])


def evaluated(scores=SCORES, labels=LABELS, prediction=None, protocol="per-image"):
    predictions = None if prediction is None else [prediction]
    return evaluate_scores([scores], [labels], protocol, predictions=predictions, classes=("road", "sky"))


def predicted(value):
    return lambda: evaluated(prediction=np.array([[0, value, 0, 0]]), protocol="failure-split")


def rejected(scores, prediction):
    evaluator = OpenSetEvaluator(PROTOCOLS["open-set"], {"": 0.5}, ("road", "sky"))
    return lambda: evaluator.update(View("a", scores, LABELS, prediction))


def normal_only():
    evaluator = PixelEvaluator(["pooled"])
    evaluator.update(View("a", SCORES, LABELS * 0))
    return evaluator


NOWHERE = np.ma.masked_array(SCORES, SCORES > 0.8)
REFUSALS = [
    Refusal("a protocol that is a list", lambda: evaluated(protocol=["pooled"]), "protocol is named, .* not a list"),
    Refusal("complex scores", lambda: evaluated(SCORES * 1j), "real numbers, not complex128"),
    Refusal("complex tensors", lambda: evaluated(torch.tensor(SCORES) * 1j), "real numbers, not complex128"),
    Refusal("scores of text", lambda: evaluated(SCORES.astype(str)), "real numbers"),
    Refusal("scores of objects", lambda: evaluated(SCORES.astype(object)), "real numbers"),
    Refusal("ragged scores", lambda: evaluated([[1, 2], [3]]), "scores are no array"),
    Refusal("scores without storage", lambda: evaluated(torch.zeros(1, 4, device="meta")), "scores are no array"),
    Refusal("masked scores", lambda: evaluated(NOWHERE), "scores are a masked array"),
    Refusal("masked labels", lambda: evaluated(labels=np.ma.masked_array(LABELS, LABELS == 0)), "labels are a masked"),
    Refusal("float64 beyond float32", lambda: evaluated(SCORES * 1e300), "exceed the range of float32"),
    Refusal("float64 that ties", lambda: evaluated(1 + SCORES * 1e-9), "lie closer together than float32"),
    Refusal("tensors that tie", lambda: evaluated(torch.tensor(1 + SCORES * 1e-9)), "lie closer together"),
    Refusal("a label of no class", lambda: evaluated(labels=LABELS + np.uint8(LABELS == 1)), "label id 2 does not"),
    Refusal("predicted 7", predicted(7), r"predicted class lies outside 0\.\.1 \(7\)"),
    Refusal("predicted -1", predicted(-1), r"outside 0\.\.1 \(-1\)"),
    Refusal("predicted NaN", predicted(np.nan), r"outside 0\.\.1 \(nan\)"),
    Refusal("predicted half a class", predicted(0.5), r"outside 0\.\.1 \(0.5\)"),
    Refusal("predicted text", lambda: evaluated(prediction=LABELS.astype(str), protocol="failure-split"), "ids of cla"),
    Refusal("a threshold of NaN", lambda: ComponentEvaluator(PROTOCOLS["smiyc-obstacles"], np.nan), "threshold is NaN"),
    Refusal("open set: threshold NaN", lambda: OpenSetEvaluator(PROTOCOLS["open-set"], {"": np.nan}, "ab"), "is NaN"),
    Refusal("no anomaly: best F1", lambda: normal_only().best_f1_threshold(), "no anomalous or no normal pixel"),
    Refusal("no anomaly: curves", lambda: normal_only().curves(), "no anomalous or no normal pixel"),
    Refusal("open set: NaN", rejected(np.where(SCORES > 0.8, np.nan, SCORES), LABELS * 0), "1 of 4 scores are NaN"),
    Refusal("open set: predicted 7", rejected(SCORES, LABELS * 0 + 7), r"outside 0\.\.1 \(7\)"),
    Refusal("open set: predicted NaN", rejected(SCORES, SCORES * np.nan), r"outside 0\.\.1 \(nan\)"),
]  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_refused(refusal):
    refusal.meet()


def test_what_float32_tells_apart_is_the_same_number_in_float64():
    rng = np.random.default_rng(0)
    labels = np.where(rng.random((200, 300)) < 0.05, 254, 0).astype(np.uint8)
    scores = np.log1p(np.exp(rng.normal(size=labels.shape) * 4 + (labels == 254)))  # a few ties, which move nothing
    found = evaluate_scores([scores], [labels], "per-image")
    assert found == evaluate_scores([scores.astype(np.float32)], [labels], "per-image")
    assert np.ma.masked_array(scores).mask is np.ma.nomask
    assert found == evaluate_scores([np.ma.masked_array(scores)], [labels], "per-image"), "nothing is masked"


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_grey_of_16_bits_is_grey_of_8(tmp_path, suffix):
    grey = np.arange(256, dtype=np.uint16).reshape(16, 16)
    for scale in (256, 257):  # both ways to fill the lower byte
        Image.fromarray(grey * np.uint16(scale)).save(tmp_path / f"a.{suffix}")
        found = read_image(tmp_path / f"a.{suffix}")
        assert (found.numpy() == grey[None]).all() and found.dtype == torch.uint8


def test_images_as_tiff_and_images_of_other_numbers(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    assert (read_image(find_images(tmp_path)["a"]).permute(1, 2, 0).numpy() == pixels).all()
    first = Image.fromarray(pixels)
    first.save(tmp_path / "pages.tif", save_all=True, append_images=[first])
    first.save(tmp_path / "turned.tif", tiffinfo={274: 3})
    Image.fromarray(pixels[..., 0].astype(np.float32)).save(tmp_path / "float.tif")
    for name, words in (("pages", "holds 2 images"), ("turned", "orientation 3"), ("float", "of the kind F")):
        with pytest.raises(BenchmarkError, match=rf"{name}\.tif .*{words}"):
            read_image(tmp_path / f"{name}.tif")


@pytest.mark.parametrize(
    ("depth", "row", "values"), [(1, b"\0\x40", [0, 1]), (2, b"\0\x60", [1, 2]), (4, b"\0\x12", [1, 2])]
)
def test_labels_of_few_bits_are_the_values_in_the_file(bench, depth, row, values):
    """Pillow spreads them over 0..255, where another class may be."""
    from benchmark.datasets._files import read_labels

    path = bench.folder / "few.png"
    path.write_bytes(png(2, 1, depth, 0, row))
    assert read_labels(path).tolist() == [values]


@pytest.mark.parametrize("dtype", [np.float64, np.uint32])
def test_tiff_scores_that_their_reader_would_cut_are_refused(tmp_path, dtype):
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "a.tif")
    assert read_scores(tmp_path / "a.tif").dtype == np.float32
    bits = np.dtype(dtype).itemsize * 8
    kind = 3 if dtype == np.float64 else 1
    pixels = np.ones((4, 4), dtype)
    tags = {256: 4, 257: 4, 258: bits, 259: 1, 262: 1, 273: 0, 277: 1, 278: 4, 279: pixels.nbytes, 339: kind}
    start = 8 + 2 + 12 * len(tags) + 4
    tags[273] = start
    entries = b"".join(
        np.array([number, 4], "<u2").tobytes() + np.array([1, value], "<u4").tobytes() for number, value in tags.items()
    )
    head = b"II*\0\x08\0\0\0" + np.array(len(tags), "<u2").tobytes()
    (tmp_path / "b.tif").write_bytes(head + entries + b"\0\0\0\0" + pixels.tobytes())
    with pytest.raises(BenchmarkError, match=r"b\.tif (holds numbers of 32 bits|cannot be decoded)"):
        read_scores(tmp_path / "b.tif")


def test_one_folder_is_one_data_set_however_its_path_is_written(bench, monkeypatch):
    monkeypatch.chdir(bench.folder)
    (bench.folder / "alias").symlink_to("set")
    ways = ("set", "set/", "./set", "maps/../set", "alias", str(bench.folder / "set"))
    labels = {DATASETS.create(f"folder:path={way}", split="test", root=bench.data).label for way in ways}
    assert len(labels) == 1
    (label,) = labels
    assert label.startswith("folder:path=set-") and "/" not in label, "no path of this machine in a record's name"
    lay_out(bench.folder / "other")
    other = DATASETS.create("folder:path=other/set", split="test", root=bench.data)
    assert other.label != label and other.card.title == "set"


def test_few_images_train_lightly_unless_the_set_says_how(bench):
    home = bench.folder / "own"
    own = "classes = ['road']\n[labels]\n0 = 'road'\n1 = 'anomaly'\n[splits]\ntrain = 'train'\ntest = '../set'\n"
    for number in range(8):
        save(home / f"train/images/{number}.png", np.zeros((*SIZE, 3), np.uint8))
        save(home / f"train/labels/{number}.png", np.zeros(SIZE, np.uint8))
    for more, network, epochs in (
        ("", "pspnet-small", 100),
        ("[light]\nepochs = 3\n", "pspnet-small", 3),
        ("[light]\nepochs = 3\n", "pspnet-resnet50", 3),
    ):
        stated = f"network = '{network}'\n" if network != "pspnet-small" else ""
        (home / "dataset.toml").write_text(stated + own + more)
        train, test = (DATASETS.create(f"folder:path={home}", split=s, root=bench.data) for s in ("train", "test"))
        assert train.policy == test.policy
        assert (train.policy.network, train.policy.light.epochs) == (network, epochs)


def test_hints_of_the_library_and_of_outputs():
    rng = np.random.default_rng(0)
    labels = np.where(rng.random((20, 30)) < 0.2, 254, 0).astype(np.uint8)
    good = (labels == 254) + rng.normal(size=labels.shape)
    for protocol in ("per-image", "pooled"):
        assert evaluate_scores([good], [labels], protocol).hints == ()
        (inverted,) = evaluate_scores([-4 * good], [labels], protocol).hints
        (constant,) = evaluate_scores([good * 0], [labels], protocol).hints
        (nothing,) = evaluate_scores([good], [np.where(labels == 254, 255, 0).astype(np.uint8)], protocol).hints
        assert "inverted" in inverted and "same score" in constant and "255 marks" in nothing
    logits = torch.randn(2, 5, 4, 4)
    (probabilities,) = hints(probabilities=are_probabilities(logits.softmax(1)))
    assert "probabilities" in probabilities
    assert not are_probabilities(logits) and not are_probabilities(logits.log_softmax(1))
    assert "no pixel at all" in evaluate_scores([], []).hints[0]
    assert PixelEvaluator([]).pixels() == {"anomalous": 0, "normal": 0, "ignored": 0}
