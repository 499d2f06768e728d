"""Options that say nothing, twice, or something else than was meant: one line and exit 2."""

import json

import pytest

from roodbench import cli

MISTAKES = {
    "--detector ross,ross": "detector 'ross' is named 2 times: expected each once",
    "--ood noise,noise": "OOD set 'noise' is named 2 times: expected each once",
    "--detector msp --base gen": "base gen: none of msp wraps a base score",
    "--detector msp --search": "search: msp has no published grid, leave out --search",
    "--param sigma=0.1 --param sigma=0.2": "parameter sigma is given twice: 0.1 and 0.2",
    "--param copies=100000000": "copies 100000000: expected at least 1 and at most 1000000",
    "--detector pro --param bounds=[1,0]": "bounds [1, 0]: expected (low, high) with low below high",
    "--detector odin --param std=[0]": "std [0]: expected numbers above 0",
    "--detector odin --param step_size=-1": "step_size -1: expected a number of at least 0",
    "--data-root /nowhere": "benchmark digits is embedded, it reads no images: leave out --data-root /nowhere",
    "certify --data-root /nowhere": "benchmark digits is embedded, it reads no images: leave out --data-root",
    "check --attack none": "attack none: there is no attack to check, expected min, max or both",
    "check --protocol pro-2025": "attack none: there is no attack to check",
    "--attack none --norm linf": "attack none takes no norm: leave out --norm linf",
    "--method square --steps 20": "method square takes no steps: leave out --steps 20",
    "--eps 0,03": "epsilon '0,03': a comma separates radii; did you mean 0.03?",
    "--eps 8/255,8/255": "epsilon 8/255,8/255: expected radii that differ in six digits",
    "--eps 8/255,0.0313725": "epsilon 8/255,0.0313725: expected radii that differ in six digits",
    "--attack none --eps 8/255": "attack none takes no eps: leave out --eps 8/255\n",
    "--attack none --eps 0.03,16/255": "attack none takes no eps: leave out --eps 0.03,16/255\n",
    "--seed 1e3": "seed '1e3': expected a whole number",
    "--limit x": "limit 'x': expected a whole number",
    "check --steps 2.5": "steps '2.5': expected a whole number",
    "certify --seed one": "seed 'one': expected a whole number",
    "certify --alpha 1/20": "alpha '1/20': expected a number, such as 0.05",
    "--detector gen --detector ross": "--detector is given twice: give it once, as --detector A,B for several",
    "--ood noise --ood noise": "--ood is given twice: give it once, as --ood A,B for several",
    "--eps 8/255 --eps 16/255": "--eps is given twice: give it once, as --eps A,B for several",
    "certify --radius 0.1 --radius 0.2": "--radius is given twice: give it once, as --radius A,B for several",
    "--benchmark nowhere.toml": "benchmark 'nowhere.toml' is no file: expected a TOML file",
    "--benchmark cifar": "unknown benchmark 'cifar': did you mean 'cifar10'?",
    "--benchmark torchvision:CIFAR10": "benchmark torchvision:CIFAR10 has no OOD set: give --ood with sources",
    "--benchmark nomodule:bench": "benchmark 'nomodule:bench': cannot import 'nomodule' (ModuleNotFoundError",
    "--download": "benchmark digits is not downloaded: leave out --download",
    "--train-limit 9": "benchmark digits takes no train-limit",
    "--train-limit 1": "train_limit 1: expected at least 2 training images, or 0 for all",
    "--full-spectrum": "benchmark digits has no covariate-shifted ID set for a full spectrum",
    "--memory 4": "memory '4': expected a number and its unit, such as 4GiB or 500MB",
    "--memory 4gib": "memory '4gib': expected a number and its unit",
    "--memory -1G": "memory '-1G': expected a number and its unit",
    "--memory 100MiB": "memory 100MiB: expected at least 256MiB for each, as 4GiB for all",
    "--memory 400M --workers 2": "memory 400MiB for 2 processes: expected at least 256MiB for each",
    "--memory 4G --engine ray": "memory is shared by the workers of engine ray: say how many, --workers N",
    "certify --memory 100M": "memory 100MiB: expected at least 256MiB for each",
    "certify --plan --memory 4G": "--plan takes no memory: leave out --memory 4G",
    "--param sigma=0": "sigma 0: copies without noise are all the same, expected a number above 0",
}


@pytest.mark.usefixtures("digits_net")
@pytest.mark.parametrize("arguments", MISTAKES)
def test_what_says_nothing_is_a_mistake(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("ROODBENCH_DATA", raising=False)
    assert cli.main([*arguments.split(), "--out", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert MISTAKES[arguments] in err
    assert (out, err.count("\n")) == ("", 1)


def test_the_list_has_everything_that_threat_takes(capsys):
    assert cli.main(["list", "--format", "json"]) == 0
    names = [entry["name"] for entry in json.loads(capsys.readouterr().out)["threats"]]
    assert names == ["fresh", "known-seed", "resubmit:q", "corruptions"]


def test_help_is_shown_whatever_else_is_given(capsys):
    assert cli.main(["run", "--limit", "x", "--detector", "a", "--detector", "b", "--help"]) == 0
    assert capsys.readouterr().out.startswith("Usage: roodbench run")


def test_a_data_root_in_the_environment_is_no_wish(tmp_path, monkeypatch):
    monkeypatch.setenv("ROODBENCH_DATA", "/nowhere")
    assert cli.main(["--detector", "gen", "--attack", "none", "--limit", "4", "--out", str(tmp_path)]) == 0


STRICT = {
    "--no-check": "the indicators' own attacks were left out: run without --no-check (check=False in Python)",
    "--seed 0": "the indicators' own attacks cost more than this attack: more images, or `roodbench check`",
}
FEW = ["--limit", "12", "--ood", "photos", "--quiet"]


@pytest.mark.parametrize("arguments", STRICT)
def test_strict_does_not_pass_an_attack_that_nobody_judged(arguments, tmp_path, capsys):
    given = ["--detector", "gen,mls", *FEW, "--restarts", "1", *arguments.split(), "--out", str(tmp_path)]
    note = f"gen, mls: not judged: {STRICT[arguments]}"
    for more, code, said in (([], 0, ""), (["--strict"], 1, f"roodbench: --strict: {note}")):
        assert cli.main([*given, "--eps", "8/255,16/255", *more]) == code
        out, err = capsys.readouterr()
        assert (err.startswith(said), err.count("\n"), out.count(note)) == (True, bool(more), 1)
    assert cli.main([*given, "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {(row["condition"] == "clean", row["reliable"]) for row in rows} == {(True, True), (False, None)}
    assert all(STRICT[arguments] in row["warnings"][0] for row in rows if row["reliable"] is None)


@pytest.mark.parametrize("arguments", ["--eps 0", "--attack none"])
def test_strict_passes_where_there_is_nothing_to_judge(arguments, tmp_path, capsys):
    given = ["--detector", "gen", *FEW, "--no-check", "--strict", *arguments.split()]
    assert cli.main([*given, "--out", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert "not judged" not in out
    assert err == ""
