"""Detectors in files of a user's, and what their code raises: one line with the file and the line there."""

import os
import re
import subprocess
import sys

import pytest

from roodbench import cli
from roodbench.models.load import load_model
from roodbench.store.users import import_attribute

MINE = """
import torch
from detectors import Detector
from helper import double
class Net(torch.nn.Module):
    def __init__(self, net, *, factor=2.0):
        super().__init__()
        self.net, self.factor = net, factor
    def forward(self, x):
        return double(self.net(x).amax(1))
class Fails(Detector):
    def __init__(self, net):
        super().__init__()
        self.net = net
    def forward(self, x):
        return self.net(x).amax(1)
class InConstructor(Fails):
    def __init__(self, net):
        raise FileNotFoundError("weights.pt")
class InFit(Fails):
    def fit(self, train, val):
        return 1 / 0
class InForward(Fails):
    def forward(self, x):
        return torch.matmul(x, torch.zeros(3, 3))
class InGradient(Fails):
    def value_and_grad(self, x, *, objective="exact", draws=None, generator=None):
        raise KeyError("tau")
class Leaves(Fails):
    def __init__(self, net):
        raise SystemExit(0)
class Two(Fails):
    def __init__(self, net, other):
        pass
def make(net, *, factor=1.0):
    return Net(net, factor=factor)
def nothing(net):
    pass
def alone():
    pass
class Asks(Fails):
    def __init__(self, net, *, k, tau, factor=1.0):
        super().__init__(net)
class Handed(Detector):
    def __init__(self, net):
        super().__init__(net)
class Inherits(Detector):
    def forward(self, x):
        return x.mean((1, 2, 3))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with mine.py, the same in sub/ and as random.py, and files that cannot be imported."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    for place in (tmp_path, tmp_path / "sub"):
        (place / "mine.py").write_text(MINE)
        (place / "helper.py").write_text("def double(x):\n    return 2 * x\n")
    (tmp_path / "random.py").write_text(MINE)
    (tmp_path / "absent.py").write_text("\nimport nothere\n")
    (tmp_path / "half.py").write_text("x = 1\ny = (\n")
    (tmp_path / "raises.py").write_text("x = 1\nraise RuntimeError('boom')\n")
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(0)\n")
    (tmp_path / "empty.py").write_text("")
    return tmp_path


def run(capsys, name, *options):
    quick = ["--limit", "6", "--steps", "2", "--ood", "unseen-digits", "--no-check", "--out", "runs", "--quiet"]
    code = cli.main(["--detector", name, *quick, *options])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", ["mine.py:Net", "./sub/mine.py:Net", "mine:Net", "random.py:Net", "sub/mine.py:make"])
def test_a_detector_in_a_file(name, capsys):
    code, out, err = run(capsys, name, "--param", "factor=3")
    assert code == 0
    assert "error" not in err
    assert "Net" in out


@pytest.mark.usefixtures("folder")
def test_two_files_of_one_name_are_two_modules():
    import random

    one, other, third = (import_attribute(f"{place}:Net") for place in ("mine.py", "sub/mine.py", "random.py"))
    assert one is not other
    assert import_attribute("./mine.py:Net") is one
    assert sys.modules["random"] is random
    assert [cls.__module__ for cls in (one, other, third)] == ["mine", "user_mine", "user_random"]


@pytest.mark.parametrize(
    ("imports", "files"),
    [
        ("from shared import SIGN", {"shared.py": "SIGN = {sign}"}),
        ("if True:\n    from shared.parts import SIGN", {"shared/parts.py": "SIGN = {sign}"}),
        ("import shared", {"shared/__init__.py": "from .parts import SIGN", "shared/parts.py": "SIGN = {sign}"}),
        ("import between", {"between.py": "import shared", "shared.py": "SIGN = {sign}"}),
    ],
)
def test_a_helper_of_another_folder_is_not_taken_for_ones_own(imports, files, tmp_path, monkeypatch):
    """Python gives the second folder's file the first one's helper, without a word."""
    for name in [name for name in sys.modules if name.partition(".")[0] in ("shared", "between", "minev1")]:
        monkeypatch.delitem(sys.modules, name)
    for folder, sign in (("v1", 1), ("v2", -1), ("v3", 1)):
        for name, text in {f"mine{folder}.py": f"{imports}\nclass Net:\n    pass\n", **files}.items():
            file = tmp_path / folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text.format(sign=sign))
    assert import_attribute(f"{tmp_path}/v1/minev1.py:Net").__module__ == "minev1"
    with pytest.raises(ValueError, match=r"imports shared.*: .*v1/shared.* hides .*v2/shared.*, rename one of them"):
        import_attribute(f"{tmp_path}/v2/minev2.py:Net")
    assert import_attribute(f"{tmp_path}/v3/minev3.py:Net").__module__ == "minev3"  # the same helper


MISTAKES = {
    "mine.py": (2, "detector 'mine.py': expected a class or function in the file mine.py, mine.py:NAME"),
    "mine": (2, "detector 'mine': expected a class or function in the file mine.py, mine.py:NAME"),
    "mine.Net": (2, "detector 'mine.Net': expected a class or function in the file mine.py, mine.py:Net"),
    "sub/mine": (2, "detector 'sub/mine': expected a class or function in the file sub/mine.py, sub/mine.py:NAME"),
    "no/mine": (2, "detector 'no/mine': expected a class or function in a file, FILE.py:NAME; no such file"),
    "mien": (2, "unknown detector 'mien': did you mean 'median'?"),
    "mine.py:Asks": (2, "detector 'mine.py:Asks': Asks needs k and tau: give --param k=VALUE --param tau=VALUE"),
    "mine.py:Handed": (2, "cannot be made (ValueError: Detector.__init__ of Handed is given a Classifier: it takes "),
    "mine.py:Inherits": (2, "Detector.__init__ of Inherits is given a Classifier: it takes nothing; write __init__(s"),
    "mine.py:": (2, "detector 'mine.py:': expected MODULE:ATTRIBUTE or FILE.py:ATTRIBUTE"),
    "mine.py:Nett": (2, "unknown attribute of mine.py 'Nett': did you mean 'Net'? expected one of Net, Fails"),
    "mien.py:Net": (2, "no file 'mien.py', did you mean 'mine.py'?"),
    "sub/nime.py:Net": (2, "no file 'sub/nime.py', did you mean 'sub/mine.py'?"),
    "nofolder/mine.py:Net": (2, "no file 'nofolder/mine.py' (looked in "),
    "empty.py:Net": (2, "empty.py has no 'Net' and defines no class or function"),
    "random:Net": (2, "and has no 'Net': name your file, ./random.py:Net"),
    "absent.py:X": (2, "cannot import 'absent.py' (ModuleNotFoundError: No module named 'nothere' (absent.py:2))"),
    "half.py:X": (2, "cannot import 'half.py' (SyntaxError: '(' was never closed (half.py:2))"),
    "raises.py:X": (2, "cannot import 'raises.py' (RuntimeError: boom (raises.py:2))"),
    "leaves.py:X": (2, "cannot import 'leaves.py' (SystemExit: 0 (leaves.py:2))"),
    "mine.py:InConstructor": (2, "cannot be made (FileNotFoundError: weights.pt (mine.py:19))"),
    "mine.py:Leaves": (2, "cannot be made (SystemExit: 0 (mine.py:31))"),
    "mine.py:Two": (2, "Two(net), with the network: for --param other=VALUE write Two(net, *, other)"),
    "mine.py:alone": (2, "alone() cannot be called as alone(net), with the network"),
    "mine.py:nothing": (2, "'mine.py:nothing' gave None: expected a Detector or nn.Module"),
    "mine.py:InFit": (1, "InFit, fit: ZeroDivisionError: division by zero (mine.py:22)"),
    "mine.py:InForward": (1, "(mine.py:25)"),
    "mine.py:InGradient": (1, "KeyError: 'tau' (mine.py:28)"),
}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_with_its_place(name, capsys):
    code, out, err = run(capsys, name)
    assert (code, out) == (MISTAKES[name][0], "")
    assert MISTAKES[name][1] in err
    assert err.count("\n") == 1


NO_MODEL = {
    "mine.py": "model 'mine.py': expected a network in the file, mine.py:NAME",
    "mine": "unknown model 'mine': expected one of digits-cnn, ",
    "resnet20.pth": "model 'resnet20.pth': weights go to --checkpoint; expected one of digits-cnn, ",
    "torchvision:": "model 'torchvision:': expected SOURCE:NAME or MODULE:ATTRIBUTE, such as openood:resnet18",
    "timm": "model 'timm': expected SOURCE:NAME or MODULE:ATTRIBUTE",
    "openood:resnet81": "unknown OpenOOD network 'resnet81': did you mean 'resnet18'?",
    "digit-cnn": "unknown model 'digit-cnn': did you mean 'digits-cnn'?",
}


@pytest.mark.parametrize("name", NO_MODEL)
def test_a_model_that_is_none_says_what_is_understood(name, capsys):
    code, _, err = run(capsys, "gen", "--model", name)
    assert (code, err.count("\n")) == (2, 1)
    assert NO_MODEL[name] in err
    with pytest.raises(ValueError, match=re.escape(NO_MODEL[name])):
        load_model(name)


def test_a_file_called_as_a_module_of_pythons_hides_nothing(folder):
    """`python -m` puts the current folder first, and torch imports `random`."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-m", "roodbench", "--detector", "random:Net"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "name your file, ./random.py:Net" in done.stderr
