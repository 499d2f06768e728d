"""Below a table: each thing once, causes first, and what may only follow from them in one line."""

from dataclasses import replace

import pytest

import detectors
import roodbench
from roodbench.evaluation.indicators import Indicator
from roodbench.record.notes import failures_of, notes_of
from roodbench.record.table import checks_table
from tests.roodbench.helpers import small


def failed(detector, name, about, eps=None):
    return Indicator(detector, eps, name, 1.0, 0.0, False, f"{detector} {name} {eps}", about=about)


CAUSES = ["randomness", "constant", "reversed"]


@pytest.mark.parametrize("cause", CAUSES)
def test_causes_come_first_and_their_consequences_are_one_line(cause):
    found = [
        failed("a", "gradient", "attack", 0.1),
        failed("b", "eot", "attack", 0.1),
        failed("b", "random", "attack", 0.1),
        failed("b", "eot", "attack", 0.2),
        failed("b", cause, "detector"),
        failed("", "id-accuracy", "network"),
        failed("", "duplicates", "data"),
        replace(failed("b", "travel", "attack", 0.1), passed=True),
    ]
    assert failures_of(found) == [
        " duplicates None",
        " id-accuracy None",
        f"b {cause} None",
        "b: its attack fails eot, random, which may follow from that",
        "a gradient 0.1 (eps 25.5/255)",
    ]
    below = checks_table(found).splitlines()[-5:]
    assert below == [line.strip() if line[0] != " " else line for line in failures_of(found)]


def test_what_is_the_attacks_own_fault_is_said_beside_a_cause_with_its_radii():
    """Images out of the ball and too few steps follow from no score; lines of the same text are one."""
    few = "b: an attack of 2 steps cannot show that it has converged: use at least 10"
    found = [
        failed("b", "reversed", "detector"),
        failed("b", "convergence", "attack", 16 / 255),
        *(replace(failed("b", "convergence", "attack", eps), message=few) for eps in (4 / 255, 8 / 255)),
        *(replace(failed("b", "travel", "attack", eps), message=f"b starts at {eps:.2f}") for eps in (0.2, 0.4)),
        replace(failed("b", "feasibility", "attack", 4 / 255), message="b leaves by 0.3"),
    ]
    assert failures_of(found) == [
        "b reversed None",
        "b: its attack fails convergence, which may follow from that",
        f"{few} (eps 4/255, 8/255)",
        "b starts at 0.20 (eps 51/255)",
        "b starts at 0.40 (eps 102/255)",
        "b leaves by 0.3 (eps 4/255)",
    ]
    assert failures_of(found[-1:]) == ["b leaves by 0.3"]


class Noisy(detectors.Score):
    name = "noisy"

    def score(self, z, h):
        return z.amax(1) + 5 * z.new_empty(len(z)).uniform_()


def test_a_detector_that_hides_noise_is_called_that_first_and_once(digits_net):
    result = roodbench.evaluate(Noisy(digits_net), small(10), thorough=True, steps=10)
    below = [line for line in str(result).splitlines() if line.startswith("* unreliable")]
    assert "noisy scores the same images differently" in below[0]
    assert below[1].startswith("* unreliable: noisy: its attack fails ")
    assert len(below) == 2
    assert len([i for i in result.indicators if i.passed is False and i.about == "attack"]) > 1


def test_too_few_steps_are_said_of_a_detector_that_hides_noise_too(digits_net):
    result = roodbench.evaluate(Noisy(digits_net), small(10, ("noise",)), steps=2)
    below = [line for line in str(result).splitlines() if line.startswith("* unreliable")]
    assert "noisy scores the same images differently" in below[0]
    assert below[-1].startswith("* unreliable: noisy: an attack of 2 steps cannot show that it has converged")
    assert not any("fails" in line and "convergence" in line for line in below)


def test_notes_that_say_the_same_are_one_line(digits_net):
    bench = small(30, ("unseen-digits", "photos", "noise"))
    result = roodbench.evaluate(detectors.create("mls", digits_net), bench, attack="none")
    few = [line for line in str(result).splitlines() if "smaller population" in line]
    assert len(few) == 1
    names = [row.ood for row in result.rows if row.warnings]
    assert len(names) > 1
    assert few[0].startswith(f"{', '.join(names)}: the smaller population has 30 distinct images")
    assert all(row.warnings == [f"{row.ood}: {few[0].partition(': ')[2]}"] for row in result.rows if row.warnings)
    assert notes_of([replace(result.rows[0], warnings=["no colon", "no colon"])]) == ["no colon"]
