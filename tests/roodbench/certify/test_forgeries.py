"""Forgeries that are consistent in themselves, so that only the assessor's own noise and code can tell."""

import copy
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from roodbench.certify.certificate import CERTIFIED, noise_seed, read
from roodbench.certify.evidence import KINDS
from roodbench.certify.run import certify
from roodbench.certify.stated import Stated
from roodbench.certify.verifier import found_with, images_needed, verify
from roodbench.machine.device import opened
from roodbench.setup.setting import Setting
from tests.roodbench.certify.conftest import ALONE, SMALL, consistent

BASE = replace(SMALL, run=replace(ALONE, detector=("median", "ross-q"), limit=8, device="cpu"), radius=(0.3,))


@pytest.fixture(scope="module")
def honest(digits_net, folder):
    return read(certify(BASE, out=folder)[1] / "certificate.json")


@cache
def stated_of(params):
    """What a certificate of these hyper-parameters says, made once."""
    config = replace(BASE, run=replace(BASE.run, params=dict(params)))
    with opened("cpu") as device:
        return Stated(config, Setting(config.run_config(), device))


def populations(certificate):
    for entry in certificate["detectors"]:
        yield from entry["populations"].items()


def moved(kind, by):
    """All bounds of a kind better for the detector by so much, up to the score."""

    def forge(certificate):
        for name, population in populations(certificate):
            side, sign, best = ("lower", 1, min) if name == "digits" else ("upper", -1, max)
            for bounds in population[kind].values():
                pairs = zip(bounds[side], population["score"], strict=True)
                bounds[side] = [best(value + sign * by, score) for value, score in pairs]

    return forge


def separated(certificate):
    """Perfect: every bound and score of ID above every one of OOD."""
    for name, population in populations(certificate):
        value, n = (1.0 if name == "digits" else 0.0), len(population["score"])
        population["score"] = [value] * n
        for kind in KINDS:
            for bounds in population[kind].values():
                bounds["lower"], bounds["upper"] = [value] * n, [value] * n


def tiny_eta(certificate):
    """The certificate chooses an eta whose reciprocal used to be the verifier's tolerance."""
    certificate["config"]["run"]["params"] = {"eta": 1e-9}
    for entry in certificate["detectors"]:
        entry["slack"] = 0.0
        if "eta" in entry["params"]:
            entry["params"]["eta"] = 1e-9
    separated(certificate)


def large_gain(certificate):
    """Steep from the other side: bounds off by what 0.01 of a score would make of it."""
    certificate["config"]["run"]["params"] = {"gain": 1e6}
    for entry in certificate["detectors"]:
        if "gain" in entry["params"]:
            entry["params"]["gain"] = 1e6
    separated(certificate)


def samples(change):
    def forge(certificate):
        for name, population in populations(certificate):
            rows = np.array(population["sample"])
            population["sample"] = change(rows, 1 if name == "digits" else -1).tolist()

    return forge


def cut(rows, sign):
    """The half of the scores that hurts, at the median."""
    middle = np.median(rows, 1, keepdims=True)
    return np.maximum(rows, middle) if sign > 0 else np.minimum(rows, middle)


def other_code(certificate):
    """Another code, and so another seed: the one that gave the best bounds of many."""
    certificate["code"] = "0" * 24
    certificate["seed"] = noise_seed(certificate["network"], certificate["data"], certificate["code"])


def one_image(certificate):
    population = certificate["detectors"][0]["populations"]["unseen-digits"]
    for kind in KINDS:
        for bounds in population[kind].values():
            bounds["upper"][5] = bounds["lower"][5] = -99.0
    population["score"][5] = -99.0


def shopped(certificate):
    certificate["seed"] += 1


def negative_slack(certificate):
    """The deployed bound gives way by the slack: below 0 it gains."""
    for entry in certificate["detectors"]:
        entry["slack"] = -1e-4


def lower_threshold(certificate):
    """A threshold that more ID images reach, with noisy scores that allow it."""
    for entry in certificate["detectors"]:
        validation = entry["validation"]
        validation["score"] = [value - 0.5 for value in validation["score"]]
        validation["sample"] = [[value - 0.5 for value in row] for row in validation["sample"]]


def loose_threshold(certificate):
    """A threshold that the noisy scores do not allow."""
    for entry in certificate["detectors"]:
        entry["validation"]["score"] = [value - 2 for value in entry["validation"]["score"]]


