"""The main job's promises: what an attack may and may not do to the numbers, resuming, checks that speak up."""

import copy
import json

import numpy as np
import pytest
import torch

import attacks
import detectors
import roodbench
from attacks import AttackPlan
from roodbench import metrics
from roodbench.engine.streams import stream
from tests.roodbench.helpers import evaluator, fitted, small


def rows(result):
    return {(row.ood, row.condition): row for row in result.rows}


def components(result, condition, detector):
    states = {"clean": ("clean", "clean"), "both": ("min", "max")}[condition]
    eps = f"{result.config['plan']['threat']['eps']:.6g}/"
    names = [
        f"{detector}/{'' if s == 'clean' else eps}{n}/{s}"
        for n, s in zip(("digits", "unseen-digits"), states, strict=True)
    ]
    return metrics.components(*(result.scores[name].numpy() for name in names))


@pytest.mark.parametrize("name", ["ross", "pro"])
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_main_job_separates_clean_and_falls_under_attack(name, seed, digits_net):
    """Default settings: near clean AUROC >= 0.95, `both` clearly lower, the suite at least as strong as transfer."""
    bench = small(40)
    detector = fitted(name, digits_net, bench, seed=seed) if name == "ross" else fitted(name, digits_net, bench)
    suite = roodbench.evaluate(detector, bench, seed=seed, check=False)
    transfer = roodbench.evaluate(detector, bench, seed=seed, method="transfer", check=False)
    label = f"{name}(gen)"
    assert rows(suite)["unseen-digits", "clean"].auroc >= 0.95
    _, _, low = metrics.paired_gap(components(suite, "clean", label), components(suite, "both", label))
    assert low > 0.05
    gap, error, _ = metrics.paired_gap(components(transfer, "both", label), components(suite, "both", label))
    assert gap >= -2 * error - 1e-3
    assert {row.reliable for row in suite.rows if row.condition != "clean"} == {None}  # not checked
    for row in suite.rows:
        assert row.auroc <= rows(suite)["unseen-digits", "clean"].auroc + 1e-9


@pytest.mark.parametrize("name", ["msp", "msp-t", "ent", "gen", "ebo", "mls", "pro", "median", "mad", "cov", "ross"])
def test_epsilon_0_reproduces_clean(name, digits_net):
    bench = small(12)
    result = roodbench.evaluate(fitted(name, digits_net, bench), bench, eps=0.0, steps=2, check=False)
    aurocs = {row.auroc for row in result.rows}
    assert len(aurocs) == 1  # ROSS too: clean and attacked images are reported on the same draws


def test_the_transfer_attack_is_the_suites_base_component(digits_net):
    bench = small(30)
    ross = fitted("ross", digits_net, bench)
    transfer = roodbench.evaluate(ross, bench, method="transfer", check=False)
    base = roodbench.evaluate(ross, bench, method="suite", objective="base", check=False)
    key = "ross(gen)/0.0627451/digits/min"
    won = base.scores[f"{key}/winner"] == 1
    assert won.float().mean() > 0.2  # targeted starts win the others
    assert torch.equal(transfer.scores[key][:, won], base.scores[key][:, won])


def test_l2_and_noise_and_single_objectives(digits_net):
    bench = small(8)
    gen, pro = (fitted(name, digits_net, bench) for name in ("gen", "pro"))
    few = {"steps": 4, "restarts": 1}
    for detector, settings in (
        (gen, {"norm": "l2", **few}),
        (gen, {"method": "noise"}),
        (pro, {"method": "pgd", "objective": "sum", **few}),
    ):
        result = rows(roodbench.evaluate(detector, bench, **settings, check=False))
        assert result["unseen-digits", "both"].auroc <= result["unseen-digits", "clean"].auroc
    with pytest.raises(ValueError, match="unknown objective 'mean' of pro"):
        roodbench.evaluate(pro, bench, objective="mean")


def test_other_libraries_see_scores_near_the_threshold(digits_net):
    """Half of MSP is within rounding of 1: by that spread alone, cross-entropy would have no gradient at the rest."""
    bench = small(20, ("noise",))
    found = evaluator(fitted("msp", digits_net, bench), bench)
    threshold, scale = found.attacker.view
    scores = torch.cat([found.clean(s).scores[0] for s in (bench.id_test, bench.ood["noise"])])
    assert 1 < (scale * (scores - threshold)).abs().max() <= 5 + 1e-6


