"""What a network or detector gives and must not: one sentence that names it, what it gave, what is expected, a cure."""

import numpy as np
import pytest
import torch
from torch import nn

import detectors
from detectors import GivenError, Plain, Score

B = 6
IMAGES = torch.rand(B, 1, 8, 8, generator=torch.Generator().manual_seed(3))


class Network(nn.Module):
    """Six logits and what a function makes of them."""

    def __init__(self, give=lambda z: z):
        super().__init__()
        self.linear, self.give = nn.Linear(64, 6), give

    def forward(self, x):
        return self.give(self.linear(x.flatten(1)))


SCORES = {
    "tuple": (lambda z: (z.amax(1), z), "a tuple of 2 for 6 images", "output[0]"),
    "pair with the score second": (lambda z: (z, z.amax(1)), "a tuple of 2 for 6 images", "output[1]"),
    "dict": (lambda z: {"logits": z, "ood": z.amax(1)}, "a dict with 'logits', 'ood'", "output['ood']"),
    "list of floats": (lambda z: z.amax(1).tolist(), "a list of 6", "torch.stack"),
    "list of tensors": (lambda z: list(z.amax(1)), "a list of 6", "torch.stack"),
    "nothing": (lambda z: None, "gave None", "does forward return its result?"),
    "float": (lambda z: 0.25, "the float 0.25", "not .item(), .mean() or .sum()"),
    "int": (lambda z: 3, "the int 3", "not .item(), .mean() or .sum()"),
    "text": (lambda z: "high", "the str 'high'", "return one tensor"),
    "numpy": (lambda z: z.amax(1).detach().numpy(), "a float32 numpy array (6,)", "compute in torch"),
    "generator": (lambda z: (s for s in z), "a generator", "return one tensor"),
    "float16": (lambda z: z.amax(1).half(), "a float16 tensor (6,)", "so few bits tie images that differ"),
    "bfloat16": (lambda z: z.amax(1).bfloat16(), "a bfloat16 tensor (6,)", "logits.float()"),
    "int64": (lambda z: z.argmax(1), "an int64 tensor (6,)", "whole numbers tie"),
    "bool": (lambda z: z.amax(1) > 0, "a bool tensor (6,)", "whole numbers tie"),
    "complex": (lambda z: torch.fft.fft(z)[:, 0], "a complex64 tensor (6,)", ".abs() or .real"),
    "device": (lambda z: z.amax(1).to("meta"), "a float32 tensor (6,)", "lies on meta and the images on cpu"),
    "sparse": (lambda z: z.amax(1).to_sparse(), "a sparse float32 tensor (6,)", ".to_dense()"),
    "nested": (lambda z: torch.nested.nested_tensor(list(z[:, :1])), "a nested float32 tensor", "torch.stack"),
    "column": (lambda z: z.amax(1, keepdim=True), "shape (6, 1) for 6 images: expected (6,)", "squeeze(1)"),
    "row": (lambda z: z.amax(1)[None], "shape (1, 6) for 6 images: expected (6,)", "flatten()"),
    "logits": (lambda z: z[:, :5], "shape (6, 5) for 6 images: expected (6,)", "logits.amax(1)"),
    "map": (lambda z: z[:, :, None, None], "shape (6, 6, 1, 1) for 6 images: expected (6,)", "flatten(1).mean(1)"),
    "one for all": (lambda z: z.mean(), "shape () for 6 images: expected (6,)", "squeeze() of a batch of one"),
    "too few": (lambda z: z.amax(1)[:4], "shape (4,) for 6 images: expected (6,)", "leave images out"),
}


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("plant", SCORES)
def test_a_detector_that_gives_no_scores(plant):
    give, gave, cure = SCORES[plant]
    with pytest.raises(GivenError, match=r"^Network gave ") as found:
        Plain(Network(give))(IMAGES)
    assert gave in str(found.value)
    assert cure in str(found.value)
    assert "\n" not in str(found.value)


