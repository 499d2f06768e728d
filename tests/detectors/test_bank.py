"""SHE, NNGuide and the relation graph: formulas in numpy, and inputs that break naive code."""

import numpy as np
import pytest
import torch

import detectors
from detectors import Outputs
from tests.detectors.table import batches, fitted


def labels_of(table, train):
    """What the network says of the images, with every fifth label another one."""
    y = table(train).argmax(1)
    return torch.where(torch.arange(len(y)) % 5 == 0, (y + 1) % 4, y)


def logsumexp(z):
    return np.log(np.exp(z).sum(1))


def unit(a):
    return a / np.linalg.norm(a, axis=1, keepdims=True)


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def test_she_stores_what_the_network_gets_right(table, train, h):
    y = labels_of(table, train)
    assert set(y.tolist()) == {0, 1, 2, 3}
    taken, x = table(train).argmax(1), train.numpy()
    patterns = np.stack([x[(y == c) & (taken == c)].mean(0) for c in range(4)])
    she = detectors.create("she", table).fit(batches(train, y), [])
    expected = [row @ patterns[c] for row, c in zip(h.numpy(), table(h).argmax(1), strict=True)]
    np.testing.assert_allclose(she(h).numpy(), expected, rtol=1e-10)
    mean = (softmax(table(h).numpy()) * (h.numpy() @ patterns.T)).sum(1)
    np.testing.assert_allclose(she.value_and_grad(h, objective="mean")[0].numpy(), mean, rtol=1e-10)


def test_a_class_without_a_right_image_stores_all_of_its_images(table, train):
    y = labels_of(table, train)
    y[y == 2] = 1
    y[:3] = (table(train).argmax(1)[:3] + 1) % 4
    y[y == 2] = 1
    wrong = torch.nonzero(table(train).argmax(1) != 2).flatten()[:7]
    y[wrong] = 2
    she = detectors.create("she", table).fit(batches(train, y), [])
    torch.testing.assert_close(she.patterns[2], train[wrong].mean(0))


def test_nnguide(table, train, h):
    for share, neighbours, n in ((0.01, 5, 5), (0.5, 5, 100), (0.1, 300, 200)):
        chosen = train.numpy()[[i * 200 // n for i in range(n)]]
        W, b = table.head.weight.numpy(), table.head.bias.numpy()
        bank = unit(chosen) * logsumexp(chosen @ W.T + b)[:, None]
        nearest = np.sort(unit(h.numpy()) @ bank.T, axis=1)[:, -min(neighbours, n) :].mean(1)
        ours = fitted("nnguide", table, train, share=share, neighbours=neighbours)
        np.testing.assert_allclose(ours(h).numpy(), logsumexp(table(h).numpy()) * nearest, rtol=1e-7)


@pytest.mark.parametrize(("power", "threshold"), [(1, 0.03), (4, 0.2), (0.5, 0.0), (8, 0.9)])
@pytest.mark.parametrize("chunk", [16384, 13])
def test_relation(table, train, h, power, threshold, chunk):
    cosine = np.maximum(unit(h.numpy()) @ unit(train.numpy()).T, 0)
    r = cosine * (softmax(table(h).numpy()) @ softmax(table(train).numpy()).T)
    relation = fitted("relation", table, train, power=power, threshold=threshold, chunk=chunk)
    expected = np.where(r > threshold, r, 0) ** power
    np.testing.assert_allclose(relation(h).numpy(), np.where(r > threshold, expected, 0).sum(1), rtol=1e-9)
    log = relation.value_and_grad(h, objective="log")[0]
    np.testing.assert_allclose(log.numpy(), np.log((r**power).sum(1)), rtol=1e-9)
    soft = cosine * (softmax(table(h).numpy() / 4) @ softmax(table(train).numpy()).T)
    value = relation.value_and_grad(h, objective="soft")[0]
    np.testing.assert_allclose(value.numpy(), np.log((soft**power).sum(1)), rtol=1e-9)


def test_where_no_relation_counts_the_surrogate_has_a_slope(table, train, h):
    relation = fitted("relation", table, train, threshold=0.999)
    value, grad = relation.value_and_grad(h)
    assert not value.any()
    assert not grad.any()
    assert relation.value_and_grad(h, objective="log")[1].abs().amax(1).min() > 0


@pytest.mark.parametrize("size", [0.0, 1e-38, 1e-20, 1e4])
@pytest.mark.parametrize("name", ["she", "nnguide", "relation", "dice", "klm", "openmax"])
def test_features_that_vanish_or_explode_stay_finite_in_float32(name, size, table, train):
    detector = fitted(name, table.float(), train.float())
    for objective in detector.objectives:
        value, grad = detector.value_and_grad(torch.full((3, 12), size), objective=objective)
        assert value.dtype == grad.dtype == torch.float32
        assert value.isfinite().all()
        assert grad.isfinite().all()


def test_fits_that_cannot_work_say_why(table, train):
    y = torch.arange(200) % 4
    with pytest.raises(ValueError, match="she: class 2 has no image in ID train"):
        detectors.create("she", table).fit(batches(train, torch.where(y == 2, 1, y)), [])
    with pytest.raises(ValueError, match="openmax: ID train has label 7, but the network has 4 classes"):
        detectors.create("openmax", table).fit(batches(train, torch.arange(200) % 8), [])
    for name in ("she", "nnguide", "relation", "dice", "klm", "openmax"):
        with pytest.raises(ValueError, match=f"{name} is not fitted yet"):
            detectors.create(name, table)(train)
    bad = train.clone()
    bad[7, 0] = torch.nan
    for name in ("she", "nnguide", "relation", "dice"):
        with pytest.raises(ValueError, match=f"{name}: features of ID train image 7 are not finite"):
            fitted(name, table, bad)
    with pytest.raises(ValueError, match="openmax: logits of ID train image 7 are not finite"):
        fitted("openmax", table, bad)
    with pytest.raises(ValueError, match="klm: logits of ID validation image 7 are not finite"):
        fitted("klm", table, bad)


@pytest.mark.parametrize(
    ("name", "param", "value", "wanted"),
    [
        ("nnguide", "neighbours", 0, "at least 1"),
        ("nnguide", "share", 1.5, "above 0 and at most 1"),
        ("relation", "power", 0, "above 0"),
        ("relation", "threshold", 1, "from 0 to below 1"),
        ("dice", "percentile", 100, "from 0 to below 100"),
        ("openmax", "tail", 0, "at least 1"),
        ("openmax", "ranks", 0, "at least 1"),
        ("rankfeat", "temperature", 0, "above 0"),
        ("g-odin", "step_size", -1, "at least 0"),
    ],
)
def test_parameters_out_of_range(name, param, value, wanted, table):
    with pytest.raises(ValueError, match=rf"{param} {value}: expected .*{wanted}"):
        detectors.create(name, table, **{param: value})


def test_a_network_without_features_is_refused(smooth):
    class Logits(torch.nn.Module):
        def outputs(self, x):
            return Outputs(smooth(x), None)

    x = torch.rand(10, 2, 4, 4, dtype=torch.double)
    for name in ("she", "nnguide", "relation", "dice"):
        with pytest.raises(ValueError, match=f"{name} needs penultimate features, and this network shows none"):
            detectors.create(name, Logits()).fit([(x, torch.arange(10) % 5)], [])
