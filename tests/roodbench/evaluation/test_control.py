"""The adaptive gap is at equal passes: beside the suite runs the published attack for what the suite took."""

from dataclasses import replace

import pytest
import torch

import roodbench
from roodbench.evaluation.populations import Population
from roodbench.setup.setting import plan_of
from tests.roodbench.helpers import evaluator, fitted, small

BOTH = ("unseen-digits", "both")


def rows(result):
    return {(row.ood, row.condition): row for row in [*result.rows, *result.averages]}


@pytest.fixture(scope="module")
def bench():
    return small(4, ("unseen-digits", "noise"))


@pytest.fixture(scope="module")
def pro(bench, digits_net):
    return fitted("pro", digits_net, bench)


@pytest.fixture(scope="module")
def result(pro, bench):
    return roodbench.evaluate(pro, bench, steps=2)


def test_the_control_is_the_transfer_attack_with_restarts_for_the_suites_passes(result, pro, bench):
    row = rows(result)[BOTH]
    for side, images in (("id", bench.id_test), ("ood", bench.ood["unseen-digits"])):
        spent, equal = sum(row.passes[side]), sum(row.passes_equal[side])
        assert abs(spent - equal) <= 3, images  # half a restart: 3 looks of 1 + 1 passes
        assert (equal - 2) % 6 == 0
    restarts = round((sum(row.passes_equal["id"]) - 2) / 6)
    again = rows(
        roodbench.evaluate(pro, small(4), attack="min", method="transfer", steps=2, restarts=restarts, check=False)
    )
    assert rows(result)["unseen-digits", "min"].auroc_equal == again["unseen-digits", "min"].auroc


def test_the_gap_is_at_equal_passes_and_the_other_is_in_the_record(result):
    for (_, condition), row in rows(result).items():
        if condition == "clean":
            assert row.adaptive_gap is row.adaptive_gap_steps is row.auroc_equal is row.passes_equal is None
            continue
        for gap, ci, area in (
            (row.adaptive_gap, row.adaptive_gap_ci, row.auroc_equal),
            (row.adaptive_gap_steps, row.adaptive_gap_steps_ci, row.auroc_transfer),
        ):
            assert gap == pytest.approx(area - row.auroc, abs=1e-12)
            assert ci[0] <= gap <= ci[1]
    unattacked = rows(result)["unseen-digits", "min"].passes_equal["ood"]
    assert unattacked == [0, 0]
    line = next(line for line in str(result).splitlines() if "unseen-digits" in line)
    assert line.split()[-1] == f"{100 * rows(result)[BOTH].adaptive_gap:.1f}"
    assert "above the suite's, at equal passes" in str(result)


@pytest.mark.parametrize("name", ["gen", "react", "pro"])
def test_plain_scores_and_single_objectives_have_no_control(name, digits_net):
    bench = small(4)
    seen = evaluator(fitted(name, digits_net, bench), bench)
    plan = plan_of(bench, steps=2, objective="exact" if name == "pro" else None)
    found, reference = Population(torch.zeros(1, 4), passes=(90, 90)), torch.zeros(1, 4)
    assert seen.control(bench.id_test, "min", plan, reference, found) is found


def test_a_run_without_checks_has_no_control(pro):
    found = roodbench.evaluate(pro, small(4), attack="min", steps=2, check=False)
    row = rows(found)["unseen-digits", "min"]
    assert row.adaptive_gap is row.auroc_equal is row.passes_equal is None
    assert row.adaptive_gap_steps is not None
    assert "adaptive gap" not in str(found)


def test_what_the_control_found_is_kept(pro, tmp_path):
    bench, store = small(4), roodbench.Store(tmp_path)
    found, reference = Population(torch.zeros(1, 4), passes=(40, 40)), torch.zeros(1, 4)
    seen = evaluator(pro, bench, store=store)
    first, again = (seen.control(bench.id_test, "min", plan_of(bench, steps=2), reference, found) for _ in range(2))
    assert torch.equal(first.equal.scores, again.equal.scores)
    assert first.equal.passes == again.equal.passes == (40, 40)
    files = len(list(tmp_path.rglob("*.safetensors")))
    seen.control(bench.id_test, "min", plan_of(bench, steps=2), reference, replace(found, passes=(90, 90)))
    assert len(list(tmp_path.rglob("*.safetensors"))) == files + 1
