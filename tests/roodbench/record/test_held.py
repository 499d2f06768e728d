"""A record that was edited is not read as if it were measured; an honest one is, of this code and of code before it."""

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from roodbench import Result, cli
from roodbench.entry.consistency import contradictions_of
from roodbench.entry.file import text_of
from roodbench.record.held import contradictions
from roodbench.record.row import Row
from roodbench.record.verdicts import OF_DATA, OF_SCORES
from tests.roodbench.entry import made

ROOT = Path(__file__).parents[3]
KEPT = [f for f in ROOT.glob("reports/**/result.json") if "indicators" in json.loads(f.read_text())]
RESAMPLED = [f"{name}_ci" for name in ("auroc_drop", "fpr95_id", "fpr95_id_refit", "fpr95_ood", "aupr_in", "aupr_out")]
"""Intervals that loading does not draw again: `validate-entry` does."""
STATED = ["passes_equal", "adaptive_gap_ci", "adaptive_gap_steps_ci"]
"""Of attacks whose scores no record has: their numbers must agree with each other alone."""
PLACE = ["detector", "base", "ood", "group", "condition", "eps"]
"""What says which row it is: one of another place is missed here, and one more there."""


def other(value):
    """Another value of the same type, near it; an end of an interval stays below its number."""
    if isinstance(value, bool) or value is None:
        return {True: False, False: True, None: 0.5}[value]
    if isinstance(value, dict):
        return {key: other(its) for key, its in value.items()} or {"k": 1}
    if isinstance(value, list):
        return [other(value[0]), *value[1:]] if value else ["more"]
    return f"{value}x" if isinstance(value, str) else value + 1 if isinstance(value, int) else value - 1e-3


def edited(record, part, place, name):
    """The record with another value in a field of one of a part's entries."""
    entries, zero = list(getattr(record, part)), {"id": [0.0, 0.0], "ood": [0.0, 0.0]}
    value = zero if name == "passes_equal" else other(getattr(entries[place], name))
    entries[place] = replace(entries[place], **{name: value})
    return replace(record, **{part: entries})


def test_honest_records_hold(small_run):
    assert list(contradictions(made.record())) == []
    assert list(contradictions(small_run[0])) == []


def test_every_kept_record_loads():
    assert len(KEPT) > 40
    for file in KEPT:
        assert Result.load(file).rows, file


@pytest.mark.parametrize("name", [f.name for f in fields(Row)])
@pytest.mark.parametrize("part", ["rows", "averages"])
def test_no_field_of_a_row_is_read_as_it_was_edited(part, name):
    record = made.record(labels=["one"], sets=["noise"], n=20)
    forged = edited(record, part, -1, name)
    found = list(contradictions(forged))
    if name in RESAMPLED:
        assert not found
        found = list(contradictions_of(forged))
    assert any(name in line for line in found) or (found and name in PLACE) or name in STATED


@pytest.mark.parametrize("name", RESAMPLED)
def test_an_interval_that_is_not_drawn_again_holds_its_number(name):
    record = made.record()
    rows = [*record.rows[:-1], replace(record.rows[-1], **{name: [0.0, 1e-6]})]
    (line,) = contradictions(replace(record, rows=rows))
    assert f"{name.removesuffix('_ci')} is " in line
    assert "outside its interval [0.0, 1e-06]" in line


@pytest.mark.parametrize("name", ["detector", "eps", "population", "condition", "components", "wins", "winner"])
def test_no_field_of_an_attack_is_read_as_it_was_edited(name, tmp_path):
    made.record().save(tmp_path)
    forged = edited(made.record(), "attacks", -1, name)
    (tmp_path / "result.json").write_text(forged.to_json())
    with pytest.raises(ValueError, match=r"result\.json"):
        Result.load(tmp_path)


def test_passes_of_an_attack_are_its_rows():
    assert list(contradictions(edited(made.record(), "attacks", -1, "passes")))


PLACES = {
    "rows": lambda record: record["rows"][0],
    "averages": lambda record: record["averages"][0],
}


