"""A budget of passes on its way from a run's settings to the attack, its kept cells and its record."""

from dataclasses import replace

import pytest

import roodbench
from roodbench import RunConfig
from roodbench.certify import CertifyConfig
from roodbench.certify.certifier import Certifier
from roodbench.setup.setting import plan_of
from tests.roodbench.helpers import evaluator, fitted, small

BUDGET = 900


def spent(row):
    return [sum(passes) for passes in row.passes.values() if passes]


def test_evaluate_spends_no_more_than_its_budget(digits_net, tmp_path):
    """And its cells are those of the strength that it came to: the same steps and restarts find them all."""
    bench, store = small(6), roodbench.Store(tmp_path)
    pro = fitted("pro", digits_net, bench)
    found = roodbench.evaluate(pro, bench, budget=BUDGET, check=False, store=store)
    strength = found.config["plan"]["strength"]
    assert found.config["budget"] == BUDGET
    both = next(row for row in found.rows if row.condition == "both")
    assert all(BUDGET / 3 < passes <= BUDGET for passes in spent(both))
    given = {name: strength[name] for name in ("steps", "restarts")}
    again = roodbench.evaluate(pro, bench, **given, check=False, store=store)
    assert again.timing.reused["cells"] == again.timing.reused["of"]
    assert [row.auroc for row in again.rows] == [row.auroc for row in found.rows]


def test_every_detector_of_a_run_gets_the_budget(digits_net, tmp_path):
    config = RunConfig(detector=("gen", "ross"), budget=BUDGET, limit=4, ood=("unseen-digits",))
    result, _ = roodbench.run(config, out=tmp_path, check=False)
    rows = {row.detector: row for row in result.rows if row.condition == "both"}
    assert all(BUDGET / 2 < passes <= BUDGET for row in rows.values() for passes in spent(row))
    assert f"at most {BUDGET} passes an image" in str(result)


@pytest.mark.parametrize("threat", ["fresh", "known-seed", "resubmit:3"])
def test_the_adversary_who_spends_it_is_the_one_who_is_asked(threat, digits_net):
    bench = small(4)
    found, plan = evaluator(fitted("median", digits_net, bench), bench), plan_of(bench, threat=threat)
    own = found.within(plan, 5000)
    population = found.attacked(bench.id_test, "min", own, found.references()["min"])
    assert 5000 / 2 < sum(population.passes) <= 5000
    assert replace(own, strength=plan.strength) == plan


def test_too_small_a_budget_is_said_before_anything_is_computed(digits_net, tmp_path):
    bench = small(4)
    with pytest.raises(ValueError, match=r"budget 9: suite on ross\(gen\) takes at least \d+ network passes an image"):
        roodbench.evaluate(fitted("ross", digits_net, bench), bench, budget=9, store=roodbench.Store(tmp_path))
    with pytest.raises(ValueError, match=r"budget 40: pgd on cov\(gen\) takes at least \d+ network passes an image"):
        roodbench.run(RunConfig(detector=("gen", "cov"), method="pgd", budget=40, limit=4), out=tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_budget_is_refused_beside_what_it_chooses():
    with pytest.raises(ValueError, match="budget 900 chooses the steps: leave out --steps 5, or --budget 900"):
        RunConfig(budget=BUDGET, steps=5)


def test_the_attack_beside_a_certificate_keeps_to_it(digits_net):
    bench = small(4)
    run = RunConfig(detector=("median",), norm="l2", budget=BUDGET, limit=4)
    certifier = Certifier(
        fitted("median", digits_net, bench, sigma=0.25),
        bench,
        CertifyConfig(run, 0.25, (0.1,), samples=300),
        {0.1: 0.1},
        device=next(digits_net.parameters()).device,
    )
    certifier.attack(certifier.clean())
    assert all(sum(entry["passes"]) <= BUDGET for entry in certifier.passes)
