"""The published code's scores, combinations and metrics, reproduced."""

import hashlib
import json

import numpy as np
import pytest
import torch

import detectors
from detectors import Fitting
from roodbench import metrics
from tests.parity import reference as parity

if not (parity.FOLDER / "scores.npz").is_file() or not parity.DATA.is_dir():
    pytest.skip(f"no parity fixtures at '{parity.FOLDER}': set ROODBENCH_PARITY", allow_module_level=True)

METRICS = json.loads((parity.FOLDER / "metrics.json").read_text())
KEYS = list(parity.arrays_of("scores.npz"))


@pytest.fixture(scope="module")
def reference():
    return parity.Reference()


def test_images_are_the_ones_scored(reference):
    for dataset in reference.scored:
        block = np.ascontiguousarray(reference.block(dataset))
        digest = reference.inputs["lists"][dataset]["block_uint8_nhwc_sha256"]
        assert hashlib.sha256(block.tobytes()).hexdigest() == digest


def test_logits_and_features(reference):
    for dataset in reference.scored:
        z, h = reference.net.outputs(reference.images(dataset, "pixel"))
        np.testing.assert_allclose(z, reference.arrays[f"logits__{dataset}"], atol=1e-4)
        np.testing.assert_allclose(h, reference.arrays[f"features__{dataset}"], atol=1e-4)


SCORES = sorted({key.split("__")[0] for key in KEYS if key.count("__") == 3})
KNOWN = [s for s in SCORES if s in detectors.BASES or s.startswith("pro-")]


LONG = {"fdbd", "knn", "mds", "rmds", "vim", "odin", "gradnorm"}
NOW = [s for s in KNOWN if (s in detectors.BASES and s not in LONG) or s == "pro-gen"]
LATER = [pytest.param(score, False, marks=pytest.mark.slow) for score in KNOWN if score not in NOW]
LATER += [pytest.param(score, True, marks=pytest.mark.slow) for score in KNOWN if score.startswith(("pro-", "odin"))]


@pytest.mark.parametrize(("score", "rest"), [*((score, False) for score in NOW), *LATER])
def test_scores(score, rest, reference):
    """Scores that take steps on the first block (ID) alone, PRO's over two bases; on the others with `-m slow`."""
    steps = score.startswith(("pro-", "odin"))
    blocks = reference.scored if not steps else reference.scored[1:] if rest else reference.scored[:1]
    cases = [case for case in reference.cases if case.score == score and case.dataset in blocks]
    assert cases
    for case in cases:
        try:
            parity.check(reference, case)
        except AssertionError as error:
            raise AssertionError(f"{case.key}: {error}") from error


@pytest.mark.parametrize("score", ["gen", pytest.param("pro-gen", marks=pytest.mark.slow)])
def test_gen_as_published_also_where_softmax_saturates(score, reference):
    """All ID images, also those that `check` leaves out, on which real arithmetic is off by up to 0.2.

    Where float32 rounds a softmax to 1 is a matter of last bits: on a CPU with AVX2 alone 0.007 was measured for GEN,
    and for PRO-GEN, of up to three steps 0.0146 and of five 0.21, two images above 0.05.
    """
    for case in [c for c in reference.cases if c.score == score and c.dataset == reference.scored[0]]:
        steps = int(case.params.get("K", 0))
        close = 5e-2 if steps > 3 else 2e-2
        gap = np.abs(reference.as_published(case) - reference.arrays[case.key])
        assert np.sum(~(gap <= close)) <= parity.FLIPPED, case.key
        assert gap.max() <= parity.FLIPPED_MOST
        if case.params["gamma"] == "0.1":
            exact = np.abs(reference.ours(case) - reference.arrays[case.key])
            assert np.sum(exact > close) > 5 * parity.FLIPPED, case.key


def test_fitted_temperature(reference):
    T = reference.detector(parity.Case.parse(f"msp-t__Tfit__normalized__{reference.scored[0]}")).temperature
    assert pytest.approx(reference.arrays["fit__msp-t_T"][0], abs=1e-4) == T


@pytest.fixture(scope="module")
def splits():
    """The stored outputs of the network on ID train and val: fits need no network."""
    arrays = parity.arrays_of("fit_features.npz")
    names = ("logits", "features", "labels")
    return [Fitting(*(torch.from_numpy(arrays[f"{split}_{name}"]) for name in names)) for split in ("train", "val")]


def fit(name, splits, reference, **params):
    """A detector fitted on stored outputs alone; only the last layer's weights come from the network."""
    detector = detectors.create(name, reference.net, **params)
    detector.fit_outputs(*splits)
    return detector


def same(ours, theirs, **tolerance):
    np.testing.assert_allclose(np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64), **tolerance)


def test_fits_from_the_stored_features(reference, splits):
    arrays = reference.arrays
    assert fit("msp-t", splits, reference).temperature == pytest.approx(arrays["fit__msp-t_T"][0], abs=1e-5)
    mds, rmds = fit("mds", splits, reference), fit("rmds", splits, reference)
    same(mds.means, arrays["fit__mds_class_mean"], atol=1e-5)
    precision = arrays["fit__mds_precision"]
    same(mds.whitening @ mds.whitening.T, precision, rtol=1e-3, atol=1e-4 * np.abs(precision).max())
    same(rmds.mean, arrays["fit__rmds_whole_mean"], atol=1e-5)
    precision = arrays["fit__rmds_whole_precision"]
    same(rmds.whole_whitening @ rmds.whole_whitening.T, precision, rtol=1e-3, atol=1e-4 * np.abs(precision).max())
    fdbd = fit("fdbd", splits, reference)
    same(fdbd.mean, arrays["fit__fdbd_train_mean"], atol=1e-5)
    theirs, off = arrays["fit__fdbd_denominator"], ~np.eye(10, dtype=bool)
    same(fdbd.between.numpy()[off], theirs[off], rtol=1e-5)
    for dim in (32, 48):
        vim = fit("vim", splits, reference, dim=dim)
        same(vim.origin, arrays["fit__vim_u"], atol=1e-4)
        same(vim.alpha, arrays[f"fit__vim_alpha_dim{dim}"], rtol=1e-3)
    for percentile in (90, 95):
        react = fit("react", splits, reference, percentile=percentile)
        same(react.threshold, arrays[f"fit__react_threshold_p{percentile}"], rtol=1e-6)


