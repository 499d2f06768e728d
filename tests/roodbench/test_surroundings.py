"""What is measured near a run's images, against formulas of its own, and runs that are others now."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import detectors
import roodbench
from roodbench.cli import main
from roodbench.engine.streams import stream
from roodbench.reopen import reopened
from roodbench.surroundings import MEASURES, Opening, measured

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def result(digits_net, tmp_path_factory):
    """A clean run of a base score, PRO over it, and ROSS over it."""
    params = {"sigma": 0.05, "copies": 5}
    settings = {"attack": "none", "limit": 6, "ood": "noise,unseen-digits", "base": "msp", "params": params}
    out = tmp_path_factory.mktemp("runs")
    return roodbench.run(roodbench.RunConfig("msp,pro,ross", device="cpu", **settings), out=out)[0]


@pytest.fixture(scope="module")
def of(result):
    """What is measured of the run, opened once for all."""
    with reopened(result, result.config, {}) as setting:
        yield lambda name, detectors=None, ood=None, **asked: MEASURES[name](
            Opening(result, setting, detectors, ood), **asked
        )


@pytest.fixture(scope="module")
def known(digits_net):
    bench = roodbench.load_benchmark("digits", ood=["noise", "unseen-digits"], limit=6)
    return bench, detectors.create("msp", digits_net)


def msp(net, x):
    return torch.softmax(net(x), 1).amax(1)


def test_a_shift_is_that_of_one_step(result, known, digits_net):
    bench, _ = known
    (found,) = measured("shift", result)  # of msp, the base score of all three
    assert (found.detector, found.step, found.own, found.network) == ("msp", 0.003, "digits", "digits, digits-cnn")
    assert found.groups == {"digits": "ID", "unseen-digits": "near", "noise": "far"}
    for images in (bench.id_test, *bench.ood.values()):
        x = images.shard(0, 6).requires_grad_()
        before = msp(digits_net, x)
        (grad,) = torch.autograd.grad(before.sum(), x)
        after = msp(digits_net, x.detach() - 0.003 * grad.sign())
        assert found.moved[images.name] == pytest.approx((after - before).detach().numpy(), abs=1e-5)
    pairs = found.moved["digits"][:, None] - found.moved["noise"]
    assert found.separates("noise") == pytest.approx((pairs > 0).mean() + (pairs == 0).mean() / 2)


def test_the_step_and_the_detectors_can_be_chosen(of):
    (found,) = of("shift", eps=1 / 255, detectors=["pro(msp)"], ood="noise")
    assert (found.detector, found.step, list(found.moved)) == ("msp", 1 / 255, ["digits", "noise"])
    (none,) = of("shift", eps=1e-12)
    assert max(np.abs(its).max() for its in none.moved.values()) < 1e-6


def test_a_landscape_is_the_score_along_two_directions(of, result, known, digits_net):
    bench, _ = known
    (found,) = of("landscape", detectors=["msp"], images=["noise:2"], eps=0.1)
    assert (found.image, found.directions) == ("noise:2", ("random signs", "random signs"))
    x = bench.ood["noise"].shard(2, 3)
    u, v = (2 * torch.randint(0, 2, x.shape, generator=stream(0, f"landscape/{d}", "", 0, CPU)) - 1 for d in "uv")
    for i, j in ((20, 20), (0, 0), (40, 3), (7, 31)):
        z = x + found.offsets[j] * u + found.offsets[i] * v
        assert found.scores[i, j] == pytest.approx(msp(digits_net, z.float()).item(), abs=1e-5)
    assert (found.offsets[0], found.offsets[20], found.offsets[-1]) == (-0.1, 0.0, 0.1)


def test_a_gradients_direction_is_uphill(of):
    (found,) = of("landscape", detectors=["msp"], images=["noise:0"], eps=1e-3, gradient=True)
    assert found.directions[0] == "sign of the gradient"
    assert (np.diff(found.scores[20]) > 0).mean() > 0.9


def test_a_landscape_with_noise_is_on_the_same_noise(of, monkeypatch):
    monkeypatch.setattr("roodbench.surroundings.POINTS", 5)
    (found,) = of("landscape", detectors=["ross(msp)"], images=["digits:0"], eps=1e-9)
    assert np.ptp(found.scores) <= 1e-5 * abs(found.scores).max()


def test_medians_and_instabilities_are_those_of_the_record(of, result, known):
    bench, base = known
    (found,) = of("smoothing")
    ross = detectors.create("ross", base.net, base="msp", sigma=0.05, copies=5)
    for images in (bench.id_test, *bench.ood.values()):
        s = ross.matrix(images.shard(0, 6), generator=stream(0, "instability", images.name, 0, CPU)).detach().numpy()
        m = np.median(s, axis=0)
        assert found.medians[images.name] == pytest.approx(m, abs=1e-6)
        assert found.instabilities[images.name] == pytest.approx(np.abs(s - m).mean(0), abs=1e-6)
        share = next(d for d in result.detectors if d.detector == "ross(msp)").share_without_instability
        assert share[images.name] == (found.instabilities[images.name] < 1e-6).mean()
    assert found.threshold == pytest.approx(next(d for d in result.detectors if d.fitted).fitted["tau"], rel=1e-5)


CHANGED = {
    "another network": (lambda r: with_config(r, network_sha256="0" * 64), "is of another network of that name"),
    "no network": (lambda r: with_config(r, network_sha256=None), "does not say which network it was"),
    "other images": (lambda r: with_config(r, limit=5), "ID test: digits has other images now than in the record"),
    "another parameter": (lambda r: with_config(r, params={"sigma": 0.1, "copies": 5}), "ross.msp. has sigma 0.1 now"),
    "no detector of it": (lambda r: with_config(r, detector=["gen", "ross"]), "unknown detector 'gen'"),
    "code": (lambda r: with_config(r, model="evil.py:Net"), "names what may run code, 'evil.py:Net'"),
    "a denoiser's code": (lambda r: with_config(r, denoiser="evil.py:D"), "names what may run code, 'evil.py:D'"),
    "a TOML file": (lambda r: with_config(r, benchmark="evil.toml"), "names what may run code, 'evil.toml'"),
    "a detector's code": (lambda r: with_config(r, detector=["evil:Mine"]), "names what may run code, 'evil:Mine'"),
    "pickles": (lambda r: with_config(r, trust_checkpoint=True), "names what may run code, 'trust_checkpoint'"),
    "no settings": (lambda r: replace(r, config={}), "does not say which run it is of"),
}


def with_config(record, **changes):
    return replace(record, config={**record.config, **changes})


@pytest.mark.parametrize("change", CHANGED)
def test_another_run_is_refused(change, result):
    other, words = CHANGED[change]
    with pytest.raises(ValueError, match=words):
        measured("smoothing", other(result))


def test_a_detector_that_scores_otherwise_now_is_refused(result):
    """Its code is another, of the same name and parameters."""
    key = "msp/digits/clean"
    other = replace(result, scores={**result.scores, key: result.scores[key] - 0.3})
    with pytest.raises(ValueError, match=r"msp scores digits, index 0, 1 now, in the record 0\.7: run it again"):
        measured("shift", other)
    assert measured("shift", replace(result, scores={}), ood="noise", detectors=["msp"])


ASKED = {
    ("smoothing", "detectors", ("msp",)): "no detector over noisy copies, expected one of median",
    ("shift", "detectors", ("gen",)): "unknown detector 'gen'",
    ("shift", "ood", "nois"): "unknown OOD set 'nois': did you mean 'noise'",
    ("landscape", "images", ("digits",)): "image 'digits': expected SET:INDEX, such as digits:0",
    ("landscape", "images", ("digit:0",)): "unknown set 'digit': did you mean 'digits'",
    ("landscape", "images", ("digits:6",)): "image 'digits:6': digits has 6 images, 0 to 5",
}


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_what_a_run_has_not_is_one_line(asked, of):
    name, key, value = asked
    with pytest.raises(ValueError, match=ASKED[asked]):
        of(name, **{key: value})


def test_what_no_figure_takes_is_one_line(result):
    with pytest.raises(ValueError, match=r"epsilon 0.0: expected a number such as 8/255 or 0.03, above 0"):
        measured("shift", result, eps=0.0)
    with pytest.raises(ValueError, match="figure shift takes no images: expected one of eps"):
        measured("shift", result, images=["digits:0"])


FIGURES = {
    "bars --eps 0.1": "figure bars takes no eps: leave out --eps 0.1",
    "scores --trust-code": "figure scores takes no trust-code: leave out --trust-code\n",
    "shift --gradient": "figure shift takes no gradient: leave out --gradient\n",
    "smoothing --eps 0.1": "figure smoothing takes no eps: leave out --eps 0.1",
    "landscape --condition both": "figure landscape takes no condition: leave out --condition both",
    "shift --eps one": "epsilon 'one': expected a number such as 8/255 or 0.03",
}


@pytest.mark.parametrize("command", FIGURES)
def test_options_that_a_figure_does_not_honour(command, result, tmp_path, capsys):
    result.save(tmp_path)
    name, *rest = command.split()
    assert main(["figure", name, str(tmp_path), *rest]) == 2
    assert FIGURES[command] in capsys.readouterr().err


def test_a_manifest_says_what_began_the_run(result, tmp_path, capsys):
    """The network's name in a record need not be how it was asked for."""
    pytest.importorskip("matplotlib", reason="pip install '.[report]'")
    with_config(result, model="mine").save(tmp_path)
    assert main(["figure", "shift", str(tmp_path), "-o", str(tmp_path / "a.svg"), "--quiet"]) == 2
    assert "unknown model 'mine'" in capsys.readouterr().err
    said = {"began": "", "command": [], "cwd": "", "config": result.config, "fresh": False, "since": 0.0}
    said |= {"schema": 1, "kind": "run", "check": True, "thorough": False}
    (tmp_path / "manifest.json").write_text(json.dumps(said))
    assert main(["figure", "shift", str(tmp_path), "-o", str(tmp_path / "a.svg"), "--quiet"]) == 0


def test_a_gpu_measures_the_same(of, result, request, monkeypatch):
    """A pretend one, which draws from the CPU's generators."""
    monkeypatch.setattr("roodbench.surroundings.POINTS", 3)
    here = of("landscape")
    request.getfixturevalue("gpu")
    assert repr(measured("landscape", result, places={"device": "cuda"})) == repr(here)
