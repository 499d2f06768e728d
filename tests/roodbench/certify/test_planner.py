"""What a certification will take: sigma, samples, images."""

import math
import re
from dataclasses import replace

import pytest

from roodbench import cli
from roodbench.certify.planner import plan
from roodbench.metrics.ranks import largest_radius, rank
from tests.roodbench.certify.conftest import SMALL


def test_plan_names_what_would_do(digits_net):
    plans = plan(replace(SMALL, sigma=0.05, radius=(0.1, 0.25, 0.5)))
    assert [p.radius for p in plans[:3]] == [0.1, 0.25, 0.5]
    for p in plans:
        alpha = SMALL.alpha / 24 / {"median": 1, "ross": 2, "ross-q": 3}[p.detector]
        assert largest_radius(SMALL.samples, alpha) * p.least_sigma == pytest.approx(p.radius)
        assert p.r == pytest.approx(p.radius / 0.05)
        assert p.seconds > 0
        if p.least_samples != math.inf:
            n = int(p.least_samples)
            assert rank(n, -p.r, alpha, lower=True) >= 1
            assert rank(n - 1, -p.r, alpha, lower=True) == 0
    assert plans[2].least_samples == math.inf


def test_plan_command(capsys, digits_net):
    assert (
        cli.main(["certify", "--plan", "--radius", "0.1,2", "--sigma", "0.2", "--limit", "4", "--samples", "1000"]) == 0
    )
    out = capsys.readouterr().out
    assert "least sigma for 1000 samples" in out
    assert "no feasible number" in out
    assert re.search(r"a certified FPR of at most 0.05 +FPR 0 +135 OOD", out)
