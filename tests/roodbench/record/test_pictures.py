"""Kept images: the attack's own, beside scores that know nothing of them; refused where they are not the record's."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

import detectors
import roodbench
from roodbench.api import share
from roodbench.evaluation.populations import PICTURES
from roodbench.store.cells import checksum
from tests.roodbench.helpers import small

EPS = 16 / 255
QUICK = {"eps": EPS, "method": "pgd", "steps": 2, "restarts": 1, "check": False}


@pytest.fixture(scope="module")
def bench():
    return small(10, ("noise",))


@pytest.fixture(scope="module")
def made(bench, digits_net):
    """Of a score and of one with noise: the detector, its record without images and the one with them."""

    def both(name, **params):
        detector = detectors.create(name, digits_net, **params).fit(bench.id_train, bench.id_val)
        with_images = roodbench.evaluate(detector, bench, keep_images=True, **QUICK)
        return detector, roodbench.evaluate(detector, bench, **QUICK), with_images

    return {"gen": both("gen"), "median(gen)": both("median", sigma=0.05, copies=3)}


@pytest.mark.parametrize("label", ["gen", "median(gen)"])
def test_scores_are_those_of_a_run_without_images(made, label):
    _, without, kept = made[label]
    assert kept.scores_sha256 == without.scores_sha256
    assert (without.images, without.images_sha256) == ({}, None)


def test_the_images_are_those_that_were_scored(made, bench):
    detector, _, kept = made["gen"]
    for name, state, images in (("digits", "min", bench.id_test), ("noise", "max", bench.ood["noise"])):
        moved, clean = kept.images_of("gen", name, state), kept.images_of("gen", name)
        assert moved.shape == clean.shape == (PICTURES, 1, 8, 8)
        assert torch.equal(clean, images.shard(0, PICTURES))
        assert 0 < (moved - clean).abs().max() <= EPS + 1e-6
        assert detector(moved).detach().numpy() == pytest.approx(kept.scores_of("gen", name, state)[0, :PICTURES])


def test_what_is_not_kept_is_said(made):
    _, without, kept = made["gen"]
    with pytest.raises(ValueError, match=r"kept none .*run with keep_images=True"):
        without.images_of("gen", "digits")
    with pytest.raises(ValueError, match=r"Result.load\(FOLDER\) reads them"):
        type(kept).from_json(kept.to_json()).images_of("gen", "digits")
    with pytest.raises(ValueError, match="unknown condition of noise 'min'"):
        kept.images_of("gen", "noise", "min")
    only_min = replace(kept, images={k: v for k, v in kept.images.items() if "noise" not in k})
    with pytest.raises(ValueError, match="no images of noise are kept: it was not attacked"):
        only_min.images_of("gen", "noise")


def test_a_store_gives_them_again_and_keeps_its_scores(bench, digits_net, tmp_path):
    """Without, then with images, then with those that are kept: the scores' cells are the same ones."""
    detector = detectors.create("gen", digits_net)

    def run(**given):
        store = roodbench.Store(tmp_path)
        record = roodbench.evaluate(detector, bench, store=store, **QUICK, **given)
        return record, {file.name for file in tmp_path.glob("cells/*")}

    first, cells = run()
    second, more = run(keep_images=True)
    third, same = run(keep_images=True)
    assert cells < more == same
    assert len(more - cells) == 2  # of each population
    assert first.scores_sha256 == second.scores_sha256 == third.scores_sha256
    assert second.images_sha256 == third.images_sha256 is not None


def test_helpers_keep_them_too(digits_net, tmp_path):
    settings = {"attack": "max", "method": "pgd", "steps": 1, "restarts": 1, "ood": "noise", "limit": 10}
    config = roodbench.RunConfig("gen", keep_images=True, **settings)
    share(config, turn=0.0, out=tmp_path, check=False)
    result, folder = roodbench.run(config, out=tmp_path, check=False, workers=1)
    assert result.timing.reused["cells"] == result.timing.reused["of"]
    assert roodbench.Result.load(folder).images.keys() == {"noise/clean", "gen/0.0627451/noise/max"}


