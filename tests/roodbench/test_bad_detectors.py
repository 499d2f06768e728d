"""Detectors and networks that give what they must not: one clear line says what and where."""

import pytest
import torch

import detectors
import roodbench
from tests.roodbench.helpers import small


class Fraudulent(detectors.Score):
    name = "fraudulent"

    def __init__(self, net, bad):
        super().__init__(net)
        self.bad = bad

    def score(self, z, h):
        s = z.amax(1)
        return torch.where(s == s.max(), s * self.bad, s)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_non_finite_scores_name_detector_and_image(bad, digits_net):
    with pytest.raises(
        roodbench.EvaluationError, match=r"fraudulent: score .* not finite on digits, index \d+ \(digit"
    ):
        roodbench.evaluate(Fraudulent(digits_net, bad), small(10), attack="none")


def test_non_finite_gradients_name_detector_and_image(digits_net):
    class Steep(detectors.Score):
        name = "steep"

        def score(self, z, h):
            return (z.amax(1).detach() - z.amax(1)).abs().sqrt() + z.amax(1).detach()

    with pytest.raises(roodbench.EvaluationError, match="steep: gradient is not finite on digits, index 0"):
        roodbench.evaluate(Steep(digits_net), small(10))


def test_scores_of_the_wrong_shape(digits_net):
    class Flat(detectors.Score):
        name = "flat"

        def score(self, z, h):
            return z

    with pytest.raises(roodbench.EvaluationError, match=r"flat gave scores of shape \(10, 6\) for 10 images"):
        roodbench.evaluate(Flat(digits_net), small(10))


def test_a_plain_module_of_scores_is_wrapped(digits_net):
    class Largest(torch.nn.Module):
        def forward(self, x):
            return digits_net(x).amax(1)

    plain, mls = (
        roodbench.evaluate(detector, small(10), check=False)
        for detector in (Largest(), detectors.create("mls", digits_net))
    )
    assert [row.auroc for row in plain.rows] == [row.auroc for row in mls.rows]
    with pytest.raises(ValueError, match="unknown objective 'log' of Largest"):
        roodbench.evaluate(Largest(), small(10), objective="log")


def test_networks_without_logits():
    class Map(torch.nn.Module):
        head = torch.nn.Linear(8, 8)

        def features(self, x):
            return x

    net = roodbench.Classifier(Map(), [0.0], [1.0], name="map")
    with pytest.raises(ValueError, match=r"network map gives outputs of shape \(2, 1, 8, 8\) for 2 images"):
        roodbench.evaluate(detectors.create("ebo", net), small(10))
