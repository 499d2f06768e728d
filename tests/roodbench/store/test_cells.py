"""What was computed is kept: reused where nothing that decides it changed, computed again where something did."""

import json
from contextlib import redirect_stdout
from dataclasses import asdict
from functools import partial
from io import StringIO

import pytest
import torch
from safetensors import safe_open

import detectors
import roodbench
from detectors import Fitting
from roodbench import cli
from roodbench.engine.errors import EvaluationError
from roodbench.evaluation.attacker import Attacker
from roodbench.evaluation.evaluator import Evaluator
from roodbench.store import cells
from roodbench.store.cells import DamagedError, read_cell, write_cell
from roodbench.store.features import kept_outputs
from tests.roodbench.helpers import fitted, small


def test_finished_populations_are_reused(digits_net, tmp_path, monkeypatch):
    bench, store = small(10), roodbench.Store(tmp_path)
    ross = fitted("ross", digits_net, bench)
    first = roodbench.evaluate(ross, bench, steps=2, store=store)

    whole = Attacker.scores

    def forbidden(self, x, population, shard, name="report", *draws, **settings):
        if name != "behaviour":  # of a few images, by which the detector is known to be the same
            raise AssertionError("scored again")
        return whole(self, x, population, shard, name, *draws, **settings)

    monkeypatch.setattr(Attacker, "scores", forbidden)
    again = roodbench.evaluate(ross, bench, steps=2, store=store)
    assert [asdict(r) for r in again.rows] == [asdict(r) for r in first.rows]
    with pytest.raises(EvaluationError, match="scored again"):
        roodbench.evaluate(ross, bench, steps=3, store=store)
    with pytest.raises(EvaluationError, match="scored again"):
        roodbench.evaluate(ross, bench, steps=2, seed=1, store=store)
    with pytest.raises(EvaluationError, match="scored again"):
        roodbench.evaluate(fitted("ross", digits_net, bench, gain=0.05), bench, steps=2, store=store)


def test_a_damaged_cell_is_computed_again(digits_net, tmp_path, caplog):
    bench, store = small(10), roodbench.Store(tmp_path)
    gen = fitted("gen", digits_net, bench)
    first = roodbench.evaluate(gen, bench, attack="none", store=store)
    for file in (tmp_path / "cells").iterdir():
        file.write_bytes(b"broken")
    again = roodbench.evaluate(gen, bench, attack="none", store=store)
    assert [r.auroc for r in again.rows] == [r.auroc for r in first.rows]
    assert sum("is damaged" in record.getMessage() for record in caplog.records) == 1


def test_an_interrupted_run_goes_on_where_it_stopped(digits_net, tmp_path, monkeypatch):
    bench, store = small(10, ("unseen-digits", "noise")), roodbench.Store(tmp_path)
    ross, whole = fitted("ross", digits_net, bench), Evaluator.attacked

    def stopping(self, images, direction, plan, reference):
        if images.name == "noise":
            raise KeyboardInterrupt
        return whole(self, images, direction, plan, reference)

    monkeypatch.setattr(Evaluator, "attacked", stopping)
    with pytest.raises(KeyboardInterrupt):
        roodbench.evaluate(ross, bench, steps=2, store=store)
    monkeypatch.undo()
    scored = []
    plain = Attacker.scores

    def noting(self, x, population, *place, **settings):
        scored.extend([] if "behaviour" in place else [population])
        return plain(self, x, population, *place, **settings)

    monkeypatch.setattr(Attacker, "scores", noting)
    roodbench.evaluate(ross, bench, steps=2, store=store)
    assert set(scored) == {"noise"}


class Scaled(detectors.Detector):
    """A hyper-parameter given by position, a network of its own kind."""

    name = "scaled"

    def __init__(self, net, factor):
        super().__init__()
        self.module, self.factor = net, factor

    def forward(self, x, *, generator=None):
        return self.factor * self.module(x).amax(1)


