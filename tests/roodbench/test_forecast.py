"""What a run would take: its parts, their passes, and nothing that is left behind."""

import json
import sys
from functools import partial

import pytest

import attacks
from roodbench import api
from roodbench.cli import main
from roodbench.evaluation.forecast import peak_memory
from roodbench.setup.config import RunConfig
from tests.roodbench.helpers import fitted, small

SMALL = {"ood": ("photos", "noise"), "limit": 8, "device": "cpu"}
WORDS = ["--detector", "gen", "--ood", "photos", "--limit", "8", "--steps", "2", "--dry-run"]


@pytest.mark.parametrize("detector", ["gen", pytest.param("ross", marks=pytest.mark.slow)])
def test_the_parts_are_those_of_the_run(detector, digits_net, tmp_path):
    config = RunConfig(detector=detector, eps=(0.02, 0.05), steps=3, restarts=1, **SMALL)
    found = api.forecast(config, out=tmp_path, check=False)
    label = found.parts[0].detector
    wanted = [
        ("clean", 24),
        ("checks of the score", 24),
        *((f"{d} at {eps}", n) for eps in (0.02, 0.05) for d, n in (("min", 8), ("max", 16))),
    ]
    assert [(part.what, part.images) for part in found.parts] == wanted
    assert all(part.seconds > 0 for part in found.parts)
    assert found.seconds == pytest.approx(found.load + sum(part.seconds for part in found.parts))
    assert found.memory > 2**26
    assert list(tmp_path.rglob("*.*")) == []
    result, folder = api.run(config, out=tmp_path, check=False, workers=1)
    assert folder == found.folder
    spent = [sum(attack.passes) for attack in result.attacks]
    assert max(spent) <= sum(found.parts[2].passes) + 1e-6  # of images that are never decided
    assert label == result.detectors[0].detector


def test_passes_are_the_plans(digits_net, tmp_path):
    config = RunConfig(detector="gen", attack="min", steps=3, restarts=2, **SMALL)
    found = api.forecast(config, out=tmp_path, check=False)
    gen = fitted("gen", digits_net, small(8))
    from roodbench.setup.setting import plan_of

    plan = plan_of(small(8), steps=3, restarts=2)
    assert found.parts[2].passes == attacks.cost(gen, plan)


def test_checks_are_parts_too(tmp_path):
    config = RunConfig(detector="pro", attack="max", steps=2, restarts=1, **{**SMALL, "limit": 40})
    what = [part.what for part in api.forecast(config, out=tmp_path).parts]
    assert what == ["clean", "checks of the score", "max", "max, base score alone", "indicators"]


def on_windows(function, monkeypatch, *arguments):
    """What a function returns where the platform is Windows, which has no module `resource`."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "win32")
        patch.setitem(sys.modules, "resource", None)
        return function(*arguments)


def test_where_the_system_does_not_tell_its_memory_none_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("roodbench.api.peak_memory", partial(on_windows, peak_memory, monkeypatch))
    assert main([*WORDS, "--no-check", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[-2].endswith(", memory unknown")


def test_the_command_line_prints_it(tmp_path, capsys):
    words = [*WORDS, "--out", str(tmp_path)]
    assert main(words) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("gen, clean: 16 images, 1 + 0 passes each, ")
    assert out[-2].startswith("in all ")
    assert out[-1].startswith(f"an earlier start of this run left 0 parts; its folder: {tmp_path}")
    assert main([*words[:-3], "--out", str(tmp_path), "--quiet"]) == 0
    capsys.readouterr()
    assert main([*words, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kept"] > 0
    assert [part["what"] for part in found["parts"]] == ["clean", "checks of the score", "min", "max", "indicators"]
    assert main([*words, "--format", "csv"]) == 2
    assert "unknown format 'csv': expected one of table, json" in capsys.readouterr().err


def test_without_an_attack(tmp_path):
    part, checks = api.forecast(RunConfig(detector="gen", attack="none", **SMALL), out=tmp_path).parts
    assert checks.what == "checks of the score"
    assert (part.what, part.images, part.passes) == ("clean", 24, (1, 0))
