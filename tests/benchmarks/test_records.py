"""Comparing with a stored record: what there is to compare is said before anything is timed."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from benchmarks.conftest import in_common

ROOT = Path(__file__).parents[2]


def test_nothing_stored_or_in_common_ends_the_run():
    with pytest.raises(pytest.UsageError, match="no stored record to compare with: run once with --benchmark-autosave"):
        in_common(set(), {"a"})
    with pytest.raises(pytest.UsageError, match="nothing to compare: the record has a, b, this run none"):
        in_common({"a", "b"}, set())


def test_timings_that_one_side_has_alone_are_named():
    assert in_common({"a", "b"}, {"a", "b"}) == []
    assert in_common({"a", "old"}, {"a", "new"}) == [
        "not in the record, so not compared: new",
        "in the record alone: old",
    ]
    stored = {"a", *(f"t{n}" for n in range(9))}
    assert in_common(stored, {"a"}) == ["in the record alone: t0, t1, t2, t3 and 5 more"]


def test_workers_are_no_error_beside_the_plugin():
    """What pytest-benchmark warns of as pytest starts with workers; other warnings stay errors."""
    warnings.warn("Benchmarks are automatically disabled because xdist plugin is active.", stacklevel=1)
    with pytest.raises(pytest.PytestWarning, match="another"):
        warnings.warn(pytest.PytestWarning("another"), stacklevel=1)


@pytest.mark.parametrize("fail", [[], ["--benchmark-compare-fail=median:10%"]])
def test_the_first_comparison_is_one_clear_line(fail, tmp_path):
    """pytest-benchmark warns that there is no record, and warnings are errors in our settings."""
    pytest.importorskip("pytest_benchmark")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    options = ["--benchmark-only", "--benchmark-compare", f"--benchmark-storage={tmp_path}", *fail, "-k", "bounds"]
    command = [sys.executable, "-m", "pytest", "benchmarks", "-q", "-p", "no:cacheprovider", *options]
    done = subprocess.run(command, cwd=ROOT, env=kept, capture_output=True, text=True)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "no stored record to compare with: run once with --benchmark-autosave, then compare" in done.stderr
    assert "INTERNALERROR" not in done.stdout + done.stderr
