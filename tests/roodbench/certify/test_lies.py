"""Evidence of one certification under the settings of another: everything follows from it, and it is found."""

import copy
from dataclasses import replace

import numpy as np
import pytest

from roodbench.certify import operating
from roodbench.certify.certificate import config_of, read
from roodbench.certify.evidence import KINDS
from roodbench.certify.run import certify
from roodbench.certify.stated import Stated
from roodbench.certify.verifier import verify
from roodbench.machine.device import opened
from roodbench.metrics.deployed import knots
from roodbench.setup.setting import Setting
from tests.roodbench.certify.conftest import ALONE, SMALL, consistent

BASE = replace(SMALL, run=replace(ALONE, limit=6, device="cpu"), radius=(0.3,), samples=400)


@pytest.fixture(scope="module", autouse=True)
def few_points():
    """Operating points of few radii."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operating, "POINTS", 1)
        patch.setattr(operating, "HALVINGS", 2)
        yield


@pytest.fixture(scope="module")
def made(digits_net, tmp_path_factory):
    """A certificate of some settings, made honestly, each once."""
    kept, folder = {}, tmp_path_factory.mktemp("runs")

    def of(config):
        if str(config) not in kept:
            kept[str(config)] = read(certify(config, out=folder)[1])
        return copy.deepcopy(kept[str(config)])

    return of


def resampled(sample, N):
    """Noisy scores at the knots of N, between those at the knots of fewer."""
    few = next(n for n in range(8, N + 1) if len(knots(n)) == len(sample[0]))
    where = (knots(N) - 0.5) / N, (knots(few) - 0.5) / few
    return [np.interp(*where, row).astype(np.float32).tolist() for row in sample]


def grafted(said, other, N):
    """The certificate `said` with the evidence of another, and all metrics that follow from it."""
    for mine, its in zip(said["detectors"], other["detectors"], strict=True):
        pairs = list(zip(mine["populations"].values(), its["populations"].values(), strict=True))
        for own, new in pairs:
            for kind in KINDS:
                own[kind] = dict(zip(own[kind], new[kind].values(), strict=True))
        for own, new in (*pairs, (mine["validation"], its["validation"])):
            own["score"] = new["score"]
            own["sample"] = new["sample"] if N is None else resampled(new["sample"], N)
        mine["slack"] = its["slack"]
    return consistent(said, stated_of(said))


def stated_of(certificate):
    config = config_of(certificate)
    with opened("cpu") as device:
        return Stated(config, Setting(config.run_config(), device))


def run(**settings):
    return replace(BASE, run=replace(BASE.run, **settings))


LIES = {
    "another alpha": (BASE, replace(BASE, alpha=0.5), "the most that its 400 noisy scores give"),
    "the bounds of a smaller radius": (BASE, replace(BASE, radius=(0.05,)), "the most that its 400 noisy scores give"),
    "a denoiser that is not told": (BASE, run(denoiser="digits-denoiser"), "its noisy scores are not those"),
    "a denoiser that is not there": (run(denoiser="digits-denoiser"), BASE, "its noisy scores are not those"),
    "less noise": (BASE, replace(BASE, sigma=0.1, radius=(0.12,)), "its noisy scores are not those"),
    "easier OOD images": (BASE, run(ood=("photos",)), "its noisy scores are not those"),
    "another network": (BASE, run(model="digits-cnn-at"), "its noisy scores are not those"),
    "another base score": (BASE, run(base="msp"), "its noisy scores are not those"),
}
DEAR = ("less noise", "easier OOD images", "another network", "another base score")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in DEAR else []) for n in LIES])
def test_evidence_of_other_settings_is_found(made, name):
    said, other, message = LIES[name]
    verdict = verify(grafted(made(said), made(other), None), seed=1, samples=500, power=0.99)
    assert any(message in line for line in verdict.failures), verdict.failures[:3]


@pytest.mark.slow
def test_a_few_samples_that_say_to_be_many_are_found(made):
    """The scores between are interpolated, which makes bounds of them; the scatter of the few is left."""
    said, few = made(replace(BASE, samples=20_000)), made(replace(BASE, samples=100))
    verdict = verify(grafted(said, few, 20_000), seed=1, samples=2000, power=0.99)
    assert any("its noisy scores are not those" in line for line in verdict.failures), verdict.failures[:3]


@pytest.mark.parametrize(("kind", "other"), [("predicted", "bounds"), ("bounds", "predicted")])
def test_bounds_of_one_kind_that_say_to_be_of_another(made, kind, other):
    """Of fresh copies they are wider: the better ones in their place are found, the worse ones claim less."""
    certificate = made(BASE)
    for entry in certificate["detectors"]:
        for population in entry["populations"].values():
            population[kind] = copy.deepcopy(population[other])
    found = verify(consistent(certificate, stated_of(certificate)), seed=1, samples=500).failures
    assert any("(predicted)" in line and "noisy scores give" in line for line in found) == (kind == "predicted")


def test_a_largest_radius_of_a_smaller_tpr_is_found(made):
    said, other = made(replace(BASE, least_tpr=0.9)), made(replace(BASE, least_tpr=0.3))
    said["operating"] = other["operating"]
    assert any("largest_radius is" in line for line in verify(said, seed=1, samples=500).failures)
