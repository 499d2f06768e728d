"""Small files that say they are large: one line, before memory or disk is asked for what they say."""

import io
import os
import struct
import zipfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from roodbench.data.files import read_files
from roodbench.data.picture import Frame
from roodbench.data.spec import Reading, source_of
from roodbench.models.checkpoint import read_state
from roodbench.store import archives


def npy(shape, content=b""):
    """An array of bytes whose header says a shape."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.getvalue() + content


def saying(file, name, size):
    """A zip archive with a member that the directory says is so large."""
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, b"x" * 10)
        archive.getinfo(name).file_size = size
    return file


def read(file):
    return source_of(file.name, Reading(Frame(4), file.parent), ood=True).images()


def test_an_archive_of_arrays_that_unpacks_to_too_much(tmp_path, monkeypatch):
    with pytest.raises(
        ValueError, match=r"array '.*a.npz' cannot be read.* says that it unpacks to 4 TB: save its ima"
    ):
        read(saying(tmp_path / "a.npz", "images.npy", 4 * 10**12))
    np.savez_compressed(tmp_path / "b.npz", images=np.zeros((400, 8, 8, 3), np.uint8))
    assert read(tmp_path / "b.npz").shape == (400, 4, 4, 3)
    monkeypatch.setattr(archives, "LARGEST", 10_000)
    with pytest.raises(ValueError, match=r"unpacks to 76.9 kB"):
        read(tmp_path / "b.npz")


def test_arrays_that_say_more_than_they_have(tmp_path):
    for name, shape in (("a.npy", (10**9, 32, 32, 3)), ("b.npy", (2**62, 4))):
        (tmp_path / name).write_bytes(npy(shape, b"x" * 100))
        with pytest.raises(ValueError, match=rf"array '.*{name}' cannot be read, or is cut off"):
            read(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as archive:
        archive.writestr("images.npy", npy((2**50, 4, 4), b"x" * 100))
    with pytest.raises(ValueError, match=r"array '.*c.npz' cannot be read, or is cut off"):
        read(tmp_path / "c.npz")
    torch.save(torch.zeros(1, 4, 4, 3, dtype=torch.uint8).expand(10**8, -1, -1, -1), tmp_path / "d.pt")
    with pytest.raises(ValueError, match=r"says that a tensor is \(100000000, 4, 4, 3\), of fewer numbers"):
        read(tmp_path / "d.pt")


def deflated(file):
    """A file of torch packed again, its zeros compressed."""
    torch.save({"weight": torch.zeros(2**21)}, file)
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file


def test_weights_that_unpack_to_more_than_they_are(tmp_path):
    file = deflated(tmp_path / "bomb.pt")
    with pytest.raises(ValueError, match=r"checkpoint '.*bomb.pt' of .*kB says that it unpacks to 8.39 MB: it is not"):
        read_state(file)
    with pytest.raises(ValueError, match=r"array '.*bomb.pt' cannot be read.*unpacks to 8.39 MB"):
        read(file)
    nested = {"x": torch.zeros(2)}
    for _ in range(40):  # 2^40 places
        nested = {"a": nested, "b": nested}
    torch.save(nested, tmp_path / "nested.pt")
    with pytest.raises(ValueError, match=r"nested.pt' holds more than 10000 dicts"):
        read_state(tmp_path / "nested.pt")
    header = b'{"w":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 16)
    with pytest.raises(ValueError, match="is no valid safetensors file, or is cut off"):
        read_state(tmp_path / "x.safetensors")
    (tmp_path / "y.safetensors").write_bytes(struct.pack("<Q", 10**9 - 1) + header)
    with pytest.raises(ValueError, match="is no valid safetensors file, or is cut off"):
        read_state(tmp_path / "y.safetensors")


def huge_png():
    """The header of 60,000 x 60,000 grey pixels, and the beginning of them."""
    chunks = [b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0), b"IDAT" + zlib.compress(bytes(10**5))]
    written = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(written)


@pytest.mark.parametrize("door", ["folder", "list", "toml"])
def test_huge_images_at_every_door(door, tmp_path):
    (tmp_path / "x").mkdir()
    for name in ("0.png", "1.png"):
        (tmp_path / "x" / name).write_bytes(huge_png())
    (tmp_path / "x.txt").write_text("x/0.png -1\nx/1.png -1\n")
    what = {"folder": "x", "list": "x.txt", "toml": {"list": "x.txt", "images": "."}}[door]
    with pytest.raises(ValueError, match=r"0.png' is too large \(Image size \(3600000000 pixels\)"):
        source_of(what, Reading(Frame(4), tmp_path), ood=True).images()
    with pytest.raises(ValueError, match="is too large"):
        read_files("x", tmp_path / "x", ["0.png"], Frame(4))


def test_what_is_no_regular_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.txt")
    with pytest.raises(ValueError, match=r"list '.*x.txt' is no regular file"):
        source_of("x.txt", Reading(Frame(4), tmp_path), ood=True)
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(ValueError, match="is no regular file"):
        read_files("x", tmp_path, ["x.png"], Frame(4))
    (tmp_path / "zero.txt").symlink_to("/dev/zero")
    with pytest.raises(ValueError, match="is no regular file"):
        source_of("zero.txt", Reading(Frame(4), tmp_path), ood=True)
    with (tmp_path / "long.txt").open("wb") as file:
        file.truncate(2**30 + 1)
    with pytest.raises(ValueError, match=r"long.txt' has more than 1073741824 bytes"):
        source_of("long.txt", Reading(Frame(4), tmp_path), ood=True)
    Image.new("RGB", (4, 4)).save(tmp_path / "y.png")
    assert read_files("y", tmp_path, ["y.png"], Frame(4)).shape == (1, 4, 4, 3)
