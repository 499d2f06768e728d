"""What was computed is kept: reused where nothing that decides it changed, computed again where something did."""

from dataclasses import asdict

import pytest
import torch

import detectors
import roodbench
from roodbench.evaluation.attacker import Attacker
from roodbench.evaluation.evaluator import Evaluator
from tests.roodbench.helpers import fitted, small


def test_finished_populations_are_reused(digits_net, tmp_path, monkeypatch):
    bench, store = small(10), roodbench.Store(tmp_path)
    ross = fitted("ross", digits_net, bench)
    first = roodbench.evaluate(ross, bench, steps=2, store=store)

    def forbidden(*args, **kwargs):
        raise AssertionError("scored again")

    monkeypatch.setattr(Attacker, "scores", forbidden)
    again = roodbench.evaluate(ross, bench, steps=2, store=store)
    assert [asdict(r) for r in again.rows] == [asdict(r) for r in first.rows]
    with pytest.raises(AssertionError, match="scored again"):
        roodbench.evaluate(ross, bench, steps=3, store=store)
    with pytest.raises(AssertionError, match="scored again"):
        roodbench.evaluate(ross, bench, steps=2, seed=1, store=store)
    with pytest.raises(AssertionError, match="scored again"):
        roodbench.evaluate(fitted("ross", digits_net, bench, gain=0.05), bench, steps=2, store=store)


def test_a_damaged_cell_is_computed_again(digits_net, tmp_path, caplog):
    bench, store = small(10), roodbench.Store(tmp_path)
    gen = fitted("gen", digits_net, bench)
    first = roodbench.evaluate(gen, bench, attack="none", store=store)
    for file in (tmp_path / "cells").iterdir():
        file.write_bytes(b"broken")
    again = roodbench.evaluate(gen, bench, attack="none", store=store)
    assert [r.auroc for r in again.rows] == [r.auroc for r in first.rows]
    assert "damaged cell" in caplog.text


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
        scored.append(population)
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