def test_whatever_decides_the_scores_is_in_the_key(digits_net, tmp_path):
    """One store for all: another sign, network, normalisation or space never gets another's scores."""
    bench, store = small(20), roodbench.Store(tmp_path)
    other = roodbench.load_model("digits-cnn-at")
    wide = roodbench.Classifier(digits_net.backbone, [0.5], [0.2], name="digits-cnn")
    for net, data in (
        (digits_net, bench),
        (other, bench),
        (wide, bench),
        *((n.normalized(), bench.normalized(n.mean, n.std)) for n in (digits_net, wide)),
    ):
        for factor in (1.0, -1.0):
            kept = roodbench.evaluate(Scaled(net, factor), data, attack="none", store=store)
            fresh = roodbench.evaluate(Scaled(net, factor), data, attack="none")
            assert [r.auroc for r in kept.rows] == [r.auroc for r in fresh.rows]
            assert torch.equal(kept.scores["scaled/digits/clean"], fresh.scores["scaled/digits/clean"])


def test_every_flipped_byte_of_a_cell_is_noticed(tmp_path):
    file = tmp_path / "cell.safetensors"
    write_cell(file, ({"draws": torch.tensor([8, 16])}, {"cosine": [0.5]}), "a key")
    whole = file.read_bytes()
    tensors, facts = read_cell(file)
    assert (tensors["draws"].tolist(), facts) == ([8, 16], {"cosine": [0.5]})
    for place in range(len(whole)):
        for flip in (1, 255):
            file.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
            with pytest.raises(DamagedError):
                read_cell(file)
    for cut in (0, 7, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:cut])
        with pytest.raises(DamagedError):
            read_cell(file)


def damage(file):
    """Flip a byte of the tensors, which no format notices."""
    content = bytearray(file.read_bytes())
    content[-1] ^= 255
    file.write_bytes(content)


def aurocs(result):
    return [row.auroc for row in result.rows]


def test_flipped_bytes_are_said_once_and_computed_anew(digits_net, tmp_path, caplog):
    """Of every cell, those of `draws` too: a number of copies that is read wrong runs for days."""
    bench, store = small(8), roodbench.Store(tmp_path)
    ross = fitted("ross", digits_net, bench, copies=5)
    settings = {"steps": 2, "strength": "standard", "method": "pgd", "restarts": 1, "check": False, "store": store}
    first = roodbench.evaluate(ross, bench, **settings)
    files = list((tmp_path / "cells").iterdir())
    assert len(files) == first.timing.reused["of"]
    for file in files:
        damage(file)
    again = roodbench.evaluate(ross, bench, **settings)
    assert aurocs(again) == aurocs(first)
    assert again.timing.reused["cells"] == 0
    assert sum("is damaged" in record.getMessage() for record in caplog.records) == 1
    assert roodbench.evaluate(ross, bench, **settings).timing.reused["cells"] == len(files)


def test_a_folder_in_the_place_of_a_cell_costs_the_cell_alone(digits_net, tmp_path, caplog):
    bench, store = small(8), roodbench.Store(tmp_path)
    gen = fitted("gen", digits_net, bench)
    first = roodbench.evaluate(gen, bench, attack="none", store=store)
    for file in list((tmp_path / "cells").iterdir()):
        file.unlink()
        file.mkdir()
    again = roodbench.evaluate(gen, bench, attack="none", store=store)
    assert aurocs(again) == aurocs(first)
    assert len([r for r in caplog.records if r.levelname == "WARNING"]) == 1
    assert "is damaged" in caplog.text


def test_a_store_that_takes_nothing_is_said_once(digits_net, tmp_path, caplog):
    (tmp_path / "cells").write_text("no folder")
    bench = small(8)
    gen = fitted("gen", digits_net, bench)
    result = roodbench.evaluate(gen, bench, attack="none", store=roodbench.Store(tmp_path))
    assert aurocs(result) == aurocs(roodbench.evaluate(gen, bench, attack="none"))
    assert [r.getMessage().startswith("cannot keep") for r in caplog.records if r.levelname == "WARNING"] == [True]


def poison(folder):
    """Halve the scores of every kept cell, with the right checksum, as no run can notice."""
    for file in folder.iterdir():
        tensors, facts = read_cell(file)
        moved = {name: t.flip(-1) * 0 if t.is_floating_point() else t for name, t in tensors.items()}
        with safe_open(file, "pt") as kept:
            key = kept.metadata()["key"]
        write_cell(file, (moved, facts), key)


