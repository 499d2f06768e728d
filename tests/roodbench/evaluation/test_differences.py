"""Differences of the score see what a gradient leaves out, and nothing in detectors that leave nothing out."""

from types import SimpleNamespace

import pytest
import torch

import detectors
import roodbench
from attacks import ThreatModel
from detectors import DETECTORS, Detector
from roodbench.evaluation.differences import DIRECTIONS, FINE, agreement, beside
from tests.roodbench.helpers import fitted, small

THREAT = ThreatModel(16 / 255)


def noise():
    return torch.Generator().manual_seed(3)


@pytest.fixture(scope="module")
def images(digits):
    x = torch.cat([digits.id_test.shard(0, 8), digits.ood["photos"].shard(0, 8)])
    return THREAT.random(x, torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def made(digits, digits_net):
    def make(name):
        return detectors.create(name, digits_net).fit(digits.id_train, digits.id_val)

    return make


class Linear(Detector):
    """w . x + share v . x, whose second part has no gradient; v is orthogonal to w and as long."""

    def __init__(self, share):
        super().__init__()
        self.share = share

    def forward(self, x, *, generator=None):
        left, right = x.flatten(1)[:, :32].sum(1), x.flatten(1)[:, 32:].sum(1)
        return left + self.share * right.detach()


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_the_cosine_is_that_of_the_two_gradients(images, share):
    """(w + share v) . w / |w + share v| |w| = 1 / sqrt(1 + share^2), measured along a few directions."""
    found = agreement(Linear(share), images, THREAT, noise)
    expected = (1 + share**2) ** -0.5
    assert (found.steps == FINE).all()
    assert (
        abs(float(found.cosines.mean()) - expected) < 3 * (1 - expected**2) / (DIRECTIONS * len(images)) ** 0.5 + 1e-9
    )
    assert (found.untrue > 0.5) == (share > 0)


@pytest.mark.parametrize("name", [name for name in DETECTORS if name != "approximate-mass"])
@pytest.mark.parametrize("threat", [THREAT, ThreatModel(4 / 255), ThreatModel(3.0, "l2")], ids=str)
def test_every_gradient_of_ours_is_true(images, made, name, threat):
    assert agreement(made(name), images, threat, noise).untrue <= 1 / 16  # one image may lie on a kink


def test_a_score_that_jumps_at_every_kink_has_no_true_gradient(images, made):
    """The length of the gradient of a network of rectified units: between kinks it is all but constant."""
    assert agreement(made("approximate-mass"), images, THREAT, noise).untrue > 0.1


def test_a_saturated_score_is_judged_where_it_changes(images):
    """MSP of a robust network is 1 up to the last bits; held against its log-odds the gradient is right."""
    msp = detectors.create("msp", roodbench.load_model("digits-cnn-at"))
    found = agreement(msp, images, THREAT, noise)
    assert found.untrue <= 1 / 16
    assert (found.steps > FINE).any()


class Root(Detector):
    """Its gradient is wrong, and outside [0, 1] it is no number."""

    def forward(self, x, *, generator=None):
        return x.sqrt().flatten(1).sum(1).detach() + x.flatten(1)[:, 0]


def test_no_step_leaves_the_bounds(images):
    assert agreement(Root(), images.clamp(0.1, 0.9), ThreatModel(3.0, "l2"), noise).untrue == 1.0


class Mixed(Detector):
    """ebo, and a share of another score without its gradient."""

    def __init__(self, ebo, other, share):
        super().__init__()
        self.ebo, self.other, self.share = ebo, other, share

    def forward(self, x, *, generator=None):
        with torch.no_grad():
            other = self.other(x)
        return self.ebo(x) + self.share * other


@pytest.mark.parametrize(("other", "share"), [("vim", 0.1), ("vim", 1.0), ("knn", 10.0)])
def test_a_part_without_gradient_is_seen(images, made, other, share):
    assert agreement(Mixed(made("ebo"), made(other), share), images, THREAT, noise).untrue > 0.25


class Rounding(Detector):
    """ebo of images rounded to so many levels, the gradient passed straight through."""

    def __init__(self, ebo, levels):
        super().__init__()
        self.ebo, self.levels = ebo, levels

    def forward(self, x, *, generator=None):
        return self.ebo(x + ((x * self.levels).round() / self.levels - x).detach())


def test_rounded_images_are_judged_at_larger_steps(images, made):
    found = agreement(Rounding(made("ebo"), 255), images, THREAT, noise)
    assert (found.steps > FINE).all()
    assert found.untrue == 0.0


class Half(Detector):
    """A detector of float32 alone, whose gradient is wrong or right."""

    def __init__(self, ebo, right):
        super().__init__()
        self.ebo, self.right = [ebo], right

    def forward(self, x, *, generator=None):
        score = self.ebo[0](x.float())
        return score if self.right else score.detach() + x.flatten(1)[:, 0]


def test_what_does_not_compute_in_float64_is_judged_in_float32(images, made):
    assert agreement(Half(made("ebo"), right=True), images, THREAT, noise).untrue == 0.0
    assert agreement(Half(made("ebo"), right=False), images, THREAT, noise).untrue > 0.9


class Nearest(Detector):
    """The energy, and a share of the distance of features to a bank, kept somewhere, that has no gradient."""

    def __init__(self, net, bank, keep, share=0.5):
        super().__init__()
        self.net, self.kept, self.share = net, keep(bank), share

    def bank(self):
        kept = self.kept
        while not isinstance(kept, torch.Tensor):
            kept = (
                kept[next(iter(kept))] if isinstance(kept, dict) else kept[0] if hasattr(kept, "__len__") else kept.bank
            )
        return kept

    def forward(self, x, *, generator=None):
        h = self.net.outputs(x).features
        distance = torch.cdist(h.detach(), self.bank()).kthvalue(10, dim=1).values
        return self.net(x).logsumexp(1) - self.share * distance


PLACES = {
    "attribute": lambda bank: bank,
    "list": lambda bank: [bank],
    "tuple": lambda bank: (bank,),
    "dict": lambda bank: {0: bank},
    "deep": lambda bank: [{"of": (bank,)}],
    "object": lambda bank: SimpleNamespace(bank=bank),
    "module": lambda bank: Holding(bank),
    "parameter": lambda bank: [torch.nn.Parameter(bank)],
}


class Holding(torch.nn.Module):
    def __init__(self, bank):
        super().__init__()
        self.bank = bank


@pytest.mark.parametrize("place", PLACES)
def test_a_copy_in_float64_has_all_tensors_in_it_wherever_they_are_kept(images, digits, digits_net, place):
    bank = detectors.collect(digits_net, digits.id_train)[1]
    found = agreement(Nearest(digits_net, bank, PLACES[place]), images, THREAT, noise)
    assert (found.steps == FINE).all()
    assert found.untrue > 0.25
    assert bank.dtype == torch.float32


class Single(torch.nn.Module):
    """A network of which there is only one."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(64, 1)

    def __deepcopy__(self, memo):
        return self

    def forward(self, x):
        return self.layer(x.flatten(1))[:, 0]


class Around(Detector):
    def __init__(self, part, keep):
        super().__init__()
        self.part = keep(part)

    def forward(self, x, *, generator=None):
        return next(iter([self.part] if isinstance(self.part, torch.nn.Module) else self.part))(x)


@pytest.mark.parametrize("keep", [lambda part: part, lambda part: [part], torch.nn.Sequential])
def test_a_network_that_is_not_copied_stays_in_float32(images, keep):
    part = Single()
    assert (agreement(Around(part, keep), images, THREAT, noise).steps > FINE).all()
    assert part.layer.weight.dtype == torch.float32
    copied = Around(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 1), torch.nn.Flatten(0)), keep)
    assert (agreement(copied, images, THREAT, noise).steps == FINE).all()


class Still(Detector):
    def forward(self, x, *, generator=None):
        return 0.0 * x.flatten(1).sum(1)


def test_a_constant_score_has_no_gradient_to_judge(images):
    found = agreement(Still(), images, THREAT, noise)
    assert found.cosines.isnan().all()
    assert found.untrue == 0.0


class Ridge(Detector):
    """Highest where half of the pixels are 1/2: there the gradient is that of one side."""

    def forward(self, x, *, generator=None):
        left, right = x.flatten(1).split(32, 1)
        return torch.where(left > 0.5, 0.5 - left, left - 0.5).sum(1) + right.sum(1) / 5


def test_an_attack_that_ends_on_a_kink_is_judged_beside_it(images):
    x = images.clamp(0.45, 0.55)
    top = torch.full_like(x, 0.5)
    near = beside(top, x, ThreatModel(0.1), noise())
    assert agreement(Ridge(), top, THREAT, noise).untrue == 1.0
    assert agreement(Ridge(), near, THREAT, noise).untrue == 0.0
    assert ThreatModel(0.1).violation(near, x) < 1e-6
    assert 0 < (near - top).abs().max() <= 0.1 / 50 + 1e-6


@pytest.mark.parametrize(("share", "passed"), [(0.3, False), pytest.param(0.0, True, marks=pytest.mark.slow)])
def test_the_record_says_so(share, passed, digits_net):
    """The energy with a part of another score that has no gradient: what is left of it still attacks a little."""
    bench = small(16)
    mixed = Mixed(fitted("ebo", digits_net, bench), fitted("vim", digits_net, bench), share)
    result = roodbench.evaluate(mixed, bench, attack="min", restarts=1, thorough=True)
    (entry,) = (i for i in result.indicators if i.name == "finite-difference")
    assert entry.passed == passed
    assert ("is a part of it detached?" in entry.message) == (not passed)
