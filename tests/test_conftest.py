"""What the tests ask of the session that they run in."""

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUNS = """
import os, signal, time
from roodbench.cli.streams import interruptible


def test_a_command():
    try:
        with interruptible():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
    except KeyboardInterrupt:
        pass
"""
"""A test whose command is met by a signal, and ends in good order."""


def test_a_signal_ends_the_tests_and_fails_none(tmp_path):
    (tmp_path / "test_it.py").write_text(RUNS)
    words = ["-p", "tests.conftest", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)]
    # whoever started these tests may ignore it
    usual = f"import signal, sys, pytest; signal.signal(signal.SIGTERM, signal.SIG_DFL); sys.exit(pytest.main({words}))"
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    done = subprocess.run([sys.executable, "-c", usual], cwd=ROOT, env=kept, capture_output=True, text=True)
    assert done.returncode == -signal.SIGTERM
    assert "SIGTERM ends the tests, test_it.py::test_a_command (call) was running" in done.stderr
