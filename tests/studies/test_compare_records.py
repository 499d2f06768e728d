"""studies.compare_records: what counts as equal, as rounding, as another run."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from roodbench import Result
from roodbench.store.cells import checksum
from studies import compare_records


@pytest.fixture
def copy(small_run, tmp_path):
    """A copy of the small run that a test may change."""
    return shutil.copytree(small_run, tmp_path / "copy")


def scale(folder, ending, factor):
    """Multiply the first score of the first population whose key ends so, as another machine may have found it."""
    result = Result.load(folder)
    name = next(key for key in sorted(result.scores) if key.endswith(ending))
    result.scores[name][0, 0] *= factor
    replace(result, scores_sha256=checksum(result.scores)).save(folder)


def edit(folder, change):
    """Change the record's JSON."""
    record = json.loads((folder / "result.json").read_text())
    change(record)
    (folder / "result.json").write_text(json.dumps(record))


def compared(before, after, capsys):
    """The exit code and the printed text."""
    code = compare_records.main([str(before), str(after)])
    return code, capsys.readouterr().out


def test_the_same_record_is_equal(small_run, copy, capsys):
    code, out = compared(small_run, copy / "result.json", capsys)
    assert code == 0
    assert out.splitlines()[-1] == "equal; clean scores differ by 0.0e+00 at most, within 1e-05"
    assert "| gen | equal | equal | equal | equal |" in out
    assert "digits clean | unseen-digits clean | digits min | unseen-digits max |" in out


@pytest.mark.parametrize(("factor", "code"), [(1 + 2e-6, 0), (1 + 1e-3, 1)])
def test_clean_scores_may_differ_by_rounding_alone(factor, code, small_run, copy, capsys):
    scale(copy, "gen/digits/clean", factor)
    found, out = compared(small_run, copy, capsys)
    assert found == code
    assert out.splitlines()[-1].startswith("15 of 16 differences are 0; clean scores differ by ")
    assert f"| {'1.0e-03' if code else '2'}" in out
    assert ("within" in out.splitlines()[-1]) == (code == 0)


def test_attacked_scores_may_differ(small_run, copy, capsys):
    scale(copy, "gen/0.0627451/digits/min", 0.5)
    code, out = compared(small_run, copy, capsys)
    assert code == 0
    assert "| gen | equal | equal | 5.0e-01 | equal |" in out


def test_aurocs_are_compared_row_by_row(small_run, copy, capsys):
    def change(record):
        row = next(r for r in record["rows"] if r["detector"] == "ross" and r["condition"] == "max")
        row["auroc"] -= 0.25

    edit(copy, change)
    code, out = compared(small_run, copy, capsys)
    assert code == 0
    assert "| ross(gen) | equal | equal | 2.5e-01 | equal |" in out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda record: record["config"].update(seed=1), "config seed is 0 in BEFORE and 1 in AFTER"),
        (lambda record: record["data"].popitem()[1].update(images=3), None),
        (lambda record: record["rows"].pop(), "rows in BEFORE alone"),
        (lambda record: next(iter(record["data"].values())).update(images=3), "not the same run"),
    ],
)
def test_other_runs_are_refused(change, said, small_run, copy, capsys):
    edit(copy, change)
    if said is None:  # what one record alone says counts for nothing
        assert compared(small_run, copy, capsys)[0] == 0
        return
    with pytest.raises(SystemExit) as stopped:
        compare_records.main([str(small_run), str(copy)])
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_scores_must_be_there(small_run, copy, capsys):
    (copy / "scores.safetensors").unlink()
    for pair in ((copy, small_run), (small_run, copy)):
        with pytest.raises(SystemExit) as stopped:
            compare_records.main([str(place) for place in pair])
        assert stopped.value.code == 2
        assert "scores" in capsys.readouterr().err


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="expected as many draws and images"):
        compare_records.relative(np.zeros((1, 3)), np.zeros((1, 4)))
