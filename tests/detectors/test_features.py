"""Feature, activation and gradient scores: formulas of their own, gradients, and inputs that break naive code."""

import numpy as np
import pytest
import torch
from sklearn.covariance import EmpiricalCovariance
from sklearn.neighbors import NearestNeighbors

import detectors
from tests.conftest import finite_difference
from tests.detectors.table import NAMES, PARAMS, Table, batches, fitted, smooth_fit


def test_fdbd(table, train, h):
    W, z = table.head.weight.numpy(), table(h).numpy()
    mean = train.numpy().mean(0)
    for to_mean in (True, False):
        expected = []
        for features, logits in zip(h.numpy(), z, strict=True):
            y = logits.argmax()
            gaps = [abs(logits[c] - logits[y]) / np.linalg.norm(W[c] - W[y]) for c in range(4) if c != y]
            expected.append(sum(gaps) / np.linalg.norm(features - mean if to_mean else features))
        ours = fitted("fdbd", table, train, distance_to_mean=to_mean)(h)
        np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-9)


def test_fdbd_with_twin_classes_and_a_feature_at_the_mean(table, train):
    table.head.weight.data[1] = table.head.weight.data[0]
    detector = fitted("fdbd", table, train)
    value, grad = detector.value_and_grad(torch.stack([detector.mean, train[0]]))
    assert value.isfinite().all()
    assert grad.isfinite().all()


def test_mahalanobis_scores(table, train, h):
    y = np.arange(200) % 4
    x, t = h.numpy(), train.numpy()
    means = np.stack([t[y == c].mean(0) for c in range(4)])
    within = EmpiricalCovariance(assume_centered=False).fit(t - means[y])
    whole = EmpiricalCovariance().fit(t)
    d = np.stack([np.einsum("nd,de,ne->n", x - m, within.precision_, x - m) for m in means], 1)
    np.testing.assert_allclose(fitted("mds", table, train)(h).numpy(), -d.min(1), rtol=1e-8)
    np.testing.assert_allclose(fitted("rmds", table, train)(h).numpy(), -d.min(1) + whole.mahalanobis(x), rtol=1e-7)


@pytest.mark.parametrize("name", ["mds", "rmds"])
@pytest.mark.parametrize("case", ["constant", "dependent", "few images"])
@pytest.mark.parametrize("offset", [0.0, 10.0, 100.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.double])
def test_singular_covariances_are_pseudo_inverted(name, case, dtype, offset, table, train, h):
    train, h = train + offset, h + offset
    if case == "constant":
        train[:, 3] = 0.7
        h[:, 3] = 0.9  # off the training subspace: must not explode
    if case == "dependent":
        train[:, 3], h[:, 3] = train[:, 4] + train[:, 5], h[:, 4] + h[:, 5] + 0.1  # off the subspace
    if case == "few images":
        train = train[:8]
    net = table.to(dtype)
    score = detectors.create(name, net).fit(batches(train.to(dtype)), [])(h.to(dtype)).double()
    assert score.isfinite().all()
    t = train.to(dtype).double().numpy()
    y = np.arange(len(t)) % 4
    means = np.stack([t[y == c].mean(0) for c in range(4)])
    precision = np.linalg.pinv(np.cov((t - means[y]).T, ddof=0), rcond=1e-7, hermitian=True)
    x = h.to(dtype).double().numpy()
    d = np.stack([np.einsum("nd,de,ne->n", x - m, precision, x - m) for m in means], 1).min(1)
    if name == "mds":
        np.testing.assert_allclose(-score.numpy(), d, rtol=1e-3, atol=1e-3)
    assert score.abs().max() < 1e5


def test_knn_is_exact_and_chunked(table, train, h):
    def unit(a):
        return a / np.linalg.norm(a, axis=1, keepdims=True)

    distance, _ = NearestNeighbors(n_neighbors=7).fit(unit(train.numpy())).kneighbors(unit(h.numpy()))
    for chunk in (16384, 13):
        knn = fitted("knn", table, train, neighbours=7, chunk=chunk)
        np.testing.assert_allclose(knn(h).numpy(), -(distance[:, -1] ** 2), atol=1e-8)
        mean = knn.value_and_grad(h, objective="mean")[0].numpy()
        np.testing.assert_allclose(mean, -(distance**2).mean(1), atol=1e-8)


