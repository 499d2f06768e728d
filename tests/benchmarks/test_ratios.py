"""benchmarks.ratios: from a pytest-benchmark record to ratios, targets and an exit code."""

import json

import pytest

from benchmarks import ratios
from tests.collecting import ROOT, collected


def record_of(medians, folder):
    """A record of pytest-benchmark with these medians, in seconds."""
    info = {"device": "a CPU", "threads": 2, "revision": "abc", "network": "cifar-resnet20", "batch": 128}
    timings = [
        {"fullname": f"benchmarks/{name}", "stats": {"median": s}, "extra_info": info} for name, s in medians.items()
    ]
    file = folder / "bench.json"
    file.write_text(json.dumps({"benchmarks": timings}))
    return file


def test_every_timing_that_is_compared_exists():
    """A timing that is renamed would drop out of the table without a word."""
    wanted = {
        f"benchmarks/test_{group}.py::test_{name}"
        for _, group, ours, others in ratios.RATIOS
        for name in (ours, *others)
    }
    assert len(wanted) > 20
    assert wanted <= set(collected(*(str(file) for file in sorted((ROOT / "benchmarks").glob("test_*.py")))))


OURS, FLOOR = "test_step.py::test_ours[msp-float32]", "test_step.py::test_floor[float32]"


@pytest.mark.parametrize("medians", [{}, {OURS: 1.0}, {OURS: 1.0, "test_score.py::test_floor_ross": 1.0}])
@pytest.mark.parametrize("options", [[], ["--strict"]])
def test_a_record_without_any_pair_is_an_error(medians, options, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        ratios.main([str(record_of(medians, tmp_path)), *options])
    assert stopped.value.code == 2
    assert "holds none of the pairs" in capsys.readouterr().err


def test_a_met_target_passes_strictly(tmp_path, capsys):
    assert ratios.main([str(record_of({OURS: 0.0105, FLOOR: 0.01}, tmp_path)), "--strict"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0] == "cifar-resnet20, batch 128, a CPU, 2 threads, abc"
    assert out.splitlines()[-1] == "| PGD step | 10.5 | floor[float32] | 10.0 | 1.05 | 1.10 met |"


def test_a_missed_target_fails_only_strictly(tmp_path, capsys):
    file = record_of({OURS: 0.012, FLOOR: 0.01}, tmp_path)
    assert ratios.main([str(file)]) == 0
    assert ratios.main([str(file), "--strict"]) == 1
    assert "| 1.20 | 1.10 NOT met |" in capsys.readouterr().out


def test_a_pair_without_a_target_is_shown_and_judges_nothing(tmp_path, capsys):
    medians = {"test_attack.py::test_ours[pro-float32]": 3.0, "test_attack.py::test_floor[pro-40-float32]": 1.0}
    file = record_of(medians, tmp_path)
    assert ratios.main([str(file)]) == 0
    printed = capsys.readouterr()
    assert "| PGD loop on PRO | 3000.0 | floor[pro-40-float32] | 1000.0 | 3.00 |  |" in printed.out
    assert printed.err == "no ratio has a target: nothing was judged\n"
    assert ratios.main([str(file), "--strict"]) == 1


@pytest.mark.parametrize(
    ("renamed", "said"),
    [
        ("test_score.py::test_floor_ros", "ROSS score, N = 25 / floor_ross lacks test_score::floor_ross"),
        ("test_score.py::test_ours[ros]", "ROSS score, N = 25 / floor_ross lacks test_score::ours[ross]"),
    ],
)
def test_a_renamed_timing_is_named_and_fails_strictly(renamed, said, tmp_path, capsys):
    """Half of a pair that nobody compares any more, beside a pair that meets its target."""
    names = {"test_score.py::test_ours[ross]", "test_score.py::test_floor_ross"}
    kept = next(name for name in names if name[20:25] != renamed[20:25])
    file = record_of({OURS: 0.0105, FLOOR: 0.01, kept: 0.01, renamed: 0.01}, tmp_path)
    assert ratios.main([str(file)]) == 0
    assert f"not compared: {said}\n" in capsys.readouterr().err
    assert ratios.main([str(file), "--strict"]) == 1


@pytest.mark.parametrize("content", ["", "{", "[]", '{"benchmarks": [{"extra_info": {}}]}', None])
def test_what_is_no_record_is_one_line(content, tmp_path, capsys):
    file = tmp_path / "bench.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SystemExit) as stopped:
        ratios.main([str(file), "--strict"])
    assert stopped.value.code == 2
    said = (
        "No such file"
        if content is None
        else "is no record of these timings: make one with python -m pytest benchmarks"
    )
    assert said in capsys.readouterr().err


def test_a_time_of_zero_is_no_ratio(tmp_path, capsys):
    with pytest.raises(SystemExit):
        ratios.main([str(record_of({OURS: 0.01, FLOOR: 0.0}, tmp_path))])
    assert "holds none of the pairs" in capsys.readouterr().err
