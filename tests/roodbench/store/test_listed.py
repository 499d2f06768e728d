"""Where a key lists all that decides a result, and what is computed anew where it cannot."""

import functools
import math
import types

import pytest
import torch

import detectors
import roodbench
from roodbench.store.listed import is_listed
from tests.roodbench.helpers import small


class Holder:
    def __init__(self, value):
        self.value = value


class Largest(detectors.Score):
    name = "largest"

    def score(self, z, h):
        return z.amax(1)


@pytest.mark.parametrize("name", detectors.DETECTORS)
def test_our_own_detectors_are_listed_whole(name, digits_net):
    bench = small(4)
    fast = roodbench.prepare(digits_net, bench.id_val.shard(0, 4), compile="off")
    assert is_listed(detectors.create(name, fast).fit(bench.id_train, bench.id_val))


def test_code_of_others_is_not_listed(digits_net):
    listed = detectors.create("gen", digits_net)
    assert is_listed(listed)
    nowhere = {}
    exec("def function(x): return x\nclass Class: pass", nowhere)
    values = [lambda x: x, Holder(1), [Holder(1)], {"a": torch.nn.Linear(1, 1)}, functools.partial(abs, 1)]
    values += [nowhere["function"], nowhere["Class"](), [1.0].__getitem__, functools.wraps(torch.relu)(lambda x: x)]
    for value in values:
        other = detectors.create("gen", digits_net)
        other.more = value
        assert not is_listed(other)
    for value in (torch.relu, torch.nn.functional.relu, abs, math.exp, {"a": [1, torch.ones(2), None]}):
        listed.more = value
        assert is_listed(listed)
    assert not is_listed(type("Mine", (detectors.GEN,), {"__module__": "builtins"})(digits_net))
    assert not is_listed(Largest(digits_net))
    assert not is_listed(detectors.create("gen", types.SimpleNamespace(outputs=abs)))


class Backbone(torch.nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale, self.head = scale, torch.nn.Linear(64, 6)

    def features(self, x):
        return self.scale() * x.flatten(1)


def test_features_of_a_network_with_code_of_others_are_not_those_of_another_day():
    """What is fitted on them follows the network, too."""
    scale = 1.0
    net = roodbench.Classifier(Backbone(lambda: scale), [0.0], [1.0], name="mine")
    bench = small(4)
    before = bench.id_val.outputs(net).features
    assert torch.equal(bench.id_val.outputs(net).features, before)
    scale = 2.0
    torch.testing.assert_close(bench.id_val.outputs(net).features, 2 * before)
    torch.testing.assert_close(small(4).id_val.outputs(net).features, 2 * before)


def test_a_users_network_says_its_accuracy_anew(tmp_path):
    """Labels that are permuted later leave the largest logit where it was."""
    shift = 0

    class Turning(torch.nn.Module):
        head = torch.nn.Linear(1, 1)

        def forward(self, x):
            return roodbench.load_model("digits-cnn")(x).roll(shift, 1)

    class Largest(detectors.Detector):
        name = "largest"

        def __init__(self):
            super().__init__()
            self.net = Turning()

        def forward(self, x, *, generator=None):
            return self.net(x).amax(1)

    bench, store = small(8), roodbench.Store(tmp_path)
    before = roodbench.evaluate(Largest(), bench, attack="none", store=store).rows[0]
    shift = 1
    after = roodbench.evaluate(Largest(), bench, attack="none", store=store).rows[0]
    assert before.id_accuracy == 1.0
    assert after.id_accuracy == 0.0
    assert after.auroc == before.auroc
