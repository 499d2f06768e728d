"""What docs/security.md says: where is written, what is never fetched, what is never run."""

import os
import re
import socket
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from roodbench import cli
from tests.roodbench.data.pictures import own_folder

ROOT = Path(__file__).parents[2]
TOML = """size = 8
channels = 1
[id]
train = "id/train"
test = "id/test"
[near]
foxes = "near/foxes"
[far]
noise = "far/noise.npz"
"""
MINE = """import helper
from torch import nn
net = nn.Sequential(nn.Flatten(), nn.Linear(64, 6))
class Mine(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net
    def forward(self, x):
        return self.net(x).amax(1)
"""
VERBS = {
    "run": "--detector gen --limit 4 --steps 1 --restarts 1 --no-check",
    "run on a folder": "--detector knn --param neighbours=3 --attack none --benchmark DATA --model digits-cnn",
    "run own code": "--detector mine.py:Mine --model mine.py:net --limit 4 --attack none --ood noise",
    "check": "check --detector gen --limit 4 --steps 1 --restarts 1 --ood noise",
    "certify": "certify --limit 2 --samples 100 --attack none --radius 0.1 --ood noise",
    "inspect": "inspect --benchmark DATA --model digits-cnn",
    "validate": "validate DATA",
    "list": "list",
}
KEEPING = [verb for verb in VERBS if verb not in ("inspect", "validate", "list")]
SPRUNG = {"writes": None}
"""Files opened to write while a list stands here; a hook of Python's cannot be taken away again."""
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
AT = {"os.mkdir": 0, "os.rename": 1, "os.remove": 0, "os.rmdir": 0, "os.symlink": 1, "os.link": 1, "os.truncate": 0}


def hook(event, arguments):
    seen = SPRUNG["writes"]
    if seen is None:
        return
    if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike) and arguments[2] & WRITES:
        seen.append(os.fsdecode(arguments[0]))
    elif event in AT and isinstance(arguments[AT[event]], str | bytes | os.PathLike):
        seen.append(os.fsdecode(arguments[AT[event]]))


@pytest.fixture(scope="module")
def audited():
    sys.addaudithook(hook)


@pytest.fixture
def places(tmp_path, monkeypatch, audited):
    """A data root, a current folder, and a cache, a home and a place for temporary files, all of the test's own."""
    found = {name: tmp_path / name for name in ("data", "here", "home", "cache", "temporary")}
    own_folder(found["data"])
    (found["data"] / "benchmark.toml").write_text(TOML)
    for name in ("here", "home", "cache", "temporary"):
        found[name].mkdir()
    (found["here"] / "mine.py").write_text(MINE)
    (found["here"] / "helper.py").write_text("")
    for name, place in {"HOME": "home", "XDG_CACHE_HOME": "cache", "TMPDIR": "temporary"}.items():
        monkeypatch.setenv(name, str(found[place]))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)  # as Python starts
    monkeypatch.chdir(found["here"])
    return found


def listing(folder):
    """Every file and folder below, with its time, size and mode."""
    return {p: (s.st_mtime_ns, s.st_size, s.st_mode) for p in folder.rglob("*") if (s := p.lstat())}


def command(verb, places):
    return [str(places["data"]) if a == "DATA" else a for a in VERBS[verb].split()]


@pytest.mark.parametrize(("verb", "out"), [*((v, "the cache") for v in VERBS), *((v, "a folder") for v in KEEPING)])
def test_nothing_is_written_but_to_the_cache_and_the_run(verb, out, places, tmp_path, capsys):
    runs = places["cache"] / "roodbench" / "runs" if out == "the cache" else tmp_path / "runs"
    more = ["--out", str(runs)] if out == "a folder" else []
    before = {name: listing(places[name]) for name in ("data", "here", "home", "temporary")}
    SPRUNG["writes"] = writes = []
    try:
        assert cli.main([*command(verb, places), *more, *([] if verb == "list" else ["--quiet"])]) == 0
    finally:
        SPRUNG["writes"] = None
    assert {name: listing(places[name]) for name in before} == before
    allowed = (places["cache"] / "roodbench", runs, Path(os.devnull))
    own = [w for w in writes if not (Path(w).is_relative_to(ROOT) and "__pycache__" in Path(w).parts)]  # Python's, once
    stray = {w for w in own if not any(Path(w).absolute().is_relative_to(place) for place in allowed)}
    assert {w for w in stray if Path(w).absolute() not in (*runs.parents, *places["cache"].parents)} == set()
    assert bool(list(runs.rglob("*.safetensors"))) == (verb in KEEPING)
    for file in (places["cache"], runs):
        assert not [p for p in file.rglob("*") if p.stat().st_mode & 0o002]


def test_a_data_root_that_cannot_be_written_to_is_enough(places, capsys):
    for place in [places["data"], *places["data"].rglob("*")]:
        place.chmod(0o555 if place.is_dir() else 0o444)
    try:
        for verb in ("run on a folder", "inspect", "validate"):
            assert cli.main([*command(verb, places), "--quiet"]) == 0
    finally:
        for place in [places["data"], *places["data"].rglob("*")]:
            place.chmod(0o755)


class UnpluggedError(AssertionError):
    """Somebody asked for the network."""


@pytest.fixture
def unplugged(monkeypatch):
    def refuse(*given, **more):
        raise UnpluggedError(given)

    for name in ("connect", "connect_ex", "sendto", "bind"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("create_connection", "getaddrinfo", "gethostbyname"):
        monkeypatch.setattr(socket, name, refuse)


@pytest.mark.parametrize("verb", VERBS)
def test_no_network_unless_it_is_asked_for(verb, places, unplugged, capsys):
    assert cli.main([*command(verb, places), *([] if verb == "list" else ["--quiet"])]) == 0


@pytest.mark.parametrize("model", ["torchvision:resnet18", "timm:resnet18", "robustbench:Standard"])
def test_weights_that_are_not_there_are_not_fetched(model, places, unplugged, capsys):
    np.savez(places["here"] / "x.npz", images=np.zeros((30, 32, 32, 3), np.uint8), labels=np.arange(30) % 3)
    assert cli.main(["inspect", "--benchmark", str(places["data"]), "--model", model, "--quiet"]) == 2
    err = capsys.readouterr().err
    assert "--download" in err or "is not installed" in err


def test_the_fixture_is_sharp(unplugged):
    with pytest.raises(UnpluggedError):
        socket.create_connection(("localhost", 9))


def test_the_hook_is_sharp(audited, tmp_path):
    SPRUNG["writes"] = writes = []
    try:
        (tmp_path / "x").write_text("x")
        (tmp_path / "y").mkdir()
        (tmp_path / "x").rename(tmp_path / "z")
        (tmp_path / "z").read_text()
    finally:
        SPRUNG["writes"] = None
    assert writes == [str(tmp_path / name) for name in "xyz"]


def test_every_test_that_the_page_names_exists():
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/\S+\.py)::(\w+)`", page)
    assert len(named) > 10
    for file, name in named:
        assert f"\ndef {name}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{name}"
