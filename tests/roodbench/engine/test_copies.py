"""A detector cannot spoil images or scores: it is given copies, named when it writes, and its results are copied."""

import re

import pytest
import torch

import detectors
import roodbench
from attacks import ThreatModel, pgd
from roodbench.engine.copies import OnCopies, on_copy
from roodbench.engine.errors import EvaluationError
from tests.roodbench.helpers import fitted, small

WAYS = {
    "in place": lambda x: x.sub_(0.1).div_(0.3),
    "past autograd": lambda x: x.data.mul_(2),
    "through numpy": lambda x: x.numpy().__setitem__(0, 0.5),
    "one pixel": lambda x: x[-1, 0, 0, 0].add_(0.25),
    "through a view": lambda x: x.flatten().add_(0.25),
}
MESSAGE = "writes into the images it is given: work on a copy: x = x.clone()"


class Writer(torch.nn.Module):
    def __init__(self, net, write):
        super().__init__()
        self.net, self.write = net, write

    def forward(self, x):
        if not x.requires_grad:
            self.write(x)
        return self.net(x).amax(1)


@pytest.mark.parametrize("way", WAYS)
def test_a_detector_that_writes_into_its_images_is_named(way, digits_net):
    with pytest.raises(EvaluationError, match="^" + re.escape(f"Writer {MESSAGE}")):
        roodbench.evaluate(Writer(digits_net, WAYS[way]), small(10), attack="none")


class WritesInGradients(detectors.MLS):
    name = "writes"

    def value_and_grad(self, x, **settings):
        x.mul_(0.5)
        return super().value_and_grad(x, **settings)


def test_one_that_writes_into_an_iterate_is_named(digits_net):
    with pytest.raises(EvaluationError, match=r"^writes writes into the images"):
        roodbench.evaluate(WritesInGradients(digits_net), small(10), check=False)


def test_a_network_that_writes_is_named(digits_net):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.head = digits_net, digits_net.head

        def forward(self, x):
            return self.net(x.mul_(0.5) if len(x) > 2 else x)

    detector = detectors.Plain(Writer(digits_net, lambda x: None))
    detector.net = Net()
    with pytest.raises(EvaluationError, match="the network of Writer writes into"):
        roodbench.evaluate(detector, small(10), attack="none")


def test_the_next_detector_sees_the_images_as_they_were(digits_net):
    bench = small(10)
    before = bench.id_test.shard(0, 10)
    with pytest.raises(EvaluationError):
        roodbench.evaluate(Writer(digits_net, WAYS["past autograd"]), bench, attack="none")
    assert torch.equal(bench.id_test.shard(0, 10), before)
    x = before.clone()
    with pytest.raises(EvaluationError, match=r"^it writes"):
        on_copy(lambda x: x.zero_().sum(), x, "it")
    assert torch.equal(x, before)


class Reuses(torch.nn.Module):
    """The energy, returned in one buffer that the next call overwrites."""

    def __init__(self, net):
        super().__init__()
        self.net, self.buffer = net, torch.zeros(64)

    def forward(self, x):
        self.buffer.detach_()[: len(x)] = self.net(x).logsumexp(1)
        return self.buffer[: len(x)]


def test_a_score_that_was_returned_cannot_be_changed(digits_net):
    bench = small(10)
    found = roodbench.evaluate(Reuses(digits_net), bench, attack="none").rows
    wanted = roodbench.evaluate(fitted("ebo", digits_net, bench), bench, attack="none").rows
    assert [row.auroc for row in found] == [row.auroc for row in wanted]
    score = OnCopies(detectors.Plain(Reuses(digits_net)), "reuses")
    with torch.no_grad():
        first = score(bench.id_test.shard(0, 4))
        kept = first.clone()
        score(bench.ood["unseen-digits"].shard(0, 4))
    assert torch.equal(first, kept)


def test_copies_change_no_bit_of_an_attack(digits_net):
    bench = small(20)
    gen, x = fitted("gen", digits_net, bench), bench.id_test.shard(0, 20)
    found = [
        pgd(d, x, ThreatModel(0.05), sign=-1, steps=5, generator=torch.Generator().manual_seed(0)).images
        for d in (gen, OnCopies(gen, "gen"))
    ]
    assert torch.equal(*found)
    assert not torch.equal(found[0], x)


def test_fitting_cannot_spoil_labels_or_kept_outputs(digits_net):
    bench = small(10)
    labels = bench.id_train.labels.clone()
    for x, y in bench.id_train:
        x.zero_()
        y.fill_(3)
    assert torch.equal(bench.id_train.labels, labels)
    kept = bench.id_train.outputs(digits_net)
    wanted = kept.features.clone()
    kept.features.zero_()
    kept.labels.zero_()
    assert torch.equal(bench.id_train.outputs(digits_net).features, wanted)
    assert torch.equal(bench.id_train.labels, labels)
