"""Kept files that somebody else may have written: refused, or computed anew."""

import os

import pytest
import torch

import detectors
import roodbench
from roodbench import cli
from roodbench.models.source import Wanted
from roodbench.store.cells import Store, place_of
from roodbench.store.features import kept_outputs
from roodbench.store.trust import check_cache, is_believed

OTHER = 4242
pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no owners here")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The user's cache, which has run folders."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "roodbench" / "runs"
    folder.mkdir(parents=True)
    return folder.parent


def give_away(place, monkeypatch):
    """Another user's: by its owner where tests may change that, or by who we are."""
    if os.geteuid() == 0:
        os.chown(place, OTHER, OTHER)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: OTHER)


def test_ones_own_cache_is_used(cache):
    check_cache(cache / "runs")
    (cache / "runs").chmod(0o775)  # of a user's own group, as many systems make it
    check_cache(cache / "runs")
    check_cache(cache / "nothing" / "yet")


@pytest.mark.parametrize("place", ["", "runs"])
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o757])
def test_a_cache_that_everybody_may_write_to_is_refused(cache, place, mode, capsys):
    (cache / place).chmod(mode)
    assert cli.main(["--detector", "gen", "--limit", "4", "--attack", "none"]) == 2
    err = capsys.readouterr().err
    where = str(cache / place).rstrip("/")
    assert f"everybody may write to the cache '{where}', and what is kept there decides numbers: chmod o-w '" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("place", ["", "runs"])
def test_another_users_cache_is_refused(cache, place, monkeypatch):
    give_away(cache / place, monkeypatch)
    with pytest.raises(
        ValueError, match=r"the cache '.*' is user \d+'s, and what is kept there decides numbers: set XDG"
    ):
        Store(None)


def test_weights_and_outputs_in_such_a_cache_are_not_read(cache, monkeypatch):
    (cache / "models").mkdir(mode=0o755)
    (cache / "features").mkdir(mode=0o755)
    assert Wanted().folder == cache / "models"
    for name in ("models", "features"):
        (cache / name).chmod(0o777)
    for read in (lambda: Wanted().folder, lambda: kept_outputs("x", lambda: None, torch.device("cpu"))):
        with pytest.raises(ValueError, match="everybody may write to the cache"):
            read()
    assert Wanted(model_dir=cache.parent).folder == cache.parent


def outputs(value):
    return detectors.Fitting(torch.full((2, 3), value), None, torch.tensor([0, 1]))


def test_another_users_outputs_are_computed_anew(cache, monkeypatch, caplog):
    device = torch.device("cpu")
    kept_outputs("key", lambda: outputs(1.0), device)
    assert kept_outputs("key", lambda: outputs(2.0), device).logits[0, 0] == 1
    (file,) = (cache / "features").iterdir()
    if os.geteuid() == 0:
        os.chown(file, OTHER, OTHER)
        assert kept_outputs("key", lambda: outputs(2.0), device).logits[0, 0] == 2
        assert "is another user's: computing it anew" in caplog.text


KEY = {"what": "scores"}


@pytest.mark.parametrize(
    ("mode", "believed"), [(0o755, True), (0o775, True), (0o2775, True), (0o777, False), (0o1777, False)]
)
def test_a_chosen_folder_may_be_a_groups_but_not_everybodys(mode, believed, tmp_path, monkeypatch, caplog):
    store = Store(tmp_path / "out")
    store.save(KEY, ({"scores": torch.ones(2)}, {}))
    file, _ = place_of(store.folder / "cells", KEY)
    file.parent.chmod(mode)
    assert Store(store.folder).load(KEY) is not None
    give_away(file, monkeypatch)
    assert is_believed(file) == believed
    assert (Store(store.folder).load(KEY) is not None) == believed
    assert ("is another user's: computing it anew" in caplog.text) != believed


@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_nor_is_a_folder_of_parts_that_anybody_can_have_made(mode, tmp_path, monkeypatch):
    """As in `--out /tmp`: whoever is first makes `cells`, for nobody else to write to."""
    store = Store(tmp_path / "out")
    store.save(KEY, ({"scores": torch.ones(2)}, {}))
    file, _ = place_of(store.folder / "cells", KEY)
    store.folder.chmod(mode)
    assert Store(store.folder).load(KEY) is not None
    give_away(file, monkeypatch)
    if os.geteuid() == 0:
        os.chown(file.parent, OTHER, OTHER)
    assert Store(store.folder).load(KEY) is None


def test_a_run_computes_what_a_stranger_left(tmp_path, monkeypatch):
    """The scores of a forged cell do not come back."""
    bench = roodbench.load_benchmark("digits", limit=4, ood="noise")
    detector = detectors.create("gen", roodbench.load_model("digits-cnn"))

    def areas():
        found = roodbench.evaluate(detector, bench, attack="none", store=Store(tmp_path))
        return [row.auroc for row in found.rows], found.timing.reused["cells"]

    first, reused = areas()
    assert reused == 0
    again, reused = areas()
    assert (again, reused > 0) == (first, True)
    (tmp_path / "cells").chmod(0o777)
    for file in (tmp_path / "cells").iterdir():
        give_away(file, monkeypatch)
    assert areas() == (first, 0)