def test_images_of_other_scores_end_a_run(bench, digits_net, tmp_path, monkeypatch):
    """As of an attack that does not repeat, where scores were kept and images were not."""
    detector = detectors.create("gen", digits_net)
    roodbench.evaluate(detector, bench, store=roodbench.Store(tmp_path), **QUICK)
    monkeypatch.setitem(roodbench.engine.streams.STREAMS, "attack", "")
    real = roodbench.engine.worker.stream
    monkeypatch.setattr(
        "roodbench.engine.worker.stream", lambda seed, name, *rest: real(seed + name.startswith("attack"), name, *rest)
    )
    with pytest.raises(
        roodbench.EvaluationError, match="repeats with other images than the kept scores': give --fresh"
    ):
        roodbench.evaluate(detector, bench, store=roodbench.Store(tmp_path), keep_images=True, **QUICK)


def test_a_record_keeps_them_in_its_folder(made, tmp_path):
    _, _, kept = made["gen"]
    kept.save(tmp_path)
    again = roodbench.Result.load(tmp_path)
    assert again.images.keys() == kept.images.keys()
    assert all(torch.equal(again.images[key], kept.images[key]) for key in kept.images)
    (tmp_path / "images.safetensors").unlink()
    assert roodbench.Result.load(tmp_path).images == {}


FORGED = {
    "another pixel": (lambda t: t["gen/0.0627451/noise/max"].add_(1e-3), False, "the hash of the images is"),
    "beyond the ball": (lambda t: t["noise/clean"].mul_(0.5), True, "away from the clean images, beyond the radius"),
    "beyond pixels": (lambda t: t["noise/clean"].add_(1), True, "noise/clean has pixels beyond"),
    "one too few": (lambda t: t.pop("digits/clean"), True, "digits/clean is in the record alone"),
    "one too many": (lambda t: t.update(more=t["noise/clean"].clone()), True, "more is among the images alone"),
    "fewer": (lambda t: t.update({"noise/clean": t["noise/clean"][:2]}), True, "noise/max has shape"),
    "whole numbers": (lambda t: t.update({"noise/clean": t["noise/clean"].byte()}), True, "expected float images"),
}


@pytest.mark.parametrize("forgery", FORGED)
def test_images_that_are_not_the_records_are_refused(made, forgery, tmp_path):
    change, hashed, words = FORGED[forgery]
    _, _, kept = made["gen"]
    kept.save(tmp_path)
    tensors = load_file(tmp_path / "images.safetensors")
    change(tensors)
    if hashed:  # by one who also edits the record
        (tmp_path / "result.json").write_text(replace(kept, images_sha256=checksum(tensors)).to_json())
    save_file(tensors, tmp_path / "images.safetensors")
    with pytest.raises(ValueError, match=r"images.safetensors' is not of the run in result.json beside it: .*" + words):
        roodbench.Result.load(tmp_path)


@pytest.mark.parametrize("winner", [[0], [99] * 10])
def test_winners_of_no_image_are_refused(made, winner, tmp_path):
    _, _, kept = made["gen"]
    replace(kept, attacks=[replace(a, winner=winner) for a in kept.attacks], scores={}).save(tmp_path)
    with pytest.raises(ValueError, match="has no winner for each image"):
        roodbench.Result.load(tmp_path)


def test_where_nothing_is_attacked_nothing_is_kept(bench, digits_net):
    detector = detectors.create("gen", digits_net)
    with pytest.raises(ValueError, match="attack none takes no keep-images: leave out --keep-images"):
        roodbench.evaluate(detector, bench, attack="none", keep_images=True)
    with pytest.raises(ValueError, match="keep-images keeps pixels: leave out --space normalized"):
        roodbench.RunConfig(keep_images=True, space="normalized")
    with pytest.raises(ValueError, match="attack none takes no keep-images"):
        roodbench.run(roodbench.RunConfig(keep_images=True, attack="none"))
    with pytest.raises(ValueError, match="certify takes no keep-images"):
        roodbench.certify.CertifyConfig(roodbench.RunConfig("median", norm="l2", keep_images=True))