def test_fresh_leaves_alone_what_is_kept_and_replaces_it(digits_net, tmp_path):
    bench, store = small(8), roodbench.Store(tmp_path)
    gen = fitted("gen", digits_net, bench)
    settings = {"attack": "none", "store": store}
    right = roodbench.evaluate(gen, bench, **settings)
    poison(tmp_path / "cells")
    assert aurocs(roodbench.evaluate(gen, bench, **settings)) == [0.5]
    fresh = roodbench.evaluate(gen, bench, fresh=True, **settings)
    assert aurocs(fresh) == aurocs(right)
    assert fresh.timing.reused == {"cells": 0, "of": right.timing.reused["of"], "oldest": None}
    assert aurocs(roodbench.evaluate(gen, bench, **settings)) == aurocs(right)


@pytest.mark.parametrize("way", ["fresh", "damaged"])
def test_kept_features_are_made_anew(way, tmp_path, monkeypatch, caplog):
    """By `--fresh`, and where their bytes were flipped; else a run takes what is kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    command = ["--detector", "knn", "--attack", "none", "--limit", "8", "--ood", "noise", "--format", "json"]
    command += ["--out", str(tmp_path / "runs")]
    features = tmp_path / "cache" / "roodbench" / "features"
    right = fitted_by(command)
    (file,) = features.iterdir()
    whole = read_cell(file)[0]
    if way == "damaged":
        damage(file)
        assert fitted_by(command) == right
        assert sum("is damaged" in record.getMessage() for record in caplog.records) == 1
    else:
        poison(features)
        assert fitted_by(command) != right
        assert fitted_by([*command, "--fresh"]) == right
    again = read_cell(file)[0]
    assert all(torch.equal(again[name], tensor) for name, tensor in whole.items())
    assert fitted_by(command) == right


def fitted_by(command):
    """The AUROC that the command line finds."""
    with redirect_stdout(StringIO()) as out:
        assert cli.main(command) == 0
    return json.loads(out.getvalue())["rows"][0]["auroc"]


def test_a_cell_under_another_name_is_computed_again(digits_net, tmp_path, caplog):
    """A folder that was restored or merged by hand."""
    bench, store = small(20), roodbench.Store(tmp_path)
    ebo = fitted("ebo", digits_net, bench)
    first = roodbench.evaluate(ebo, bench, attack="none", store=store)
    files = sorted((tmp_path / "cells").iterdir())
    kept = [file.read_bytes() for file in files]
    for file, content in zip(files, [*kept[1:], kept[0]], strict=True):
        file.write_bytes(content)
    again = roodbench.evaluate(ebo, bench, attack="none", store=store)
    assert [r.auroc for r in again.rows] == [r.auroc for r in first.rows]
    assert "it is another's" in caplog.text


def test_kept_features_under_another_name_are_computed_again(tmp_path, monkeypatch, caplog):
    """Those of two networks that lie in each other's place."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def outputs():
        found = {}
        for key, value in (("a", 1.0), ("b", 2.0)):
            made = Fitting(torch.full((2, 3), value), None, torch.zeros(2))
            found[key] = kept_outputs(key, partial(Fitting, *made), torch.device("cpu")).logits[0, 0].item()
        return found

    assert outputs() == {"a": 1.0, "b": 2.0}
    one, other = (tmp_path / "roodbench" / "features").iterdir()
    swap(one, other)
    assert outputs() == {"a": 1.0, "b": 2.0}
    assert caplog.text.count("it is another's") == 2
    caplog.clear()
    assert outputs() == {"a": 1.0, "b": 2.0}
    assert caplog.text == ""


def swap(one, other):
    """Two files in each other's place."""
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def test_a_cell_of_other_code_under_this_codes_name_is_computed_again(tmp_path, monkeypatch, caplog):
    store = roodbench.Store(tmp_path)
    monkeypatch.setattr(cells, "code_version", lambda: "before")
    store.save({"k": 1}, ({"scores": torch.ones(2)}, {}))
    (kept,) = (tmp_path / "cells").iterdir()
    monkeypatch.undo()
    store.save({"k": 1}, ({"scores": torch.zeros(2)}, {}))
    (now,) = set((tmp_path / "cells").iterdir()) - {kept}
    assert store.load({"k": 1})[0]["scores"].tolist() == [0, 0]
    swap(kept, now)
    assert store.load({"k": 1}) is None
    assert "it is another's" in caplog.text
