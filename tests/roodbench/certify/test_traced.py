"""Interval bounds are of what torch.fx traces of a network: where that is another function, nothing is certified."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from roodbench.certify.certificate import read
from roodbench.certify.interval.config import IntervalConfig
from roodbench.certify.interval.evidence import Found
from roodbench.certify.interval.logits import Bounds
from roodbench.certify.interval.run import certify_intervals
from roodbench.certify.interval.verifier import verify_intervals
from roodbench.engine.errors import EvaluationError
from roodbench.models import Classifier
from roodbench.setup.config import RunConfig

ALIASED = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(1, 8, 3), nn.Linear(8, 6)

    def forward(self, x):
        h = self.conv(x)
        return self.head((nn.functional.relu(h, inplace=True) + h).mean((2, 3)))
"""


def test_a_layer_that_writes_over_what_is_used_again_is_found_out(tmp_path, monkeypatch):
    """When it is certified; and when it is verified, of a certificate that was made without looking."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(ALIASED)
    run = RunConfig(detector=("ebo",), attack="none", ood=("noise",), limit=3, model="net.py:Net", device="cpu")
    config = IntervalConfig(run, (0.1,))
    said = "the network is not what was traced of it"
    with pytest.raises(EvaluationError, match=said):
        certify_intervals(config, out=tmp_path)
    with monkeypatch.context() as careless:
        careless.setattr(Found, "escape", lambda *given: None)
        _, folder = certify_intervals(config, out=tmp_path)
    (failure,) = verify_intervals(read(folder), model="net.py:Net").failures[:1]
    assert said in failure


class Odd(nn.Module):
    """A network whose features are a function of those of a convolution."""

    def __init__(self, function):
        super().__init__()
        self.conv, self.head, self.function = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4, 3), function

    def features(self, x):
        return self.function(self.conv(x))


def bounds_of(function, x, radius):
    net = Classifier(Odd(function).eval(), [0.4], [0.3], name="odd").requires_grad_(False)
    return net, list(Bounds(net).logits(x, radius))


@pytest.mark.parametrize(
    "function",
    [
        lambda h: (h + torch.ones((), device=h.device)).mean((2, 3)),
        lambda h: h.to(h.dtype).mean((2, 3)),
        lambda h: h.mean((2, 3)) + h.mean(),
        lambda h: F.avg_pool2d(h, 4, divisor_override=-2).flatten(1),
    ],
    ids=["device", "dtype", "mean of all", "negative weights"],
)
@pytest.mark.parametrize("radius", [0.0, 0.1])
def test_what_a_network_may_ask_of_a_tensor_and_no_rule_knows_is_one_line(function, radius):
    with pytest.raises(ValueError, match="network odd: interval bounds have no rule for"):
        bounds_of(function, torch.rand(1, 1, 4, 4), radius)


@pytest.mark.parametrize("first", [True, False])
def test_a_sum_of_other_shapes_is_spread(first):
    """In either order."""

    def function(h):
        mean = h.mean((2, 3), keepdim=True)
        return F.relu(mean + h if first else h + mean).mean((2, 3))

    torch.manual_seed(0)
    x = torch.rand(1, 1, 4, 4)
    net, (z,) = bounds_of(function, x, 0.1)
    for _ in range(20):
        found = net((x + 0.1 * torch.randn(x.shape).sign()).clamp(0, 1)).double().numpy()
        assert ((z.lower <= found) & (found <= z.upper)).all()
    assert (z.upper - z.lower < 2).all()
