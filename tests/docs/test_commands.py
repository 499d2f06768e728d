"""Every command in README, CONTRIBUTING, docs/ and reports/ is run, or checked for all that it names."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from roodbench import cli
from roodbench.cli.main import VERBS
from tests.docs.pages import PAGES, ROOT, commands, name_of, options, own_detectors, own_network
from tests.docs.shell import Shell, rule_of
from tests.roodbench.data.pictures import own_folder

FOUND = {
    part.strip().removeprefix(".venv/bin/").replace("python -m roodbench ", "roodbench "): name_of(page)
    for page in reversed(PAGES)
    for command in commands(page.read_text(encoding="utf-8"))
    for part in command.split("&&")
}


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A reader's folder for a page, in which all its commands run: with the detectors of docs/custom-detector.md, the
    network of docs/network.md, weights for both, and the images of the README."""

    @cache
    def folder_of(page: str) -> Path:
        folder = tmp_path_factory.mktemp("reader")
        (folder / "mynet.py").write_text(own_network())
        net = nn.ModuleDict({"body": nn.ModuleList([nn.Flatten(), nn.Linear(64, 16)]), "fc": nn.Linear(16, 6)})
        torch.save(net.state_dict(), folder / "net.pt")
        (folder / "mydetector.py").write_text(own_detectors())
        torch.save(nn.Sequential(nn.Flatten(), nn.Linear(64, 6)).state_dict(), folder / "mine.pt")
        own_folder(folder / "pics")
        return folder

    return folder_of


@pytest.fixture
def shell(folder_of: Callable[[str], Path], request: pytest.FixtureRequest) -> Shell:
    return Shell(folder_of(FOUND.get(request.getfixturevalue("command"), "")), request)


@pytest.mark.parametrize("command", FOUND)
def test_every_command_works(command: str, shell: Shell) -> None:
    rule = rule_of(command)
    assert rule is not None, f"{FOUND[command]}: no rule of {__name__} runs {command!r}"
    rule(shell)


@pytest.mark.parametrize("command", ["make all", "python -m detectors", "roodbenchx", "pip"])
def test_a_command_of_another_kind_has_no_rule(command: str) -> None:
    assert rule_of(command) is None


@pytest.mark.parametrize(
    ("command", "message"),
    {
        "pip install '.[vsion]'": "'vsion'",
        "python -m roodbench --detector ros": "assert 2 == 0",
        "python -m roodbench.models.train DIR --fast": "roodbench.models.train has no --fast",
        "python -m pytest --slowly": "unrecognized arguments: --slowly",
    }.items(),
)
def test_a_command_that_does_not_work_is_noticed(command: str, message: str, shell: Shell) -> None:
    rule = rule_of(command)
    assert rule is not None
    with pytest.raises(AssertionError, match=re.escape(message)):
        rule(shell)


def test_the_readme_shows_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    main_job, tests = re.findall(r"^python3 -m venv .*$", text, re.MULTILINE)
    assert main_job.endswith(".venv/bin/python -m roodbench --detector ross --attack both")
    assert tests.endswith(".venv/bin/pip install '.[test]' && .venv/bin/python -m pytest -n 2")


def test_every_option_that_a_page_names_exists(capsys: pytest.CaptureFixture[str]) -> None:
    known = {"--help", "--version", "--log-cli-level"}  # the last is pytest's
    for verb in VERBS:
        cli.main([verb, "--help"])
        known |= set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    unknown = {name_of(page): set(options(page.read_text(encoding="utf-8"))) - known for page in PAGES}
    assert {page: names for page, names in unknown.items() if names} == {}
