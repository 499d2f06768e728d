"""Certificates of interval bounds: certified <= attacked <= clean, and what is forged does not hold."""

import copy
import json
from dataclasses import replace

import pytest

from roodbench import cli
from roodbench.certify.certificate import read
from roodbench.certify.interval.config import IntervalConfig
from roodbench.certify.interval.run import certify_intervals, interval_table
from roodbench.certify.interval.verifier import verify_intervals
from roodbench.setup.config import RunConfig

RADIUS = 4 / 255
SMALL = IntervalConfig(
    RunConfig(detector=("ebo", "msp"), ood=("unseen-digits",), limit=4, steps=2, device="cpu", compile="off"), (RADIUS,)
)


@pytest.fixture(scope="module")
def made(tmp_path_factory, private_cache):
    return certify_intervals(SMALL, out=tmp_path_factory.mktemp("runs"))


def test_certified_is_below_attacked_below_clean(made):
    result, _ = made
    assert len(result.rows) == 2 * 3
    for row in result.rows:
        assert row.gauroc - 1e-12 <= row.auroc_attacked <= row.auroc_clean
        assert row.method.startswith("interval")
    assert max(row.gauroc for row in result.rows) > 0.5
    assert "4/255" in result.to_table()


def test_the_table_never_says_more_than_is_certified(made):
    table = interval_table([replace(row, gauroc=0.98265, gfpr95=0.01231) for row in made[0].rows])
    assert " 98.2 <= " in table
    assert table.splitlines()[-1].split()[-1] == "1.3"


def test_a_table_says_where_bounds_say_nothing(made):
    rows = [row if row.detector == "ebo" else replace(row, gauroc=0.0) for row in made[0].rows]
    assert "says nothing" not in interval_table([replace(row, gauroc=0.01) for row in rows])
    said = interval_table(rows)
    assert "0.0 says nothing of the detector (msp at 4/255): its interval bounds are too wide" in said
    assert "certified by noise" in said


def test_an_honest_certificate_holds(made):
    verdict = verify_intervals(read(made[1]))
    assert verdict.failures == []
    assert verdict.bounds == 2 * 8 * 2 * 2


def better(certificate):
    entry = certificate["detectors"][0]["populations"]["digits"]["bounds"][f"{RADIUS:.9g}"]
    entry["lower"][3] += 0.01


def hardly_better(certificate):
    entry = certificate["detectors"][1]["populations"]["unseen-digits"]["bounds"]["0"]
    entry["upper"] = [value - 1e-7 for value in entry["upper"]]


def improved(certificate):
    for row in certificate["gauroc"]:
        row["gfpr95"] -= 0.01


def swapped(certificate):
    for entry in certificate["detectors"]:
        bounds = entry["populations"]["digits"]["bounds"]
        bounds[f"{RADIUS:.9g}"] = bounds["0"]


def renamed(certificate):
    certificate["config"]["radius"], certificate["threat"]["radii"] = [2 * RADIUS], [2 * RADIUS]
    for entry in certificate["detectors"]:
        for population in entry["populations"].values():
            population["bounds"][f"{2 * RADIUS:.9g}"] = population["bounds"].pop(f"{RADIUS:.9g}")
    for row in certificate["gauroc"]:
        row["radius_linf"] *= 2


def colder(certificate):
    certificate["config"]["run"]["params"] = {"temperature": 2.0}


def more(certificate):
    certificate["detectors"].append(certificate["detectors"][0])


def other(certificate):
    certificate["network"]["sha256"] = "0" * 64


def longer(certificate):
    certificate["accuracy"] = 1.0


def promising(certificate):
    certificate["claim"] = "robust"


def reordered(certificate):
    population = certificate["detectors"][0]["populations"]["digits"]
    population["images"] = population["images"][::-1]


def scored(certificate):
    """A score that stays between its bounds."""
    population = certificate["detectors"][0]["populations"]["unseen-digits"]
    population["score"][2] -= 1e-3


def without(certificate):
    """Of one image fewer, the one that hurts: the metrics follow."""
    for entry in certificate["detectors"]:
        population = entry["populations"]["unseen-digits"]
        for values in (population["images"], population["score"]):
            values.pop()
        for sides in population["bounds"].values():
            sides["lower"].pop()
            sides["upper"].pop()


def elsewhere(certificate):
    certificate["threat"]["space"] = "normalised"


def half(certificate):
    """Said of one detector alone."""
    certificate["detectors"].pop()
    certificate["gauroc"] = [row for row in certificate["gauroc"] if row["detector"] == "ebo"]


@pytest.mark.parametrize(
    "forge",
    [
        *(better, hardly_better, improved, swapped, renamed, colder, more, other, longer, promising),
        *(reordered, scored, without, elsewhere, half),
    ],
    ids=lambda f: f.__name__,
)
def test_a_forged_certificate_does_not_hold(forge, made):
    certificate = copy.deepcopy(read(made[1]))
    forge(certificate)
    assert verify_intervals(certificate).failures


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ("--detector ebo", "ebo is certified by interval bounds, in linf: give --norm linf"),
        ("--detector ebo,ross --norm linf", "ross is certified by noise, not by interval bounds like the others"),
        ("--detector ebo --norm linf --sigma 0.1", "by interval bounds, takes no sigma: leave out --sigma 0.1"),
        ("--detector ebo --norm linf --radius 4", "epsilon 4: pixels lie in [0, 1]; did you mean 4/255?"),
        ("--detector ebo --norm linf --base msp", "base"),
    ],
)
def test_mistakes_are_one_line(argv, said, capsys):
    assert cli.main(["certify", *argv.split()]) == 2
    assert said in capsys.readouterr().err


def test_the_command_line_certifies_and_verifies(tmp_path, capsys):
    few = "--ood unseen-digits --limit 2 --attack none --quiet"
    words = f"certify --detector mls --norm linf --radius 1/255 {few} --out {tmp_path}"
    assert cli.main(words.split()) == 0
    assert "interval" in capsys.readouterr().out
    (file,) = tmp_path.glob("*/certificate.json")
    assert cli.main(["certify", "--verify", str(file)]) == 0
    out = capsys.readouterr().out
    assert "holds: " in out
    assert "\nnot verified: config.run.strength, config.run.budget, config.run.steps, config.run.restarts" in out
    certificate = json.loads(file.read_text())
    certificate["detectors"][0]["populations"]["digits"]["bounds"]["0.00392156863"]["lower"][1] += 0.01
    file.write_text(json.dumps(certificate))
    assert cli.main(["certify", "--verify", str(file)]) == 1
