"""A folder in which the commands of the pages run, or are checked for all that they name."""

from __future__ import annotations

import importlib.util
import json
import re
import runpy
import shlex
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roodbench import cli
from roodbench.cli.main import VERBS
from tests.collecting import collected
from tests.docs import tables
from tests.docs.changes import ADDED, CERTIFICATE, CERTIFICATION, DATA, DRAWN, ENTRIES, FOREIGN, SHOWS
from tests.docs.pages import ROOT

SETTINGS = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
EXTRAS = dict(
    re.findall(r"^([\w-]+) = (\[.*\])$", SETTINGS.partition("[project.optional-dependencies]")[2], re.MULTILINE)
)
TESTED = re.findall(r'"(\w+)"', re.findall(r"^testpaths = \[(.*)\]$", SETTINGS, re.MULTILINE)[0])


class Shell:
    """The folder in which commands run, one after the other: what one has kept, the next one finds."""

    def __init__(self, folder: Path, request: pytest.FixtureRequest) -> None:
        self.folder, self.request = folder, request
        self.capsys: pytest.CaptureFixture[str] = request.getfixturevalue("capsys")
        self.monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
        self.monkeypatch.chdir(folder)

    def ours(self, *argv: str) -> None:
        """`roodbench` runs in this process, as `ADDED` and `DATA` change it."""
        verb = argv[0] if argv and argv[0] in VERBS else "run"
        verb = "certify --verify" if "--verify" in argv else verb
        verb = "certify bounds" if verb == "certify" and not {"ebo", "ebo,msp"}.isdisjoint(argv) else verb
        if "--help" in argv:
            assert cli.main(list(argv)) == 0
            assert "Usage: roodbench" in self.capsys.readouterr().out
            return
        verb = "run on DATA" if verb == "run" and "DATA" in argv else verb
        given = [str(self.request.getfixturevalue("data_root") / DATA[a]) if a in DATA else a for a in argv]
        if any(a.startswith(FOREIGN) for a in argv):
            self.without_weights(*given)
            return
        if "certificate.json" in argv:
            self.make_certificate()
        if verb == "work":
            given = ["work" if a == "work" else self.make_run() for a in given]
        if verb == "figure" and importlib.util.find_spec("matplotlib") is None:
            assert "matplotlib" in EXTRAS["report"]
            pytest.skip("matplotlib is not installed: pip install '.[report]'")
        if verb in DRAWN:
            attack = "both --steps 2 --no-check" if verb in ENTRIES else "none"
            given = [self.record(a, attack) for a in given]
        out = [] if verb in ("list", "inspect", "validate", "work", "certify --verify", *DRAWN) else ["--out", "runs"]
        added = ADDED[verb].replace("--seed 0", "") if "--record-only" in argv else ADDED[verb]  # which draws nothing
        assert cli.main([*given, *added.split(), *out]) == 0
        printed = self.capsys.readouterr().out
        (shown,) = [a for a in argv if a in ("--dry-run", "--shard", "--changes")] or [verb.removesuffix(" on DATA")]
        assert SHOWS[shown] in printed
        if shown == "--shard":
            return
        for name in argv[argv.index("--detector") + 1].split(",") if "--detector" in argv else ():
            assert name.rpartition(":")[2].lower() in printed.lower()

    def without_weights(self, *argv: str) -> None:
        """A network of another library goes as far as its weights, which nobody has here, or as the library."""
        assert cli.main([*argv, "--limit", "2"]) == 2
        said = self.capsys.readouterr().err
        assert re.search(
            r"needs '.*\.pt.*': give --model-dir DIR, or --download|is not installed \(|'resnet18.pt' not found", said
        ), said

    def make_run(self) -> str:
        """The folder of a run that has begun."""
        assert cli.main(["--detector", "gen", "--attack", "none", "--limit", "4", "--out", "begun", "--quiet"]) == 0
        (made,) = self.folder.glob("begun/*/manifest.json")
        self.capsys.readouterr()
        return str(made.parent)

    def record(self, word: str, attack: str) -> str:
        """What a word of a command that draws from records stands for: RUN and OTHER are runs, of other networks."""
        if word == "CERTIFIED":
            return self.make_certification()
        if word not in ("RUN", "OTHER"):
            return str(ROOT / word) if word.startswith("reports/") else word
        network = {"RUN": "digits-cnn", "OTHER": "digits-cnn-at"}[word]
        words = f"--detector gen,msp --attack {attack} --limit 4 --ood noise --model {network} --out {word} --quiet"
        assert cli.main(words.split()) == 0
        (made,) = self.folder.glob(f"{word}/*/result.json")
        self.capsys.readouterr()
        return str(made.parent)

    def make_certification(self) -> str:
        """The folder of a certification of the images and the network of RUN."""
        assert cli.main(CERTIFICATION.split()) == 0
        (made,) = self.folder.glob("certified/*/certificate.json")
        self.capsys.readouterr()
        return str(made.parent)

    def make_certificate(self) -> None:
        """certificate.json, as a run of certify leaves it."""
        assert cli.main(CERTIFICATE.split()) == 0
        (made,) = self.folder.glob("made/*/certificate.json")
        made.rename(self.folder / "certificate.json")
        self.capsys.readouterr()

    def script(self, module: str, *argv: str) -> None:
        """A script shows a help that has the options which the command names."""
        shown = self.usage(module)
        assert f"usage: python -m {module}" in shown or shown.startswith("usage: ")
        for option in (a.split("=")[0] for a in argv if a.startswith("--")):
            assert option in shown, f"{module} has no {option}"

    def usage(self, module: str) -> str:
        """What a script says to --help."""
        code = self.left(module, "--help")
        return self.capsys.readouterr().out or str(code)

    def left(self, module: str, *argv: str) -> Any:
        """The exit code of a module that runs in this process."""
        self.monkeypatch.setattr(sys, "argv", [module, *argv])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # that another test has imported the module
            with pytest.raises(SystemExit) as left:
                runpy.run_module(module, run_name="__main__")
        return left.value.code

    def ratios(self, file: str, *argv: str) -> None:
        """On a record of two benchmarks, ours 1.2 times the floor: its target is missed."""
        info = {"device": "cpu", "threads": 1, "revision": "x", "network": "n", "batch": 2}
        names = {"ours[msp-float32]": 0.12, "floor[float32]": 0.10}
        entries = [
            {"fullname": f"benchmarks/test_step.py::test_{n}", "stats": {"median": s}, "extra_info": info}
            for n, s in names.items()
        ]
        (self.folder / file).write_text(json.dumps({"benchmarks": entries}))
        assert self.left("benchmarks.ratios", file, *argv) == ("--strict" in argv)
        assert "| 120.0 | floor[float32] | 100.0 | 1.20 | 1.10 NOT met |" in self.capsys.readouterr().out

    def tables(self) -> None:
        """The tables' script changes nothing: they are as it would write them."""
        copies = self.folder / "docs"
        copies.mkdir()
        for page in ROOT.glob("docs/*.md"):
            (copies / page.name).write_text(page.read_text(encoding="utf-8"), encoding="utf-8")
        tables.main(copies)
        for page in ROOT.glob("docs/*.md"):
            assert (copies / page.name).read_text(encoding="utf-8") == page.read_text(encoding="utf-8")

    def parity(self) -> None:
        """It takes minutes; tests/parity runs what it prints, case by case."""
        assert (ROOT / "tests/parity/reference.py").is_file()
        assert (ROOT / "tests/parity/test_parity.py").is_file()

    def pretend(self, *argv: str) -> None:
        """A script of its own says where its tensors are."""
        (self.folder / f"{argv[0]}.py").write_text("import torch\nprint(torch.ones(1, device='cuda').device)\n")
        self.monkeypatch.syspath_prepend(self.folder)
        self.monkeypatch.setattr(sys, "argv", ["tests.pretend", *argv])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # that another test has imported the module
            runpy.run_module("tests.pretend", run_name="__main__")
        assert self.capsys.readouterr().out == "cuda:0\n"

    def coverage(self) -> None:
        """It takes minutes; a slow test simulates what it writes down, and a fast one that its cases are the page's."""
        assert (ROOT / "tests/roodbench/metrics/coverage.py").is_file()
        assert (ROOT / "tests/roodbench/metrics/test_coverage.py").is_file()

    def tests(self, *argv: str) -> None:
        """pytest takes the options and collects the paths; where there is none, a file of two tests."""
        paths = [ROOT / a for a in argv if (ROOT / a).exists()]
        assert all((ROOT / path).is_dir() for path in TESTED)
        if any(a.startswith("--benchmark") for a in argv) and importlib.util.find_spec("pytest_benchmark") is None:
            assert "pytest-benchmark" in EXTRAS["bench"]
            assert paths == [ROOT / "benchmarks"]
            pytest.skip("pytest-benchmark is not installed: pip install '.[bench]'")
        two = self.folder / "test_two.py"
        two.write_text("import pytest\ndef test_one(): pass\n@pytest.mark.slow\ndef test_other(): pass\n")
        given = [str(ROOT / a) if (ROOT / a).exists() else a for a in argv]
        assert collected(*given, *([] if paths else [str(two)]))

    def bash(self, file: str, *argv: str) -> None:
        """A script of the repository: its syntax, and the modules and paths that it names."""
        assert subprocess.run(["bash", "-n", file], cwd=ROOT, capture_output=True, text=True).stderr == ""
        text = (ROOT / file).read_text(encoding="utf-8")
        for module in re.findall(r"python -m ([\w.]+)", text):
            there = importlib.util.find_spec(module) is not None or f'"{module}>=' in EXTRAS["docs"]
            assert there, f"{file}: no module {module}"
        for path in re.findall(r"(?<![\w/.$\"-])(?:tests|benchmarks|studies|docs|reports)/[\w/.*-]*\w", text):
            assert list(ROOT.glob(path)), f"{file}: no {path}"

    def pip(self, *argv: str) -> None:
        """The extras exist."""
        assert argv[0] == "install"
        (what,) = [a for a in argv[1:] if not a.startswith("-")]
        name, _, extras = what.rstrip("]").partition("[")
        assert name in (".", "roodbench")
        assert {e for e in extras.split(",") if e} <= set(EXTRAS)

    def site(self, *argv: str) -> None:
        """It is how CI builds the pages; `docs` brings what it takes."""
        assert f".venv/bin/python -m sphinx {' '.join(argv)}" in (ROOT / ".ci/run").read_text(encoding="utf-8")
        assert "sphinx" in EXTRAS["docs"]

    def linter(self, name: str, *argv: str) -> None:
        """It is one that `dev` brings and pyproject.toml configures."""
        assert f'"{name}>=' in EXTRAS["dev"]
        assert f"[tool.{name}]" in SETTINGS

    def environment(self) -> None:
        """A new virtual environment: python's own module makes it."""
        assert importlib.util.find_spec("venv") is not None


