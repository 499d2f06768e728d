"""The search: the published grids, first of the best, never the test images, shared passes."""

import itertools

import pytest
import torch

import detectors
import roodbench
from roodbench import metrics
from roodbench.data import ImageSet
from roodbench.setup.search import grid_of, search


@pytest.fixture(scope="module")
def bench():
    return roodbench.load_benchmark("digits", limit=20)


def auroc(detector, bench, **kwargs):
    with torch.no_grad():
        scores = [torch.cat([detector(x, **kwargs) for _, x in s.shards()]) for s in (bench.id_val, bench.ood_val)]
    return metrics.auroc(*(s.double().numpy() for s in scores))


@pytest.mark.parametrize("name", ["gen", "fdbd", "ash", "react", "odin", "knn"])
def test_search_finds_the_first_best_point_of_the_grid(name, bench, digits_net):
    best, facts = search(name, digits_net, bench, base="gen", fixed={})
    grid = grid_of(name, "gen", digits_net, bench, {})
    points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    found = [auroc(detectors.create(name, digits_net, **p).fit(bench.id_train, bench.id_val), bench) for p in points]
    assert facts["candidates"] == len(points)
    assert facts["ood_val"] == "digits-ood-val"
    assert facts["auroc"] == pytest.approx(max(found), abs=1e-6)
    assert best == points[max(range(len(points)), key=lambda i: (round(found[i], 9), -i))]


def test_pro_shares_paths_and_finds_the_same(bench, digits_net):
    fixed = {"gamma": 0.1, "top": 100}
    best, facts = search("pro", digits_net, bench, base="gen", fixed=fixed)
    assert facts["candidates"] == 16
    again = detectors.create("pro", digits_net, base="gen", **fixed, **best)
    assert facts["auroc"] == pytest.approx(auroc(again, bench), abs=1e-6)
    steps, sizes = (1, 2, 3, 5), (3e-4, 5e-4, 8e-4, 1e-3)
    found = [
        auroc(detectors.create("pro", digits_net, **fixed, step_size=a, steps=k), bench) for a in sizes for k in steps
    ]
    assert facts["auroc"] == pytest.approx(max(found), abs=1e-6)


def test_ross_refits_tau_for_every_candidate(bench, digits_net, monkeypatch):
    fitted = []
    plain = detectors.ROSS.fit_medians
    monkeypatch.setattr(detectors.ROSS, "fit_medians", lambda self, m: fitted.append(self.copies) or plain(self, m))
    best, facts = search("ross", digits_net, bench, base="gen", fixed={"sigma": 0.05})
    assert facts["candidates"] == len(fitted) == 5 * 4
    assert set(fitted) == {5, 10, 25, 50, 100}
    assert set(best) == {"copies", "gain"}


def test_grids_fit_the_benchmark(bench, digits_net):
    assert grid_of("ross", "gen", digits_net, bench, {})["sigma"] == pytest.approx((0.025, 0.05, 0.1, 0.25))
    assert grid_of("vim", "gen", digits_net, bench, {}) == {}  # 64 features: 256 and 1000 leave no null space
    assert grid_of("knn", "gen", digits_net, bench, {})["neighbours"] == (50, 100, 200, 500)
    assert "gamma" not in grid_of("gen", "gen", digits_net, bench, {"g": 1.0})
    assert set(grid_of("pro", "msp-t", digits_net, bench, {})) == {"step_size", "steps", "temperature"}


def test_scores_share_one_feature_pass_and_read_no_test_image(bench, digits_net, monkeypatch):
    served = []
    plain = ImageSet.shard
    monkeypatch.setattr(ImageSet, "shard", lambda self, *a: served.append(self.split) or plain(self, *a))
    fresh = roodbench.load_benchmark("digits", limit=20)
    net = roodbench.Classifier(digits_net.backbone, [0.5], [0.5], name="uncached")
    for name in ("gen", "fdbd", "scale"):
        search(name, net, fresh, base="gen", fixed={})
    assert not any(split.endswith("test") for split in served)
    assert len(served) == sum(-(-len(s) // 64) for s in (fresh.id_train, fresh.id_val, fresh.ood_val))


def test_outputs_are_cached_on_disk_and_refused_for_test_images(digits_net, monkeypatch):
    net = roodbench.Classifier(digits_net.backbone, [0.5], [0.5], name="cached")
    a = roodbench.load_benchmark("digits").id_val.outputs(net)
    monkeypatch.setattr("roodbench.data.images.collect", None)
    b = roodbench.load_benchmark("digits").id_val.outputs(net)
    assert torch.equal(a.logits, b.logits)
    assert torch.equal(a.labels, b.labels)
    with pytest.raises(ValueError, match="is a test set"):
        roodbench.load_benchmark("digits").id_test.outputs(net)
