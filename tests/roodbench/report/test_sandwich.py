"""Certificates beside runs: one table of clean, attacked and certified, and what cannot be is said loudly."""

import json
from dataclasses import replace

import numpy as np
import pytest

from roodbench.certify.certificate import NAME
from roodbench.cli import main
from roodbench.metrics import components
from roodbench.metrics.gauroc import gauroc
from roodbench.metrics.paired import holm
from roodbench.report.bounded import Claims, strict
from roodbench.report.compare import compare
from tests.roodbench.report.claims import certificate, with_rows
from tests.roodbench.report.small import evaluated

EPS = 16 / 255
NETWORK = "f" * 64


def run_of(name="median", **config):
    """A small run that says of which network it is."""
    record = evaluated(name)
    return replace(record, config={**record.config, "network_sha256": NETWORK, **config})


def made(**settings):
    """A certificate of the same images, at the same linf radius."""
    return certificate(
        evaluated("median").data, **{"norm": "linf", "radius": (EPS,), "detectors": ("median",), **settings}
    )


def claims_of(found, folder):
    """A certificate as a comparison reads it."""
    (folder / NAME).write_text(json.dumps(found))
    return Claims.read(folder / NAME)


def test_a_certified_auroc_is_tested_as_pairs_in_which_ties_lose():
    lower, upper = np.array([-np.inf, 0.0, 1.0, 2.0]), np.array([1.0, 0.0, np.inf])
    assert components(*strict(lower, upper)).value == gauroc(lower, upper) == 3 / 12


def test_one_table_holds_clean_attacked_and_certified(tmp_path):
    run, found = run_of(), made(detectors=("median", "ross"))
    both = compare({"run": run, "cert": claims_of(found, tmp_path)})
    sets, lines = both.ood, {line.detector: line for line in both.lines}
    assert list(lines) == [
        "median(gen)",
        "median(gen), all copies",
        "median(gen), 25 copies",
        "ross(gen), all copies",
        "ross(gen), 25 copies",
    ]
    mean = {(r.condition, r.group): r.auroc for r in run.averages}
    own = lines["median(gen)"]
    assert (own.clean, own.attacked, own.certified) == (
        pytest.approx(mean["clean", "all"]),
        pytest.approx(mean["both", "all"]),
        None,
    )
    for name in ("median", "ross"):
        rows = [r for r in found["gauroc"] if (r["detector"], r["condition"]) == (name, "both") and r["ood"] in sets]
        assert lines[f"{name}(gen), all copies"].certified == pytest.approx(np.mean([r["gauroc"] for r in rows]))
        assert lines[f"{name}(gen), 25 copies"].certified == pytest.approx(np.mean([r["deployed"] for r in rows]))
    assert both.contradictions == []
    places = {s.condition for s in both.standings}
    assert places == {"clean", "certified min", "certified max", "certified both"}
    assert [p.p_holm for p in both.pairs] == holm([p.p for p in both.pairs])
    assert len(both.pairs) == 3 + 3
    table = both.to_table()
    assert "detector" in table
    assert "certified %" in table
    assert "certified both linf 16/255" in table
    assert json.loads(both.to_json())["lines"][0]["detector"] == "median(gen)"


def joined(run, found, deployed):
    """The certificate with the parameters of the run's detector and another bound of its few copies."""
    params = next(row.params for row in run.rows)
    found["detectors"][0]["params"] = json.loads(json.dumps(params))
    for row in found["gauroc"]:
        row["deployed"] = deployed
    return found