RULES: list[tuple[str, Callable[..., None]]] = [
    (r"python3 -m venv \.venv|source \.venv/bin/activate", lambda shell: shell.environment()),
    (r"pip (.*)", Shell.pip),
    (r"(?:python -m )?roodbench(?: (.*))?", Shell.ours),
    (r"python -m pytest(?: (.*))?", Shell.tests),
    (r"python -m benchmarks\.ratios (.*)", Shell.ratios),
    (r"python -m tests\.docs\.tables", Shell.tables),
    (r"python -m sphinx (.*)", Shell.site),
    (r"python -m tests\.parity\.reference", Shell.parity),
    (r"python -m tests\.pretend (.*)", Shell.pretend),
    (r"python -m tests\.roodbench\.metrics\.coverage", Shell.coverage),
    (r"python -m ((?:benchmarks|studies|roodbench\.models)\.\w+.*)", Shell.script),
    (r"((?:ruff|mypy)\b.*)", Shell.linter),
    (r"(?:bash )?((?:\.ci/run|(?:benchmarks|studies)/\w+\.sh).*)", Shell.bash),
]
"""How a command is run, by what it looks like; its words, or those in brackets, go to the function."""


def rule_of(command: str) -> Callable[[Shell], None] | None:
    """The first rule that fits, with the command's words; None where no rule does."""
    for pattern, run in RULES:
        found = re.fullmatch(pattern, command.removeprefix(".venv/bin/"))
        if found:
            words = shlex.split(" ".join(filter(None, found.groups())))
            return lambda shell: run(shell, *words)
    return None
