"""Where in a user's own code an exception began."""

import json

import pytest
import torch

from roodbench import metrics
from roodbench.engine.errors import EvaluationError, users_code
from roodbench.store.users import described, place_of

SOURCE = """
import json, torch
def reads(text):
    return json.loads(text)
def multiplies(x):
    y = x + 1
    return torch.matmul(y,
                        torch.zeros(3, 3))
def deeper(x):
    return multiplies(x)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A user's module in the current folder."""
    file = tmp_path / "own.py"
    file.write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(SOURCE, str(file), "exec"), names)
    return names


@pytest.mark.parametrize(("call", "line"), [("reads", 4), ("multiplies", 7), ("deeper", 7)])
def test_the_innermost_line_of_ones_own_counts(call, line, own):
    """Not that of Python's or torch's below it."""
    with (
        pytest.raises(EvaluationError, match=rf"^mine: \w+: .* \(own.py:{line}\)$") as found,
        users_code("mine"),
    ):
        own[call]("{" if call == "reads" else torch.zeros(2))
    assert found.value.__cause__ is not None


def test_a_syntax_error_has_its_own_place(tmp_path):
    with pytest.raises(SyntaxError) as found:
        compile("x = (\n", str(tmp_path / "half.py"), "exec")
    assert place_of(found.value) == f"{tmp_path / 'half.py'}:1"


def test_code_that_nobody_wrote_has_no_place():
    """A line of ours, then of text that was executed, then of Python's."""
    with pytest.raises(ValueError) as found:
        metrics.auroc([float("nan")], [0.0])
    assert place_of(found.value.with_traceback(found.tb.tb_next)) is None
    with pytest.raises(json.JSONDecodeError) as found:
        exec("import json; json.loads('{')")
    assert place_of(found.value.with_traceback(found.tb.tb_next)) is None
    assert described(KeyError()) == "KeyError"
