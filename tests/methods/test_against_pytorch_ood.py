"""Post-hoc methods against pytorch-ood, which others wrote for whole images: here a pixel is an image.

The network has one feature cell per pixel, so nothing is upsampled and a score map holds that library's score of every
pixel. Where the two differ by design, by a constant or by a factor, the test says so.
"""

import math

import pytest
import torch
from method_toys import SPEC, TAP, fit, make_batch, view_of
from scipy.stats import spearmanr
from torch import nn

from benchmark.data import ANOMALY, IGNORE
from benchmark.network import Network
from benchmark.registry import METHODS

detectors = pytest.importorskip("pytorch_ood.detector", reason="pytorch-ood is not installed")

CLASSES, WIDTH = 3, 20


class Pixels(Network):
    """Features and logits of single pixels: 1x1 convolution, ReLU, 1x1 convolution."""

    penultimate = TAP

    def __init__(self):
        super().__init__(CLASSES)
        self.first = nn.Conv2d(3, WIDTH, 1)
        self.last = nn.Conv2d(WIDTH, CLASSES, 1)
        nn.init.normal_(self.first.bias)
        nn.init.normal_(self.first.weight)
        nn.init.normal_(self.last.weight)
        nn.init.normal_(self.last.bias, mean=4.0)
        self.stride = 1
        self.channels = {TAP: WIDTH}

    @property
    def head(self):
        return self.last

    def forward(self, inputs, taps=()):
        features = self.first(inputs).relu()
        return {"logits": self.last(features), **({TAP: features} if TAP in taps else {})}


class Case:
    """A fitted method, and what it was fitted on and what it scores as rows of features, logits and labels."""

    def __init__(self, call):
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            self.net = Pixels().eval().requires_grad_(False)
        method = METHODS.create(call)
        networks = view_of(method, self.net, SPEC)
        self.head = nn.Linear(WIDTH, CLASSES)
        self.head.weight.data = self.net.last.weight.data[:, :, 0, 0]
        self.head.bias.data = self.net.last.bias.data
        training = [self._labelled(seed) for seed in range(3)]
        self.test = make_batch(2, 24, 32, seed=99)
        if method.fitted:
            fit(method, networks, training)
        else:
            method.build(networks)
        self.method = method
        self.scores = method.score(self.test, networks).detach().flatten().double()
        self.features, self.logits = self._rows(self.test)
        known = torch.cat([batch.labels.flatten() for batch in training])
        rows = [self._rows(batch) for batch in training]
        seen = known < ANOMALY
        self.labels = known[seen].long()
        self.known = torch.cat([features for features, _ in rows])[seen]
        self.training = training

    def _labelled(self, seed):
        """Images whose labels are mostly the network's predictions, so that every class has cells that are right."""
        batch = make_batch(3, 24, 32, seed=seed)
        predicted = self.net(self.net.prepare(batch.images).inputs)["logits"].argmax(dim=1)
        draw = torch.randint(0, 10, predicted.shape, generator=torch.Generator().manual_seed(seed))
        labels = torch.where(draw < 2, (predicted + draw) % CLASSES, predicted)
        labels = labels.masked_fill(draw == 8, IGNORE).masked_fill(draw == 9, ANOMALY)
        return make_batch(3, 24, 32, seed=seed, labels=labels.to(torch.uint8))

    def _rows(self, batch):
        outputs = self.net(self.net.prepare(batch.images).inputs, (TAP,))
        return tuple(outputs[name].permute(0, 2, 3, 1).flatten(0, 2) for name in (TAP, "logits"))

    def agrees(self, want, rtol=1e-4, atol=1e-4):
        torch.testing.assert_close(self.scores, want.detach().flatten().double(), rtol=rtol, atol=atol)
        assert self.scores.std() > 20 * atol


