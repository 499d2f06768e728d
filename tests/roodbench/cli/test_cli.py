"""The command line: its output, its exit codes, and one clear line for every mistake."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

import roodbench
from roodbench import cli
from roodbench.cli.main import INTERRUPTED
from tests.roodbench.helpers import wait_for


@pytest.fixture
def command(tmp_path, capsys):
    def run(*arguments, out=True):
        code = cli.main([*arguments, *(["--out", str(tmp_path / "runs")] if out else [])])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


QUICK = ["--limit", "8", "--steps", "2", "--ood", "unseen-digits"]


def test_main_job_prints_one_table(command, tmp_path):
    code, out, err = command("--detector", "ross", "--attack", "both", *QUICK)
    assert code == 0
    assert "ross(gen)" in out
    assert "AUROC" in out
    assert "kept in" in err
    (folder,) = (tmp_path / "runs").glob("digits-ross-*")
    assert {f.name for f in folder.iterdir()} == {
        "result.json",
        "result.csv",
        "table.txt",
        "table.md",
        "scores.safetensors",
        "manifest.json",
        "workers",
    }
    assert (folder / "table.txt").read_text() == out
    again = roodbench.Result.from_json((folder / "result.json").read_text())
    assert again.to_table() + "\n" == out
    assert again.to_json() + "\n" == (folder / "result.json").read_text()
    assert (folder / "table.md").read_text().splitlines()[3] == "| --- | --- | --- " + "| ---: " * 8 + "|"


def test_run_may_be_written_out_and_runs_are_keyed_by_content(command, tmp_path):
    for arguments in (["run"], [], ["--seed", "1"]):
        assert command(*arguments, "--detector", "gen", *QUICK)[0] == 0
    assert len(list((tmp_path / "runs").glob("digits-gen-*"))) == 2


def test_json_and_csv(command):
    code, out, _ = command("--detector", "gen,msp", "--eps", "4/255,8/255", "--format", "json", *QUICK)
    record = json.loads(out)
    assert code == 0
    attacked = {(r["detector"], r["eps"]) for r in record["rows"] if r["condition"] != "clean"}
    assert attacked == {(d, e / 255) for d in ("gen", "msp") for e in (4, 8)}
    assert [r["eps"] for r in record["rows"] if r["condition"] == "clean"] == [None, None]
    assert record["config"]["limit"] == 8
    assert record["config"]["network_sha256"]
    assert record["data"]["ID test: digits"]["images"] == 8
    code, out, _ = command("--detector", "gen", "--attack", "none", "--format", "csv", *QUICK[:2], *QUICK[4:])
    (line,) = (entry for entry in csv.DictReader(io.StringIO(out)) if entry["ood"] != "average")
    assert 0.5 < float(line["auroc"]) <= 1
    assert line["condition"] == "clean"


def test_parameters_reach_the_detector(command):
    _, out, _ = command("--param", "sigma=0.1", "--param", "N=5", "--param", "gamma=0.5", "--format", "json", *QUICK)
    params = json.loads(out)["rows"][0]["params"]
    assert (params["sigma"], params["copies"], params["gamma"]) == (0.1, 5, 0.5)


def test_all_detectors(command):
    arguments = ["--detector", "all", "--attack", "none", "--ood", "noise", "--format", "json", "--limit", "8"]
    found = {r["detector"] for r in json.loads(command(*arguments)[1])["rows"]}
    assert {"msp", "gen", "pro", "ross"} <= found


MISTAKES = {
    "--detector rosss": "unknown detector 'rosss': did you mean 'ross'?",
    "--detector ross,": "detector 'ross,': expected NAME[,NAME]",
    "--base genn": "unknown base score 'genn': did you mean 'gen'?",
    "--attack bth": "unknown attack 'bth': did you mean 'both'?",
    "--method pdg": "unknown method 'pdg': did you mean 'pgd'?",
    "--objective men": "unknown objective 'men' of ross",
    "--method transfer --objective mean": "method transfer takes no objective",
    "--detector gen --base msp": "base msp: none of gen wraps a base score",
    "--method square --restarts 3": "method square takes no restarts: leave out --restarts",
    "--method noise --budget 900": "method noise takes no budget: leave out --budget 900",
    "--budget 5": "budget 5: suite on ross(gen) takes at least",
    "--budget 900 --steps 3": "budget 900 chooses the steps: leave out --steps 3, or --budget 900",
    "--budget 900 --protocol ross-2026": "protocol ross-2026 fixes steps = 40: leave out --budget 900",
    "--attack none --budget 900": "attack none takes no budget: leave out --budget 900",
    "--param copies=2.5": "copies 2.5 of ross: expected int",
    "--param copies=true": "copies True of ross: expected int",
    "--param eta=Infinity": "eta inf of ross: expected float",
    "--param N=5 --param copies=7": "parameter copies of ross is given twice",
    '--detector odin --param std=[1,"a"]': "std [1, 'a'] of odin: expected",
    "--detector pro --param bounds=3": "bounds 3 of pro: expected",
    "--detector :X": "expected MODULE:ATTRIBUTE",
    "--model cifar-resnet20 --checkpoint x.pt": "checkpoint 'x.pt' not found",
    "--strength quik": "unknown strength 'quik': did you mean 'quick'?",
    "--norm l3": "unknown norm 'l3': expected one of linf, l2",
    "--space pixels": "unknown space 'pixels': did you mean 'pixel'?",
    "--benchmark digit": "unknown benchmark 'digit': did you mean 'digits'?",
    "--model digits-cn": "unknown model 'digits-cn': did you mean 'digits-cnn'?",
    "--ood nose": "unknown OOD set 'nose': did you mean 'noise'?",
    "--format xml": "unknown format 'xml'",
    "--param sigm=1": "unknown parameter of ross 'sigm': did you mean 'sigma'?",
    "--param sigma": "parameter 'sigma': expected key=value",
    "--param sigma=-0.1": "sigma -0.1: expected a number of at least 0",
    "--param sigma=big": "parameter 'sigma=big': expected a number",
    "--param copies=0": "copies 0: expected at least 1",
    "--eps 8": "epsilon 8: pixels lie in [0, 1]; did you mean 8/255?",
    "--eps -1/255": "epsilon -1/255: expected a number of at least 0",
    "--eps 8/0": "epsilon '8/0': expected a number such as 8/255",
    "--eps eight": "epsilon 'eight': expected a number such as 8/255",
    "--eps nan": "epsilon nan: expected",
    "--steps 0": "steps 0: expected at least 1",
    "--limit 1": "limit 1: expected at least 2 images",
    "--batch-size big": "batch-size 'big': expected auto or a whole number",
    "--seed -1": "seed -1: expected a whole number of at least 0",
    "--protocol pro-2025 --attack both": "protocol pro-2025 fixes attack = none: leave out --attack both",
    "--protocol ross-2026 --space pixel": "protocol ross-2026 fixes space = normalized: leave out --space pixel",
    "--protocol ross-2026 --precision auto": "protocol ross-2026 fixes precision = float32: leave out --precision auto",
    "--attack none --eps 8/255": "attack none takes no eps: leave out --eps 8/255",
    "--attack none --threat known-seed": "attack none takes no threat: leave out --threat known-seed",
    "--detector all,msp": "detector 'all' is every one of ours: give it alone",
    "--detector al": "did you mean 'all'?",
    "--attack BOTH": "did you mean 'both'?",
    "--dry-run --track wandb": "unknown tracker 'wandb': expected one of mlflow",
    "--threat known_seed": "threat 'known_seed': did you mean 'known-seed'? expected fresh, ",
    "--seed one": "seed 'one': expected a whole number",
    "--device cuda": "has no CUDA",
    "--device tpu": "device 'tpu'",
    "--atack both": "No such option: --atack",
    "certfy": "unknown command 'certfy': did you mean 'certify'? expected one of certify, check, ",
    "attack": "unknown command 'attack': expected one of certify, check, ",
    "--checkpoint x.pt": "digits-cnn comes with its weights",
    "--benchmark cifar10": "give --data-root DIR or set ROODBENCH_DATA",
    "--benchmark cifar10 --data-root /nowhere": "data root '/nowhere' is not a folder",
}


@pytest.mark.usefixtures("digits_net")
@pytest.mark.parametrize("arguments", MISTAKES)
def test_mistakes_get_one_line_and_exit_2(arguments, command, monkeypatch):
    monkeypatch.delenv("ROODBENCH_DATA", raising=False)
    if arguments == "--device cuda" and __import__("torch").cuda.is_available():
        pytest.skip("this machine has CUDA")
    code, out, err = command(*arguments.split(" "))
    assert code == 2
    assert out == ""
    assert MISTAKES[arguments] in err
    assert err.count("\n") == 1
    assert err.startswith("roodbench: error: ")


def test_cifar10_needs_a_network_and_its_weights(command, data_root, tmp_path):
    root = ["--benchmark", "cifar10", "--data-root", str(data_root), "--ood", "texture", "--limit", "4"]
    assert "give --model NAME and --checkpoint FILE" in command(*root)[2]
    assert "needs weights: give --checkpoint" in command(*root, "--model", "cifar-resnet20")[2]
    missing = command(*root, "--model", "cifar-resnet20", "--checkpoint", "no.pt")
    assert "checkpoint 'no.pt' not found" in missing[2]
    wrong = data_root / "weights" / "cifar10_resnet32.safetensors"
    code, _, err = command(*root, "--model", "cifar-resnet20", "--checkpoint", str(wrong))
    assert code == 2
    assert "does not fit cifar-resnet20: unexpected layer1.3" in err


def test_the_table_says_which_adversary(command):
    plain = command("--detector", "gen", *QUICK)[1]
    assert "attack: suite, linf, pixel space\n" in plain
    _, out, err = command("--detector", "gen", "--threat", "resubmit:3", "--quantize", *QUICK)
    assert "attack: suite, linf, pixel space, resubmit:3, 8-bit images\n" in out
    assert "--threat resubmit:3 changes nothing for gen, which draws no noise" in err


@pytest.mark.usefixtures("digits_net")
def test_networks_for_other_images(command, data_root):
    root = ["--data-root", str(data_root), "--ood", "texture", "--limit", "4"]
    code, _, err = command("--benchmark", "cifar10", *root, "--model", "digits-cnn")
    assert (code, err.count("\n")) == (2, 1)
    assert "network digits-cnn takes 1 channel: cifar10 has 3" in err
    weights = data_root / "weights" / "cifar10_resnet20.safetensors"
    code, _, err = command("--model", "cifar-resnet20", "--checkpoint", str(weights), *QUICK)
    assert code == 2
    assert "network cifar-resnet20 takes 3 channels: digits has 1" in err


def test_real_cifar10_runs(command, data_root):
    weights = data_root / "weights" / "cifar10_resnet20.safetensors"
    arguments = ["--benchmark", "cifar10", "--data-root", str(data_root), "--ood", "texture,cifar10jpeg"]
    arguments += ["--limit", "12", "--train-limit", "300", "--steps", "5", "--restarts", "1", "--no-check"]
    network = ["--model", "cifar-resnet20", "--checkpoint", str(weights)]
    code, out, _ = command(*arguments, *network, "--detector", "gen", "--format", "json")
    record = json.loads(out)
    assert code == 0
    both, clean = (next(r for r in record["rows"] if r["condition"] == c) for c in ("both", "clean"))
    assert both["auroc"] < clean["auroc"] - 0.3
    (shifted,) = record["shifted_id"]
    assert shifted["name"] == "cifar10jpeg"
    assert {r["ood"] for r in record["rows"]} == {"texture"}


def test_interrupt_exits_130(command, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("roodbench.api.run", interrupted)
    code, _, err = command(*QUICK)
    assert code == 130
    assert "the same command goes on" in err


def test_ctrl_c_keeps_finished_populations(tmp_path):
    """A real SIGINT in the middle of the attacks: one line, exit 130, and the clean populations on disk."""
    run = [sys.executable, "-m", "roodbench", "--steps", "5000", "--limit", "8", "--out", str(tmp_path)]
    process = subprocess.Popen(
        run,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )
    cells = 8  # four clean populations, repetition, company twice, cosines
    kept = partial(tmp_path.glob, "cells/*.safetensors")
    wait_for("all before the attacks", lambda: len(list(kept())) == cells or process.poll() is not None)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 130
    assert out == ""
    assert err.splitlines()[-1] == "roodbench: error: " + INTERRUPTED
    assert "Traceback" not in err
    assert len(list(kept())) == cells


def test_failed_runs_exit_1(command, monkeypatch):
    import detectors

    monkeypatch.setattr(detectors.GEN, "score", lambda self, z, h=None: z.amax(1) * float("nan"))
    code, out, err = command("--detector", "gen", *QUICK)
    assert code == 1
    assert out == ""
    assert "gen: score nan is not finite on digits, index 0 (digit" in err


def test_strict_makes_a_failed_check_exit_1(command, monkeypatch):
    import torch

    import detectors

    plain = detectors.GEN.value_and_grad

    def detached(self, x, **settings):
        value, grad = plain(self, x, **settings)
        return value, torch.zeros_like(grad)

    monkeypatch.setattr(detectors.GEN, "value_and_grad", detached)
    assert command("--detector", "gen", *QUICK)[0] == 0
    code, out, err = command("--detector", "gen", "--strict", *QUICK)
    assert code == 1
    assert out.count("* unreliable: gen's own objectives have a zero gradient") == 1
    assert "unreliable" not in err
    assert err.endswith("\nroodbench: --strict: failed few-images, gradient, convergence\n")


def test_unwritable_folder(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert cli.main([*QUICK, "--out", str(tmp_path / "file" / "runs")]) == 2
    assert capsys.readouterr().err.endswith(": Not a directory; --out names another folder\n")


def test_help_and_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("roodbench 0.")
    assert cli.main(["run", "--help"]) == 0
    assert "--detector" in capsys.readouterr().out


def test_as_a_module_results_on_stdout_and_notices_on_stderr(tmp_path):
    run = [sys.executable, "-m", "roodbench", "--detector", "gen", "--format", "json", *QUICK, "--out", str(tmp_path)]
    done = subprocess.run(run, capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": "error"})
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)
    assert all(line.startswith("roodbench: ") for line in done.stderr.splitlines())
