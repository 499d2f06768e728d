import pytest

from roodbench.report.html import page
from roodbench.report.read import Kept
from tests.roodbench.report import synthetic


@pytest.fixture(scope="session")
def hostile_page():
    """The page of a record whose names are HTML."""
    manifest = {"command": ["/x/__main__.py", "--detector", "<b>mine</b>"], "began": "2026-01-01", "cwd": "/tmp"}
    return page(Kept("made-up", synthetic.hostile(), manifest))
