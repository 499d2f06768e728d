"""Malformed lists, TOMLs, arrays, checkpoints, images: one line each, nothing else raised or unpickled, no hang."""

import io
import pickle

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save
from torch import nn

import roodbench
from roodbench.data import SplitGuard
from roodbench.data.files import read_files
from roodbench.data.picture import Frame
from roodbench.data.spec import Reading, source_of
from roodbench.models.weights import load_weights
from tests.roodbench.data.pictures import WHOLE, own_folder

SPRUNG = []


class Trap:
    """Whoever unpickles it is found out."""

    def __reduce__(self):
        return (exec, ("from tests.roodbench.data import test_fuzz; test_fuzz.SPRUNG.append(1)",))


def saved(save, *content):
    file = io.BytesIO()
    save(file, *content)
    return file.getvalue()


RNG = np.random.default_rng(0)
LEVELS, LABELS = RNG.integers(0, 256, (5, 6, 7, 3), dtype=np.uint8), np.arange(5) % 2
ARRAYS = {
    ".npy": saved(np.save, LEVELS),
    ".npz": saved(lambda f, x: np.savez_compressed(f, images=x, labels=LABELS), LEVELS),
    ".pt": saved(lambda f, x: torch.save((torch.from_numpy(x), torch.from_numpy(LABELS)), f), LEVELS),
    ".pth": pickle.dumps({"images": Trap()}),
}
TRAPS = {
    ".npy": saved(lambda f, x: np.save(f, x, allow_pickle=True), np.array([Trap()] * 2, object)),
    ".npz": saved(lambda f, x: np.savez(f, images=x), np.array([Trap()] * 2, object)),
    ".pt": saved(lambda f, x: torch.save(x, f), {"images": Trap()}),
    ".pth": pickle.dumps([Trap(), Trap()]),
}
STATE = {key: value.detach().clone() for key, value in nn.Linear(2, 3).state_dict().items()}
OLD = {"_use_new_zipfile_serialization": False}
CHECKPOINTS = {
    "new": saved(lambda f, x: torch.save(x, f), {"state_dict": {f"module.{k}": v for k, v in STATE.items()}}),
    "old": saved(lambda f, x: torch.save(x, f, **OLD), STATE),
    "safetensors": save(STATE),
}
EVIL = {
    "new": saved(lambda f, x: torch.save(x, f), {"net": STATE, "args": Trap()}),
    "old": saved(lambda f, x: torch.save(x, f, **OLD), {"net": STATE, "args": Trap()}),
    "plain": pickle.dumps({"net": Trap()}),
}
KINDS_OF_FILES = {
    "PNG": "RGBA",
    "JPEG": "CMYK",
    "GIF": "P",
    "TIFF": "L",
    "BMP": "RGB",
    "WEBP": "RGB",
    "PPM": "RGB",
    "TGA": "RGB",
}
PICTURES = {
    kind: saved(lambda f, image, kind=kind: image.save(f, kind), Image.fromarray(LEVELS[0]).convert(mode))
    for kind, mode in KINDS_OF_FILES.items()
}
TEXT = st.text("ab0 #=.,-/\\\t\"'[]{}\0\x0b\u2028\u00e9\ud800", max_size=20)
NAMES = ["00.png", "b c.png", "../a.png", "/etc/passwd", "a\\..\\..\\x", "", "x" * 300, "00.png/b", ".", "\0"]
LINES = st.one_of(
    TEXT,
    st.tuples(
        st.sampled_from(
            ["00.png", "b c.png", "../a.png", "/etc/passwd", "a\\..\\..\\x", "", "x" * 300, "00.png/b", ".", "\0"]
        ),
        st.sampled_from([" ", "\t", "  ", "", ",", "\u2003"]),
        st.sampled_from(["0", "-1", "-2", "9" * 12, "1.5", "", "\u0663", "x", "999999999"]),
    ).map("".join),
)


VALUES = ["0", "-3", "nan", "inf", "1e999", "[]", "{}", "true", "'..'", "''", "1979-05-27", "99999", "'a\\nb'"]


@st.composite
def spoilt(draw, contents):
    """One of some files (by their ending), cut, or with bytes or pieces of it replaced."""
    ending = draw(st.sampled_from(sorted(contents)))
    content = bytearray(contents[ending])
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        what = draw(st.sampled_from(["byte", "cut", "insert", "zero"]))
        if what == "cut":
            content = content[:at]
        elif what == "insert":
            content[at:at] = draw(st.binary(max_size=8))
        elif content:
            new = b"\0" * 8 if what == "zero" else draw(st.binary(min_size=1, max_size=1))
            content[at : at + len(new)] = new
    return ending, bytes(content)


