from dataclasses import replace

import pytest

from roodbench.report.html import page, written
from roodbench.report.leaderboard import leaderboard
from roodbench.report.read import Kept
from tests.roodbench.entry.made import entry
from tests.roodbench.report import synthetic


@pytest.fixture(scope="session")
def hostile_page():
    """The page of a record whose names are HTML."""
    manifest = {"command": ["/x/__main__.py", "--detector", "<b>mine</b>"], "began": "2026-01-01", "cwd": "/tmp"}
    return page(Kept("made-up", synthetic.hostile(), manifest))


@pytest.fixture(scope="session")
def small_page():
    """The page of a record that has something of everything, and little of it."""
    found = synthetic.record(["one", "two"], ["noise"], [4 / 255, 8 / 255], n=20)
    wanted = ("black-box", "convergence", "randomness")
    return page(Kept("small", replace(found, indicators=[i for i in found.indicators if i.name in wanted]), {}))


@pytest.fixture(scope="session")
def board_page():
    """A leaderboard with long and hostile names, a line that is not ranked and a file that is refused."""
    labels = [synthetic.SCRIPT, "a" * 60, *(f"detector-{k}" for k in range(8))]
    entries = [
        entry("an-entry-of-a-long-name-0123456789abcdef", labels=labels, sets=["noise", synthetic.IMAGE]),
        entry("b", labels=["weak"], sets=["noise", synthetic.IMAGE], budget=1, steps=2),
    ]
    return written(leaderboard(entries, {"<b>bad</b>": "it has no row of " + "x" * 80}))
