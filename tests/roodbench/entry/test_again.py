"""An entry against network and images: what is honest holds, and what a cheater changed is found."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import detectors
import roodbench
from roodbench import cli
from roodbench.engine.worker import Worker
from roodbench.entry import again, verdict
from roodbench.entry.again import validate
from roodbench.entry.consistency import contradictions_of
from roodbench.entry.file import Entry, text_of
from roodbench.machine.device import opened
from roodbench.record.repeated import differ, spread_of
from roodbench.setup.setting import Setting
from roodbench.store.cells import checksum
from tests.roodbench.entry import made


def held(record, **settings):
    """The verdict on a record."""
    return validate(Entry("mine", record), seed=1, **settings)


def forged(record, wanted, by):
    """The record with other scores of some keys, and all that follows from them."""
    scores = {k: v + by if wanted(k) and not k.endswith("winner") else v for k, v in record.scores.items()}
    return made.recomputed(replace(record, scores=scores))


def test_an_honest_run_holds(small_run):
    found = held(small_run[0])
    assert found.failures == []
    assert found.images == {"digits": [8, 8], "noise": [8, 8]}
    assert found.finds == dict.fromkeys(again.COUNTS, 1.0)
    assert found.unchecked[0].startswith("attacked scores: taken as they are")


def test_clean_scores_that_are_not_the_networks_are_found(small_run):
    for by in (0.5, 0.05):
        (line, *_) = held(forged(small_run[0], lambda key: key.startswith("gen/digits"), by)).failures
        assert line.startswith("gen on digits: 8 of 8 clean scores are not those of the network, the first of ")


def test_scores_on_the_same_noise_are_compared_closely(small_run):
    """By less than a test of means over ten draws would see."""
    (line, *_) = held(forged(small_run[0], lambda key: key.startswith("median(gen)/noise/clean"), 0.1)).failures
    assert line.startswith("median(gen) on noise: ")


def test_on_another_device_single_draws_are_not_compared(small_run):
    record = replace(small_run[0], environment=replace(small_run[0].environment, device_type="cuda"))
    found = held(record)
    assert found.failures == []
    assert any(line.startswith("single clean scores of randomised detectors") for line in found.unchecked)
    assert held(forged(record, lambda key: key.startswith("median(gen)/noise"), 5.0)).failures


def test_another_network_or_other_images_are_found(small_run):
    (line,) = held(replace(small_run[0], config={**small_run[0].config, "network_sha256": "0" * 64})).failures
    assert line.startswith("the network is ")
    data = {k: {**v, "sha256": "0" * 64} if "noise" in k else v for k, v in small_run[0].data.items()}
    (line,) = held(replace(small_run[0], data=data)).failures
    assert line.startswith("OOD test: noise has other images here")


def test_parameters_that_the_run_did_not_have_are_found(small_run):
    parts = {
        part: [
            replace(r, params={**r.params, "gamma": 0.2}) if r.detector == "gen" else r
            for r in getattr(small_run[0], part)
        ]
        for part in ("rows", "averages")
    }
    (line,) = held(replace(small_run[0], **parts)).failures
    assert line.startswith("gen has parameters {'gamma': 0.1")


def every(record, **changes):
    """The record with these fields in all its rows and averages."""
    parts = {part: [replace(row, **changes) for row in getattr(record, part)] for part in ("rows", "averages")}
    return replace(record, **parts)


def test_a_group_that_the_benchmark_does_not_have_is_found(small_run):
    near = every(small_run[0], group="near")
    averages = [mean for k, mean in enumerate(near.averages) if k % 2] + [
        replace(mean, group="all") for k, mean in enumerate(near.averages) if k % 2
    ]
    (line,) = held(replace(near, averages=averages)).failures
    assert line.startswith("the benchmark is digits here, with noise far")


def test_an_accuracy_that_the_network_does_not_have_is_found(small_run):
    """What all rows say alike, and the check of it."""
    detail = {"accuracy": 0.5, "chance": 0.1}
    checks = [
        replace(i, number=0.5 - 0.1 - min(3 * (0.09 / 8) ** 0.5, 0.9 / 4), detail={**i.detail, **detail})
        if i.name == "id-accuracy"
        else i
        for i in small_run[0].indicators
    ]
    lines = held(replace(every(small_run[0], id_accuracy=0.5), indicators=checks)).failures
    assert lines[0] == "gen: ID accuracy 50.0%: the network is wrong on 0 of 8 images of digits here"


def test_a_radius_that_the_run_did_not_have_is_found(small_run):
    """Twice the default one, which its config leaves to the benchmark."""
    record, eps = small_run[0], 32 / 255
    rows = [replace(r, eps=r.eps and eps, eps_pixel=r.eps and eps) for r in record.rows]
    means = [replace(r, eps=r.eps and eps, eps_pixel=r.eps and eps) for r in record.averages]
    attacks = [replace(a, eps=eps) for a in record.attacks]
    scores = {k.replace("0.0627451", "0.12549"): v for k, v in record.scores.items()}
    checks = [replace(i, eps=i.eps and eps) for i in record.indicators]
    parts = {"rows": rows, "averages": means, "attacks": attacks, "indicators": checks, "scores": scores}
    found = replace(record, **parts, scores_sha256=checksum(scores))
    assert list(contradictions_of(found)) == []
    (line,) = held(found).failures
    assert line == "its config attacks within 0.0627451: its rows say otherwise"


def test_attacked_again_a_weak_attack_is_found(small_run, monkeypatch):
    assert held(small_run[0], again=8).failures == []
    weak = forged(small_run[0], lambda key: key.startswith("gen/") and "/max" in key, -3.0)
    weak = forged(weak, lambda key: key.startswith("gen/") and "/min" in key, 3.0)
    assert "easier to tell than the clean one" in held(weak).failures[0]
    monkeypatch.setattr(verdict, "contradictions_of", lambda record: [])
    assert held(weak).failures == []
    (line,) = held(weak, again=8).failures
    assert line.startswith("gen at eps 0.0627451: an attack here moves 16 images ")


def test_where_most_scores_are_the_same_a_weak_attack_is_found_too(small_run):
    """Without a spread between quartiles there is none to measure gains in."""
    scores = [np.zeros((1, 6)), np.array([[0.0, 4.0]])]
    assert spread_of(scores) == 4.0
    assert spread_of([np.arange(5.0)[None]]) == 2.0


def test_forged_scores_are_found_wherever_they_lie():
    """The exact probability for a forger who knows shards and tolerance, and spreads k images as best they can."""
    rng = np.random.default_rng(0)
    for n, k in ((50, 1), (64, 2), (130, 3), (200, 70), (640, 30), (10_000, 500)):
        least = again.found_of(n, k)
        for _ in range(50):
            first, step = rng.integers(n), rng.choice([1, 64, 63, 7])
            at = np.unique((first + step * np.arange(k)) % n)
            at = np.union1d(at, rng.permutation(n))[:k] if len(at) < k else at
            counts = np.bincount(at // 64, minlength=-(-n // 64))
            sizes = np.minimum(64, n - 64 * np.arange(len(counts)))
            assert (counts > sizes // again.ODD).mean() >= least - 1e-12


def test_kept_images_are_scored_again(small_run, tmp_path):
    """Images that no attack of the run made, and their scores in the place of its own."""
    record, eps = small_run[0], 16 / 255
    bench = roodbench.load_benchmark("digits", ood=["noise"], limit=8)
    found = detectors.create("gen", roodbench.load_model("digits-cnn")).fit(bench.id_train, bench.id_val)
    x = bench.ood["noise"].shard(0, 4)
    moved, key = (x + eps * torch.sign(0.5 - x)).clamp(0, 1), "gen/0.0627451/noise/max"
    scores = record.scores[key].clone()
    scores[0, :4] = found(moved).detach()
    record = replace(record, scores={**record.scores, key: scores})
    with opened("cpu") as place:
        setting, worker = Setting(made.config(), place), Worker(found)

        def said(record, images):
            return list(again.pictured(Entry("mine", record, {key: images}), setting, worker))

        assert said(record, moved) == []
        (line,) = said(small_run[0], moved)
        assert line == "gen on noise, max, at eps 0.0627451: 4 of 4 kept images have other scores than the entry says"
        for images in (moved[:, :, :4], x + 1.01 * eps):
            (line,) = said(record, images)
            assert line.endswith("kept images do not lie within the radius of the clean ones")


def test_code_that_an_entry_names_is_not_run(small_run):
    for name, code in (
        ("detector", ["evil:One"]),
        ("base", "evil:Base"),
        ("model", "evil:Net"),
        ("denoiser", "evil.py:D"),
    ):
        record = replace(small_run[0], config={**small_run[0].config, name: code})
        with pytest.raises(ValueError, match=r"is code, 'evil.*': to load it runs it; give --"):
            again.refuse_code(record, {})
        again.refuse_code(record, {name: code if isinstance(code, str) else code[0]})


def test_means_of_other_noise_differ_by_a_test_alone():
    rng = np.random.default_rng(0)
    have, here = rng.normal(size=(2, 10, 200))
    assert not differ(have, here, 0.01, same=False).any()
    assert differ(have, here, 0.01, same=True).all()
    here[:, :20] += 9
    assert differ(have, here, 0.01, same=False).sum() == 20
    assert differ(have, here[:, :50], 0.01, same=False).all()
    same = np.ones((10, 3))
    assert differ(same, same + np.array([0, 0, 1]), 0.01, same=False).tolist() == [False, False, True]


@pytest.fixture
def file(small_run, tmp_path):
    (made_of := tmp_path / "mine.json").write_text(text_of(small_run[0]))
    return made_of


def test_the_verb_says_what_it_did_and_did_not(file, capsys):
    assert cli.main(["validate-entry", str(file), "--seed", "3", "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "mine: holds, as far as it was checked" in said
    assert "scored again (seed 3): 8 of 8 digits, 8 of 8 noise" in said
    assert said.count("not checked: ") == 4
    assert cli.main(["validate-entry", str(file), "--record-only", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["failures"], found["images"]) == ([], {})
    assert found["unchecked"][0].startswith("its scores: taken as they are")


def test_an_entry_that_does_not_hold_is_exit_one(file, capsys):
    found = json.loads(file.read_text())
    found["config"]["steps"] = None
    found["rows"][-1]["params"]["gamma"] = 0.3
    file.write_text(json.dumps(found))
    assert cli.main(["validate-entry", str(file), "--record-only"]) == 1
    said = capsys.readouterr()
    assert "mine: does not hold" in said.out
    assert "error: the entry does not hold: median(gen) on noise, both at eps 0.0627451: params" in said.err
    file.write_text("{}")
    assert cli.main(["validate-entry", str(file)]) == 1
    assert "breaks the schema of a record" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    {
        (): "expected an entry's file",
        ("nowhere.json",): "entry 'nowhere.json': no such file",
        ("mine.json", "--again", "1"): "again 1: expected at least 2 images",
        ("mine.json", "--record-only", "--seed", "1"): "--record-only takes no seed",
        ("mine.json", "--format", "csv"): "unknown format 'csv'",
    }.items(),
    ids=str,
)
def test_a_mistake_is_one_line(arguments, words, file, monkeypatch, capsys):
    monkeypatch.chdir(file.parent)
    assert cli.main(["validate-entry", *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_made_up_entries_cannot_be_scored_again():
    with pytest.raises(ValueError, match="unknown detector 'one'"):
        held(made.record())
