"""PNG files written by hand, of every depth and kind: what is transparent is laid on white, and nothing else."""

import struct
import zlib

import numpy as np
import pytest

from roodbench.data.picture import Frame, read_picture

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}
COLOURS = [(10 * i, 255 - 10 * i, 3) for i in range(16)]


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(file, values, depth, kind, clear=None, colours=()):
    """A square PNG file of samples (n, n, channels) below 2**depth, with the content of a tRNS chunk."""
    lines = []
    for row in np.asarray(values).reshape(len(values), -1):
        bits = "".join(f"{value:0{depth}b}" for value in row.tolist())
        lines.append(b"\0" + int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big"))
    content = chunk(b"IHDR", struct.pack(">IIBBBBB", len(values), len(values), depth, kind, 0, 0, 0))
    if colours:
        content += chunk(b"PLTE", bytes(c for colour in colours for c in colour))
    if clear is not None:
        content += chunk(b"tRNS", clear)
    content += chunk(b"IDAT", zlib.compress(b"".join(lines))) + chunk(b"IEND", b"")
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return file


def samples(depth, kind):
    """4 x 4 pixels: every level of a grey or a palette of 4 bits, the lowest and highest of more."""
    top = 2**depth - 1
    levels = sorted({*range(min(top, 12) + 1), top // 2, top - 1, top})
    flat = np.resize(levels, (4, 4, CHANNELS[kind]))
    return flat if kind in (GREY, PALETTE) else np.sort(flat, axis=2)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("above", [0, 1], ids=["", "bits-above"])
def test_a_grey_key_of_every_depth(depth, above, tmp_path):
    """Every level in turn; bits of a key above the file's depth say nothing (the standard's 11.3.2.1)."""
    values, top = samples(depth, GREY), 2**depth - 1
    above = above * 2**depth if depth < 16 else 0
    for key in np.unique(values):
        found = read_picture(png(tmp_path / "x.png", values, depth, GREY, struct.pack(">H", key + above)), Frame(4))
        expected = np.where(values == key, 255, np.rint(255 * values / top))
        assert np.array_equal(found.pixels, np.repeat(expected, 3, 2)), key
        assert found.transparent


@pytest.mark.parametrize("above", [0, 256])
def test_a_colour_key_of_8_bits(above, tmp_path):
    values = samples(8, RGB)
    key = values[1, 2]
    found = read_picture(png(tmp_path / "x.png", values, 8, RGB, struct.pack(">3H", *(key + above))), Frame(4))
    assert np.array_equal(found.pixels, np.where((values == key).all(2, keepdims=True), 255, values))
    assert found.transparent


@pytest.mark.parametrize("key", [(0, 0, 1), (263, 519, 775), (1, 2, 3)])
def test_a_colour_key_of_16_bits_is_refused(key, tmp_path):
    """Pillow keeps the high byte alone: it cannot say which pixels the key means."""
    file = png(tmp_path / "x.png", samples(16, RGB), 16, RGB, struct.pack(">3H", *key))
    with pytest.raises(ValueError, match=r"^image '.*x\.png' cannot be read \(.*16 bits is transparent: save it"):
        read_picture(file, Frame(4))


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize(
    "alphas", [(0,), (255, 0), (0, 255), (128,), (255, 128), (255, 0, 10), (0, 10), (0,) * 16], ids=str
)
def test_a_palette_of_every_depth(depth, alphas, tmp_path):
    """Entries beyond the chunk are opaque. An alpha of 10 at its end is the byte that ends a line of text."""
    entries = min(2**depth, 16)
    values = np.resize(range(entries), (4, 4, 1))
    alphas = alphas[:entries]
    file = png(tmp_path / "x.png", values, depth, PALETTE, bytes(alphas), COLOURS[:entries])
    found = read_picture(file, Frame(4))
    alpha = np.array([*alphas, *[255] * (entries - len(alphas))])[values] / 255
    expected = alpha * np.array(COLOURS)[values[..., 0]] + (1 - alpha) * 255
    assert np.abs(found.pixels - expected).max() <= 1
    assert found.transparent == bool((alpha < 1).any())


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("kind", [GREY_ALPHA, RGB_ALPHA])
def test_an_alpha_channel(kind, depth, tmp_path):
    """Of 16 bits Pillow reads the high byte."""
    values = samples(depth, kind)
    found = read_picture(png(tmp_path / "x.png", values, depth, kind), Frame(4))
    high = values >> (depth - 8)
    alpha = high[..., -1:] / 255
    expected = alpha * np.broadcast_to(high[..., :-1], (4, 4, 3)) + (1 - alpha) * 255
    assert np.abs(found.pixels - expected).max() <= 1
    assert found.transparent


@pytest.mark.parametrize(("depth", "kind"), [(d, GREY) for d in (1, 2, 4, 8, 16)] + [(8, RGB), (16, RGB)])
def test_without_a_key_nothing_is_transparent(depth, kind, tmp_path):
    values = samples(depth, kind)
    found = read_picture(png(tmp_path / "x.png", values, depth, kind), Frame(4))
    levels = values >> 8 if (depth, kind) == (16, RGB) else np.rint(255 * values / (2**depth - 1))
    assert np.array_equal(found.pixels, np.broadcast_to(levels, (4, 4, 3)))
    assert not found.transparent


def test_bytes_beyond_a_key_say_nothing(tmp_path):
    values = samples(4, GREY)
    found = read_picture(png(tmp_path / "x.png", values, 4, GREY, struct.pack(">3H", 3, 7, 9)), Frame(4))
    assert np.array_equal(found.pixels, np.repeat(np.where(values == 3, 255, 17 * values), 3, 2))


def test_a_key_that_no_pixel_has_changes_nothing(tmp_path):
    found = read_picture(png(tmp_path / "x.png", np.full((4, 4, 1), 5), 4, GREY, struct.pack(">H", 4)), Frame(4))
    assert (found.pixels == 5 * 17).all()
    assert not found.transparent