@st.composite
def toml_text(draw):
    """A good file with lines taken out, doubled, spoilt or added."""
    lines = WHOLE.splitlines()
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(lines) - 1)))
        what = draw(st.sampled_from(["drop", "double", "spoil", "text", "value"]))
        line = lines[at] if lines else ""
        if what == "drop":
            lines[at : at + 1] = []
        elif what == "double":
            lines.insert(at, line)
        elif what == "text":
            lines.insert(at, draw(TEXT))
        elif what == "value":
            value = draw(st.sampled_from(VALUES))
            lines[at : at + 1] = [f"{line.partition('=')[0]}= {value}"]
        else:
            cut = draw(st.integers(0, len(line)))
            lines[at : at + 1] = [line[:cut] + draw(TEXT) + line[cut + 1 :]]
    return "\n".join(lines)


def one_line(call):
    """A call gives something, or raises ValueError in one line."""
    said = None
    try:
        call()
    except ValueError as error:
        said = str(error)
    assert said is None or (said and not set(said) & {"\n", "\r"}), said
    assert not SPRUNG


def lists(root):
    def check(lines, end):
        (root / "x.txt").write_bytes(end.join(lines).encode("utf-8", "surrogatepass"))
        one_line(lambda: source_of("x.txt", Reading(Frame(4), root, root / "near" / "foxes"), ood=True).images())

    return check, (st.lists(LINES, max_size=5), st.sampled_from(["\n", "\r\n", "\r"]))


def tomls(root):
    def check(text):
        (root / "x.toml").write_bytes(text.encode("utf-8", "surrogatepass"))
        one_line(lambda: roodbench.load_benchmark(str(root / "x.toml")).check())

    return check, (toml_text(),)


def arrays(root):
    def check(file):
        ending, content = file
        (root / f"x{ending}").write_bytes(content)
        reading = Reading(folder=root)
        one_line(lambda: source_of(f"x{ending}", reading, ood=True).image_set("x", "OOD test", SplitGuard()).digest)

    return check, (st.one_of(spoilt(ARRAYS), spoilt(TRAPS)),)


def checkpoints(root):
    def check(file):
        (root / "x.pt").write_bytes(file[1])
        one_line(lambda: load_weights(nn.Linear(2, 3), root / "x.pt", "net"))

    return check, (st.one_of(spoilt(CHECKPOINTS), spoilt(EVIL)),)


def pictures(root):
    def check(file, size):
        (root / "x.png").write_bytes(file[1])
        one_line(lambda: read_files("x", root, ["x.png"], Frame(size)))

    return check, (spoilt(PICTURES), st.sampled_from([None, 4]))


KINDS = [lists, tomls, arrays, checkpoints, pictures]


def fuzz(kind, root, examples):
    check, strategies = kind(root)
    quiet = {"deadline": None, "derandomize": True, "database": None, "suppress_health_check": list(HealthCheck)}
    settings(max_examples=examples, **quiet)(given(*strategies)(check))()


@pytest.mark.parametrize("kind", KINDS)
def test_malformed_input_is_one_line(kind, tmp_path):
    fuzz(kind, own_folder(tmp_path / "pets"), 60)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_of_them(kind, tmp_path):
    fuzz(kind, own_folder(tmp_path / "pets"), 1000)


@pytest.mark.parametrize("ending", EVIL)
def test_the_checkpoints_traps_are_sharp(ending):
    torch.load(io.BytesIO(EVIL[ending]), weights_only=False) if ending != "plain" else pickle.loads(EVIL[ending])
    assert SPRUNG
    SPRUNG.clear()


@pytest.mark.parametrize("ending", TRAPS)
def test_the_traps_are_sharp(ending):
    """What unpickles them would be noticed."""
    if ending == ".npy":
        np.load(io.BytesIO(TRAPS[ending]), allow_pickle=True)
    elif ending == ".npz":
        _ = np.load(io.BytesIO(TRAPS[ending]), allow_pickle=True)["images"]
    elif ending == ".pt":
        torch.load(io.BytesIO(TRAPS[ending]), weights_only=False)
    else:
        pickle.loads(TRAPS[ending])
    assert SPRUNG
    SPRUNG.clear()
