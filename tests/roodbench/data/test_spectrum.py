"""Covariate-shifted ID counted as ID."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import detectors
import roodbench
from roodbench import RunConfig, cli
from roodbench.certify.certifier import Certifier
from roodbench.certify.config import CertifyConfig
from roodbench.certify.rows import rows_of
from roodbench.data import ImageSet
from roodbench.entry.consistency import contradictions_of
from roodbench.report.compare import entries_of
from tests.roodbench.data.pictures import draw, own_folder

TOML = """name = "pets"
size = 8
channels = 1
[id]
train = "id/train"
test = "id/test"
[near]
foxes = "near/foxes"
[far]
noise = "far/noise.npz"
[shifted]
rainy = "rainy"
"""


@pytest.fixture
def root(tmp_path):
    root = own_folder(tmp_path / "pets")
    for seed, name in enumerate(("cat", "dog")):
        draw(root / "rainy" / name, 4, seed=60 + seed)
    (root / "benchmark.toml").write_text(TOML)
    return root


def test_one_id_set_of_clean_and_shifted_images(root):
    bench = roodbench.load_benchmark(str(root))
    whole = bench.full_spectrum()
    whole.check()
    assert (whole.name, whole.id_test.name) == ("pets-full-spectrum", "pets-full-spectrum")
    assert (len(whole.id_test), dict(whole.shifted)) == (18, {})
    parts = bench.id_test, bench.shifted["rainy"]
    assert np.array_equal(whole.id_test.array, np.concatenate([images.array for images in parts]))
    assert whole.id_test.labels.tolist() == [y for images in parts for y in images.labels.tolist()]
    assert whole.id_test.names[:1] == [f"pets: {bench.id_test.names[0]}"]
    assert whole.id_test.digest not in {images.digest for images in parts}
    assert len(roodbench.load_benchmark(str(root), limit=3).full_spectrum().id_test) == 6


def test_in_normalised_space_too(root):
    bench = roodbench.load_benchmark(str(root))
    mean, std = torch.tensor([0.5]), torch.tensor([0.25])
    one, other = bench.full_spectrum().normalized(mean, std), bench.normalized(mean, std).full_spectrum()
    assert torch.equal(one.id_test.shard(0, 18), other.id_test.shard(0, 18))
    assert one.id_test.space == other.id_test.space


def test_without_shifted_sets_it_is_a_mistake(root):
    for bench in (roodbench.load_benchmark("digits"), roodbench.load_benchmark(str(root), ood="foxes")):
        with pytest.raises(ValueError, match="has no covariate-shifted ID set for a full spectrum"):
            bench.full_spectrum()
    assert len(roodbench.load_benchmark(str(root), ood=["foxes", "rainy"]).full_spectrum().id_test) == 18


def test_corrupted_copies_of_an_image_count_once(digits_net):
    """Five copies that differ by a shade of grey say as much as one."""
    bench = roodbench.load_benchmark("digits", ood="unseen-digits", limit=30)
    known = bench.id_test

    def shaded(severity):
        def read():
            return np.maximum(known.array, np.float32(severity / 255))

        return ImageSet(f"fog/{severity}", "ID test", known.labels, read, names=known.names)

    shifted = {f"fog/{severity}": shaded(severity) for severity in range(1, 6)}
    whole = replace(bench, shifted=shifted).full_spectrum()
    assert whole.id_test.distinct > 150
    assert np.array_equal(whole.id_test.related, np.tile(np.arange(30), 6))
    assert np.array_equal(whole.id_test.at(np.arange(31, 60)).related, np.arange(29))
    widths = []
    for its in (bench, whole):
        result = roodbench.evaluate(detectors.create("mls", digits_net), its, attack="none")
        (row,), (entry,) = result.rows, entries_of({"run": result})
        assert entry.components(row).interval().ci == row.auroc_ci  # what comparisons and boards rest on
        widths.append(row.auroc_ci[1] - row.auroc_ci[0])
    assert widths[1] == pytest.approx(widths[0], rel=0.05)
    config = CertifyConfig(RunConfig(("median",), norm="l2", attack="none"), radius=(0.1,), samples=16)
    certified = []
    for its in (bench, whole):
        median = detectors.create("median", digits_net, sigma=0.25, copies=3).fit(its.id_train, its.id_val)
        certifier = Certifier(median, its, config, {0.1: 0.1})
        found = certifier.clean()
        (low, high) = rows_of(certifier, found, {n: certifier.evidence(s) for n, s in found.items()})[0].auroc_clean_ci
        certified.append(high - low)
    assert certified[1] == pytest.approx(certified[0], rel=0.1)


@pytest.mark.parametrize("full_spectrum", [False, True])
def test_an_honest_run_is_an_entry(root, tmp_path, full_spectrum):
    settings = {
        "benchmark": str(root),
        "model": "digits-cnn",
        "steps": 1,
        "restarts": 1,
        "full_spectrum": full_spectrum,
    }
    result, _ = roodbench.run(roodbench.RunConfig("msp", **settings), out=tmp_path / "runs", check=False)
    assert list(contradictions_of(result)) == []
    if not full_spectrum:
        flagged = [replace(entry, flagged=entry.flagged + 0.1) for entry in result.shifted_id]
        (line,) = contradictions_of(replace(result, shifted_id=flagged))
        assert line.startswith("msp on shifted ID rainy: flagged is ")


def test_a_run_counts_them_as_id(root, tmp_path, capsys):
    given = ["--benchmark", str(root), "--model", "digits-cnn", "--detector", "msp", "--attack", "none", "--quiet"]
    shown = []
    for more in ([], ["--full-spectrum"]):
        assert cli.main([*given, *more, "--out", str(tmp_path / "runs"), "--format", "json"]) == 0
        shown.append(json.loads(capsys.readouterr().out))
    apart, whole = shown
    assert [entry["name"] for entry in apart["shifted_id"]] == ["rainy"]
    assert whole["shifted_id"] == []
    assert {row["n_id"] for row in apart["rows"]} == {10}
    assert {row["n_id"] for row in whole["rows"]} == {18}
    assert {row["benchmark"] for row in whole["rows"]} == {"pets-full-spectrum"}
    assert whole["config"]["full_spectrum"] is True
    assert cli.main(["--full-spectrum", "--quiet"]) == 2
    assert "benchmark digits has no covariate-shifted ID set" in capsys.readouterr().err
