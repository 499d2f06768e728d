"""A made-up certificate that agrees with itself, for tests: noisy scores of no network."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np

from roodbench.certify.certificate import header, shown, sides
from roodbench.certify.claimed import Apart, Settings, detector_of, evidence_in, followed, id_name, together_of
from roodbench.certify.config import CertifyConfig
from roodbench.certify.evidence import CONDITIONS, KINDS
from roodbench.certify.operating import Operating, fixed
from roodbench.metrics.bounds import median_bounds, ross_bounds
from roodbench.metrics.deployed import at_knots
from roodbench.metrics.gain import Gain
from roodbench.metrics.gauroc import image_alpha
from roodbench.metrics.predicted import predicted_bounds
from roodbench.setup.config import RunConfig

EXTREMES = (-8.0, 8.0)
GAIN = Gain(0.0, 0.01, 1e-3)
PIXELS = 64


def data_of(n=8, own="digits", sets=("near", "far")):
    """What a certificate says of images, by split."""
    splits = [("ID train", "train", 20), ("ID test", own, n), *(("OOD test", name, n) for name in sets)]
    return {f"{split}: {name}": {"images": k, "sha256": f"{split} {name}"} for split, name, k in splits}


def certificate(data=None, detectors=("median", "ross"), norm="l2", network="f" * 64, apart=2.0, **settings):
    """JSON-like; the means of ID and of OOD scores are `apart` from 0, the noise of a score is 1."""
    data = data or data_of()
    run = RunConfig(detector=detectors, norm=norm, attack="none")
    config = CertifyConfig(run, **{"sigma": 0.25, "radius": (0.1, 0.25), "samples": 300, **settings})
    radii = config.radii(PIXELS)
    found = {
        **header(config, {"name": "net", "sha256": network, "prepared": network}, data, "code", radii),
        "config": asdict(config),
        "environment": {"python": "3.11", "device": "a machine", "revision": "abc"},
        "detectors": [entry_of(name, data, config, [0.0, *radii.values()], apart) for name in detectors],
    }
    return with_points(with_rows(json.loads(json.dumps(found))))


def entry_of(name, data, config, radii, apart):
    """What a certificate says of a detector."""
    tests = {key.partition(" test: ")[::2]: its for key, its in data.items() if " test: " in key}
    alpha = config.alpha / sum(its["images"] for its in tests.values())
    populations = {}
    for place, ((role, population), its) in enumerate(tests.items()):
        random, n = np.random.default_rng(place), its["images"]
        mean = (apart if role == "ID" else -apart) + random.normal(size=(n, 1))
        y = np.sort(random.normal(mean, 1.0, (n, config.samples)).clip(*EXTREMES), axis=1).astype(np.float32)
        middle = np.median(y, axis=1).astype(float)
        score = middle if name == "median" else GAIN(middle, np.abs(y - middle[:, None]).mean(1))
        populations[population] = {
            "role": role,
            "sha256": its["sha256"],
            "images": [f"image {i}" for i in range(n)],
            "score": score.tolist(),
            **{kind: {f"{r:.9g}": sides(bounds_of(name, kind, y, r, alpha, config)) for r in radii} for kind in KINDS},
            "sample": shown(at_knots(y)),
        }
    more = {} if name == "median" else {"gain": GAIN.gain, "eta": GAIN.eta, "floored": True}
    return {
        "detector": name,
        "base": "gen",
        "params": {"copies": 25, "sigma": config.sigma, **more},
        "extremes": list(EXTREMES),
        "alpha_image": alpha,
        "fitted": {} if name == "median" else {"tau": GAIN.tau},
        "slack": 0.0,
        "passes_attack": [],
        "validation": None if config.tpr is None else {"role": "ID val", "score": np.linspace(0, 4, 20).tolist()},
        "populations": populations,
    }


def bounds_of(name, kind, y, radius, alpha, config):
    """Of a kind, of sorted scores (n, N)."""
    gain, r = None if name == "median" else GAIN, radius / config.sigma
    if kind == "predicted":
        return predicted_bounds(y, r, alpha, gain, EXTREMES)
    alpha = image_alpha(len(y), config.alpha) if kind == "counted" else alpha
    return median_bounds(y, r, alpha, EXTREMES) if gain is None else ross_bounds(y, r, alpha, gain, EXTREMES)


def with_rows(certificate):
    """With the metrics that follow from its bounds."""
    config, rows = Settings.of(certificate), []
    for entry in certificate["detectors"]:
        made = detector_of(entry), entry, evidence_in(entry)
        for radius in certificate["threat"]["radii"]:
            for ood in [name for name, its in entry["populations"].items() if its["role"] == "OOD"]:
                for condition in CONDITIONS:
                    where = *made, config, ood, condition, radius
                    row = {"detector": entry["detector"], "base": entry["base"], "ood": ood, "condition": condition}
                    row |= {"radius_l2": radius, **followed(*where)}
                    rows.append(row)
    return {**certificate, "gauroc": rows}


class Labelled(Apart):
    """Images of two classes."""

    @property
    def labels(self):
        return np.arange(self.size) % 2


def with_points(certificate):
    """With the operating points that follow from its noisy scores."""
    config, points = Settings.of(certificate), []
    for entry in certificate["detectors"]:
        populations = evidence_in(entry)
        own = populations.pop(id_name(entry))
        own = replace(own, images=Labelled(len(own.images)))
        threshold = fixed(config, np.array(entry["validation"]["score"]) if entry["validation"] else None)
        point = Operating(together_of(entry, config), threshold, own, populations)
        at = [point.at(radius) for radius in (0.0, *certificate["threat"]["radii"])]
        known = {"detector": entry["detector"], "base": entry["base"], "threshold": threshold, "points": at}
        points.append({**known, **point.largest()})
    return {**certificate, "operating": points}
