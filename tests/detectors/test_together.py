"""Members of a grid scored together: the numbers of each alone, from fewer passes."""

import itertools

import pytest
import torch

import detectors
from detectors import BASES, WRAPPERS, Fitting
from tests.detectors.table import PARAMS, smooth_fit

SETTINGS = {
    **PARAMS,
    "pro": {"step_size": 0.02},
    "msp-t": {},
    "gen": {"gamma": 0.3},
}
SHARED = {"steps": (3, 0, 1), "copies": (4, 7, 1), "gain": (0.01, 0.3)}


class Kept(list):
    """A set of batches that keeps the network's outputs and counts who asks for them."""

    asked = 0

    def outputs(self, net):
        self.asked += 1
        z, h = net.outputs(torch.cat([x for x, _ in self]))
        return Fitting(z, h, torch.cat([y for _, y in self]))


def sets():
    g = torch.Generator().manual_seed(5)
    val, ood = (torch.rand(n, 2, 4, 4, generator=g, dtype=torch.double) for n in (40, 30))
    return list(zip(val.split(16), torch.zeros(40).long().split(16), strict=True)), [(ood, torch.zeros(30).long())]


def over(images, score):
    with torch.no_grad():
        return torch.cat([score(x, torch.Generator().manual_seed(i)) for i, (x, _) in enumerate(images)], -1)


def members_of(name, net, base="gen", **more):
    cls = detectors.class_of(name)
    points = itertools.product(*(SHARED[key] for key in cls.shared))
    settings = {**SETTINGS.get(name, {}), **({"base": base, "sigma": 0.1} if name in WRAPPERS else {}), **more}
    if name == "pro":
        del settings["sigma"]
    return [detectors.create(name, net, **settings, **dict(zip(cls.shared, p, strict=True))) for p in points]


@pytest.mark.parametrize(
    "name", [*BASES, *(name for name in WRAPPERS if not issubclass(WRAPPERS[name], detectors.Smoothed))]
)
def test_deterministic_members_score_as_each_alone(name, smooth):
    train, (val, ood) = smooth_fit(), sets()
    members = members_of(name, smooth)
    assert len(members) == (3 if name == "pro" else 1)
    found = type(members[0]).together(members, train, (val, ood), over)
    for alone, scores in zip(members_of(name, smooth), found, strict=True):
        alone.fit(train, val)
        for images, s in zip((val, ood), scores, strict=True):
            with torch.no_grad():
                assert torch.equal(s, torch.cat([alone(x) for x, _ in images]))


@pytest.mark.parametrize("base", ["gen", "knn"])
@pytest.mark.parametrize("name", [name for name, cls in WRAPPERS.items() if issubclass(cls, detectors.Smoothed)])
def test_smoothed_members_score_as_each_alone_on_the_same_noise(name, base, smooth):
    """tau comes from the medians of the noisy scores of ID validation, fitted for every member."""
    train, (val, ood) = smooth_fit(), sets()
    more = {"base.neighbours": 5} if base == "knn" else {}
    members = members_of(name, smooth, base, **more)
    assert len(members) == (6 if name.startswith("ross") else 3)
    found = type(members[0]).together(members, train, (val, ood), over)
    for alone, scores in zip(members_of(name, smooth, base, **more), found, strict=True):
        alone.base.fit(train, val)
        medians = over(val, lambda x, g, d=alone: d.matrix(x, generator=g)).median(0).values
        alone.fit_medians(medians)
        for images, s in zip((val, ood), scores, strict=True):
            expected = over(images, lambda x, g, d=alone: d(x, generator=g))
            torch.testing.assert_close(s, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("last", [False, True])
def test_pro_with_the_last_iterate_ends_at_each_members_own_step(last, smooth):
    train, (val, ood) = smooth_fit(), sets()
    found = detectors.PRO.together(members_of("pro", smooth, last=last), train, (val, ood), over)
    for alone, scores in zip(members_of("pro", smooth, last=last), found, strict=True):
        with torch.no_grad():
            assert torch.equal(scores[1], alone(ood[0][0]))
    assert not torch.equal(found[0][1], found[1][1])


def test_members_share_their_passes(counting):
    train, (val, ood) = smooth_fit(), sets()
    n = 70
    detectors.PRO.together(members_of("pro", counting), train, (val, ood), over)
    assert counting.forwards == 4 * n  # of the longest path, and GEN needs no fit
    counting.forwards = 0
    detectors.ROSS.together(members_of("ross", counting), train, (val, ood), over)
    assert counting.forwards == 7 * n


@pytest.mark.parametrize("name", ["gen", "knn", "ash", "msp-t"])
def test_scores_of_outputs_take_those_that_the_set_keeps(name, counting):
    train, (val, ood) = Kept(smooth_fit()), (Kept(part) for part in sets())
    (expected,) = detectors.class_of(name).together(
        members_of(name, counting), list(train), (list(val), list(ood)), over
    )
    val.asked = ood.asked = 0

    def never(images, score):
        raise AssertionError("the set keeps outputs")

    (scores,) = detectors.class_of(name).together(members_of(name, counting), train, (val, ood), never)
    assert val.asked == 1 + (name == "msp-t")  # which also fits on it
    assert ood.asked == 1
    for ours, theirs in zip(scores, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
        assert not ours.requires_grad


def test_odin_scores_images_even_where_outputs_are_kept(smooth):
    val, ood = (Kept(part) for part in sets())
    (scores,) = detectors.ODIN.together(members_of("odin", smooth), smooth_fit(), (val, ood), over)
    assert val.asked == ood.asked == 0
    with torch.no_grad():
        assert torch.equal(scores[1], members_of("odin", smooth)[0](ood[0][0]))


def test_a_users_randomised_detector_gets_the_sets_generators(smooth):
    class Noisy(detectors.Detector):
        randomized = True

        def fit(self, train, val):  # forgets to return itself
            self.fitted_on = len(val)

        def forward(self, x, *, generator=None):
            return torch.rand(len(x), generator=generator) + self.fitted_on

    (scores,) = Noisy.together([Noisy()], [], sets(), over)
    val, _ = sets()
    expected = [torch.rand(len(x), generator=torch.Generator().manual_seed(i)) + 3 for i, (x, _) in enumerate(val)]
    assert torch.equal(scores[0], torch.cat(expected))
