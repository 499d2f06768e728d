"""Detectors on the same images, and two runs of one configuration."""

import json
from dataclasses import replace

import numpy as np
import pytest

from roodbench.cli import main
from roodbench.metrics import components
from roodbench.metrics.paired import holm, paired_test
from roodbench.report.changes import what_changed, with_scores
from roodbench.report.compare import compare
from tests.roodbench.report.small import SETS, evaluated, merged, several


def changed(record, **parts):
    """A copy of a record with other parts of its JSON."""
    return type(record).from_json(json.dumps({**record.to_dict(), **parts}))


def test_every_auroc_is_the_records():
    record = several()
    found = compare({"run": record})
    expected = {
        (row.condition, row.eps and round(row.eps, 9), row.detector): (row.auroc, row.auroc_ci, row.reliable)
        for row in record.averages
        if row.group == "all"
    }
    assert len(found.standings) == len(expected) == 21
    for s in found.standings:
        area, ci, reliable = expected[s.condition, s.eps and round(s.eps, 9), s.detector.partition("(")[0]]
        assert (s.auroc, s.auroc_ci) == (pytest.approx(area, abs=1e-12), pytest.approx(ci, abs=1e-9))
        assert s.reliable == reliable
        assert s.draws == (10 if s.detector == "median(gen)" else 1)
        assert s.rank_best <= s.rank <= s.rank_worst


@pytest.mark.parametrize("ood", SETS)
def test_one_set_alone_is_its_row(ood):
    found = compare({"run": several()}, [ood])
    rows = {(r.condition, r.eps and round(r.eps, 9), r.detector): r.auroc for r in several().rows if r.ood == ood}
    for s in found.standings:
        assert s.auroc == rows[s.condition, s.eps and round(s.eps, 9), s.detector.partition("(")[0]]
    assert found.n_ood == 10


def test_tests_are_delongs_and_corrected_together():
    record = several()
    found = compare({"run": record}, ["noise"])
    assert len(found.pairs) == 3 * 7
    assert [p.p_holm for p in found.pairs] == holm([p.p for p in found.pairs])
    both = {p.first: p for p in found.pairs if (p.condition, {p.first, p.second}) == ("both", {"msp", "gen"})}
    (pair,) = [p for p in both.values() if p.eps == pytest.approx(16 / 255)]
    parts = [
        components(record.scores_of(d, "digits", "min", "16/255"), record.scores_of(d, "noise", "max", "16/255"))
        for d in (pair.first, pair.second)
    ]
    test = paired_test(*parts)
    assert (pair.difference, pair.p, pair.difference_ci) == (test.difference.value, test.p, test.difference.ci)
    assert pair.difference >= 0  # the better one stands first


def test_corrupted_id_is_said_not_to_be_compared():
    record = several()
    assert not any("corrupted" in note for note in compare({"run": record}).notes)
    worst = [replace(row, condition="worst") for row in record.rows if row.condition == "clean"]
    found = compare({"run": replace(record, rows=[*record.rows, *worst])})
    assert any("corrupted ID is not compared" in note for note in found.notes)


def test_detectors_of_several_runs_are_compared_and_named():
    one, other = evaluated("median"), evaluated("median", sigma=0.2)
    names = {s.detector for s in compare({"a": one, "b": other}).standings}
    assert names == {"median(gen), sigma 0.05", "median(gen), sigma 0.2"}
    again = compare({"a": evaluated("gen"), "b": replace(evaluated("gen"), config={"attack": "none"})})
    assert {s.detector for s in again.standings} == {"gen A", "gen B"}
    assert all(p.difference == 0 and p.p == 1 and not p.differs for p in again.pairs)
    assert any("'a' and 'b' attack otherwise" in note for note in again.notes)


def test_what_differs_between_runs_is_said_where_it_matters():
    """Of attacks where both have one in common, and of networks, of which labels say nothing."""
    one, other = evaluated("gen"), evaluated("msp", 96 / 255)
    planned = replace(other, config={**other.config, "plan": {**other.config["plan"], "method": "pgd"}})
    assert not any("attack otherwise" in note for note in compare({"a": one, "b": planned}).notes)
    named = [replace(its, config={**its.config, "network_sha256": c * 64}) for its, c in ((one, "0"), (other, "1"))]
    assert (
        "'a' and 'b' score other networks (digits-cnn and digits-cnn)"
        in compare(dict(zip("ab", named, strict=True))).notes
    )
    assert not any("other networks" in note for note in compare({"a": one, "b": named[1]}).notes)


def test_what_one_detector_lacks_is_said():
    found = compare({"a": evaluated("gen"), "b": evaluated("msp", 96 / 255)})
    assert {s.condition for s in found.standings} == {"clean"}
    assert "both linf 16/255: not of msp" in found.notes


