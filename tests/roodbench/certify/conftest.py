"""One small certification that several test files look at."""

from dataclasses import replace

import pytest

from roodbench.certify.config import CertifyConfig
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
