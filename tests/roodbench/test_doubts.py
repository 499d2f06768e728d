"""What `evaluate` says of a network and labels that do not go together with the images, before anything is computed."""

import pytest
import torch

import detectors
import roodbench
from roodbench.setup.network import IMAGES, note_doubts
from tests.roodbench.helpers import small


class Unnormalised(torch.nn.Module):
    """The digits network without the normalisation before it."""

    def __init__(self, net):
        super().__init__()
        self.backbone, self.shift = net.backbone, 3.0

    def forward(self, x):
        return self.backbone.head(self.backbone.features(x + self.shift))


def test_a_network_that_nothing_normalises_for_is_noticed(digits_net, caplog):
    net = Unnormalised(digits_net).eval()
    plain = Plainly(net)
    for detector in (detectors.create("ebo", net), plain):
        caplog.clear()
        roodbench.evaluate(detector, small(12), attack="none")
        (said,) = [message for message in caplog.messages if message.startswith("network ")]
        assert "of 100 ID validation images are right with" in said
        assert "as it is normalised now: give it (x - " in said
    caplog.clear()
    roodbench.evaluate(detectors.create("ebo", digits_net), small(12), attack="none")
    assert not caplog.messages


class Plainly(detectors.Detector):
    """The largest logit of a network of one's own."""

    name = "plainly"

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, *, generator=None):
        return self.net(x).amax(1)


@pytest.mark.parametrize("split", ["id_train", "id_val"])
def test_labels_in_another_order_are_noticed(split, digits_net, caplog):
    sets = {
        name: (getattr(small(), name).array, getattr(small(), name).labels.numpy()) for name in ("id_train", "id_val")
    }
    images, labels = sets[split]
    sets[split] = images, labels[::-1].copy()
    bench = small(12)
    own = {
        "id_test": (bench.id_test.array, bench.id_test.labels.numpy()),
        "far": {"noise": bench.ood["unseen-digits"].array},
    }
    mine = roodbench.benchmark_from(**sets, **own)
    roodbench.evaluate(detectors.create("msp", digits_net), mine, attack="none")
    (said,) = [message for message in caplog.messages if message.startswith("network ")]
    where = split.replace("id_", "ID ")
    assert said.startswith("network digits-cnn gives ")
    assert said.endswith(f"% of ID test: are the labels of {where} in the order of its images?")


def test_doubts_take_passes_that_memory_has_held(digits_net, monkeypatch):
    """No more images than the checks before them, and nothing kept for a gradient."""
    forward, seen = type(digits_net).forward, []

    def noted(net, x):
        seen.append((torch.is_grad_enabled(), len(x)))
        return forward(net, x)

    monkeypatch.setattr(type(digits_net), "forward", noted)
    note_doubts(digits_net, small(12), torch.device("cpu"))
    assert seen
    assert {grad for grad, _ in seen} == {False}
    assert max(size for _, size in seen) == IMAGES
