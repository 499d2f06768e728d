"""Every study once, small: four digits or so and a few steps, the shape of its output and a number that must hold."""

import hashlib
import json
import lzma
import sys

import pytest
import torch

import roodbench
from roodbench.certify import CertifyConfig
from roodbench.certify.coherent import incoherences
from roodbench.setup.config import RunConfig
from studies import (
    adaptive_gap,
    certified,
    constant_step_transfer,
    denoised,
    false_alarms,
    frontier,
    hunt,
    interval,
    peers_auroc,
    refine,
    ross_under_attack,
    setting,
    step_schedule,
)


def table_in(file):
    """The rows of a Markdown file."""
    return [line.strip("| ").split(" | ") for line in file.read_text().splitlines()[2:]]


def test_adaptive_gap(tmp_path, printed):
    adaptive_gap.main(["--detector", "pro", "--images", "4", "--seeds", "1", "--out", str(tmp_path)])
    (row,) = printed()
    assert row["seed"] == "0"
    assert float(row["suite"]) <= float(row["clean"])
    for name in ("transfer", "transfer, equal passes"):
        gap = row[name.replace("transfer", "gap")].partition(" ")[0]
        assert float(gap) == pytest.approx(100 * (float(row[name]) - float(row["suite"])), abs=0.15)
    spent, equal = (sum(map(float, row[f"passes, {whose}"].split(" + "))) for whose in ("suite", "transfer"))
    assert equal == pytest.approx(spent, abs=13)  # half a restart: 11 looks of 1 + 1 passes, and rounding
    assert len(list(tmp_path.glob("digits-pro-*/result.json"))) == 1


def test_constant_step_transfer_reads_the_suite_that_adaptive_gap_left(tmp_path, printed):
    options = ["--images", "4", "--seeds", "1", "--out", str(tmp_path)]
    config = setting.run_config(
        setting.parser_of("", images=4).parse_args([]), detector=("ross",), eps=(16 / 255,), seed=0
    )
    suite, _ = roodbench.run(config, out=tmp_path, check=False)
    constant_step_transfer.main(options)
    (row,) = printed()
    both = next(r.auroc for r in suite.rows if r.condition == "both")
    assert float(row["suite"]) == pytest.approx(both, abs=5e-5)
    gap = float(row["transfer, constant step"]) - float(row["suite"])
    assert float(row["gap"]) == pytest.approx(gap, abs=1.5e-4)


