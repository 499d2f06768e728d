"""benchmarks.startup: commands, exit codes and verdicts; nothing is timed here."""

import pytest

from benchmarks import startup
from benchmarks.startup import TORCH, Case

FOUND = {
    TORCH: [1.0, 9.0, 1.0],
    "--version": [0.15, 0.15, 0.9],
    "--help": [0.16, 0.16, 0.16],
    "run --help": [0.1, 0.1, 0.1],
    "list": [1.0, 1.1, 1.2],
    "usage error": [1.2, 1.2, 0.1],
    "kept rerun": [1.4, 1.5, 1.6],
}


def test_medians_are_compared_with_import_torch():
    lines, missed = startup.compared(startup.CASES, FOUND)
    assert lines[0] == "| import torch | 1.00 | 1.00 |  |"
    assert lines[1] == "| --version | 0.15 | 0.15 | 0.15 met |"
    assert lines[2] == "| --help | 0.16 | 0.16 | 0.15 NOT met |"
    assert lines[6] == "| kept rerun | 1.50 | 1.50 | 1.50 met |"
    assert missed == ["--help", "usage error"]


@pytest.mark.parametrize(("options", "code"), [([], 0), (["--strict"], 1)])
def test_a_missed_target_fails_only_strictly(options, code, monkeypatch, capsys):
    monkeypatch.setattr(startup, "measure", lambda cases, repeats: FOUND)
    assert startup.main(options) == code
    assert capsys.readouterr().out.splitlines()[0].startswith("| command | median (s) |")


def test_all_met_targets_pass_strictly(monkeypatch):
    monkeypatch.setattr(startup, "measure", lambda cases, repeats: {name: [0.1] for name in cases} | {TORCH: [1.0]})
    assert startup.main(["--strict"]) == 0


def test_every_case_runs_once_uncounted_and_then_in_turns(monkeypatch):
    ran = []

    def run(case, environment):
        ran.append((case, environment["XDG_CACHE_HOME"]))
        return float(len(ran))

    monkeypatch.setattr(startup, "seconds", run)
    cases = {TORCH: Case(("-c", "pass")), "other": Case(("-c", "1"))}
    assert startup.measure(cases, 2) == {TORCH: [3.0, 5.0], "other": [4.0, 6.0]}
    assert len({cache for _, cache in ran}) == 1


def test_the_exit_code_is_checked():
    assert startup.seconds(Case(("-c", "raise SystemExit(2)"), code=2), {}) > 0
    with pytest.raises(RuntimeError, match="exit code 1, expected 0: oh no"):
        startup.seconds(Case(("-c", "raise SystemExit('oh no')")), {})


def test_the_commands_are_those_that_were_promised():
    targets = {name: case.target for name, case in startup.CASES.items()}
    assert targets == {
        TORCH: None,
        "--version": 0.15,
        "--help": 0.15,
        "run --help": 0.15,
        "list": 1.1,
        "usage error": 1.1,
        "kept rerun": 1.5,
    }
    assert [name for name, case in startup.CASES.items() if case.code == 2] == ["usage error"]
