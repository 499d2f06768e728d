"""One small certification that several test files look at."""

from dataclasses import replace

import pytest

from roodbench.certify.config import CertifyConfig
from roodbench.certify.evidence import metrics_of
from roodbench.certify.run import certify
from roodbench.setup.config import RunConfig

RADIUS = 0.3
SMALL = CertifyConfig(
    run=RunConfig(
        detector=("median", "ross", "ross-q"),
        norm="l2",
        ood=("unseen-digits",),
        limit=12,
        steps=2,
        restarts=1,
        compile="off",
    ),
    sigma=0.25,
    radius=(0.1, RADIUS),
    samples=600,
)
UNATTACKED = {"attack": "none", "steps": None, "restarts": None}
ALONE = replace(SMALL.run, **UNATTACKED)
"""Of a certification without an attack beside it."""


@pytest.fixture(scope="package")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="package")
def certified(folder, digits_net):
    return certify(SMALL, out=folder)


def consistent(certificate, stated):
    """With the metrics that follow from its bounds and noisy scores, as a forger would have them."""
    each = len(certificate["gauroc"]) // len(certificate["detectors"])
    evidence = [stated.evidence(entry) for entry in certificate["detectors"]]
    for place, row in enumerate(certificate["gauroc"]):
        detector, entry = stated.detectors[place // each], certificate["detectors"][place // each]
        own, other = (evidence[place // each][name] for name in ("digits", row["ood"]))
        where = row["condition"], row["radius_l2"]
        row |= metrics_of(detector, stated.config, stated.scope, own, other, *where, entry["slack"])
    points = zip(stated.detectors, certificate["detectors"], evidence, strict=True)
    certificate["operating"] = [stated.operating(*point).record(list(stated.radii.values())) for point in points]
    return certificate