def test_constant_step_transfer_says_what_it_lacks(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        constant_step_transfer.main(["--out", str(tmp_path), "--seeds", "1"])
    assert stopped.value.code == 2
    assert "run studies.adaptive_gap" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        constant_step_transfer.main(["--out", str(tmp_path), "--images", "65"])
    assert "images 65: expected 2 to 64" in capsys.readouterr().err


def test_step_schedule(printed, private_cache):
    step_schedule.main(["--images", "4", "--steps", "2"])
    rows = printed()
    assert [(row["detector"], row["objective"]) for row in rows] == list(step_schedule.OBJECTIVES)
    config = setting.run_config(setting.parser_of("", images=4).parse_args([]))
    with setting.setting_of(config) as found:
        (ood,) = found.bench.ood.values()
        for row in rows[:3]:
            detector = found.fitted(row["detector"])[0]
            id_scores, ood_scores = (detector(s.shard(0, 4)).detach().numpy() for s in (found.bench.id_test, ood))
            clean = roodbench.metrics.auroc(id_scores, ood_scores)
            assert all(float(row[how]) <= clean for how in ("constant", "geometric", "geometric + momentum 0.75"))
    assert all(0 <= float(row["geometric"]) <= 1 and row["eps"] == "16/255" for row in rows)


def test_hunts_spend_what_they_may_and_together_find_no_less_than_the_suite(printed):
    hunt.main(["--images", "4", "--detectors", "ebo", "--budget", "80", "--norm", "l2", "--eps", "1/2"])
    suite, *hunts, together = printed()
    assert [row["attack"].replace(" ", "_") for row in hunts] == list(hunt.HUNTS)
    assert all(float(row["passes"]) <= 80 for row in (suite, *hunts))
    assert float(together["both"]) <= min(float(row["both"]) for row in (suite, *hunts))
    assert float(together["lower by"]) == pytest.approx(float(suite["both"]) - float(together["both"]), abs=0.011)
    assert suite["lower by"] == "-"


def test_false_alarms_are_listed_with_their_numbers(printed):
    false_alarms.main(
        ["--networks", "digits-cnn", "--detectors", "ebo,approximate-mass", "--seeds", "1", "--images", "8"]
    )
    (row,) = printed()
    assert (row["detector"], row["images"]) == ("ebo", "8")
    assert row["failed"].startswith("few-images 8")


def test_refine_never_loses_what_was_found_before(printed):
    refine.main(["--images", "6", "--steps", "2", "--detectors", "gen"])
    rows = printed()
    expected = [(eps, condition) for eps in ("16/255", "32/255") for condition in ("min", "max", "both")]
    assert [(row["eps"], row["condition"]) for row in rows] == expected
    for row in rows:
        assert float(row["with"]) <= float(row["without"])
        assert float(row["lower by"]) == pytest.approx(float(row["without"]) - float(row["with"]), abs=1.5e-4)


def test_refine_refuses_a_detector_whose_suite_has_none():
    with pytest.raises(ValueError, match=r"ross\(gen\) is randomised: its suite has no refine"):
        refine.main(["--images", "4", "--steps", "2", "--detectors", "ross"])


def test_frontier_gives_every_attack_no_more_than_its_budget(tmp_path, printed):
    budgets = ["--images", "4", "--detectors", "pro", "--networks", "digits-cnn", "--budgets", "30,200,400"]
    frontier.main([*budgets, "--peers", "", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")])
    rows = printed()
    assert [(row["attack"], row["budget"]) for row in rows] == [
        *(("suite", budget) for budget in ("200", "400")),  # 30 passes pay for no step on every objective
        *(("restarts", budget) for budget in ("30", "200", "400")),
    ]
    for row in rows:
        assert int(row["budget"]) / 2 < int(row["forward"]) + int(row["backward"]) <= int(row["budget"])
        assert float(row["both"]) <= min(float(row["min"]), float(row["max"]))
    assert [row["starts"] for row in rows[2:]] == ["1", "9", "18"]
    assert len(table_in(tmp_path / "out" / "results.md")) == len(rows)
    assert (tmp_path / "out" / "frontier.svg").read_text().count("<polyline") == 2


def test_frontier_says_which_peer_is_left_out_and_why(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "foolbox", None)
    few = ["--images", "4", "--detectors", "pro", "--networks", "digits-cnn", "--budgets", "200"]
    frontier.main([*few, "--peers", "foolbox:LinfPGD", "--runs", str(tmp_path), "--out", str(tmp_path)])
    assert "foolbox:LinfPGD is left out: " in (said := capsys.readouterr().err)
    assert "pip install" in said


def test_frontier_gives_a_peer_as_many_passes(tmp_path, printed):
    pytest.importorskip("foolbox")
    few = ["--images", "4", "--detectors", "pro", "--networks", "digits-cnn", "--budgets", "200"]
    frontier.main([*few, "--peers", "foolbox:LinfPGD", "--runs", str(tmp_path), "--out", str(tmp_path)])
    peer = printed()[-1]
    assert peer["attack"] == "foolbox:LinfPGD"
    assert 150 < int(peer["forward"]) + int(peer["backward"]) <= 220


def test_peers_auroc_compares_the_suite_with_itself(tmp_path, printed):
    peers_auroc.main(["--images", "4", "--steps", "2", "--detectors", "gen", "--peers", "", "--out", str(tmp_path)])
    (row,) = printed()
    assert (row["detector"], row["attack"], row["steps"]) == ("gen", "suite", "2")
    assert (row["suite lower by"], row["two std errors"]) == ("0.0000", "0.0000")


def test_peers_auroc_gives_a_peer_as_many_passes(tmp_path, printed):
    pytest.importorskip("foolbox")
    options = ["--images", "4", "--steps", "2", "--detectors", "gen", "--out", str(tmp_path)]
    peers_auroc.main([*options, "--peers", "foolbox:LinfPGD"])
    suite, peer = printed()
    assert peer["attack"] == "foolbox:LinfPGD"
    assert int(peer["steps"]) > int(suite["steps"])
    lower = float(peer["AUROC both"]) - float(suite["AUROC both"])
    assert float(peer["suite lower by"]) == pytest.approx(lower, abs=1.5e-4)


def test_peers_get_surrogates_restarts_and_copies_where_they_need_them():
    class Fixed:
        randomized = False

    class Noisy:
        randomized = True

    pgd, apgd, square = "torchattacks:PGD", "autoattack:APGD", "torchattacks:Square"
    assert peers_auroc.attacks_on("gen", Fixed(), [pgd, apgd, square]) == [
        (pgd, None, 1),
        (apgd, None, 1),
        (square, None, 1),
        (apgd, None, 3),
    ]
    assert (pgd, "log-odds", 1) in peers_auroc.attacks_on("msp", Fixed(), [pgd, square])
    assert (square, "log-odds", 1) not in peers_auroc.attacks_on("msp", Fixed(), [pgd, square])
    assert peers_auroc.attacks_on("ross", Noisy(), [pgd]) == [(pgd, None, 1), ("torchattacks:EOTPGD", None, 1)]
    assert peers_auroc.spending(square, 70, 1) == {"queries": 70}
    assert peers_auroc.spending(apgd, 70, 3) == {"steps": 70, "restarts": 3}


def test_certified_writes_its_records_and_table_once(tmp_path, monkeypatch):
    run = RunConfig(detector=("median",), norm="l2", ood=("unseen-digits",), limit=4, steps=2)
    config = CertifyConfig(run, 0.25, (0.1,), samples=400)
    monkeypatch.setattr(certified, "configs", lambda options: iter([("digits-gen-0.25", config)]))
    options = ["--out", str(tmp_path / "out"), "--runs", str(tmp_path / "runs")]
    certified.main(options)
    ((network, _, detector, ood, _, clean, low, attacked, *_),) = table_in(tmp_path / "out" / "results.md")
    assert (network, detector, ood) == ("digits-cnn, gen", "median", "unseen-digits")
    assert float(low) <= float(attacked) <= float(clean)
    points = [dict(zip(certified.RATES, row, strict=True)) for row in table_in(tmp_path / "out" / "operating.md")]
    assert [point["radius (l2)"] for point in points] == ["0", "0.1"]
    assert float(points[1]["TPR of new images"]) <= float(points[1]["TPR at least"]) <= float(points[0]["TPR at least"])
    assert float(points[1]["FPR of new images"]) >= float(points[1]["FPR at most"])
    folder = tmp_path / "out" / "digits-gen-0.25"
    assert {"result.json", "certificate.json.xz", "certificate.html"} <= {file.name for file in folder.iterdir()}
    kept = lzma.decompress((folder / "certificate.json.xz").read_bytes())
    assert hashlib.sha256(kept).hexdigest() in (folder / "certificate.html").read_text()
    assert not list(incoherences(json.loads(kept)))
    monkeypatch.setattr(certified, "certify", None)  # a second call computes nothing
    certified.main(options)


@pytest.mark.slow
def test_denoised_writes_its_records_and_table_once(tmp_path, monkeypatch):
    run = RunConfig(
        detector=("median",), norm="l2", attack="none", ood=("photos",), limit=4, denoiser="digits-denoiser"
    )
    config = CertifyConfig(run, 0.25, (0.1,), samples=400)
    monkeypatch.setattr(denoised, "configs", lambda options: iter([("digits-digits-denoiser-0.25", config)]))
    options = ["--out", str(tmp_path / "out"), "--runs", str(tmp_path / "runs")]
    denoised.main([*options, "--only", "resnet"])
    assert not list(tmp_path.glob("out/*/result.json"))
    denoised.main(options)
    ((network, denoiser, _, detector, ood, clean, *_, certified_, _),) = table_in(tmp_path / "out" / "results.md")
    assert (network, denoiser, detector, ood) == ("digits-cnn", "digits-denoiser", "median", "photos")
    assert float(certified_) <= float(clean)
    monkeypatch.setattr(certified, "certify", None)  # a second call computes nothing
    denoised.main(options)


@pytest.mark.slow
def test_interval_writes_its_network_its_records_and_its_table_once(tmp_path, monkeypatch):
    monkeypatch.setattr(interval, "EPOCHS", 2)
    monkeypatch.setattr(interval, "RADII", (1 / 255,))
    options = ["--out", str(tmp_path / "out"), "--runs", str(tmp_path / "runs"), "--images", "3", "--samples", "200"]
    interval.main(options)
    rows = table_in(tmp_path / "out" / "results.md")
    networks, scores = ("digits-cnn", "digits-cnn-at", "digits-cnn-ibp"), ("msp", "mls", "ebo")
    assert [row[:2] for row in rows] == [[network, score] for network in networks for score in scores]
    for row in rows:
        low, attacked = map(float, row[4].split(" <= "))
        assert low <= attacked <= float(row[3])
    monkeypatch.setattr(interval, "compute", None)  # a second call computes nothing
    interval.main(options)


def test_boxes_hold_the_logits_they_are_trained_on(digits):
    net, x = interval.DigitsCNN(), digits.id_train.shard(0, 4)
    lower, upper = interval.box(net, x, 0.1)
    moved = (x + 0.1 * torch.randn(x.shape).sign() - 0.5) / 0.5
    assert (lower <= net(moved) + 1e-5).all()
    assert (net(moved) <= upper + 1e-5).all()


def test_ross_under_attack_writes_its_records_and_table_once(tmp_path, monkeypatch):
    unit = 1 / float(roodbench.load_model("digits-cnn").std.mean())

    def configs(options):
        for protocol, scale in (("ross-2026", unit), ("roodbench", 1.0)):
            eps, steps = (16 / 255 * scale,), None if protocol == "ross-2026" else 2
            run = RunConfig(protocol=protocol, eps=eps, ood=("unseen-digits",), limit=4, steps=steps)
            yield f"digits-cnn-ross-gen-{protocol}", run

    monkeypatch.setattr(ross_under_attack, "configs", configs)
    options = ["--data-root", "D", "--weights", "W", "--out", str(tmp_path / "out"), "--runs", str(tmp_path / "runs")]
    ross_under_attack.main(options)
    ((network, ood, eps, clean, *_, both, _, _),) = table_in(tmp_path / "out" / "results.md")
    assert (network, ood, eps) == ("digits-cnn, ross(gen)", "unseen-digits", "16/255")
    assert float(both.split(" ")[0]) <= float(clean.split(" ")[0])
    monkeypatch.setattr(ross_under_attack, "run", None)  # a second call computes nothing
    ross_under_attack.main(options)


@pytest.mark.parametrize(("study", "options"), [(ross_under_attack, []), (certified, ["--data-root", "D"])])
def test_long_studies_say_what_they_need(study, options, capsys):
    with pytest.raises(SystemExit) as stopped:
        study.main(options)
    assert stopped.value.code == 2
    assert "--weights DIR" in capsys.readouterr().err
