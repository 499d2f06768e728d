"""Honest certificates hold: many, each on noise of its own, against the truth; and the count sees what does not."""

import argparse
import copy

import numpy as np
import pytest

from roodbench.certify import certify, read
from studies import honest


@pytest.fixture(scope="module")
def few(tmp_path_factory, private_cache):
    """Options of a small setting, a certificate of it, and the truth."""
    options = argparse.Namespace(certificates=1, alpha=1e-3, images=3, samples=300, truth=2000)
    folder = tmp_path_factory.mktemp("honest")
    file = honest.benchmark_in(folder)
    _, kept = certify(honest.config_of(options, file, 0), out=folder)
    return read(kept), honest.truths_of(options, file)


def found(certificate, truths):
    return set(honest.beyond(certificate, truths, np.random.default_rng(0)))


def test_nothing_of_an_honest_certificate_is_beyond_the_truth(few):
    assert found(*few) == set()


def test_what_is_beyond_the_truth_is_counted(few):
    honest_one, truths = few
    certificate = copy.deepcopy(honest_one)
    for row in certificate["gauroc"]:
        row["deployed"], row["gauroc_joint"] = 1.01, 1.01
    certificate["operating"][2]["points"][1]["tpr"] = 1.01
    for kind, radius, place, by in (("bounds", "0.1", 0, 1), ("predicted", "0.3", 1, 5)):
        bounds = certificate["detectors"][place]["populations"]["digits"][kind][radius]
        bounds["lower"] = [value + by for value in bounds["lower"]]
    entry = certificate["detectors"][2]["populations"]["unseen-digits"]
    entry["sample"] = [[value - 1 for value in row] for row in entry["sample"]]
    seen = found(certificate, truths)
    assert seen == {
        "bounds of median at 0.1",
        "bounds of ross by fresh copies at 0.3",
        *(f"`{key}` at {radius}" for key in ("deployed", "gauroc_joint") for radius in ("0.1", "0.3")),
        honest.AT_ONCE,
        honest.RATES,
    }


def test_a_line_says_how_many_are_allowed(printed):
    honest.main(["--certificates", "1", "--images", "2", "--samples", "100", "--truth", "1000", "--alpha", "0.2"])
    rows = {row["what is beyond the truth"]: row for row in printed()}
    assert len(rows) == 1 + 18 + 8 + 2
    assert rows["rejected by --verify"]["allowed on average"] == "0.001"
    assert rows["bounds of ross at 0.1"]["allowed on average"] == "0.2"
    assert rows["`gauroc` at 0.1"]["allowed on average"] == "0.6"
    assert all(int(row["certificates"]) <= int(row["at most, with 0.999"]) for row in rows.values())


@pytest.mark.slow
@pytest.mark.parametrize("alpha", ["0.001", "0.2"])
def test_honest_certificates_hold_on_a_hundred_seeds(alpha, printed):
    honest.main(["--alpha", alpha])
    for row in printed():
        assert row["of"] == "100"
        assert int(row["certificates"]) <= int(row["at most, with 0.999"]), row
