"""A certificate that was edited contradicts itself, and junk is said and never raises."""

import copy

import pytest

from roodbench.certify.coherent import check_coherent, incoherences
from tests.roodbench.report.claims import certificate, data_of


@pytest.fixture(scope="module")
def whole():
    return certificate()


LINF = {"norm": "linf", "radius": (1 / 255, 8 / 255)}
GIVEN = {"detectors": ("median",), "threshold": 0.5}


@pytest.mark.parametrize("settings", [{}, LINF, {"samples": 20}, GIVEN], ids=str)
def test_a_certificate_agrees_with_itself(settings):
    assert list(incoherences(certificate(**settings))) == []


def edited(certificate, way, change):
    """A copy with one value changed; `way` is the names and places that lead to it."""
    found = copy.deepcopy(certificate)
    inner = found
    for key in way[:-1]:
        inner = inner[key]
    inner[way[-1]] = change(inner[way[-1]])
    return found


OWN = ("detectors", 0, "populations", "digits")
EDITS = {
    ("gauroc", 2, "gauroc"): (lambda v: v + 0.01, "gauroc is "),
    ("gauroc", 2, "gfpr95"): (lambda v: v / 2 - 0.01, "gfpr95 is "),
    ("gauroc", 0, "gauroc_counted"): (lambda v: v + 0.01, "gauroc_counted is "),
    ("gauroc", 1, "gauroc_predicted"): (lambda v: v + 0.01, "gauroc_predicted is "),
    ("gauroc", 2, "deployed"): (lambda v: v + 1e-4, "its noisy scores give "),
    ("gauroc", 2, "ood"): (lambda v: "far", "gauroc, 2, 2 is 'far'"),
    ("gauroc",): (lambda v: v[:-1], "expected a list of 24"),
    (*OWN, "bounds", "0.1", "lower", 0): (lambda v: v + 9, "a score lies outside its own bounds"),
    (*OWN, "bounds", "0.25", "lower", 0): (lambda v: v + 1, "a bound at radius 0.25 is tighter than at 0.1"),
    (*OWN, "bounds", "0", "lower", 0): (lambda v: v + 0.2, "the most that its 300 noisy scores give"),
    (*OWN, "score", 3): (lambda v: v + 5, "a score lies outside its own bounds"),
    (*OWN, "sample", 1): (lambda v: v[::-1], "ascending numbers"),
    (*OWN, "images"): (lambda v: v[:-1], "expected a list of 8, each text"),
    (*OWN, "sha256"): (lambda v: "0", "sha256 is '0'"),
    (*OWN, "role"): (lambda v: "OOD", "expected 'ID'"),
    ("detectors", 0, "alpha_image"): (lambda v: 2 * v, "alpha_image is "),
    ("detectors", 1, "params", "sigma"): (lambda v: 0.5, "params, sigma is 0.5"),
    ("detectors",): (lambda v: v[::-1], "detectors, 0 is 'ross'"),
    ("data", "ID test: digits", "images"): (lambda v: v + 1, "seed is "),
    ("network", "sha256"): (lambda v: "e" * 64, "seed is "),
    ("seed",): (lambda v: v + 1, "seed is "),
    ("sigma",): (lambda v: 0.5, "sigma is 0.5"),
    ("alpha",): (lambda v: 0.0005, "alpha is 0.0005"),
    ("samples",): (lambda v: 301, "samples is 301"),
    ("config", "sigma"): (lambda v: -1, "config, sigma is -1"),
    ("config", "radius"): (lambda v: [0.2, 0.5], "threat, radii is [0.1, 0.25]"),
    ("config", "run", "detector"): (lambda v: ["mad"], "expected some of median, ross, ross-q"),
    ("config", "run", "norm"): (lambda v: "l1", "expected l2 or linf"),
    ("threat", "norm"): (lambda v: "linf", "threat, norm is 'linf'"),
    ("threat", "radii"): (lambda v: [0.2, 0.5], "threat, radii is [0.2, 0.5]"),
    ("gauroc", 2, "gauroc_joint"): (lambda v: v + 0.01, "gauroc_joint is "),
    ("gauroc", 2, "gauroc_new"): (lambda v: 1.5, "expected a number from 0 to 1"),
    ("operating", 0, "threshold"): (lambda v: v - 1, "threshold is "),
    ("operating", 0, "points", 2, "tpr"): (lambda v: v + 0.05, "its noisy scores give "),
    ("operating", 1, "points", 2, "fpr", "near"): (lambda v: v - 0.1, "its noisy scores give "),
    ("operating", 0, "largest_radius"): (lambda v: 5.0, "there its noisy scores give a tpr of "),
    ("operating", 0, "points", 2, "tpr_worst"): (lambda v: 1.0, "tpr_worst at 0.25 is 1.0: the tpr of all classes is "),
    ("operating",): (lambda v: v[::-1], "operating, 0 is 'ross'"),
    ("detectors", 0, "validation", "score"): (lambda v: v[:-9], "operating, median, threshold is "),
    ("config", "least_tpr"): (lambda v: 2, "config, least_tpr is 2"),
    ("claim",): (lambda v: v.replace("within the l2 radius", "anywhere"), "claim is "),
}


@pytest.mark.parametrize("way", EDITS, ids=lambda way: ", ".join(map(str, way)))
def test_an_edit_in_one_place_is_said(whole, way):
    change, sentence = EDITS[way]
    with pytest.raises(ValueError, match="certificate 'x' contradicts itself: ") as caught:
        check_coherent(edited(whole, way, change), "x")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_samples_that_cannot_reach_a_radius_bound_nothing_there(whole):
    few = certificate(samples=20, radius=(0.1, 0.5))
    way = (*OWN, "bounds", "0.5", "lower", 0)
    assert few["detectors"][0]["populations"]["digits"]["bounds"]["0.5"]["lower"][0] == -8
    found = incoherences(edited(few, way, lambda v: -7))
    assert any("20 samples can bound nothing at radius 0.5" in line for line in found)


def places(value, *way):
    """Every place in a JSON-like value, of lists the first."""
    yield way
    parts = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, part in parts:
        yield from places(part, *way, key)


JUNK = [None, "x", -1, 10**400, [], [None], {}, True]


def test_junk_anywhere_raises_nothing():
    small = certificate(data_of(3, sets=("near",)), ("ross",), radius=(0.1,), samples=20)
    for number, way in enumerate(places(small)):
        junk = JUNK[number % len(JUNK)]
        found = edited(small, way, lambda _, junk=junk: junk) if way else {"config": junk}
        assert all("\n" not in line for line in incoherences(found))