@pytest.mark.parametrize("part", PLACES)
def test_an_edited_file_is_one_line_with_file_row_field_and_values(part, tmp_path, capsys):
    made.record().save(tmp_path)
    file = tmp_path / "result.json"
    record = json.loads(file.read_text())
    right, PLACES[part](record)["auroc"] = PLACES[part](record)["auroc"], 0.999
    file.write_text(json.dumps(record))
    where = "noise" if part == "rows" else "far OOD sets"
    with pytest.raises(ValueError) as error:
        Result.load(tmp_path)
    said = f"'{file}' is not as a run wrote it: one on {where}, clean: auroc is 0.999, its scores give {right}"
    assert str(error.value).startswith(said[:-4])
    (entry := tmp_path / "entry.json").write_text(
        text_of(replace(Result.from_json(file.read_text()), scores=made.record().scores))
    )
    for verb, place in (("report", file), ("report", entry), ("compare", file), ("figure", file)):
        words = [verb, *(["bars"] if verb == "figure" else []), str(place)]
        assert cli.main([*words, *(["-o", str(tmp_path / "x.html")] if verb == "report" else [])]) == 2
        err = capsys.readouterr().err
        assert f"one on {where}, clean: auroc is 0.999" in err, words
        assert err.count("\n") == 1


@pytest.mark.parametrize("what", ["rows", "averages"])
def test_rows_that_were_deleted_are_missed(what):
    record = made.record()
    assert list(contradictions(replace(record, **{what: getattr(record, what)[1:]})))


@pytest.mark.parametrize("name", [*OF_DATA, *OF_SCORES, "feasibility"])
def test_checks_that_were_deleted_are_missed(name):
    record = made.record()
    its = [i for i in record.indicators if i.name != name]
    assert f"it has no {name}" in next(contradictions(replace(record, indicators=its)))


def test_without_scores_what_its_rows_and_checks_decide_is_held():
    record = replace(made.record(), scores={})
    assert list(contradictions(record)) == []
    assert "its rows give" in next(contradictions(edited(record, "averages", -1, "auroc")))
    assert "n_ood is" in next(contradictions(edited(record, "averages", -1, "n_ood")))
    failed = [replace(i, passed=False) if i.name == "black-box" else i for i in record.indicators]
    assert any("black-box failed" in line for line in contradictions(replace(record, indicators=failed)))


def test_an_older_record_is_held_by_its_numbers():
    record = replace(made.record(), scores_sha256=None)
    odd = [replace(row, auroc_ci=[0.0, 1.0], warnings=["as it was said then"]) for row in record.rows]
    assert list(contradictions(replace(record, rows=odd))) == []
    for name in ("auroc", "fpr95_id", "aupr_in"):
        assert list(contradictions(edited(record, "rows", 0, name)))


def test_the_words_of_other_code_are_its_own():
    """Thresholds and messages change with the code: what follows is held by the record's own."""
    record = made.record()
    failed = replace(
        record.indicators[0], least=False, threshold=0.123, number=0.2, passed=False, message="as it was said then"
    )
    its = [failed if i is record.indicators[0] else i for i in record.indicators]
    assert any("threshold" in line for line in contradictions(replace(record, indicators=its)))
    older = replace(record, environment=replace(record.environment, code="before"))
    ours = [i for i in its if i.name != failed.name]
    renamed = [replace(failed, name="of-before", passed=True, threshold=0.3), *ours]
    assert list(contradictions(replace(older, indicators=renamed))) == []
    beyond = [replace(failed, name="of-before", passed=True), *ours]
    (line,) = contradictions(replace(older, indicators=beyond))
    assert "of-before passed: its number is 0.2, its threshold 0.123" in line


@pytest.mark.parametrize(("name", "value"), [("auroc", "x"), ("eps", "x"), ("passes", 3), ("auroc_ci", []), ("ood", 7)])
def test_what_is_no_number_is_one_line(name, value, tmp_path):
    made.record().save(tmp_path)
    record = json.loads((tmp_path / "result.json").read_text())
    record["rows"][-1][name] = value
    (tmp_path / "result.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"result\.json' is (not as a run wrote it|malformed)"):
        Result.load(tmp_path)