def test_record_says_what_was_done(digits_net):
    bench = small(20, ("unseen-digits", "noise"))
    result = roodbench.evaluate(fitted("ross", digits_net, bench), bench, steps=3, check=False)
    record = json.loads(result.to_json())
    assert record["schema_version"] == 1
    assert {r["condition"] for r in record["rows"]} == {"clean", "min", "max", "both"}
    assert {(r["ood"], r["group"]) for r in record["averages"]} == {("average", g) for g in ("near", "far", "all")}
    (entry,) = [a for a in record["attacks"] if a["population"] == "digits"]
    objectives = ("base", "base:log", "exact", "mean", "soft-median", "log-gain")
    expected = ["clean", *(f"pgd:{o}" for o in objectives), "refine"]
    assert entry["components"] == [*expected[:2], "targeted:base", *expected[2:]]
    assert len(entry["winner"]) == 20
    assert sum(entry["wins"].values()) == 20
    # four starts of three steps and a last look, two of three steps towards a class; on 8 copies three or two steps
    gradients = 2 * 4 * 4 + 4 * (2 + 2) + 8 * (3 + 3 * 2)
    last = entry["passes"][1] - gradients
    assert 8 * 3 <= last <= 8 * 6  # refine, twice as long where an own objective had won
    assert entry["passes"][0] == pytest.approx(gradients + 1 + last + 9 * 2 * 25)
    row = next(r for r in record["rows"] if r["condition"] == "both")
    (other,) = [a for a in record["attacks"] if a["population"] == row["ood"]]
    assert row["passes"] == {"id": entry["passes"], "ood": other["passes"]}
    assert (row["eps"], row["eps_pixel"], row["space"]) == (16 / 255, 16 / 255, "pixel")
    base, own = (
        {"gamma": 0.1, "top": 100, "published": False},
        {"copies": 25, "sigma": 0.05, "gain": 0.01, "eta": 1e-12, "floored": False},
    )
    assert row["params"] == {**base, **own}
    assert row["id_accuracy"] >= 0.95
    assert record["environment"]["versions"]["torch"] == torch.__version__
    assert record["environment"]["device_type"] == "cpu"
    assert record["detectors"][0]["fitted"]["tau"] < 0
    assert set(record["detectors"][0]["share_without_instability"]) == {"digits", "unseen-digits", "noise"}
    mean = np.mean([r["auroc"] for r in record["rows"] if r["condition"] == "both"])
    average = next(r for r in record["averages"] if (r["condition"], r["group"]) == ("both", "all"))
    assert average["auroc"] == pytest.approx(mean)
    assert len(result.to_csv().splitlines()) == 1 + len(result.rows) + len(result.averages)
    assert "unseen-digits (near)" in str(result)
    assert result.scores["ross(gen)/digits/clean"].shape == (10, 20)


def test_scores_repeat_with_the_seed(digits_net):
    bench = small(20)
    a, b, c = (
        roodbench.evaluate(fitted("ross", digits_net, bench, seed=s), bench, steps=2, seed=s, check=False).scores
        for s in (0, 0, 1)
    )
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["ross(gen)/digits/clean"], c["ross(gen)/digits/clean"])


def test_the_chunk_of_copies_changes_nothing(digits_net):
    bench = small(8)
    a, b = (
        roodbench.evaluate(fitted("ross", digits_net, bench, chunk=c), bench, attack="none").scores for c in (4096, 7)
    )
    torch.testing.assert_close(a["ross(gen)/digits/clean"], b["ross(gen)/digits/clean"], rtol=1e-4, atol=1e-4)


def test_streams_are_disjoint():
    names = ["report", "reference", "select", "instability", "attack/pgd:exact", "attack/pgd:mean"]
    draws = {
        (n, p, s): torch.randn(4, generator=stream(0, n, p, s, torch.device("cpu"))).sum().item()
        for n in names
        for p in ("a", "b")
        for s in (0, 1)
    }
    assert len(set(draws.values())) == len(draws)