@pytest.mark.parametrize(
    ("records", "ood", "sentence"),
    [
        (lambda: {"a": evaluated("gen"), "b": evaluated("msp", limit=8)}, None, "ID test: digits (10 and 8 images)"),
        (lambda: {"a": evaluated("gen")}, None, "one detector, gen: expected at least two"),
        (lambda: {"a": several()}, ["nois"], "unknown OOD set of 'a' 'nois': did you mean 'noise'?"),
        (lambda: {"a": changed(several())}, None, "'a' has no scores"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(records, ood, sentence):
    with pytest.raises(ValueError) as caught:
        compare(records(), ood)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_images_and_sets_are_named():
    record = evaluated("msp")
    data = {**record.data, "OOD test: noise": {"images": 10, "sha256": "0" * 64}}
    other = replace(record, data=data)
    with pytest.raises(ValueError, match="'a' and 'b' have other images of OOD test: noise"):
        compare({"a": evaluated("gen"), "b": other})
    assert compare({"a": evaluated("gen"), "b": other}, ["unseen-digits"]).ood == ["unseen-digits"]
    fewer = replace(record, rows=[row for row in record.rows if row.ood == "noise"])
    with pytest.raises(ValueError, match="'b' has no OOD set unseen-digits: --ood noise compares on what both have"):
        compare({"a": evaluated("gen"), "b": fewer})


def test_images_that_repeat_count_once():
    record = several()
    data = {
        **record.data,
        "ID test: digits": {**record.data["ID test: digits"], "copies": [[i, 0] for i in range(1, 10)]},
    }
    once, all_of_them = (compare({"a": its}, ["noise"]) for its in (replace(record, data=data), record))
    assert [s.auroc for s in once.standings] == pytest.approx([s.auroc for s in all_of_them.standings])
    pair, other = (next(p for p in its.pairs if p.difference > 0) for its in (once, all_of_them))
    assert (pair.first, pair.second) == (other.first, other.second)
    assert pair.p > other.p
    assert pair.difference_ci[0] < other.difference_ci[0]


def test_of_a_draw_that_the_adversary_knows_rows_speak():
    record = evaluated("median")
    known = replace(record, config={"threat": "known-seed"})
    assert {s.draws for s in compare({"a": evaluated("gen"), "b": known}).standings if "median" in s.detector} == {1}


def test_the_same_run_again_is_the_same():
    found = with_scores(several(), several())
    assert (found.changes, found.moved, found.scores) == ([], [], {"clean": 0.0, "attacked": 0.0})
    assert found.verdict.startswith(f"all {found.compared} numbers are the same, nothing else that the records say")


def test_changes_are_named_with_what_moved():
    before = evaluated("gen")
    scores = {key: value.clone() for key, value in before.scores.items()}
    scores["gen/digits/clean"][0, 0] *= 1 + 1e-3
    rows = [replace(row, auroc=row.auroc - 0.01) if row.condition == "clean" else row for row in before.rows]
    after = replace(
        before,
        config={**before.config, "seed": 1},
        environment=replace(before.environment, code="other", device="another CPU"),
        data={**before.data, "ID test: digits": {"images": 10, "sha256": "f" * 64}},
        rows=rows,
        scores=scores,
    )
    found = with_scores(before, after)
    assert [(c.part, c.name) for c in found.changes] == [
        ("data", "ID test: digits, sha256"),
        ("configuration", "seed"),
        ("machine", "device"),
        ("code", "code"),
    ]
    assert {(m.name, m.ood, m.condition) for m in found.moved} == {("auroc", name, "clean") for name in SETS}
    assert [m.by for m in found.moved] == pytest.approx([0.01, 0.01])
    assert found.scores == {"clean": pytest.approx(1e-3, rel=0.01), "attacked": 0.0}
    assert "2 of" in found.verdict
    assert "what differs: data, configuration, machine, code; clean scores differ by 1.0e-03" in found.verdict
    assert "| " not in found.to_table()
    assert json.loads(found.to_json())["verdict"] == found.verdict


def test_rounding_is_no_change_and_a_verdict_is_one():
    before = evaluated("gen")
    rows = [replace(row, auroc=row.auroc + 1e-12) for row in before.rows]
    assert with_scores(before, replace(before, rows=rows)).moved == []
    rows = [replace(row, reliable=False) for row in before.rows if row.condition == "clean"]
    found = with_scores(before, replace(before, rows=rows))
    assert {m.name for m in found.moved} == {"reliable"}
    assert found.alone["A"] == [f"gen {c} 16/255" for c in ("min", "max", "both")]
    with pytest.raises(ValueError, match="no row in common"):
        what_changed(evaluated("gen").to_dict(), evaluated("msp").to_dict())


def test_on_the_command_line(tmp_path, capsys):
    for name in ("gen", "msp"):
        evaluated(name).save(tmp_path / name)
    places = [str(tmp_path / "gen"), str(tmp_path / "msp" / "result.json")]
    assert main(["compare", *places]) == 0
    shown = capsys.readouterr().out
    assert "A: gen" in shown
    assert "paired by image (DeLong)" in shown
    assert main(["compare", *places, "--format", "json", "--ood", "noise"]) == 0
    assert json.loads(capsys.readouterr().out)["ood"] == ["noise"]
    assert main(["compare", *places, "--format", "csv"]) == 0
    assert capsys.readouterr().out.startswith("condition,eps,norm,first,second,difference,")
    assert main(["compare", places[0], places[0].replace("gen", "./gen"), "--changes"]) == 0
    assert "numbers are the same" in capsys.readouterr().out
    for arguments, sentence in {
        ("compare",): "expected at least one run",
        ("compare", places[0], places[0]): "is given twice",
        ("compare", places[0], "--changes"): "--changes compares two runs: expected two, not 1",
        ("compare", *places, "--changes", "--ood", "noise"): "--changes takes no ood: leave out --ood noise",
        ("compare", *places, "--format", "yaml"): "unknown format 'yaml'",
    }.items():
        assert main(list(arguments)) == 2
        said = capsys.readouterr().err
        assert sentence in said
        assert said.count("\n") == 1


def test_many_pairs_are_cut_in_the_table_alone():
    found = compare({"run": merged(several(), *(evaluated("ebo", eps) for eps in (16 / 255, 96 / 255)))})
    assert len(found.pairs) == 6 * 7
    assert f"{sum(not p.differs for p in found.pairs)} of 42 pairs do not differ" in found.to_table()
    assert len(found.to_csv().splitlines()) == 43
    assert all(np.isfinite(p.p) for p in found.pairs)
