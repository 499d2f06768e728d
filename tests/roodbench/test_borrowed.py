"""Public calls leave a caller's module as it was, and score it in eval mode."""

import contextlib
import random

import numpy as np
import pytest
import torch

import attacks
import detectors
import roodbench
from attacks import ThreatModel
from tests.roodbench.helpers import small
from tests.roodbench.surroundings import Trained, classifier, contents, images, noise, surroundings


def trained():
    """One step into its training."""
    module = Trained()
    module(torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))).sum().backward()
    return module


class Wrapped(detectors.Detector):
    name = "wrapped"

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x, *, generator=None):
        return self.module(x)


class Network(Trained):
    """What `detectors.create` takes."""

    def outputs(self, x):
        h = self.body(x)
        return detectors.Outputs(self.head(h), h)

    def forward(self, x):
        return self.outputs(x).logits


def view_of(module):
    view = attacks.TwoLogits(detectors.Plain(module), 0.0)
    view.train()
    view.eval()
    return view(images().requires_grad_()).sum().backward()


USES = {
    "evaluate": lambda m: roodbench.evaluate(m, small(4), steps=2),
    "evaluate a detector": lambda m: roodbench.evaluate(Wrapped(m), small(4), steps=2, check=False),
    "evaluate without attack": lambda m: roodbench.evaluate(m, small(4), attack="none"),
    "square": lambda m: roodbench.evaluate(m, small(4), method="square", check=False),
    "Plain": lambda m: detectors.Plain(m).fit([], [])(images()),
    "pgd": lambda m: attacks.pgd(detectors.Plain(m), images(), ThreatModel(0.1), sign=1, steps=2, generator=noise()),
    "TwoLogits": view_of,
    "TwoLogits of": lambda m: attacks.TwoLogits.of(detectors.Plain(m), images()),
    "Classifier": lambda m: roodbench.Classifier(m, [0.5], [0.5], name="mine")(images()),
    "Classifier modes": lambda m: roodbench.Classifier(m, [0.5], [0.5], name="mine").train().eval(),
    "prepare": lambda m: roodbench.prepare(classifier(m), images(), compile="off")(images()),
    "fit": lambda m: fitted(m, "knn"),
    "evaluate a score": lambda m: roodbench.evaluate(fitted(m, "gen"), small(4), steps=2, check=False),
    "evaluate knn": lambda m: roodbench.evaluate(fitted(m, "knn"), small(4), steps=2, check=False),
    "evaluate vim": lambda m: roodbench.evaluate(fitted(m, "vim"), small(4), steps=2, check=False),
    "evaluate fdbd": lambda m: roodbench.evaluate(fitted(m, "fdbd"), small(4), steps=2, check=False),
    "evaluate ross": lambda m: roodbench.evaluate(fitted(m, "ross"), small(4), steps=2, check=False),
}


def fitted(module, name):
    bench = small(4)
    return detectors.create(name, classifier(module)).fit(bench.id_train, bench.id_val)


@pytest.mark.parametrize("use", USES)
def test_a_callers_module_is_as_it_was(use):
    """And its next training step moves what the same step moves of a module that nobody used."""
    module, other = trained(), trained()
    before = contents(module)
    USES[use](module)
    assert contents(module) == before
    for one in (module, other):
        torch.manual_seed(5)
        optimizer = torch.optim.SGD(one.parameters(), lr=0.1)
        optimizer.zero_grad()
        one(images(8)).sum().backward()
        optimizer.step()
    weight = dict(module.named_parameters())["body.1.weight"]
    assert torch.equal(weight, other.body[1].weight)
    assert not torch.equal(weight, Trained().body[1].weight)


def test_a_network_given_to_create_is_as_it_was():
    net = Network()
    before = contents(net)
    bench = small(4)
    for name in ("gen", "mds", "vim", "pro"):
        detector = detectors.create(name, net).fit(bench.id_train, bench.id_val)
        roodbench.evaluate(detector, bench, steps=2, check=False)
        assert contents(net) == before


class Meddling(torch.nn.Module):
    """Changes in every pass what it should leave alone, and fails in one of them."""

    def __init__(self, passes):
        super().__init__()
        self.layer, self.passes = torch.nn.Linear(64, 1), passes
        self.register_buffer("count", torch.zeros(1))
        self.register_buffer("seen", torch.zeros(1))
        self.other = torch.nn.Parameter(torch.ones(2))

    def forward(self, x):
        self.passes -= 1
        if self.passes == 0:
            raise ArithmeticError("no pass left")
        self.count += 1
        self.seen = self.seen + len(x)
        with torch.no_grad():
            self.layer.bias.add_(1e-3)
        self.layer.weight.data = self.layer.weight.data + 1e-3
        self.other = torch.nn.Parameter(self.other + 1)
        self.layer.register_forward_hook(lambda *args: None)
        with torch.enable_grad():
            self.layer(torch.ones_like(x[:1]).flatten(1)).sum().backward()
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        torch.manual_seed(0)
        torch.set_default_dtype(torch.float64)
        torch.use_deterministic_algorithms(True)
        torch.set_num_threads(1)
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("medium")
        torch.set_grad_enabled(torch.is_grad_enabled())
        return self.layer(x.flatten(1))[:, 0].float()


@pytest.mark.parametrize("passes", [0, 2, 4, 12])
def test_a_module_that_meddles_is_put_back_with_what_it_meddled_with(passes):
    module = Meddling(passes)
    before, around = contents(module), surroundings()
    with pytest.raises(Exception, match="no pass left") if passes else contextlib.nullcontext():
        roodbench.evaluate(module, small(4), steps=2)
    assert surroundings() == around
    assert contents(module) == before


def test_dropout_is_off_while_a_module_is_scored():
    """The same numbers as of a module in eval mode; of a detector around it, too."""
    module = Trained()
    rows = [
        [(row.condition, row.auroc) for row in roodbench.evaluate(one, small(8), steps=2, check=False).rows]
        for one in (module, Wrapped(module), Trained().eval().requires_grad_(False))
    ]
    assert rows[0] == rows[1] == rows[2]
    assert module.training


def test_a_detector_may_ask_for_gradients_of_its_parameters():
    class GradientNorm(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Trained()

        def forward(self, x):
            with torch.enable_grad():
                norms = [
                    torch.autograd.grad(self.net(z).sum(), self.net.head.weight, create_graph=True)[0].norm()
                    for z in x.split(1)
                ]
            return self.net(x) + torch.stack(norms)

    roodbench.evaluate(GradientNorm(), small(4), steps=2, check=False)
