"""What pytest collects with some arguments, asked in this process: another one would import torch first."""

import os
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from unittest import mock

import pytest

ROOT = Path(__file__).parents[1]


class Kept:
    """A plugin that keeps the names of what is collected."""

    names: tuple[str, ...] = ()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.names = tuple(item.nodeid for item in session.items)


def collected(*argv: str) -> tuple[str, ...]:
    """The names of the tests that pytest would run; AssertionError where it refuses an argument, or finds none."""
    kept, said, settings = Kept(), StringIO(), ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
    quiet = ["--collect-only", "-q", "-s", "-p", "no:cacheprovider", "-p", "no:faulthandler"]
    with mock.patch.dict(os.environ), redirect_stdout(said), redirect_stderr(said):
        for name in [name for name in os.environ if name.startswith("PYTEST")]:
            del os.environ[name]
        code = pytest.main([*settings, *quiet, *argv], plugins=[kept])
    assert code == pytest.ExitCode.OK, said.getvalue()
    return kept.names
