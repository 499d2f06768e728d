"""Smoothing: the combinations, gradients in one pass and in chunks, memory, randomness."""

import weakref

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import detectors
from roodbench.models import Classifier
from roodbench.models.resnet import ResNet

NAMES = ["median", "mad", "cov", "ross", "ross-q"]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def make(name, net, **params):
    detector = detectors.create(name, net, base=params.pop("base", "gen"), sigma=params.pop("sigma", 0.1), **params)
    if name.startswith("ross"):
        detector.tau, detector.spread = -2.0, 0.7
    return detector


def combined_by_hand(name, s, tau=-2.0, gain=0.01, eta=1e-12):
    """One image at a time, in numpy float64."""
    out = []
    for column in s.T:
        m = np.sort(column)[(len(column) - 1) // 2]
        d = np.mean([abs(v - m) for v in column])
        out.append({"median": m, "mad": -d, "cov": -d / (m + 1e-12)}.get(name))
        if name == "ross":
            out[-1] = m if m <= tau else tau + (m - tau) * (1 + gain / (d + eta))
        if name == "ross-q":
            ranked, n = np.sort(column), len(column)
            spread = ranked[-(-19 * n // 20) - 1] - ranked[-(-n // 20) - 1]  # ceil(0.95 n), ceil(0.05 n)
            out[-1] = m if m <= tau else tau + (m - tau) * (1 + gain / max(spread, 1e-3))
    return np.array(out)


@pytest.mark.parametrize("n", [1, 4, 20, 25, 100])
@pytest.mark.parametrize("name", NAMES)
def test_combination(name, n, smooth):
    s = torch.randn(n, 40, generator=generator(), dtype=torch.double) - 2
    np.testing.assert_allclose(make(name, smooth).combine(s).numpy(), combined_by_hand(name, s.numpy()), rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_equal_copies_stay_finite(name, smooth):
    s = torch.full((5, 3), -1.0, requires_grad=True)
    value = make(name, smooth).combine(s)
    (grad,) = torch.autograd.grad(value.sum(), s)
    assert value.isfinite().all()
    assert grad.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_gradient_in_chunks_equals_gradient_in_one_pass(name, smooth, smooth_images):
    whole, chunked = make(name, smooth, chunk=4096), make(name, smooth, chunk=18)
    assert whole._one_pass(25)
    assert not chunked._one_pass(25)
    for objective in whole.objectives:
        a = whole.value_and_grad(smooth_images, objective=objective, generator=generator())
        b = chunked.value_and_grad(smooth_images, objective=objective, generator=generator())
        torch.testing.assert_close(a[0], b[0], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(a[1], b[1], rtol=1e-6, atol=1e-9 * a[1].abs().max().item())


@pytest.mark.parametrize("name", NAMES)
def test_exact_gradient_is_autograds_through_forward(name, smooth, smooth_images):
    detector = make(name, smooth)
    x = smooth_images.clone().requires_grad_()
    value = detector(x, generator=generator())
    (grad,) = torch.autograd.grad(value.sum(), x)
    found = detector.value_and_grad(smooth_images, generator=generator())
    torch.testing.assert_close(found[0], value.detach())
    torch.testing.assert_close(found[1], grad, rtol=1e-7, atol=1e-12)


def test_objectives_are_what_they_say(smooth, smooth_images):
    ross = make("ross", smooth)
    s = ross.matrix(smooth_images, generator=generator())

    def value(objective):
        return ross.value_and_grad(smooth_images, objective=objective, generator=generator())[0]

    torch.testing.assert_close(value("mean"), s.mean(0))
    torch.testing.assert_close(value("base"), ross.base(smooth_images))
    torch.testing.assert_close(value("log-gain"), torch.asinh((ross.combine(s) + 2.0) / 0.7))
    m = s.median(0).values
    h = (s - m).abs().mean(0) / 2
    weights = torch.exp(-((s - m) ** 2) / (2 * h**2))
    torch.testing.assert_close(value("soft-median"), (weights * s).sum(0) / weights.sum(0))


def test_noise_does_not_depend_on_the_chunk_and_follows_the_seed(smooth, smooth_images):
    a, b = make("median", smooth, chunk=4096), make("median", smooth, chunk=1)
    s = a.matrix(smooth_images, generator=generator(3))
    torch.testing.assert_close(s, b.matrix(smooth_images, generator=generator(3)))
    assert not torch.equal(s, a.matrix(smooth_images, generator=generator(4)))


def test_noise_is_gaussian_of_the_given_size(smooth):
    detector = make("median", smooth, sigma=0.3)
    x = torch.full((4, 2, 4, 4), 0.5, dtype=torch.double)
    noise = torch.cat(list(detector.noisy(x, 500, generator()))) - x
    assert noise.std().item() == pytest.approx(0.3, rel=0.01)
    assert noise.abs().max() > 1.0  # never clipped to the pixel range


def test_sigma_0_is_the_base_score(smooth, smooth_images):
    detector = make("median", smooth, sigma=0.0)
    torch.testing.assert_close(detector(smooth_images, generator=generator()), detector.base(smooth_images))


def test_tau_is_the_5_percent_quantile_of_validation_medians(smooth):
    x = torch.rand(200, 2, 4, 4, generator=generator(1), dtype=torch.double)
    val = [(x[:150], torch.zeros(150)), (x[150:], torch.zeros(50))]
    ross = detectors.create("ross", smooth, base="ebo", sigma=0.05, seed=11).fit([], val)
    g = generator(11)
    medians = torch.cat([ross.matrix(b, generator=g).median(0).values for b, _ in val])
    assert ross.tau == pytest.approx(np.quantile(medians.numpy(), 0.05))
    assert ross.spread == pytest.approx(np.subtract(*np.quantile(medians.numpy(), [0.75, 0.25])))


def test_passes_are_counted_truly(counting, smooth_images):
    for name, chunk in (("ross", 4096), ("ross", 18), ("median", 4096), ("median", 18)):
        ross = make(name, counting, chunk=chunk)
        for objective in ross.objectives:
            counting.forwards = counting.backwards = 0
            ross.value_and_grad(smooth_images, objective=objective, draws=10, generator=generator())
            assert (counting.forwards / 6, counting.backwards / 6) == ross.passes(objective, 10)
    counting.forwards = 0
    with torch.no_grad():
        ross(smooth_images, generator=generator())
    assert (counting.forwards / 6, 0) == ross.score_passes()


def test_the_median_needs_one_backward_pass(counting, smooth_images):
    """Only the copy in the middle moves it."""
    median = make("median", counting, chunk=18)
    median.value_and_grad(smooth_images, draws=25, generator=generator())
    assert (counting.forwards / 6, counting.backwards / 6) == (26, 1)


def test_calls_without_what_they_need_are_errors(smooth, smooth_images):
    with pytest.raises(ValueError, match=r"median is randomised: give it a torch.Generator"):
        make("median", smooth)(smooth_images)
    with pytest.raises(ValueError, match="no tau yet"):
        detectors.create("ross", smooth)(smooth_images, generator=generator())
    with pytest.raises(ValueError, match="sigma -1: expected"):
        detectors.create("ross", smooth, sigma=-1)
    with pytest.raises(ValueError, match="copies 0: expected"):
        detectors.create("ross", smooth, copies=0)
    with pytest.raises(ValueError, match="unknown objective 'mode' of ross"):
        make("ross", smooth).value_and_grad(smooth_images, objective="mode", generator=generator())


class PeakMemory(TorchDispatchMode):
    """The most bytes that tensors made inside the context hold at one time."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self.alive = weakref.WeakValueDictionary()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage()._cdata not in self.alive:
                storage = tensor.untyped_storage()
                self.alive[storage._cdata] = storage
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self.free, storage.nbytes())
        return out

    def free(self, size):
        self.now -= size


@pytest.mark.parametrize(("images", "few"), [(8, 8), *(pytest.param(64, n, marks=pytest.mark.slow) for n in (2, 8))])
def test_peak_memory_does_not_grow_with_copies(images, few):
    """ResNet-14, 64 images per pass: 64 copies need what the few that fill a chunk need, in two passes or one (2)."""
    net = Classifier(ResNet(14), [0.5] * 3, [0.5] * 3, name="untrained")
    x = torch.rand(images, 3, 32, 32, generator=generator())
    peaks = {}
    for copies in (few, 64):
        ross = detectors.create("ross", net, copies=copies, chunk=64)
        ross.tau = -3.0
        with PeakMemory() as memory:
            ross.value_and_grad(x, generator=generator())
        peaks[copies] = memory.peak
    assert peaks[few] > 20e6  # the activations of 64 images are what is measured
    assert peaks[64] <= 1.1 * peaks[few]
    assert peaks[few] <= 1.1 * peaks[64]


def test_the_certifiable_form_of_ross_divides_by_the_larger_of_deviation_and_eta(smooth):
    s = torch.stack([torch.full((9,), -1.0), torch.linspace(-1.5, -0.5, 9)], 1).double()
    ross = make("ross", smooth, eta=0.1, floored=True)
    deviations = [0.1, (s[:, 1] + 1).abs().mean().item()]  # the first image's is 0
    wanted = [-2.0 + 1.0 * (1 + 0.01 / d) for d in deviations]
    np.testing.assert_allclose(ross.combine(s).numpy(), wanted, rtol=1e-12)


def test_ross_q_refuses_a_tail_beyond_the_median(smooth):
    for tail in (0.0, 0.5, -1.0):
        with pytest.raises(ValueError, match="expected a number between 0 and"):
            make("ross-q", smooth, tail=tail)