@pytest.fixture
def double():
    """What the library makes itself is in float64: it inverts sums of squares, of which float32 leaves few digits."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def as_maps(rows):
    return rows[:, :, None, None]


def test_the_energy_is_the_same():
    case = Case("energy")
    case.agrees(detectors.EnergyBased(None).predict_logits(case.logits))


def test_max_logit_is_the_same():
    case = Case("max_logit")
    case.agrees(detectors.MaxLogit(None).predict_logits(case.logits))


def test_msp_ranks_the_same():
    """Here it is ``-log`` of the largest probability, there its negative."""
    case = Case("msp")
    theirs = detectors.MaxSoftmax(None).predict_logits(case.logits)
    assert spearmanr(case.scores, theirs).statistic > 1 - 1e-6


def test_the_entropy_is_the_same_but_for_its_unit():
    case = Case("max_entropy")
    case.agrees(detectors.Entropy(None).predict_logits(case.logits) / math.log(CLASSES))


@pytest.mark.parametrize(("gamma", "top"), [(0.1, 0), (0.5, 2), (2.0, 0)])
def test_gen_is_the_same(gamma, top):
    """There it is the mean over the classes, here, as in the paper, the sum; and there probabilities end at 1e-7."""
    case = Case(f"gen:gamma={gamma}:top={top}")
    number = top or CLASSES
    inside = case.logits.softmax(dim=1).amin(dim=1) > 1e-4
    assert inside.double().mean() > 0.5
    want = number * detectors.GEN(None, gamma, number).predict_logits(case.logits[inside])
    torch.testing.assert_close(case.scores[inside], want.double(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("temperature", [1, 100])
def test_odin_ranks_the_same(temperature):
    case = Case(f"odin:epsilon=0.004:temperature={temperature}")

    class Raw(nn.Module):
        """The network of images as they were read."""

        def forward(self, images):
            inputs = case.net.prepare(images).inputs
            return case.net(inputs)["logits"]

    theirs = detectors.ODIN(Raw(), eps=0.004 * 255, temperature=temperature).predict(case.test.images.float())
    assert spearmanr(case.scores, theirs.flatten()).statistic > 1 - 1e-5


@pytest.mark.parametrize("variant", ["p", "b", "s"])
@pytest.mark.parametrize("percentile", [0.65, 0.9])
def test_ash_is_the_same(variant, percentile):
    case = Case(f"ash:variant={variant}:percentile={percentile}")
    # Of pixels with fewer features above 0 than survive, ash-b shares the sum among zeros, too; here zeros stay.
    number = WIDTH - round(WIDTH * percentile)
    full = (case.features > 0).sum(dim=1) >= number
    theirs = detectors.ASH(None, lambda maps: case.head(maps[:, :, 0, 0]), f"ash-{variant}", percentile)
    assert full.double().mean() > 0.9
    want = theirs.predict_feature_maps(as_maps(case.features[full]))
    torch.testing.assert_close(case.scores[full], want.detach().double(), rtol=1e-4, atol=1e-4)


def test_scale_is_the_same():
    case = Case("scale:percentile=0.85")
    theirs = detectors.SCALE(None, lambda maps: case.head(maps[:, :, 0, 0]), 0.85)
    case.agrees(theirs.predict_feature_maps(as_maps(case.features)))


def test_react_is_the_same():
    case = Case("react:percentile=0.9")
    theirs = detectors.ReAct(None, lambda maps: case.head(maps[:, :, 0, 0]), percentile=0.9)
    theirs.fit_feature_maps(as_maps(case.known), case.labels)
    case.agrees(theirs.predict_feature_maps(as_maps(case.features)), rtol=1e-2, atol=1e-2)  # a sketch of the quantile


@pytest.mark.parametrize(("low", "high"), [(0.1, 0.9), (0.3, 0.7)])
def test_vra_that_clips_is_the_same(low, high):
    case = Case(f"vra:below=clip:low={low}:high={high}")
    theirs = detectors.VRA(None, lambda maps: case.head(maps[:, :, 0, 0]), low, high)
    theirs.fit_feature_maps(as_maps(case.known), case.labels)
    case.agrees(theirs.predict_feature_maps(as_maps(case.features)), rtol=1e-2, atol=1e-2)  # it interpolates quantiles


@pytest.mark.parametrize("percentile", [0.5, 0.9])
def test_dice_is_the_same(percentile):
    case = Case(f"dice:percentile={percentile}")
    theirs = detectors.DICE(None, case.head.weight, case.head.bias, percentile)
    theirs.fit_features(case.known, case.labels)
    case.agrees(theirs.predict_features(case.features))


@pytest.mark.parametrize("dim", [2, 5])
def test_vim_is_the_same(dim):
    case = Case(f"vim:dim={dim}")
    theirs = detectors.ViM(None, dim, case.head.weight, case.head.bias)
    theirs.fit_features(case.known, case.labels)
    case.agrees(theirs.predict_features(case.features), rtol=1e-3, atol=1e-3)


def test_she_is_the_same():
    case = Case("she")
    theirs = detectors.SHE(None, case.head).fit_features(case.known, case.labels)
    case.agrees(theirs.predict_features(case.features))


def test_fdbd_is_the_same_but_for_the_number_of_classes():
    case = Case("fdbd")
    theirs = detectors.fDBD(None, case.head).fit_features(case.known)
    case.agrees((CLASSES - 1) * theirs.predict_features(case.features))


@pytest.mark.parametrize("alpha", [0.0, 0.05])
def test_nci_is_the_same(alpha):
    case = Case(f"nci:alpha={alpha}")
    theirs = detectors.NCI(None, case.head, alpha).fit_features(case.known)
    case.agrees(theirs.predict_features(case.features))


def test_nnguide_is_the_same():
    case = Case("nnguide:k=10")
    theirs = detectors.NNGuide(None, case.head, 10).fit_features(case.known, case.labels)
    case.agrees(theirs.predict_features(case.features))


@pytest.mark.parametrize("k", [1, 50])
def test_knn_is_the_same(k):
    case = Case(f"knn:k={k}")
    theirs = detectors.KNN(None, k).fit_features(case.known, case.labels)
    assert torch.as_tensor(theirs.predict_features(case.features)).numpy() == pytest.approx(
        case.scores.numpy(), rel=1e-4, abs=1e-5
    )


def test_mahalanobis_is_the_same_but_for_what_the_scatter_is_divided_by(request):
    """There half of the distance under the sum of squares, here that under the sum divided by N - C."""
    case = Case("mahalanobis")
    request.getfixturevalue("double")
    theirs = detectors.Mahalanobis(None).fit_features(case.known.double(), case.labels)
    number = len(case.known) - CLASSES
    case.agrees(2 * number * theirs.predict_features(case.features.double()), rtol=1e-3, atol=1e-3)


def test_rmds_is_the_difference_of_the_same_distances(request):
    """There both are under sums of squares, here divided by N - C and N - 1."""
    case = Case("rmds")
    request.getfixturevalue("double")
    theirs = detectors.RMD(None).fit_features(case.known.double(), case.labels)
    rows, number = case.features.double(), len(case.known)
    nearest = theirs._calc_gaussian_scores(rows).amin(dim=1)
    case.agrees((number - CLASSES) * nearest - (number - 1) * theirs._background_score(rows), rtol=1e-3, atol=1e-3)


def test_kl_matching_is_the_same():
    """The typical predictions are of every 8th row and column."""
    case = Case("kl_matching")
    rows = [case.net(case.net.prepare(batch.images).inputs)["logits"] for batch in case.training]
    seen = torch.cat([maps[..., 4::8, 4::8].permute(0, 2, 3, 1).flatten(0, 2) for maps in rows])
    theirs = detectors.KLMatching(None).fit_logits(seen)
    case.agrees(theirs.predict_logits(case.logits))


def test_gradnorm_is_the_same_but_for_its_logarithm():
    """There the gradient is of the mean over the classes, as that with the uniform distribution is here."""
    case = Case("gradnorm")
    theirs = detectors.GradNorm(case.head, param_filter=lambda name: name == "weight").predict(case.features)
    case.agrees(-torch.log(-theirs))