PARTS = ("median", "mad", "cov", "ross")


def rule(part, tau, gain):
    detector = detectors.create(part, torch.nn.Identity(), **({"gain": gain} if part == "ross" else {}))
    if part == "ross":
        detector.tau = tau
    return detector.combine


def close(ours, theirs):
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-5, atol=1e-6)


def test_ross_combination_on_synthetic_matrices(reference):
    cases = [key for key in KEYS if key.startswith("combine-out__")]
    assert len(cases) > 10
    for key in cases:
        _, case, numbers = key.split("__")
        tau, gain = (float(part) for part in numbers.removeprefix("tau").split("-lambda"))
        s = torch.from_numpy(reference.arrays[f"combine-matrix__{case}"])
        for part, theirs in zip(PARTS, reference.arrays[key], strict=True):
            close(rule(part, tau, gain)(s), theirs)


def test_ross_combination_and_tau_on_real_matrices(reference):
    matrices = [key for key in KEYS if key.startswith("ross-matrix__")]
    assert len(matrices) > 10
    for key in matrices:
        _, params, space, dataset = key.split("__")
        ross = detectors.create("ross", torch.nn.Identity(), gain=float(params.rsplit("lambda", 1)[1]))
        ross.fit_medians(torch.from_numpy(reference.arrays[f"ross-valmatrix__{params}__{space}"]).median(0).values)
        tau = float(reference.arrays[f"ross-tau__{params}__{space}"])
        assert ross.tau == pytest.approx(tau, rel=1e-6, abs=1e-6)
        for part in PARTS:
            close(
                rule(part, tau, ross.gain)(torch.from_numpy(reference.arrays[key])),
                reference.arrays[f"ross-{part}__{params}__{space}__{dataset}"],
            )


@pytest.mark.slow
def test_ross_from_the_stored_noise(reference):
    unit = torch.from_numpy(reference.arrays["noisecase-noise_unit"])
    half = unit.shape[1] // 2
    keys = [key for key in KEYS if key.startswith("noisecase-matrix__")]
    fitted: dict = {}
    for key in keys:
        _, params, space = key.split("__")
        base, copies, sigma, _ = params.split("-")
        if base not in detectors.BASES:
            continue
        net, bench = reference.spaces[space]
        if (base, space) not in fitted:
            settings = {"distance_to_mean": False} if base == "fdbd" else {}
            fitted[base, space] = detectors.create(base, net, **settings).fit(bench.id_train, bench.id_val)
        score = fitted[base, space]
        ood = "test_texture" if "test_texture" in reference.scored else reference.scored[-1]
        x = torch.cat([reference.images(d, space)[:half] for d in (reference.scored[0], ood)])
        noisy = x + float(sigma.removeprefix("sigma")) * unit[: int(copies[1:])]
        with torch.no_grad():
            ours = score(noisy.flatten(0, 1)).view(noisy.shape[:2]).numpy()
        theirs, atol = reference.arrays[key], {"gen": 1e-4, "msp": 1e-5, "ebo": 1e-4, "fdbd": 1e-5}[base]
        if base == "gen":
            with torch.no_grad():
                saturated = (1 - net(noisy.flatten(0, 1)).softmax(1).amax(1) <= 1e-4).view(noisy.shape[:2]).numpy()
            assert np.abs(ours - theirs)[saturated].max(initial=0) <= 0.25
            ours, theirs = ours[~saturated], theirs[~saturated]
        np.testing.assert_allclose(ours, theirs, atol=atol)


def compare(found, expected, atol=1e-6):
    for name, value in found.items():
        assert value == pytest.approx(expected[name], abs=atol), name


def all_metrics(ours_id, ours_ood):
    return {
        "AUROC": metrics.auroc(ours_id, ours_ood),
        "FPR95": metrics.fpr95_ood(ours_id, ours_ood, published=True),
        "AUPR_IN": metrics.aupr_in(ours_id, ours_ood),
        "AUPR_OUT": metrics.aupr_out(ours_id, ours_ood),
        "_FPR95_no_drop_intermediate": metrics.fpr95_ood(ours_id, ours_ood),
    }


@pytest.mark.parametrize("case", METRICS.get("cases", []))
def test_metrics_of_synthetic_cases(case):
    arrays = parity.arrays_of("metric_cases.npz")
    score, label = arrays[f"{case}__conf"], arrays[f"{case}__label"]
    expected, id_scores, ood = METRICS["cases"][case], score[label >= 0], score[label < 0]
    if min(len(id_scores), len(ood)) < 2:
        with pytest.raises(ValueError, match="expected at least 2"):
            metrics.auroc(id_scores, ood)
        return
    compare(all_metrics(id_scores, ood), expected)


def test_metrics_of_stored_scores(reference):
    blocks, first = METRICS["scored_block"], reference.scored[0]
    compared = 0
    for score, datasets in blocks.items():
        for dataset, expected in datasets.items():
            found = all_metrics(reference.arrays[f"{score}__{first}"], reference.arrays[f"{score}__{dataset}"])
            compare({k: v for k, v in found.items() if k in expected}, expected, atol=1e-6)
            compared += 1
    assert compared > 50
