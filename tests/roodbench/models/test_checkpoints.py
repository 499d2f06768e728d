"""Checkpoints as people have them: nested, prefixed, of other types, damaged, or no checkpoints at all."""

import gzip
import logging
import os
import pickle
import re
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from roodbench.models.checkpoint import read_state
from roodbench.models.weights import load_weights

torch.manual_seed(0)
NET = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 3))
STATE = {key: value.clone() for key, value in NET.state_dict().items()}
STATE["0.weight"][0] = 0.5
OPTIMIZER = torch.optim.Adam(NET.parameters())
for parameter in NET.parameters():
    parameter.grad = torch.zeros_like(parameter)
OPTIMIZER.step()
OPTIMIZER = OPTIMIZER.state_dict()


def prefixed(prefix):
    return {f"{prefix}{key}": value for key, value in STATE.items()}


@pytest.fixture
def net():
    """The network with other weights."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 3))


def loaded(net, file):
    load_weights(net, file, "net")
    return net.state_dict()


GOOD = {
    "bare": STATE,
    **{name: {name: STATE, "epoch": 3} for name in ("net", "model", "state_dict", "model_state_dict", "weights", "G")},
    "twice": {"model": {"state_dict": STATE}, "args": {"lr": 0.1}},
    "beside an optimizer": {"net": STATE, "optimizer": OPTIMIZER, "best": 0.9, "history": [1, 2]},
    "beside one of another name": {"net": STATE, "opt_d": OPTIMIZER},
    "beside numbers": {"state_dict": STATE, "best_acc": torch.tensor(0.9), "losses": {"train": torch.tensor(0.1)}},
    **{prefix: prefixed(prefix) for prefix in ("module.", "model.", "net.", "backbone.", "_orig_mod.")},
    "two prefixes": prefixed("module._orig_mod."),
    "nested and prefixed": {"state_dict": prefixed("model.module."), "pytorch-lightning_version": "2"},
}


@pytest.mark.parametrize("kind", GOOD)
def test_nesting_and_prefixes(kind, net, tmp_path):
    torch.save(GOOD[kind], tmp_path / "x.pt")
    found = loaded(net, tmp_path / "x.pt")
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[key], STATE[key]) for key in STATE)


def test_a_prefix_that_the_network_has_itself_stays(tmp_path):
    own = nn.ModuleDict({"model": nn.Linear(2, 2)})
    torch.save({"model.weight": torch.ones(2, 2), "model.bias": torch.ones(2)}, tmp_path / "x.pt")
    assert torch.equal(loaded(own, tmp_path / "x.pt")["model.weight"], torch.ones(2, 2))


def test_a_prefix_that_some_names_have_stays(net, tmp_path):
    torch.save({**prefixed("module."), "extra": torch.zeros(3)}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"does not fit net: missing 0.weight \(2, 1, 3, 3\)"):
        load_weights(net, tmp_path / "x.pt", "net")


@pytest.mark.parametrize(
    ("content", "places"),
    [
        ({"model": STATE, "ema": STATE}, "2 state dicts, model, ema"),
        (
            {"state_dict": STATE, "ema": {"module": STATE}, "optimizer": OPTIMIZER},
            "2 state dicts, state_dict, ema.module",
        ),
        ({"G": STATE, "D": {"0": torch.zeros(2)}, "F": STATE}, "3 state dicts, G, D, F"),
    ],
)
def test_several_state_dicts_are_named_and_none_is_chosen(content, places, net, tmp_path):
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=rf"holds {places}: save the one that you mean alone"):
        load_weights(net, tmp_path / "x.pt", "net")


def changed(value, key="0.weight"):
    return {**STATE, key: value}


WEIGHT = STATE["0.weight"]
WRONG = {
    "int8": (
        changed(torch.ones(2, 1, 3, 3, dtype=torch.int8)),
        "0.weight is int8, expected float32, quantised perhaps",
    ),
    "bool": (changed(WEIGHT > 0), "0.weight is bool, expected float32"),
    "float8": (
        changed(WEIGHT.to(torch.float8_e4m3fn)),
        "0.weight is float8_e4m3fn, expected float32, quantised perhaps",
    ),
    "complex": (changed(WEIGHT.to(torch.complex64)), "0.weight is complex64, expected float32"),
    "sparse": (changed(WEIGHT.to_sparse()), "0.weight is sparse: expected a plain float32 tensor"),
    "meta": (changed(WEIGHT.to("meta")), "0.weight is without values: expected a plain float32 tensor"),
    "nan": (changed(torch.full((3,), torch.nan), "2.bias"), "2.bias has non-finite values"),
    "infinite": (changed(torch.full((2,), torch.inf), "1.running_var"), "1.running_var has non-finite values"),
    "shape": (changed(torch.zeros(4, 2), "2.weight"), "2.weight is (4, 2), expected (3, 2)"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_weights_that_are_none_are_named(kind, net, tmp_path):
    state, message = WRONG[kind]
    torch.save({"state_dict": state}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"checkpoint '.*x.pt'") as found:
        load_weights(net, tmp_path / "x.pt", "net")
    assert message in str(found.value)
    assert not torch.equal(net.state_dict()["0.weight"], WEIGHT)


@pytest.mark.filterwarnings("ignore")
def test_a_quantised_tensor_is_named(net, tmp_path):
    torch.save(changed(torch.quantize_per_tensor(WEIGHT, 0.1, 0, torch.qint8)), tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"0.weight is quantised: expected a plain float32 tensor"):
        load_weights(net, tmp_path / "x.pt", "net")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_types_are_converted_with_a_notice(dtype, net, tmp_path, caplog):
    torch.save({k: v.to(dtype) if v.is_floating_point() else v for k, v in STATE.items()}, tmp_path / "x.pt")
    with caplog.at_level(logging.INFO, "roodbench"):
        found = loaded(net, tmp_path / "x.pt")
    assert found["0.weight"].dtype == torch.float32
    assert torch.equal(found["0.weight"], WEIGHT.to(dtype).float())
    assert f"weights in {str(dtype).removeprefix('torch.')} become float32" in caplog.text


def saved(file, content=STATE):
    torch.save(content, file)
    return file.read_bytes()


def zipped(file):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("weights/resnet.pt", b"x")


FILES = {
    "page.pt": (lambda f: f.write_text("\n<!DOCTYPE html><html>Sign in</html>"), "not a checkpoint but an HTML page"),
    "page.safetensors": (lambda f: f.write_text("<html></html>"), "an HTML page: download the file behind that page"),
    "pointer.pt": (
        lambda f: f.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"),
        "is a Git LFS pointer and not the weights: run `git lfs pull`",
    ),
    "empty.pt": (lambda f: f.write_bytes(b""), "is not a checkpoint but empty"),
    "empty.safetensors": (lambda f: f.write_bytes(b""), "is not a checkpoint but empty"),
    "half.pt": (lambda f: f.write_bytes(saved(f)[:900]), "is cut off: it has 900 bytes and no end"),
    "old_half.pt": (
        lambda f: torch.save(STATE, f, _use_new_zipfile_serialization=False) or f.write_bytes(f.read_bytes()[:500]),
        "is cut off",
    ),
    "half.safetensors": (
        lambda f: save_file(STATE, f) or f.write_bytes(f.read_bytes()[:-9]),
        "is no valid safetensors file, or is cut off",
    ),
    "stump.safetensors": (
        lambda f: save_file(STATE, f) or f.write_bytes(f.read_bytes()[:40]),
        "is no valid safetensors file, or is cut off",
    ),
    "archive.pt": (zipped, "is a zip archive (weights/resnet.pt): unpack it"),
    "arrays.pt": (lambda f: np.savez(f.open("wb"), a=np.zeros(2)), "is a numpy archive"),
    "array.pt": (lambda f: np.save(f.open("wb"), np.zeros(2)), "is a numpy array"),
    "script.pt": (lambda f: torch.jit.script(nn.Linear(2, 2)).save(str(f)), "is a TorchScript module"),
    "packed.pt": (lambda f: f.write_bytes(gzip.compress(b"x")), "is a gzip archive: unpack it"),
    "keras.pt": (lambda f: f.write_bytes(b"\x89HDF\r\n\x1a\n"), "is an HDF5 file"),
    "text.pt": (lambda f: f.write_text("hello"), "is not a checkpoint of torch or safetensors"),
    "module.pt": (lambda f: torch.save(NET, f), "holds more than tensors, such as torch.nn"),
    "cure.pt": (lambda f: torch.save(NET, f), "where it was made, save net.state_dict() alone"),
    "list.pt": (lambda f: torch.save([1, 2], f), "is not a state dict but a list of 2: expected a state dict"),
    "tensor.pt": (lambda f: torch.save(torch.zeros(3), f), "is not a state dict but a float32 tensor (3,)"),
    "none.pt": (lambda f: torch.save({}, f), "is not a state dict but a dict with nothing"),
    "mixed.pt": (lambda f: torch.save({**STATE, "epoch": 3}, f), "where 'epoch': the int 3"),
    "optimizer.pt": (
        lambda f: torch.save({"optimizer": OPTIMIZER}, f),
        "is not a state dict but a dict with 'optimizer'",
    ),
    "pickle.pt": (lambda f: f.write_bytes(pickle.dumps(np.zeros(3))), "holds more than tensors"),
    "folder.pt": (lambda f: f.mkdir(), "is a folder: expected a .safetensors, .th or .pt file"),
    "absent.pt": (lambda f: None, "not found: expected a .safetensors, .th or .pt file"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_checkpoint_says_what_it_is(name, tmp_path):
    write, message = FILES[name]
    write(tmp_path / name)
    with pytest.raises(ValueError, match=rf"^checkpoint '.*{name}' ") as found:
        read_state(tmp_path / name)
    assert message in str(found.value)
    assert "\n" not in str(found.value)


def test_content_decides_and_not_the_name(net, tmp_path):
    save_file(STATE, tmp_path / "tensors.pt")
    torch.save(STATE, tmp_path / "pickle.safetensors")
    torch.save(STATE, tmp_path / "old", _use_new_zipfile_serialization=False)
    for name in ("tensors.pt", "pickle.safetensors", "old"):
        found = read_state(tmp_path / name)
        assert all(torch.equal(found[key], STATE[key]) for key in STATE)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("unpickled",)


@pytest.mark.parametrize("name", ["evil.pt", "evil.safetensors", "nested.pt", "plain.pt"])
def test_nothing_is_unpickled(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / name
    if name == "plain.pt":
        file.write_bytes(pickle.dumps(Evil()))
    else:
        torch.save({"state_dict": STATE, "args": Evil()} if name == "nested.pt" else Evil(), file)
    with pytest.raises(ValueError, match=r"holds more than tensors(, such as .*mkdir,)? and is not unpickled"):
        read_state(file)
    assert not (tmp_path / "unpickled").exists()


def files_of(folder):
    """The same state dict as torch writes it now and before, and as safetensors."""
    torch.save(STATE, folder / "new")
    torch.save(STATE, folder / "old", _use_new_zipfile_serialization=False)
    save_file(STATE, folder / "tensors")
    return [(folder / name).read_bytes() for name in ("new", "old", "tensors")]


@pytest.mark.filterwarnings("ignore")
def test_a_damaged_file_is_read_or_is_one_line(tmp_path):
    """300 files, cut off and with bytes changed anywhere."""
    rng, originals, refused = np.random.default_rng(0), files_of(tmp_path), 0
    for case in range(300):
        content = bytearray(originals[case % 3])
        for _ in range(rng.integers(1, 4)):
            content[rng.integers(len(content) if case % 2 else min(len(content), 400))] = rng.integers(256)
        if case % 5 == 0:
            content = content[: rng.integers(len(content))]
        (tmp_path / "damaged").write_bytes(content)
        said = ""
        try:
            read_state(tmp_path / "damaged")
        except ValueError as error:
            said = str(error)
        assert re.fullmatch(r"(checkpoint '.*damaged' \S.*)?", said), (case, said)
        refused += bool(said)
    assert refused > 100