def test_pixel_run_equals_normalised_run_with_everything_scaled(digits_net):
    """With std 0.25 in all channels, sigma, epsilon and a divided by 4 in pixel space give the same scores."""
    net = roodbench.Classifier(copy.deepcopy(digits_net.backbone), [0.5], [0.25], name="quarter").double()
    pixel = small(20)
    normal = pixel.normalized(net.mean, net.std)

    found = []
    for bench, network, scale in ((pixel, net, 0.25), (normal, net.normalized().double(), 1.0)):
        scores = {}
        for name, params in {"ross": {"sigma": 0.2 * scale}, "pro": {"step_size": 0.05 * scale}, "gen": {}}.items():
            detector = detectors.create(name, network, **params)
            detector.fit([], [(bench.id_val.shard(0, 64).double(), torch.zeros(64))])
            x = bench.id_test.shard(0, 20).double()
            threat = attacks.ThreatModel(0.2 * scale, "linf", (-99.0, 99.0))
            g = torch.Generator().manual_seed(3)
            attacked = attacks.pgd(detector, x, threat, sign=-1, steps=5, draws=4, generator=g)
            kwargs = {"generator": torch.Generator().manual_seed(4)} if detector.randomized else {}
            with torch.no_grad():
                scores[name] = detector(x, **kwargs), detector(attacked.images, **kwargs)
        found.append(scores)
    for name in found[0]:
        for a, b in zip(found[0][name], found[1][name], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


class DetachedPRO(detectors.PRO):
    """As published: the path is detached, so the detector's own gradient is zero; only transfer sees one."""

    def value_and_grad(self, x, *, objective="exact", draws=None, generator=None):
        value, grad = super().value_and_grad(x, objective=objective)
        return value, grad if objective == "base" else torch.zeros_like(grad)


def test_a_detached_gradient_is_noticed_even_when_transfer_wins(digits_net):
    bench = small(30)
    result = roodbench.evaluate(DetachedPRO(detectors.create("gen", digits_net)), bench, restarts=1)
    (check,) = [i for i in result.indicators if i.name == "gradient"]
    assert not check.passed
    assert check.number == 1.0
    assert "zero gradient on 100.0% of images" in check.message
    assert sum(n for run, n in result.attacks[0].wins.items() if ":base" in run) > 20
    by = rows(result)
    assert by["unseen-digits", "both"].auroc < by["unseen-digits", "clean"].auroc - 0.05
    assert [by["unseen-digits", c].reliable for c in ("clean", "min", "max", "both")] == [True, False, False, False]
    assert "unreliable" in str(result)


def test_inverted_scores_are_flagged_not_flipped(digits_net):
    bench = small(30, ("unseen-digits",))
    right = roodbench.evaluate(detectors.create("mls", digits_net), bench, attack="none")
    (few,) = rows(right)["unseen-digits", "clean"].warnings
    assert few.startswith("unseen-digits: the smaller population has 30 distinct images")
    assert "points the other way" not in str(right)
    inverted = roodbench.evaluate(Inverted(digits_net), bench, attack="none")
    total = rows(inverted)["unseen-digits", "clean"].auroc + rows(right)["unseen-digits", "clean"].auroc
    assert total == pytest.approx(1.0)
    assert "is the score reversed?" in str(inverted)


class Inverted(detectors.Score):
    name = "inverted"

    def score(self, z, h):
        return -z.amax(1)


def test_plan_defaults_follow_the_benchmark(digits_net):
    from roodbench.setup.setting import plan_of

    plan = plan_of(small())
    assert isinstance(plan, AttackPlan)
    assert (plan.threat.eps, plan.threat.norm, plan.threat.bounds) == (16 / 255, "linf", (0.0, 1.0))
    normal = plan_of(small().normalized(torch.tensor([0.5]), torch.tensor([0.5])))
    assert normal.threat.eps == pytest.approx(32 / 255)


@pytest.mark.slow
def test_suite_beats_transfer_on_real_cifar10(data_root, resnet20):
    """ROSS over GEN, texture, epsilon 1/255: the published transfer attack misses much of what the suite finds.

    24 images a population keep this within a minute or two; `studies/adaptive_gap.py` measures it in full.
    """
    bench = roodbench.load_benchmark("cifar10", root=data_root, ood=["texture"], limit=24)
    ross = detectors.create("ross", resnet20, sigma=0.0125).fit(bench.id_train, bench.id_val)
    found = {
        method: roodbench.evaluate(ross, bench, eps=1 / 255, method=method, objective=objective, check=False)
        for method, objective in (("transfer", None), ("pgd", "mean"))
    }
    key = "ross(gen)/0.00392157"
    areas = {
        method: metrics.components(
            result.scores[f"{key}/cifar10/min"].numpy(), result.scores[f"{key}/texture/max"].numpy()
        )
        for method, result in found.items()
    }
    gap, _, low = metrics.paired_gap(areas["transfer"], areas["pgd"])
    assert gap > 0.05
    assert low > 0
