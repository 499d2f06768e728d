"""Every leaf of a certificate is compared, or is named among those that are not."""

import copy
import json
from dataclasses import replace
from fnmatch import fnmatch

import pytest

from roodbench.certify import operating
from roodbench.certify.certificate import config_of, read
from roodbench.certify.config import CertifyConfig
from roodbench.certify.run import certify
from roodbench.certify.stated import UNVERIFIED, Stated
from roodbench.machine.device import opened
from roodbench.metrics.deployed import knots
from roodbench.setup.config import RunConfig
from roodbench.setup.setting import Setting

TWICE = {"samples", "alpha"}
"""Named, and yet a change in one place alone is noticed."""
AT_TIMES = {"detectors.*.slack"}
"""Named, and noticed where a metric happens to turn on it."""


@pytest.fixture(scope="module", autouse=True)
def few_points():
    """Operating points of few radii, made anew for every change of a certificate."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operating, "POINTS", 1)
        patch.setattr(operating, "HALVINGS", 1)
        yield


@pytest.fixture(scope="module")
def certificate(digits_net, tmp_path_factory):
    few = {"limit": 2, "steps": 1, "params": {"copies": 3}}
    run = RunConfig(detector="ross-q", norm="l2", ood="unseen-digits", **few, compile="off", device="cpu")
    _, folder = certify(CertifyConfig(run, radius=0.1, samples=300), out=tmp_path_factory.mktemp("runs"))
    return read(folder)


def stated_of(certificate):
    """What its settings give; ValueError where they are none."""
    config = config_of(certificate)
    with opened("cpu") as device:
        return Stated(config, Setting(replace(config.run_config(), device="cpu"), device))


@pytest.fixture(scope="module")
def stated(certificate):
    return stated_of(certificate)


def failures(stated, certificate):
    """Everything that is said of a certificate before any noise is drawn."""
    return stated.misstatements(certificate) or list(stated.contradictions(certificate))


def others(value):
    """Other values in the place of one: numbers near and far, text, lists longer and shorter, one more key."""
    if isinstance(value, dict):
        yield {**value, "added": 1}
        if value:
            yield dict(list(value.items())[1:])
    elif isinstance(value, list):
        yield [*value, *value[:1]] if value else ["added"]
        if value:
            yield value[1:]
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield from (value + 1, value * 1.001 + 0.001, -value - 1, str(value), 10**400, float("nan"), None, [value])
    elif isinstance(value, str):
        yield from (other for other in (f"{value}x", "", 1, None, "on", "standard") if other != value)
    else:
        yield from (1, "x", [1.5], {"a": 1})


def places(value, *way):
    """Every place in a JSON-like value, the whole first; of long lists the first, as of a hundred noisy scores."""
    yield way
    parts = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        parts = enumerate(value[: 2 if len(value) > 50 else None])
    for key, part in parts:
        yield from places(part, *way, key)


def at(value, way):
    for key in way:
        value = value[key]
    return value


def forged(certificate, way, value):
    """The certificate with another value in one place."""
    if not way:
        return value
    whole = copy.copy(certificate)
    whole[way[0]] = forged(whole[way[0]], way[1:], value)
    return whole


def is_named(way):
    """Whether a place, or what it lies in, is among those that are not verified."""
    path = ".".join(map(str, way))
    return any(fnmatch(path, pattern) or fnmatch(path, f"{pattern}.*") for pattern in UNVERIFIED)


def test_an_honest_certificate_holds(certificate, stated):
    assert failures(stated, certificate) == []


FILES = ("checkpoint", "denoiser_checkpoint", "trust_checkpoint", "model_dir", "download")
"""Settings that the embedded network takes none of."""


def test_every_leaf_is_compared_or_named(certificate, stated):
    unseen, named = [], set()
    for way in places({**certificate, "operating": []}):  # test_forgeries changes every number of it
        for value in others(at(certificate, way)):
            other = forged(certificate, way, value)
            try:
                found = failures(stated_of(other) if way[:1] == ("config",) else stated, other)
            except ValueError:  # no settings
                continue
            if not found and is_named(way):
                named.add(way)
            elif not found:
                unseen.append((*way, value))
    assert unseen == []
    paths = [".".join(map(str, way)) for way in named]
    needed = {pattern for pattern in UNVERIFIED if any(fnmatch(path, f"{pattern}*") for path in paths)}
    assert set(UNVERIFIED) - needed - AT_TIMES == {
        *TWICE,
        *(f"config.run.{name}" for name in (*FILES, "budget")),
        "config.threshold",
    }


def test_what_a_certificate_says_twice_is_held_against_its_noisy_scores(certificate):
    """Changed in both places it is another claim, of which bounds and metrics say more than it gives."""
    other = copy.deepcopy(certificate)
    other["samples"] = other["config"]["samples"] = 299
    other["alpha"] = other["config"]["alpha"] = 1e-4
    other["detectors"][0]["alpha_image"] /= 10
    assert len(knots(299)) == len(knots(300))
    lines = failures(stated_of(other), other)
    assert any("the most that its 299 noisy scores give" in line for line in lines)
    anew = ("noisy scores give", ", deployed is ", ", gauroc_joint is ", ", gauroc_new is ", ": operating, ")
    assert all(any(name in line for name in anew) for line in lines)


def test_a_bound_that_its_score_contradicts_is_said(certificate, stated):
    """Of every image, whether it is drawn or not."""
    for name in stated.sets:
        for key in stated.keys.values():
            for side, sign in (("lower", 1), ("upper", -1)):
                way = ("detectors", 0, "populations", name, "bounds", key, side, 1)
                other = forged(certificate, way, at(certificate, way[:4])["score"][1] + sign * 0.01)
                assert "a score lies outside its own bounds" in failures(stated, other)[0]


def test_an_entry_of_the_settings_is_compared_with_what_they_mean(certificate):
    """Written otherwise it would say the same to RoodBench, and something else to its reader."""
    for name, value in (("sigma", "0.25"), ("radius", 0.1)):
        other = forged(certificate, ("config", name), value)
        assert f"config, {name} is {value!r}: expected" in failures(stated_of(other), other)[0]


def test_read_refuses_what_json_readers_read_differently(certificate, tmp_path):
    file, text = tmp_path / "certificate.json", json.dumps(certificate)
    for found, forgery, message in (
        ('"sigma": 0.25,', '"sigma": 0.25, "sigma": 0.25,', "names sigma twice"),
        ('"alpha": 0.001,', '"alpha": NaN,', "NaN is no number of JSON"),
    ):
        file.write_text(text.replace(found, forgery, 1))
        with pytest.raises(ValueError, match=message) as caught:
            read(file)
        assert str(file) in str(caught.value)
