"""What methods gather of training features: sums, quantiles, a sample; against numpy, in any order."""

import numpy as np
import pytest
import torch
from benchmark.methods._cells import Cells
from benchmark.methods._moments import Moments
from benchmark.methods._sample import KeyedSample
from benchmark.methods._sketch import QuantileSketch
from method_toys import TAP, Given, make_batch

from benchmark.data import ANOMALY, IGNORE


def random(seed=0):
    return torch.Generator().manual_seed(seed)


# ------------------------------------------------------------------------------------------------------------- moments


def test_moments_are_numpys_of_each_class():
    x = 3 + torch.randn(500, 6, generator=random()) @ torch.randn(6, 6, generator=random(1))
    y = torch.randint(0, 5, (500,), generator=random(2))
    y[y == 4] = IGNORE
    y[y == 2] = 3  # a class without a row
    moments = Moments(6, 4, squares="class")
    for rows, classes in zip(x.split(77), y.split(77), strict=True):
        moments.add(rows, classes)
    for c in range(4):
        mine = x[y == c].double().numpy()
        assert moments.counts[c] == len(mine)
        if len(mine):
            assert moments.means[c].numpy() == pytest.approx(mine.mean(0), abs=1e-12)
            assert moments.squares[c].numpy() == pytest.approx(mine.T @ mine, abs=1e-9)
    known = x[y != IGNORE].double().numpy()
    assert moments.number == len(known) and (moments.means[2] == 0).all()
    assert moments.mean.numpy() == pytest.approx(known.mean(0), abs=1e-12)
    assert moments.second(moments.mean).numpy() == pytest.approx(np.cov(known.T, ddof=0), abs=1e-9)
    origin = torch.arange(6.0)
    gaps = known - origin.numpy()
    assert moments.second(origin).numpy() == pytest.approx(gaps.T @ gaps / len(known), abs=1e-9)


def test_moments_of_all_rows_together_need_no_classes():
    x = torch.randn(100, 3, generator=random())
    together, tied, means = Moments(3), Moments(3, 2), Moments(3, 2, squares="none")
    together.add(x)
    for moments in (tied, means):
        moments.add(x, torch.arange(100) % 2)
    assert torch.allclose(together.squares, tied.squares) and together.squares.shape == (1, 3, 3)
    assert torch.allclose(together.mean, means.mean) and means.squares.shape == (0, 3, 3)


# -------------------------------------------------------------------------------------------------------------- sketch


def sketch_of(values, parts=1):
    sketch = QuantileSketch()
    for part in values.tensor_split(parts):
        sketch.add(part)
    return sketch


@pytest.mark.parametrize("kind", ["relu", "signed", "wide"])
@pytest.mark.parametrize("q", [0.0, 0.1, 0.5, 0.85, 0.9, 0.999, 1.0])
def test_quantiles_are_numpys_but_for_the_width_of_a_bin(kind, q):
    x = torch.randn(20_001, generator=random())
    x = {"relu": x.relu(), "signed": x, "wide": x * 10 ** (8 * torch.randn(20_001, generator=random(1)))}[kind]
    want = np.quantile(x.numpy(), q, method="inverted_cdf") if q else x.min().item()
    found = sketch_of(x).quantile(q)
    assert want <= found <= want + abs(want) / 1024
    assert (x <= found).double().mean() >= q


def test_no_order_and_no_batches_change_the_sketch():
    x = torch.randn(1000, 4, generator=random())
    whole, other = sketch_of(x), sketch_of(x[torch.randperm(1000, generator=random(1))], parts=7)
    assert torch.equal(whole.counts, other.counts) and whole.counts.sum() == 4000
    fresh = QuantileSketch()
    fresh.load_state_dict(whole.state_dict())
    assert fresh.quantile(0.3) == whole.quantile(0.3)


def test_a_share_of_zeros_is_exactly_zero():
    x = torch.cat([torch.zeros(60), torch.full((20,), -0.0), torch.linspace(1, 2, 20)])
    sketch = sketch_of(x)
    assert [sketch.quantile(q) for q in (0.01, 0.5, 0.8)] == [0, 0, 0] and sketch.quantile(0.81) >= 1
    assert sketch_of(-x).quantile(0.3) == 0 and sketch_of(-x).quantile(0.2) == pytest.approx(-1, rel=1e-3)
    with pytest.raises(ValueError, match="no values"):
        QuantileSketch().quantile(0.5)


# -------------------------------------------------------------------------------------------------------------- sample


class Numbered:
    """Networks whose features number the cells of all images."""

    def __init__(self):
        self.batches = [make_batch(2, seed=s, labels=self.labels(s)) for s in range(6)]

    @staticmethod
    def labels(seed):
        cells = torch.tensor([0, 2, IGNORE, ANOMALY])[torch.randint(0, 4, (2, 5, 7), generator=random(seed))]
        return cells.to(torch.uint8).repeat_interleave(8, 1).repeat_interleave(8, 2)

    def cells(self, name):
        seed, index = map(int, name.split("/"))
        return torch.arange(35.0).view(1, 5, 7) + 35 * (2 * seed + index)

    def __call__(self, batch):
        features = torch.stack([self.cells(name) for name in batch.ids])
        return Given(torch.zeros(len(batch.ids), 3, 5, 7), taps=[{TAP: features}])(batch)

    def known(self):
        shown = [self(b).scales[0].taps[TAP][:, 0][b.labels[:, ::8, ::8] < 200] for b in self.batches]
        return set(torch.cat(shown).tolist())


def sampled(networks, rows, batches):
    sample = KeyedSample(rows, Cells(TAP))
    for batch in batches:
        sample.observe(batch, {"base": networks})
    return sample.taken()[:, 0]


def test_a_sample_is_of_known_cells_without_a_cell_twice():
    networks = Numbered()
    known, found = networks.known(), sampled(networks, 50, networks.batches).tolist()
    assert 150 < len(known) < 300 and len(found) == len(set(found)) == 50 and set(found) <= known
    everything = sampled(networks, 1000, networks.batches).tolist()
    assert sorted(everything) == sorted(known) and everything[:50] == found  # the smallest keys


def test_a_sample_depends_on_no_order_and_begins_anew():
    networks = Numbered()
    forwards = sampled(networks, 20, networks.batches)
    assert torch.equal(forwards, sampled(networks, 20, networks.batches[::-1]))
    sample = KeyedSample(20, Cells(TAP))
    assert len(sample.taken()) == 0
    for _ in range(2):
        for batch in networks.batches:
            sample.observe(batch, {"base": networks}, lambda f: 2 * f)
        assert torch.equal(sample.taken()[:, 0], 2 * forwards)