def test_one_image_squeezed_is_noticed():
    squeezed = Plain(Network(lambda z: z.amax(1, keepdim=True).squeeze()))
    assert squeezed(IMAGES).shape == (B,)
    with pytest.raises(GivenError, match=r"scores of shape \(\) for 1 image: expected \(1,\)"):
        squeezed(IMAGES[:1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scores_of_32_and_64_bits_are_scores(dtype):
    assert Plain(Network(lambda z: z.amax(1).to(dtype)))(IMAGES).dtype == dtype


LOGITS = {
    "tuple": (lambda z: (z.amax(1), z), "a tuple of 2 for 6 images", "output[1]"),
    "dict": (lambda z: {"loss": 0.0, "logits": z}, "a dict with 'loss', 'logits'", "output['logits']"),
    "nothing": (lambda z: None, "gave None", "does forward return its result?"),
    "numpy": (lambda z: np.zeros((6, 6)), "a float64 numpy array (6, 6)", "compute in torch"),
    "float16": (lambda z: z.half(), "a float16 tensor (6, 6)", "compute the logits in float32"),
    "labels": (lambda z: z.argmax(1), "an int64 tensor (6,)", "whole numbers tie"),
    "one class": (lambda z: z[:, :1], "shape (6, 1) for 6 images", "(6, K) logits with K >= 2"),
    "map": (lambda z: z[:, :, None], "shape (6, 6, 1) for 6 images", "(6, K) logits with K >= 2"),
}


@pytest.mark.parametrize("plant", LOGITS)
@pytest.mark.parametrize("name", ["gen", "msp", "odin", "pro"])
def test_a_network_that_gives_no_logits(plant, name):
    give, gave, cure = LOGITS[plant]
    with pytest.raises(GivenError, match=r"^network Network (gave|gives) ") as found:
        detectors.create(name, Network(give).eval())(IMAGES)
    assert gave in str(found.value)
    assert cure in str(found.value)


@pytest.fixture
def sequential():
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 6)).eval()


def test_scores_of_logits_take_any_network(sequential):
    z = sequential(IMAGES).detach()
    p = z.softmax(1)
    expected = {"ebo": z.logsumexp(1), "msp": p.amax(1), "mls": z.amax(1), "ent": (p * p.log()).sum(1)}
    for name, scores in expected.items():
        torch.testing.assert_close(detectors.create(name, sequential)(IMAGES).detach(), scores)


def test_scores_of_logits_are_fitted_and_wrapped_on_any_network(sequential):
    batches = [(IMAGES, torch.arange(B))]
    for name, params in {"msp-t": {}, "ross": {"sigma": 0.1}, "median": {"sigma": 0.1}, "pro": {}}.items():
        detector = detectors.create(name, sequential, **params).fit(batches, batches)
        scores = detector(IMAGES, generator=torch.Generator().manual_seed(0))
        assert scores.shape == (B,)
        assert scores.isfinite().all()


def test_bounds_without_a_known_number_of_classes(sequential):
    assert detectors.create("msp", sequential).extremes() == (0.0, 1.0)
    assert detectors.create("ent", sequential).extremes() == (-float("inf"), 0.0)
    assert detectors.create("gen", sequential, top=6, gamma=0.5).extremes() == (-3.0, 0.0)


@pytest.mark.parametrize("name", ["fdbd", "mds", "rmds", "knn", "vim", "react", "ash", "scale", "gradnorm"])
def test_scores_of_features_say_what_they_need(name, sequential):
    params, batches = {"dim": 3} if name == "vim" else {}, [(IMAGES, torch.arange(B) % 3)]
    headless = nn.Sequential(*sequential, nn.ReLU()).eval()
    with pytest.raises(ValueError, match=r"network Sequential shows no features: .*layer 1: something follows it"):
        detectors.create(name, headless, **params).fit(batches, batches)(IMAGES)
    with pytest.raises(ValueError, match=r"take gen, ebo, msp .*docs/network.md"):
        detectors.create("pro", headless, base=name, **params).fit(batches, batches)(IMAGES)


@pytest.mark.parametrize("name", ["fdbd", "vim", "react"])
def test_a_network_with_features_and_no_head(name):
    class Headless(nn.Module):
        def outputs(self, x):
            return detectors.Outputs(x.flatten(1)[:, :6], x.flatten(1))

    batches, params = [(IMAGES, torch.arange(B))], {"dim": 3} if name == "vim" else {}
    with pytest.raises(ValueError, match=f"{name} needs the last linear layer of Headless as its attribute `head`"):
        detectors.create(name, Headless(), **params).fit(batches, batches)(IMAGES)


def test_a_network_in_training_mode_is_refused(sequential):
    gen = detectors.create("gen", sequential.train())
    with pytest.raises(ValueError, match=r"network Sequential is in training mode: call its eval\(\) first"):
        gen(IMAGES)
    assert sequential.training


@pytest.mark.parametrize("given", ["digits-cnn", None, nn.Linear, lambda x: x])
def test_what_is_no_network(given):
    with pytest.raises(ValueError, match=r"gen was given .*: expected a network, an nn.Module"):
        detectors.create("gen", given)


def test_the_name_network_is_for_networks():
    class Mine(Score):
        def __init__(self, net):
            super().__init__(net)
            self.network = lambda x: x

    with pytest.raises(AttributeError, match=r"Mine.network is a function: only an nn.Module has this name"):
        Mine(Network())
