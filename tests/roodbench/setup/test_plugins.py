"""Users' detectors, the catalogue, and the adversarially trained network."""

import json

import pytest
import torch

import roodbench
from roodbench import cli

QUICK = ["--limit", "8", "--steps", "2", "--restarts", "1", "--ood", "unseen-digits"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *arguments):
    code = cli.main([*QUICK, *arguments, "--out", "runs", "--format", "json"])
    captured = capsys.readouterr()
    return code, json.loads(captured.out) if captured.out else None, captured.err


PLAIN = """
import torch
class Plain(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net
    def forward(self, x):
        return self.net(x).amax(1){more}
class NotOne:
    def __init__(self, net):
        pass
number = 3
"""


def test_plain_modules_are_attacked_by_autograd(folder, capsys):
    (folder / "plainmodule.py").write_text(PLAIN.format(more=""))
    code, record, err = run(capsys, "--detector", "plainmodule:Plain,mls")
    assert code == 0
    assert "roodbench: Plain, digits, scored to recognise kept results: 8 images in " in err
    areas = {(r["detector"], r["condition"]): r["auroc"] for r in record["rows"]}
    for condition in ("clean", "min", "max", "both"):
        assert areas["Plain", condition] == areas["mls", condition]


def test_hidden_randomness_and_detached_gradients_are_noticed(folder, capsys):
    (folder / "noisymodule.py").write_text(PLAIN.format(more=" + torch.rand(len(x))"))
    (folder / "detachedmodule.py").write_text(PLAIN.format(more=".detach()"))
    for name, check in (("noisymodule:Plain", "randomness"), ("detachedmodule:Plain", "gradient")):
        code, record, err = run(capsys, "--detector", name)
        assert code == 0
        assert check in [i["name"] for i in record["indicators"] if not i["passed"]]
        assert "unreliable" in err
        assert not any(r["reliable"] for r in record["rows"] if r["condition"] != "clean")


OWN = """
import detectors, torch
class Largest(detectors.Score):
    name = "largest"
    def __init__(self, net, *, factor=1.0, gain=1.0):
        super().__init__(net)
        self.factor, self.gain = factor, gain
    def score(self, z, h):
        return self.factor * z.amax(1)
class Noisy(detectors.Detector):
    name, randomized = "noisy", True
    def __init__(self, net):
        super().__init__()
        self.net = net
    def forward(self, x, *, generator=None):
        return self.net(x).amax(1) + torch.rand(len(x), generator=generator)
"""


@pytest.mark.parametrize("base", [pytest.param("ownbase:Largest", marks=pytest.mark.slow), "./plainbase.py:Plain"])
def test_a_base_score_of_ones_own_is_wrapped_as_ours_is(base, folder, capsys):
    (folder / "ownbase.py").write_text(OWN)
    (folder / "plainbase.py").write_text(PLAIN.format(more=""))
    names = ("--detector", "pro,ross", "--param", "copies=3", "--no-check", "--method", "pgd", "--objective", "exact")
    code, record, _ = run(capsys, *names, "--base", base)
    assert code == 0
    ours = run(capsys, *names, "--base", "mls")[1]
    assert {r["base"] for r in record["rows"]} == {"Plain" if "plain" in base else "largest"}
    for own, row in zip(record["rows"], ours["rows"], strict=True):
        assert (own["detector"], own["condition"], own["auroc"]) == (row["detector"], row["condition"], row["auroc"])


def test_parameters_of_a_base_score_of_ones_own(folder, capsys):
    (folder / "ownbase.py").write_text(OWN)
    quick = ("--detector", "ross", "--base", "ownbase:Largest", "--no-check", "--param", "copies=3")
    quick += ("--method", "pgd", "--objective", "mean")
    record = run(capsys, *quick, "--param", "factor=2", "--param", "gain=0.5", "--param", "base.gain=7")[1]
    params = record["rows"][0]["params"]
    assert (params["factor"], params["gain"]) == (2, 0.5)
    for wrong, message in {
        "factr=2": "unknown parameter of ross 'factr': did you mean 'factor'",
        "gain=-1": "gain -1: expected a number of at least 0",
    }.items():
        code, _, err = run(capsys, *quick, "--param", wrong)
        assert (code, message in err) == (2, True)
    err = run(capsys, *quick, "--param", "factor=2", "--param", "base.factor=3")[2]
    assert "parameter factor of ownbase:Largest is given twice" in err


