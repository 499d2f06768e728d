"""The example notebook: every cell runs, in order and in this process, and shows what it says."""

import ast
import importlib.util
import json
import re

import pytest

from roodbench.engine.progress import one_line, progress_of
from tests.docs.pages import ROOT

NOTEBOOK = json.loads((ROOT / "docs/notebook.ipynb").read_text(encoding="utf-8"))
NEEDS = {"to_pandas": "pandas", ".plot(": "matplotlib"}


def shown(source, names):
    """Run a cell; the value of its last line where that is an expression, as a notebook shows it."""
    body = ast.parse(source).body
    last = ast.Expression(body.pop().value) if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "notebook.ipynb", "exec"), names)
    return None if last is None else eval(compile(last, "notebook.ipynb", "eval"), names)


def test_every_cell_runs(private_cache, capsys):
    names, found, missing = {}, [], set()
    for cell in NOTEBOOK["cells"]:
        source = "".join(cell["source"])
        needed = {library for mark, library in NEEDS.items() if mark in source}
        absent = {library for library in needed if importlib.util.find_spec(library) is None}
        missing |= absent
        if cell["cell_type"] != "code" or absent:
            continue
        found.append(shown(source, names))
    printed = capsys.readouterr()
    assert "Benchmark(digits: 20 ID images" in repr(found[0])
    assert found[1]._repr_html_().startswith("<table>")
    assert printed.out.startswith("at most 32.0/255 apart\nnoise, image 0: ")
    assert printed.out.count("\n") == 9
    if "matplotlib" not in missing:
        assert found[-1]._repr_svg_().startswith("<?xml")
        assert "gen, noise:0" in found[-1]._repr_svg_()
    if missing:
        pytest.skip(f"without {', '.join(sorted(missing))}, whose cells were left out: pip install '.[notebook]'")


def test_it_is_a_notebook_without_outputs():
    assert (NOTEBOOK["nbformat"], {cell["cell_type"] for cell in NOTEBOOK["cells"]}) == (4, {"code", "markdown"})
    assert all(cell["outputs"] == [] for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code")


def test_progress_in_a_notebook_is_one_line_that_grows(capsys):
    with one_line("gen, noise clean", 4) as advance:
        advance(1)
        advance(3)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    states = [" ".join(state.split()) for state in said.strip("\r\n").split("\r")]
    assert re.fullmatch(r"gen, noise clean \[######\.{18}\] 1/4 in 0 s, 0 s left", states[0])
    assert re.fullmatch(r"gen, noise clean \[#{24}\] 4/4 in 0 s", states[-1])


def test_a_notebooks_progress_is_that_line(capsys, monkeypatch):
    """By what rich knows a notebook: the class of what `get_ipython` gives."""
    monkeypatch.setattr("builtins.get_ipython", type("ZMQInteractiveShell", (), {}), raising=False)
    with progress_of(True)("gen", 2) as advance:
        advance(2)
    assert capsys.readouterr().err.strip().endswith("2/2 in 0 s")
