"""Candidates are compared by expected rank, over draws that they share."""

import torch
from scipy.stats import percentileofscore

from attacks import Best, rank, select
from detectors import Detector
from tests.attacks.analytic import streams


class Spread(Detector):
    """s(x) = x_0 + x_1 * noise: each candidate has its own location and its own scale."""

    name, randomized = "spread", True

    def forward(self, x, *, generator=None):
        return x[:, 0, 0, 0] + x[:, 0, 0, 1] * torch.randn(len(x), generator=generator, device=x.device)


def candidate(location, scale, n=400):
    return torch.tensor([location, scale]).expand(n, 1, 1, 2)


def test_selection_goes_by_expected_rank_not_by_the_median():
    """All of the reference lies in [1, 1.1]: wide noise around 0.5 passes it often, no noise at 0.9 never."""
    still, wide = candidate(0.9, 0.0), candidate(0.5, 2.0)
    reference = torch.linspace(1.0, 1.1, 50)
    chosen = select(Spread(), [still, wide], sign=1, reference=reference, stream=lambda: streams("rank"))[1]
    assert chosen.float().mean() > 0.95
    by_median = select(Spread(), [still, wide], sign=1, stream=lambda: streams("rank"))[1]
    assert by_median.float().mean() < 0.5


def test_clean_scores_may_lie_on_the_cpu(gpu):
    """Reported scores do, wherever images and detector are."""
    still, wide = candidate(0.9, 0.0).to("cuda"), candidate(0.5, 2.0).to("cuda")
    reference = torch.linspace(1.0, 1.1, 50)
    stream = lambda: torch.Generator("cuda").manual_seed(0)  # noqa: E731
    images = select(Spread(), [still, wide], sign=1, reference=reference, stream=stream)[0]
    assert images.device.type == "cuda"


def test_selection_averages_over_draws():
    """One noisy draw is often misled; eight are misled less."""
    still, noisy = candidate(0.7, 0.0), candidate(0.3, 0.5)

    def wrong(**draws):
        best = Best(
            Spread(), still, sign=1, reference=torch.linspace(-1, 2, 200), stream=lambda: streams("mean"), **draws
        )
        best.component = 1
        best.offer(noisy)
        return best.winner.float().mean().item()

    assert wrong(draws=1) > 0.1
    assert wrong() < 0.05


def test_rank_counts_ties_half():
    ordered, scores = torch.tensor([0.0, 1.0, 1.0, 3.0]), torch.tensor([-1.0, 0.0, 1.0, 2.0, 4.0])
    expected = [percentileofscore(ordered, s, kind="mean") / 100 for s in scores]
    assert rank(scores, ordered).tolist() == expected