def test_base_scores_that_cannot_be_wrapped(folder, capsys):
    (folder / "ownbase.py").write_text(OWN)
    for more, message in {
        ("--base", "ownbase:Largst"): "unknown attribute of ownbase 'Largst': did you mean 'Largest'",
        ("--base", "nothere:Largest"): "cannot import 'nothere'",
        ("--base", "ownbase:Noisy"): "ross needs a deterministic base score, not noisy",
        ("--base", "ownbase"): "unknown base score 'ownbase'",
        ("--base", "ownbase:Largest", "--search"): "the published grids are not over ownbase:Largest",
        ("--base", "ownbase:Largest", "--detector", "gen"): "none of gen wraps a base score",
    }.items():
        code, _, err = run(capsys, *(() if "--detector" in more else ("--detector", "ross")), *more)
        assert code == 2
        assert message in err
        assert "Traceback" not in err


@pytest.mark.usefixtures("digits_net")
def test_detectors_that_cannot_be_loaded(folder, capsys):
    (folder / "brokenmodule.py").write_text(PLAIN.format(more=""))
    for name, message in {
        "nomodule:X": "cannot import 'nomodule'",
        "brokenmodule:Plan": "did you mean 'Plain'",
        "brokenmodule:NotOne": "gave a NotOne: expected a Detector or nn.Module",
        "brokenmodule:number": "is the int 3: expected a Detector or nn.Module",
    }.items():
        code, _, err = run(capsys, "--detector", name)
        assert code == 2
        assert message in err
        assert err.count("\n") == 1


def test_list(capsys):
    assert cli.main(["list"]) == 0
    text = capsys.readouterr().out
    assert cli.main(["list", "--format", "json"]) == 0
    kinds = json.loads(capsys.readouterr().out)
    names = {kind: [entry["name"] for entry in entries] for kind, entries in kinds.items()}
    assert {"msp", "knn", "vim", "odin", "pro", "ross"} <= set(names["detectors"])
    assert names["attacks"][:7] == ["suite", "pgd", "targeted", "apgd", "square", "noise", "transfer"]
    assert names["strengths"] == ["quick", "standard", "strong"]
    assert names["protocols"] == ["roodbench", "ross-2026", "pro-2025"]
    assert {"digits-cnn", "digits-cnn-at", "cifar-resnet20"} <= set(names["models"])
    assert names["benchmarks"] == ["digits", "cifar10", "cifar100", "imagenet200", "imagenet1k"]
    knn = next(e for e in kinds["detectors"] if e["name"] == "knn")
    assert knn["needs"] == ["logits", "features", "train"]
    assert knn["defaults"] == {"neighbours": 50}
    assert knn["grid"] == {"neighbours": [50, 100, 200, 500, 1000]}
    for entry in kinds["detectors"]:
        assert entry["name"] in text
        assert entry["reference"]
        assert len(entry["about"]) > 10


def test_list_of_one_name(capsys):
    assert cli.main(["list", "ross"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("ross (detectors)\n  about: S = ")
    assert "\n  defaults: copies 25, sigma 0.0125, gain 0.01" in said
    assert "\n  symbols: N copies, lambda gain\n" in said
    assert cli.main(["list", "noise", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "attacks": [{"name": "noise", "about": "the best of uniform draws in the ball"}]
    }
    assert cli.main(["list", "ros"]) == 2
    assert "unknown name 'ros': did you mean 'ross'?" in capsys.readouterr().err


def test_search_from_the_command_line(folder, capsys):
    code, record, err = run(capsys, "--detector", "gen", "--search", "--attack", "min")
    assert code == 0
    found = record["detectors"][0]["search"]
    assert found["ood_val"] == "digits-ood-val"
    assert found["candidates"] == 42
    params = {key: found["params"][key] for key in ("gamma", "top")}
    assert record["rows"][0]["params"] == {**params, "published": False}
    assert "best of 42 candidates" in err


def test_adversarial_training_helps(digits):
    """At the default radius the adversarially trained network keeps more of PRO's AUROC, at some clean accuracy."""
    import detectors

    bench = roodbench.load_benchmark("digits", ood=["unseen-digits"], limit=30)
    found = {}
    for name in ("digits-cnn", "digits-cnn-at"):
        net = roodbench.load_model(name)
        x, y = digits.id_test.shard(0, 333), digits.id_test.labels
        assert (net(x).argmax(1) == y).double().mean() >= 0.95
        pro = detectors.create("pro", net).fit(bench.id_train, bench.id_val)
        result = roodbench.evaluate(pro, bench, attack="min", check=False)
        found[name] = {row.condition: row.auroc for row in result.rows}
    assert found["digits-cnn-at"]["min"] > found["digits-cnn"]["min"]


def test_torch_is_not_seeded_globally(digits_net):
    import detectors

    bench = roodbench.load_benchmark("digits", ood=["noise"], limit=4)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    ross = detectors.create("ross", digits_net, sigma=0.05).fit(bench.id_train, bench.id_val)
    roodbench.evaluate(ross, bench, steps=1)
    assert torch.equal(torch.rand(3), expected)