def test_a_bound_stands_beside_the_run_of_the_same_detector_and_above_its_attack_it_is_a_contradiction(tmp_path):
    run, found = run_of(), made(sigma=0.05, samples=5000)
    attacked = next(r.auroc for r in run.averages if (r.condition, r.group) == ("both", "all"))
    low = Claims(joined(run, found, 0.01), claims_of(made(sigma=0.05, samples=5000), tmp_path).config)
    (own, _) = compare({"run": run, "cert": low}).lines
    assert (own.detector, own.certified, own.contradicts) == ("median(gen)", pytest.approx(0.01), False)
    assert own.attacked == pytest.approx(attacked)
    high = replace(low, certificate=joined(run, found, 0.999999))
    both = compare({"run": run, "cert": high})
    assert both.lines[0].contradicts
    (line,) = both.contradictions
    assert line.startswith("CONTRADICTION: median(gen) at linf 16/255: certified 100.00 is above attacked ")
    assert both.to_table().splitlines()[0] == line
    middle = replace(low, certificate=joined(run, json.loads(json.dumps(found)), 0.02))
    two = compare({"run": run, "cert": replace(low, certificate=joined(run, found, 0.01)), "again": middle})
    assert two.lines[0].certified == pytest.approx(0.02)
    said = "has the highest of their bounds in its line: with probability at least 0.998, that of all of them together"
    assert [any(said in note for note in its.notes) for its in (both, two)] == [False, True]
    other = replace(low, certificate={**found, "detectors": [{**found["detectors"][0], "fitted": {"tau": 1.0}}]})
    assert compare({"run": run, "cert": other}).lines[0].certified is None


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        (
            made,
            lambda: made(network="e" * 64),
            "certify other networks (ffffffffffff, eeeeeeeeeeee)",
        ),
        (made, lambda: made(norm="l2"), "certify linf and l2: expected one norm"),
        (made, lambda: made(alpha=0.01), "have alpha 0.001 and 0.01: expected the same"),
        (made, lambda: made(radius=(0.1,)), "have no radius in common (0.0627451 and 0.1): expected one"),
        (run_of, lambda: made(network="e" * 64), "are of other networks (ffffffffffff, eeeeeeeeeeee)"),
        (
            run_of,
            lambda: made(norm="l2"),
            "attacks in linf, 'b' certifies l2: expected one norm, a run with --norm l2",
        ),
        (
            run_of,
            lambda: made(radius=(0.1,)),
            "'a' attacks at radius 0.0627451, 'b' certifies 0.1: expected one",
        ),
        (lambda: run_of(network_sha256=None), made, "'a' does not say of which network it is"),
        (lambda: run_of(threat="known-seed", plan={"threat": "known-seed"}), made, "'a' has the threat known-seed"),
        (run_of, lambda: certificate(norm="linf", radius=(EPS,)), "'b' has no OOD set unseen-digits, noise"),
    ],
)
def test_what_is_not_comparable_is_refused_in_one_line(first, second, sentence, tmp_path):
    def given(its):
        return claims_of(its, tmp_path) if isinstance(its, dict) else its

    with pytest.raises(ValueError) as caught:
        compare({"a": given(first()), "b": given(second())})
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_images_are_refused(tmp_path):
    found = made()
    data = {**found["data"], "OOD test: noise": {**found["data"]["OOD test: noise"], "sha256": "0"}}
    other = with_rows(certificate(data, norm="linf", radius=(EPS,), detectors=("median",)))
    with pytest.raises(ValueError, match="'a' and 'b' have other images of OOD test: noise"):
        compare({"a": run_of(), "b": claims_of(other, tmp_path)})


def test_on_the_command_line(tmp_path, capsys):
    run_of().save(tmp_path / "run")
    (tmp_path / "cert").mkdir()
    file, found = tmp_path / "cert" / NAME, made()
    file.write_text(json.dumps(found))
    assert main(["compare", str(tmp_path / "run"), str(file)]) == 0
    shown = capsys.readouterr().out
    assert "median(gen), all copies" in shown
    found["gauroc"][0]["gauroc"] = 1.0
    file.write_text(json.dumps(found))
    assert main(["compare", str(tmp_path / "run"), str(file)]) == 2
    assert "contradicts itself" in capsys.readouterr().err