def test_knn_finds_true_neighbours_among_clustered_float32_features(table):
    g = torch.Generator().manual_seed(4)
    train = 1 + 1e-3 * torch.randn(200, 12, generator=g)
    h = 1 + 1e-3 * torch.randn(20, 12, generator=g)
    ours = fitted("knn", table.float(), train, neighbours=9)(h)
    a, b = (torch.nn.functional.normalize(v.double()) for v in (h, train))
    exact = -(torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").kthvalue(9).values ** 2)
    torch.testing.assert_close(ours.double(), exact, rtol=1e-2, atol=0)


def test_vim(table, train, h):
    W, b = table.head.weight.numpy(), table.head.bias.numpy()
    u = -np.linalg.pinv(W) @ b
    c = train.numpy() - u
    values, vectors = np.linalg.eigh(c.T @ c / len(c))
    null = vectors[:, np.argsort(values)[: 12 - 5]]
    alpha = table(train).numpy().max(1).mean() / np.linalg.norm(c @ null, axis=1).mean()
    z = table(h).numpy()
    energy = np.log(np.exp(z).sum(1))
    expected = energy - alpha * np.linalg.norm((h.numpy() - u) @ null, axis=1)
    vim = fitted("vim", table, train, dim=5)
    np.testing.assert_allclose(vim(h).numpy(), expected, rtol=1e-8)
    assert vim.fitted()["alpha"] == pytest.approx(alpha)
    assert fitted("vim", table, train).dim == 6


def test_activation_scores(table, train, h):
    h = h + torch.linspace(0, 1e-3, 12, dtype=torch.double)  # no ties among the top features
    W, b, x = table.head.weight.numpy(), table.head.bias.numpy(), h.numpy()

    def energy(f):
        return np.log(np.exp(f @ W.T + b).sum(1))

    c = np.percentile(train[:50].numpy(), 85)
    np.testing.assert_allclose(fitted("react", table, train, percentile=85)(h), energy(np.minimum(x, c)), rtol=1e-10)
    k = 12 - round(12 * 0.65)
    ash, scale = np.zeros_like(x), np.zeros_like(x)
    for i, row in enumerate(x):
        top = np.argsort(row)[-k:]
        ash[i, top] = row.sum() / k
        scale[i] = row * np.exp(row.sum() / row[top].sum())
    np.testing.assert_allclose(fitted("ash", table, train, percentile=65)(h), energy(ash), rtol=1e-10)
    np.testing.assert_allclose(fitted("scale", table, train, percentile=65)(h), energy(scale), rtol=1e-10)


@pytest.mark.parametrize("size", [0.0, 1e-38, 1e-20])
@pytest.mark.parametrize("name", ["ash", "scale", "react", "knn", "gradnorm", "fdbd"])
def test_features_that_vanish_stay_finite_in_float32(name, size, train):
    net = Table()
    net.head.bias.data *= 10
    params = {"fdbd": {"distance_to_mean": False}} | PARAMS
    detector = fitted(name, net.float(), train.float(), **params.get(name, {}))
    for objective in detector.objectives:
        value, grad = detector.value_and_grad(torch.full((3, 12), size), objective=objective)
        assert value.isfinite().all()
        assert grad.isfinite().all()


def test_dice_keeps_the_weights_that_contribute_most(table, train, h):
    W, b = table.head.weight.numpy(), table.head.bias.numpy()
    for percentile in (0, 35, 90):
        contribution = W * train.numpy().mean(0)
        kept = np.where(contribution > np.percentile(contribution, percentile), W, 0)
        expected = np.log(np.exp(h.numpy() @ kept.T + b).sum(1))
        dice = fitted("dice", table, train, percentile=percentile)
        np.testing.assert_allclose(dice(h).numpy(), expected, rtol=1e-9)
        base = dice.value_and_grad(h, objective="base")[0].numpy()
        np.testing.assert_allclose(base, np.log(np.exp(table(h).numpy()).sum(1)), rtol=1e-9)


def test_gradnorm_is_the_norm_of_the_gradient(table, h):
    expected = []
    for row in h:
        W = table.head.weight.clone().requires_grad_()
        loss = -(row @ W.T + table.head.bias).log_softmax(0).sum()
        expected.append(torch.autograd.grad(loss, W)[0].abs().sum())
    torch.testing.assert_close(detectors.create("gradnorm", table)(h), torch.stack(expected))


def test_odin(smooth, smooth_images):
    odin = detectors.create("odin", smooth, temperature=3.0, step_size=0.02)
    x = smooth_images.clone().requires_grad_()
    z = smooth(x) / 3.0
    (grad,) = torch.autograd.grad(torch.nn.functional.cross_entropy(z, z.argmax(1), reduction="sum"), x)
    moved = smooth_images - 0.02 * torch.where(grad >= 0, 1.0, -1.0)
    torch.testing.assert_close(odin(smooth_images), (smooth(moved) / 3.0).softmax(1).amax(1))
    halved = detectors.create("odin", smooth, temperature=3.0, step_size=0.02, std=(0.5, 0.5))
    moved = smooth_images - 0.04 * torch.where(grad >= 0, 1.0, -1.0)
    torch.testing.assert_close(halved(smooth_images), (smooth(moved) / 3.0).softmax(1).amax(1))


@pytest.mark.parametrize("name", NAMES)
def test_gradients_match_finite_differences(name, smooth, smooth_images):
    split = smooth_fit()
    detector = detectors.create(name, smooth, **PARAMS.get(name, {})).fit(split, split)
    direction = torch.randn(smooth_images.shape, generator=torch.Generator().manual_seed(3), dtype=torch.double)
    for objective in detector.objectives:
        if objective in ("straight-through", "secant"):  # what is held constant has no part in them
            continue
        value, grad = detector.value_and_grad(smooth_images, objective=objective)
        slope = finite_difference(
            lambda x, o=objective: detector.value_and_grad(x, objective=o)[0], smooth_images, direction
        )
        torch.testing.assert_close((grad * direction).flatten(1).sum(1), slope, rtol=1e-4, atol=1e-7)
        assert (grad.flatten(1).abs().amax(1) > 0).all()
        assert value.shape == (6,)


def test_straight_through_keeps_the_value_and_passes_the_gradient(table, train, h):
    ash = fitted("ash", table, train, percentile=65)
    value, grad = ash.value_and_grad(h, objective="straight-through")
    torch.testing.assert_close(value, ash(h))
    p = table.head(ash.shape(h)).softmax(1)
    torch.testing.assert_close(grad, p @ table.head.weight)


@pytest.mark.parametrize("outer", ["pro", "ross"])
@pytest.mark.parametrize("name", NAMES)
def test_inside_pro_and_ross(name, outer, smooth, smooth_images):
    split = smooth_fit()
    inner = {f"base.{key}": value for key, value in PARAMS.get(name, {}).items()}
    settings = {"step_size": 1e-3, "steps": 2} if outer == "pro" else {"sigma": 0.02, "copies": 5}
    detector = detectors.create(outer, smooth, base=name, **inner, **settings).fit(split, split)
    kwargs = {"generator": torch.Generator().manual_seed(0)} if outer == "ross" else {}
    x = smooth_images.clone().requires_grad_()
    (through_forward,) = torch.autograd.grad(detector(x, **kwargs).sum(), x)
    kwargs = {"generator": torch.Generator().manual_seed(0)} if outer == "ross" else {}
    value, grad = detector.value_and_grad(smooth_images, **kwargs)
    assert value.isfinite().all()
    assert (grad.flatten(1).abs().amax(1) > 0).all()
    torch.testing.assert_close(grad, through_forward, rtol=1e-6, atol=1e-9 * grad.abs().max().item())
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(3), dtype=torch.double)

    def value_at(z):
        same = {"generator": torch.Generator().manual_seed(0)} if outer == "ross" else {}
        return detector.value_and_grad(z, **same)[0]

    slope = finite_difference(value_at, smooth_images, direction)
    torch.testing.assert_close((grad * direction).flatten(1).sum(1), slope, rtol=1e-3, atol=1e-6)


def test_vim_of_a_single_feature_says_so(smooth):
    from detectors.score import Fitting

    vim, outputs = detectors.create("vim", smooth), smooth.outputs(torch.rand(4, 2, 4, 4, dtype=torch.double))
    with pytest.raises(ValueError, match="vim needs at least 2 penultimate features, and this network has 1"):
        vim.fit_features(torch.rand(4, 1), Fitting(outputs.logits, torch.rand(4, 1), torch.zeros(4)))
