"""`roodbench certify` on digits: the sandwich, its files, plans, resuming, mistakes."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import ndtri

import detectors
import roodbench
from detectors import Median
from roodbench import cli
from roodbench.certify import population as population_module
from roodbench.certify.certifier import Certifier
from roodbench.certify.population import bounds_of, population
from roodbench.certify.rows import rows_of
from roodbench.certify.run import certify
from roodbench.certify.sampling import noisy_scores, sampler_of
from roodbench.certify.table import certified_table
from roodbench.engine.errors import EvaluationError
from roodbench.engine.worker import Worker
from roodbench.metrics import bounds as bounds_module
from roodbench.store.cells import Store
from tests.attacks.analytic import Linear
from tests.roodbench.certify.conftest import ALONE, RADIUS, SMALL


def test_the_table_never_says_more_than_is_certified(certified):
    result, _ = certified
    said = {"gauroc": 0.98265, "gauroc_predicted": 0.97265, "gauroc_joint": 0.96265, "gauroc_new": 0.95265}
    rows = [replace(row, **said, deployed={**row.deployed, "certified": 0.94265}) for row in result.rows]
    point = {"radius_l2": 0.1, "tpr": 0.93265, "tpr_new": 0.92265, "worst_class": 1, "tpr_worst": 0.91265}
    point |= {"tpr_worst_new": 0.90265, "fpr": {"a": 0.01231}, "fpr_new": {"a": 0.02231}, "tpr_copies": 0.89265}
    point["fpr_copies"] = {"a": 0.03231}
    entry = {**result.operating[0], "points": [point], "largest_radius": 0.058267, "largest_radius_new": None}
    table = certified_table(rows, [entry], SMALL)
    for word in ("98.2 <= ", "97.2", "96.2 (95.2)", "94.2 <= ", "93.2 (92.2)", "class 1: 91.2 (90.2)"):
        assert f" {word}" in table
    assert "a: 1.3 (2.3)" in table
    assert "89.2, 3.3" in table
    assert "up to l2 radius 0.0582;" in table


def test_sandwich(certified):
    result, _ = certified
    assert len(result.rows) == 3 * 2 * 3
    assert result.violations == []
    for row in result.rows:
        assert row.gauroc <= row.auroc_attacked <= row.auroc_clean
        assert 0 <= row.gauroc_counted <= 1
        assert 0 <= row.gauroc_predicted <= row.gauroc
        assert row.gauroc_crude is None or row.gauroc_crude <= row.gauroc
        assert (row.gauroc_crude is not None) == (row.detector == "ross")
        deployed = row.deployed
        assert deployed["certified"] <= deployed["attacked"] + 0.02
        assert row.says_id == row.says_ood == 1
        assert row.alpha_image == SMALL.alpha / 24
        assert row.gfpr95 >= row.fpr95_clean
        assert 0 <= row.gauroc_new <= row.gauroc_joint <= row.gauroc
    by = {(r.detector, r.radius, r.condition): r for r in result.rows}
    for name in SMALL.run.detector:
        near, far = (by[name, radius, "both"] for radius in SMALL.radius)
        assert far.gauroc < near.gauroc
        assert far.auroc_attacked < near.auroc_attacked
        assert near.gauroc > 0.5  # and the certificate is worth something
        assert by[name, RADIUS, "both"].gauroc <= min(by[name, RADIUS, c].gauroc for c in ("min", "max"))


def test_files_and_table(certified):
    result, folder = certified
    assert {"result.json", "result.csv", "table.txt", "certificate.json"} <= {f.name for f in folder.iterdir()}
    table = (folder / "table.txt").read_text()
    assert "certified <= attacked" in table
    assert "ross-q(gen)" in table
    assert "certified both, 600 fresh copies" in table
    assert "the highest threshold that 95% of ID validation images reach" in table
    assert "with 0.999, all of these together with 0.981." in table  # 3 detectors, 2 radii and 0, 2 kinds, and a band
    assert "ross-q(gen): a TPR of at least 90% " in table
    record = json.loads((folder / "result.json").read_text())
    assert record["rows"][0]["gauroc"] == result.rows[0].gauroc
    assert record["config"]["sigma"] == 0.25
    certificate = json.loads((folder / "certificate.json").read_text())
    assert certificate["schema"] == "roodbench-certificate/3"
    assert certificate["threat"] == {"norm": "l2", "space": "pixel", "radii": [0.1, RADIUS]}
    assert certificate["network"]["sha256"] == roodbench.load_model("digits-cnn").fingerprint()
    entry = certificate["detectors"][1]
    assert entry["fitted"].keys() >= {"tau"}
    own = entry["populations"]["digits"]
    sides = own["bounds"]["0.3"]
    assert len(sides["lower"]) == len(own["images"]) == 12
    assert all(a <= b <= c for a, b, c in zip(sides["lower"], own["score"], sides["upper"], strict=True))


@pytest.mark.slow
def test_the_strongest_attack_never_beats_a_bound(digits_net, tmp_path):
    """100 steps of the l2 suite, image by image, in the population form; and the deployed detector against its own."""
    run = replace(SMALL.run, detector=("ross-q",), limit=10, steps=100)
    result, _ = certify(replace(SMALL, run=run, radius=(RADIUS,), samples=2000), out=tmp_path)
    assert result.violations == []
    both = next(row for row in result.rows if row.condition == "both")
    assert both.gauroc <= both.auroc_attacked < both.auroc_clean


def test_a_bound_that_is_too_tight_is_a_loud_error(certified, folder, monkeypatch):
    """Bounds of a tenth of the radius under the whole one: attacks contradict them, and nothing computed is lost."""
    whole = bounds_module.median_bounds
    monkeypatch.setattr(
        population_module, "median_bounds", lambda y, r, *rest, **more: whole(y, 0.1 * r, *rest, **more)
    )
    run = replace(SMALL.run, detector=("median",))
    with pytest.raises(EvaluationError, match="attacked past its bound at l2 radius"):
        certify(replace(SMALL, run=run), out=folder)
    kept = {f: json.loads((f / "result.json").read_text()) for f in folder.glob("certify-digits-median-*")}
    assert any(r["violations"] and not (f / "certificate.json").exists() for f, r in kept.items())


def test_linear_score_has_its_closed_form(digits):
    """Median and ROSS-Q of many samples against the worst shift, along w; noise is not clipped to [0, 1]."""
    bench = roodbench.load_benchmark("digits", limit=4, ood=["unseen-digits"])
    w = torch.randn(1, 8, 8, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    sigma, radius, N, alpha = 0.4, 0.3, 40_000, 1e-3
    detector = detectors.ROSSQ(Linear(w), sigma=sigma).fit(bench.id_train, bench.id_val)
    sampler = Worker(sampler_of(detector))
    y = np.sort(noisy_scores(sampler, bench.id_test, N), 1)
    mean = Linear(w)(bench.id_test.shard(0, 4)).numpy()
    spread = sigma * float(w.norm())
    assert y.mean(1) == pytest.approx(mean, abs=5 * spread / N**0.5)
    assert y.std(1) == pytest.approx(spread, rel=0.02)
    found = bounds_of(Median(Linear(w), sigma=sigma), y, radius / sigma, alpha)
    shift = radius * float(w.norm())
    noise = 10 * spread / N**0.5
    assert (found.lower <= mean - shift + 1e-9).all()
    assert (found.upper >= mean + shift - 1e-9).all()
    assert found.lower == pytest.approx(mean - shift, abs=noise)
    assert found.upper == pytest.approx(mean + shift, abs=noise)
    rossq = bounds_of(detector, y, radius / sigma, alpha)
    tau, R = detector.fitted()["tau"], 2 * spread * -float(ndtri(0.05))
    for image in range(4):
        for moved in np.linspace(-shift, shift, 9):  # R of a linear score never changes
            m = mean[image] + moved
            score = min(m, tau) + max(m - tau, 0) * (1 + detector.gain / R)
            assert rossq.lower[image] <= score <= rossq.upper[image]


def test_n_forwards_an_image_and_nothing_more(digits_net, digits):
    bench = roodbench.load_benchmark("digits", limit=70, ood=["unseen-digits"])
    passed = []
    outputs = digits_net.outputs
    try:
        digits_net.outputs = lambda x: passed.append((len(x), torch.is_grad_enabled())) or outputs(x)
        detector = Median(detectors.create("gen", digits_net), copies=1, sigma=0.2)
        noisy_scores(Worker(detector), bench.id_test, 120)
    finally:
        del digits_net.outputs
    assert sum(n for n, _ in passed) == 70 * 120
    assert not any(grad for _, grad in passed)


def test_more_samples_only_add_blocks(digits_net, tmp_path, monkeypatch):
    bench = roodbench.load_benchmark("digits", limit=5, ood=["unseen-digits"])
    detector = Median(detectors.create("gen", digits_net), copies=1, sigma=0.2)
    drawn, matrix = [], Median.matrix

    def counted(self, x, *, generator, n=None):
        drawn.append(n)
        return matrix(self, x, generator=generator, n=n)

    monkeypatch.setattr(Median, "matrix", counted)
    worker = Worker(detector, store=Store(tmp_path), key={"who": "gen"})
    first = noisy_scores(worker, bench.id_test, 2000)
    assert drawn == [1000, 1000]
    again = noisy_scores(worker, bench.id_test, 3500)
    assert drawn == [1000, 1000, 1000, 500]
    assert np.array_equal(again[:, :2000], first)
    assert np.array_equal(noisy_scores(worker, bench.id_test, 1500)[:, :1000], first[:, :1000])


def test_a_non_finite_score_names_its_image(digits_net):
    bench = roodbench.load_benchmark("digits", limit=5, ood=["unseen-digits"])

    class Broken(Linear):
        def forward(self, x, *, generator=None):
            s = super().forward(x)
            s[2] = math.nan
            return s

    detector = Median(Broken(torch.ones(1, 8, 8, dtype=torch.double)), copies=1, sigma=0.1)
    with pytest.raises(EvaluationError, match=r"median\(linear\): score nan .* digits, index 2"):
        noisy_scores(Worker(detector), bench.id_test, 10)


def test_population_form_is_the_detector_on_all_samples(digits_net):
    bench = roodbench.load_benchmark("digits", limit=40, ood=["unseen-digits"])
    for name, params in (("median", {}), ("ross", {"floored": True, "eta": 1e-3}), ("ross-q", {})):
        detector = detectors.create(name, digits_net, sigma=0.2, **params).fit(bench.id_train, bench.id_val)
        y = np.random.default_rng(0).normal(-2, 1, size=(130, 50))
        whole = detector.combine(torch.from_numpy(y.T)).numpy()
        assert population(detector, y) == pytest.approx(whole, abs=1e-12)


def test_ross_as_published_has_no_certificate(digits_net):
    bench = roodbench.load_benchmark("digits", limit=4, ood=["unseen-digits"])
    detector = detectors.create("ross", digits_net).fit(bench.id_train, bench.id_val)
    with pytest.raises(ValueError, match="give floored=True"):
        bounds_of(detector, np.zeros((2, 30)), 0.1, 0.01)
    with pytest.raises(ValueError, match=r"mad\(gen\) has no certificate: expected one of"):
        bounds_of(detectors.create("mad", digits_net), np.zeros((2, 30)), 0.1, 0.01)


def test_linf_is_certified_through_the_l2_ball():
    config = replace(SMALL, run=replace(SMALL.run, norm="linf"), radius=(2 / 255,))
    assert config.radii(3072) == {2 / 255: pytest.approx(0.435, abs=5e-4)}


MISTAKES = {
    "--sigma 0": "sigma 0: expected a number above 0",
    "--sigma -1": "sigma -1: expected a number above 0",
    "--alpha 0": "alpha 0: expected a number between 0 and 1",
    "--alpha 1": "alpha 1: expected a number between 0 and 1",
    "--radius 0": "radius 0: expected a number above 0",
    "--radius 0.25,0.25": "radius 0.25,0.25: expected radii that differ in six digits",
    "--radius 0,25": "radius '0,25': a comma separates radii; did you mean 0.25?",
    "--radius far": "radius 'far': expected a number",
    "--radius 5": "l2 radius 5 is 20 sigma, beyond the",
    "--radius 1 --samples 100": "would do, sigma",
    "--verify /nowhere.json --plan": "--verify takes no plan: leave out --plan",
    "--verify /nowhere.json --sigma 0.25": "--verify takes no sigma: leave out --sigma 0.25",
    "--power 0.9": "certify without --verify takes no power: leave out --power 0.9",
    "--width 0.1": "certify without --plan takes no width: leave out --width 0.1",
    "--fpr 0.1": "certify without --plan takes no fpr: leave out --fpr 0.1",
    "--plan --width 2": "width 2: expected a number between 1e-06 and 1",
    "--plan --fpr nan": "fpr nan: expected a number between 1e-06 and 1",
    "--plan --tpr 0.9": "--plan takes no tpr: leave out --tpr 0.9",
    "--verify /nowhere.json --tpr 0.9": "--verify takes no tpr: leave out --tpr 0.9",
    "--tpr 95": "tpr 95: expected a number between 0 and 1",
    "--tpr 0.9 --threshold -2": "threshold -2 and tpr 0.9: expected one of them",
    "--detector median,ross --threshold -2": "threshold -2 of median, ross: expected one detector",
    "--least-tpr 1.5": "least-tpr 1.5: expected a number between 0 and 1",
    "--plan --budget 900": "--plan takes no budget: leave out --budget 900",
    "--verify /nowhere.json --budget 900": "--verify takes no budget: leave out --budget 900",
    "--attack none --budget 900": "certify without an attack takes no budget: leave out --budget 900",
    "--plan --strength strong": "--plan takes no strength: leave out --strength strong",
    "--attack none --steps 9": "certify without an attack takes no steps: leave out --steps 9",
    "--plan --detector ross --base ebo": "ross(ebo) has no certificate",
    "--samples 0": "samples 0: expected at least 8",
    "--samples 8": "samples at alpha 0.001 over 16 images certify nothing at any sigma",
    '--param copies="abc"': "copies 'abc' of median: expected int",
    "--detector ross --param floored=false": "D + eta has no certificate, give floored=True",
    "--plan --format csv": "unknown format 'csv': expected one of table, json",
    "--param copies=24": "copies 24: expected an odd number, as 25",
    "--param sigma=0.1": "give --sigma alone",
    "--detector ross --base ebo": "ross(ebo) has no certificate: ebo is unbounded",
    "--detector mad": "unknown certifiable detector 'mad': expected some of median, ross, ross-q (by noise), or msp",
    "--detector ros": "unknown detector 'ros': did you mean 'ross'?",
    "--norm l1": "unknown norm 'l1'",
    "--verify /nowhere.json": "certificate '/nowhere.json': No such file",
    "--attack min": "unknown attack 'min'",
    "--format xml": "unknown format 'xml'",
}


@pytest.mark.usefixtures("digits_net")
@pytest.mark.parametrize("arguments", MISTAKES)
def test_mistakes_get_one_line_and_exit_2(arguments, tmp_path, capsys):
    out = ["--out", str(tmp_path)]
    run = [] if "--verify" in arguments else ["--limit", "4"] if "--plan" in arguments else ["--limit", "4", *out]
    assert cli.main(["certify", *arguments.split(), *run]) == 2
    err = capsys.readouterr().err
    assert MISTAKES[arguments] in err
    assert err.count("\n") == 1


def test_a_radius_out_of_reach_is_reported_beside_one_within(digits_net, tmp_path, capsys):
    arguments = "--radius 0.05,2 --sigma 0.2 --samples 300 --limit 4 --ood photos --attack none --format json"
    assert cli.main(["certify", *arguments.split(), "--out", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    near, far = (r for r in json.loads(out)["rows"] if r["condition"] == "both")
    assert "l2 radius 2 is 10 sigma" in err
    assert (near["says_id"], far["says_id"], far["gauroc"]) == (1, 0, 0)
    assert "no feasible number of samples would do" in far["reasons"][0]
    assert near["reasons"] == []
    assert near["auroc_attacked"] is None


def test_certifier_is_usable_from_python(digits_net):
    bench = roodbench.load_benchmark("digits", limit=6, ood=["photos"])
    median = detectors.create("median", digits_net, base="ebo", sigma=0.25).fit(bench.id_train, bench.id_val)
    config = replace(SMALL, run=ALONE, samples=500, radius=(0.2,))
    certifier = Certifier(median, bench, config, {0.2: 0.2})
    found = certifier.clean()
    rows = rows_of(certifier, found, {name: certifier.evidence(scored) for name, scored in found.items()})
    assert [row.condition for row in rows] == ["min", "max", "both"]
    assert all(row.base == "ebo" for row in rows)