FORGERIES = {
    "a lower threshold": (lower_threshold, "its noisy scores are not"),
    "a threshold of nothing": (loose_threshold, "is not one of its noisy scores"),
    "a tiny eta": (tiny_eta, "eta 1e-09: expected at least"),
    "a large gain": (large_gain, "the most that fresh noise allows"),
    "bounds": (moved("bounds", 0.3), "the lower bound"),
    "counted bounds": (moved("counted", 0.4), "(counted) at radius"),
    "predicted bounds": (moved("predicted", 0.4), "(predicted) at radius"),
    "perfect": (separated, "the most that fresh noise allows"),
    "scores moved": (samples(lambda rows, sign: rows + 0.2 * sign), "its noisy scores are not"),
    "scores squeezed": (samples(lambda rows, _: rows.mean(1, keepdims=True) + 0.5 * (rows - rows.mean())), "noisy sco"),
    "scores of other images": (samples(lambda rows, _: rows[::-1]), "its noisy scores are not"),
    "a tail cut off": (samples(cut), "its noisy scores are not"),
    "another seed": (shopped, "seed is"),
    "other code": (other_code, "code is '0000"),
    "slack below 0": (negative_slack, "slack is -0.0001: expected a number of at least 0"),
    "one image of eight": (one_image, "the upper bound -99"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_forgeries_are_found(honest, name):
    forge, message = FORGERIES[name]
    certificate = copy.deepcopy(honest)
    forge(certificate)
    stated = stated_of(tuple(certificate["config"]["run"]["params"].items()))
    verdict = verify(consistent(certificate, stated), seed=1, samples=600, power=0.99)
    assert any(message in line for line in verdict.failures), verdict.failures[:3]


def test_a_slack_that_drowns_eta_is_found(honest):
    certificate = copy.deepcopy(honest)
    certificate["detectors"][1]["slack"] = 1.0
    assert any(
        "ross-q(gen): eta 0.001: expected at least 8" in line
        for line in verify(certificate, seed=1, samples=500).failures
    )


def other_points(certificate):
    """Every number of the operating points, each a little better."""
    for place, entry in enumerate(certificate["operating"]):
        for way in ("threshold", "largest_radius", "largest_radius_new"):
            yield place, (way,)
        for point in range(len(entry["points"])):
            for name, value in entry["points"][point].items():
                inner = [(key,) for key in value] if isinstance(value, dict) else [()]
                yield from ((place, ("points", point, name, *key)) for key in inner)
        for name in ("radius_l2", "tpr"):
            yield place, ("curve", 3, name)


def test_an_operating_point_that_does_not_follow_is_found(honest):
    stated, certificate, ways = stated_of(()), copy.deepcopy(honest), list(other_points(honest))
    assert list(stated.contradictions(honest)) == []
    for place, (*way, last) in ways:
        found = certificate["operating"][place]
        for key in way:
            found = found[key]
        found[last] = 0.5 if found[last] is None else found[last] + (1 if last == "worst_class" else 0.001)
    lines = list(stated.contradictions(certificate))
    assert len(lines) == len(ways) > 40
    for place, way in ways:
        where = f"{stated.detectors[place].label}: operating, {', '.join(map(str, way))} is"
        assert any(line.startswith(where) for line in lines), where


@pytest.mark.parametrize("name", [*CERTIFIED, "deployed"])
def test_a_metric_that_does_not_follow_is_found(honest, name):
    certificate = copy.deepcopy(honest)
    certificate["gauroc"][4][name] += 0.001
    assert any(f"{name} is" in line for line in verify(certificate, seed=1, samples=500).failures)


def test_an_eta_that_rounding_drowns_is_refused(digits_net, tmp_path):
    run = replace(BASE.run, detector=("ross-q",), params={"eta": 1e-9}, limit=4)
    with pytest.raises(ValueError, match=r"ross-q\(gen\): eta 1e-09: expected at least .*, 0.0001 of the spread"):
        certify(replace(BASE, run=run, radius=(0.1,), samples=300), out=tmp_path)


def test_the_seed_follows_from_what_is_certified(honest):
    again = noise_seed(honest["network"], honest["data"], honest["code"])
    assert honest["seed"] == again
    assert noise_seed({**honest["network"], "prepared": "other"}, honest["data"], honest["code"]) == again
    for other in ({**honest, "code": "x"}, {**honest, "data": {}}, {**honest, "network": {"name": "", "sha256": ""}}):
        assert noise_seed(other["network"], other["data"], other["code"]) != again


def test_power_is_the_chance_to_draw_one_of_the_forged():
    rng = np.random.default_rng(0)
    for n, drawn, k in ((50, 8, 1), (50, 8, 5), (200, 30, 10)):
        hit = np.mean([(rng.permutation(n)[:drawn] < k).any() for _ in range(20_000)])
        assert found_with(n, drawn, k) == pytest.approx(hit, abs=0.015)
    for n, k, power in ((50, 1, 0.95), (1000, 10, 0.9), (7, 7, 0.5)):
        least = images_needed(n, k, power)
        assert found_with(n, least, k) >= power > found_with(n, least - 1, k)


def test_a_power_is_a_probability(honest):
    with pytest.raises(ValueError, match="power 1: expected a number between 0 and 1"):
        verify(honest, power=1.0)
