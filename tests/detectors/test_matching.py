"""KL matching and OpenMax: formulas in numpy and scipy, saturated logits, surrogates that keep their slope."""

import numpy as np
import pytest
import torch
from scipy.stats import entropy, weibull_min

import detectors
from detectors import Outputs
from detectors.matching import fit_weibull
from tests.detectors.table import batches, fitted


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def test_klm(table, train, h):
    """Its templates are those of ID validation, by what the network says and not by label."""
    val = softmax(table(train[:50]).numpy())
    taken = val.argmax(1)
    templates = [val[taken == k].mean(0) for k in np.unique(taken)]
    expected = [-min(entropy(p, d) for d in templates) for p in softmax(table(h).numpy())]
    klm = fitted("klm", table, train)
    np.testing.assert_allclose(klm(h).numpy(), expected, rtol=1e-7, atol=1e-12)
    every = [np.log(sum(1 / entropy(p, d) for d in templates)) for p in softmax(table(h).numpy())]
    np.testing.assert_allclose(klm.value_and_grad(h, objective="all")[0].numpy(), every, rtol=1e-7)


def test_a_class_that_nothing_is_taken_for_has_no_template(table, train):
    taken = table(train).argmax(1)
    some = train[taken != taken.mode().values]
    klm = detectors.create("klm", table).fit([], batches(some, torch.zeros(len(some)).long(), size=len(some)))
    assert klm.templates.shape == (len(table(some).argmax(1).unique()), 4)


class Identity(torch.nn.Module):
    """A network whose logits are its input."""

    def outputs(self, x):
        return Outputs(x, None)


def logits(n, seed):
    """Of images of four classes, a fifth of them another one's."""
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 4
    z = torch.randn(n, 4, generator=g, dtype=torch.double) + 4 * torch.nn.functional.one_hot(y, 4)
    return z, torch.where(torch.arange(n) % 5 == 0, (y + 1) % 4, y)


def oracle(z, train, y, tail, ranks):
    """OpenMax image by image, with scipy's Weibull distribution."""
    right = [train[(y == c) & (train.argmax(1) == c)] for c in range(train.shape[1])]
    means = [v.mean(0) for v in right]
    tails = [np.sort(np.linalg.norm(v - m, axis=1))[-tail:] for v, m in zip(right, means, strict=True)]
    found = []
    for v in z:
        revised, unknown = v.copy(), 0.0
        for rank, c in enumerate(np.argsort(-v)[:ranks]):
            scale, shape = fit_weibull(tails[c] - tails[c][0] + 1e4)
            F = weibull_min.cdf(np.linalg.norm(v - means[c]) - tails[c][0] + 1e4, shape, scale=scale)
            lost = v[c] * F * (ranks - rank) / ranks
            revised[c], unknown = v[c] - lost, unknown + lost
        e = np.exp([*revised, unknown])
        found.append(-e[-1] / e.sum())
    return found


@pytest.mark.parametrize(("tail", "ranks"), [(20, 3), (7, 4), (5, 1)])
def test_openmax(tail, ranks):
    (train, y), (z, _) = logits(200, 0), logits(40, 1)
    z[::3] /= 4
    openmax = detectors.create("openmax", Identity(), tail=tail, ranks=ranks).fit(batches(train, y), [])
    expected = oracle(z.numpy(), train.numpy(), y.numpy(), tail, ranks)
    np.testing.assert_allclose(openmax(z).numpy(), expected, rtol=1e-6)
    log_odds = openmax.value_and_grad(z, objective="log-odds")[0].numpy()
    np.testing.assert_allclose(-1 / (1 + np.exp(log_odds)), openmax(z).numpy(), rtol=1e-9)


def test_ranks_are_clipped_to_the_classes(table, train, h):
    torch.testing.assert_close(fitted("openmax", table, train, ranks=9)(h), fitted("openmax", table, train, ranks=4)(h))


@pytest.mark.parametrize("shape", [0.7, 2.0, 9.0])
def test_the_weibull_fit_is_that_of_greatest_likelihood(shape):
    x = 3 * np.random.default_rng(0).weibull(shape, 40)
    expected, _, scale = weibull_min.fit(x, floc=0)
    np.testing.assert_allclose(fit_weibull(x), (scale, expected), rtol=1e-3)


def test_a_tail_far_from_zero_is_fitted_too():
    """As libMR moves it: no other shape and scale are likelier."""
    x = np.sort(np.random.default_rng(0).gamma(3, size=20)) + 1e4
    scale, shape = fit_weibull(x)
    best = weibull_min.logpdf(x, shape, scale=scale).sum()
    for factor in (0.99, 1.01):
        assert weibull_min.logpdf(x, shape * factor, scale=scale).sum() < best
        assert weibull_min.logpdf(x, shape, scale=scale * (1 + (factor - 1) / shape)).sum() < best


@pytest.mark.parametrize("x", [np.ones(1), np.ones(20), np.array([1.0, 1.0, 1e6])])
def test_a_degenerate_tail_has_a_finite_fit(x):
    assert np.isfinite(fit_weibull(x)).all()


@pytest.mark.parametrize("name", ["klm", "openmax"])
@pytest.mark.parametrize("margin", [5.0, 17.5, 25.0, 60.0])
def test_a_saturated_softmax_keeps_the_slope_of_a_surrogate(name, margin, table, train):
    """In float32 as in float64: where one logit is far ahead."""
    h = torch.linalg.pinv(table.head.weight) @ (torch.eye(4).double() * margin - table.head.bias[:, None])
    net = fitted(name, table, train)
    exact = {o: net.value_and_grad(h.T.contiguous(), objective=o) for o in net.objectives}
    single = fitted(name, table.float(), train.float())
    for objective in net.objectives[1:]:
        value, grad = single.value_and_grad(h.T.float().contiguous(), objective=objective)
        torch.testing.assert_close(value.double(), exact[objective][0], rtol=1e-3, atol=1e-3)
        assert (grad.abs().amax(1) > 0).all()


def test_the_tail_falls_with_the_distance_to_the_mean_of_the_class(table, train):
    openmax = fitted("openmax", table, train)
    z = openmax.means[0] + torch.linspace(20, 60, 50)[:, None].double() * torch.tensor([1.0, 0.0, 0.0, 0.0]).double()
    objective = -openmax.tails(z)[1][:, 0]
    assert (z.argmax(1) == 0).all()
    assert (objective.diff() < 0).all()


def test_openmax_says_what_its_extremes_are(table, train, h):
    openmax = fitted("openmax", table, train)
    low, high = openmax.extremes()
    assert low <= openmax(100 * h).min()
    assert openmax(h).max() <= high
