from dataclasses import replace

import pytest

from roodbench.report.html import page
from roodbench.report.read import Kept
from tests.roodbench.report import synthetic


@pytest.fixture(scope="session")
def hostile_page():
    """The page of a record whose names are HTML."""
    manifest = {"command": ["/x/__main__.py", "--detector", "<b>mine</b>"], "began": "2026-01-01", "cwd": "/tmp"}
    return page(Kept("made-up", synthetic.pictured(synthetic.hostile(), count=1), manifest))


@pytest.fixture(scope="session")
def small_page():
    """The page of a record that has something of everything, and little of it."""
    found = synthetic.pictured(synthetic.record(["one", "two"], ["noise"], [4 / 255, 8 / 255], n=20), count=1)
    wanted = ("black-box", "convergence", "randomness")
    return page(Kept("small", replace(found, indicators=[i for i in found.indicators if i.name in wanted]), {}))
