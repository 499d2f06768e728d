"""Files of every mode become the 8-bit RGB that their pixels mean, or are refused by name."""

import io
import logging
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from roodbench.data.files import read_files
from roodbench.data.picture import MODES, REFUSED, Frame

GREY = np.array([[0, 60, 255], [10, 128, 77], [200, 1, 254]], np.uint8)
COLOURS = np.random.default_rng(0).integers(0, 256, (3, 3, 3), dtype=np.uint8)
WHITE = np.full(3, 255)


@pytest.fixture
def read(tmp_path):
    """Reads files of a folder as 3 x 3 images of a list."""

    def read(*names, size=3):
        where = f"list '{tmp_path / 'list.txt'}'"
        return read_files(where, tmp_path, names, Frame(size), [7] * len(names))

    return read


def tiff(file, pixels, photometric=1, bits=16, packed=None, signed=False):
    """A little-endian TIFF of one strip of grey pixels, written by hand."""
    data = pixels.tobytes() if packed is None else packed
    entries = [(256, 4, pixels.shape[1]), (257, 4, pixels.shape[0]), (258, 3, bits), (259, 3, 1)]
    entries += [(262, 3, photometric), (273, 4, 8), (277, 3, 1), (278, 4, pixels.shape[0]), (279, 4, len(data))]
    entries += [(339, 3, 2 if signed else 1)]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", t, k, 1, v) for t, k, v in entries)
    data += b"\0" * (len(data) % 2)
    file.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory + b"\0\0\0\0")


def written(format, pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format)
    return file.getvalue()


def chunk(content):
    """A chunk of a PNG file."""
    return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))


@pytest.mark.parametrize("format", ["png", "tiff", "pgm", "jp2"])
def test_16_bits_are_scaled_by_65535(format, read, tmp_path):
    def save(pixels):
        if format == "pgm":
            (tmp_path / "deep.pgm").write_bytes(b"P5 3 3 65535\n" + pixels.astype(">u2").tobytes())
        else:
            Image.fromarray(pixels).save(tmp_path / f"deep.{format}")

    save(GREY.astype(np.uint16) * 257)
    assert np.array_equal(read(f"deep.{format}")[0], np.repeat(GREY[..., None], 3, 2))
    between = np.array([[0, 128, 129], [385, 386, 65535], [65407, 32768, 256]], np.uint16)
    save(between)
    expected = [[0, 0, 1], [1, 2, 255], [255, 128, 1]]  # 128 / 257 is 0.498, 129 / 257 0.502
    assert read(f"deep.{format}")[0, ..., 1].tolist() == expected


def test_16_bits_of_either_byte_order_and_sense(read, tmp_path):
    deep = GREY.astype("<u2") * 257
    Image.fromarray(deep.astype(">u2")).save(tmp_path / "big.tiff")
    tiff(tmp_path / "white.tiff", deep, photometric=0)
    big, white = read("big.tiff", "white.tiff")
    assert np.array_equal(big[..., 0], GREY)
    assert np.array_equal(white[..., 0], 255 - GREY)


def test_12_bits_are_scaled_by_4095(read, tmp_path):
    packed = bytes([0xFF, 0xF0, 0x00, 0x80, 0x00, 0x00])  # rows of (4095, 0), (2048, 0)
    tiff(tmp_path / "twelve.tiff", np.zeros((2, 2), np.uint8), bits=12, packed=packed)
    assert read("twelve.tiff", size=2)[0, ..., 0].tolist() == [[255, 0], [128, 0]]


@pytest.mark.parametrize(
    ("name", "mode"),
    [("float.tiff", "F"), ("long.tiff", "I"), ("lab.tiff", "LAB"), ("signed.tiff", "I"), ("sky.fits", "I(;16)?")],
)
def test_modes_of_unknown_range_are_refused(name, mode, read, tmp_path):
    if name == "signed.tiff":
        tiff(tmp_path / name, GREY.astype("<i2"), signed=True)
    elif name == "sky.fits":
        cards = ("SIMPLE  = T", "BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = 3", "NAXIS2  = 3", "END")
        header = "".join(card.ljust(80) for card in cards).ljust(2880).encode()
        (tmp_path / name).write_bytes(header + GREY.astype(">i2").tobytes().ljust(2880, b"\0"))
    elif mode == "LAB":
        Image.frombytes("LAB", (3, 3), COLOURS.tobytes()).save(tmp_path / name)
    else:
        kind = {"F": np.float32, "I": np.int32}[mode]
        Image.fromarray(GREY.astype(kind)).save(tmp_path / name)
    with pytest.raises(ValueError, match=rf"list '.*list.txt', line 7: image '.*{name}' is a \w+ file of mode {mode},"):
        read(name)


def test_every_mode_of_pillow_is_decided():
    decided = {mode for mode, how in MODES.items() if how}
    assert decided >= {"1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "I;16", "LA", "PA"}
    assert {mode for mode, how in MODES.items() if how == REFUSED} == {"I", "F", "LAB"}


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr"])
def test_plain_images_are_what_pillow_converts(mode, read, tmp_path):
    image = Image.fromarray(COLOURS).convert(mode)
    name = "plain.jpg" if mode == "YCbCr" else "plain.tiff" if mode == "CMYK" else "plain.png"
    image.save(tmp_path / name)
    with Image.open(tmp_path / name) as again:
        expected = np.asarray(again.convert("RGB"))
    assert np.array_equal(read(name)[0], expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["png", "jpg", "tiff"])
def test_orientation_of_exif_is_applied(format, orientation, read, tmp_path):
    """By the standard's table: where the stored row 0 and column 0 are seen."""
    upright = np.zeros((16, 16, 3), np.uint8)
    upright[:8, :8], upright[:8, 8:] = (255, 0, 0), (0, 255, 0)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: upright.swapaxes(0, 1)[::-1],
        7: upright.swapaxes(0, 1)[::-1, ::-1],
        8: upright.swapaxes(0, 1)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    lossless = {"quality": 100, "subsampling": 0} if format == "jpg" else {}
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / f"turned.{format}", exif=exif, **lossless)
    assert np.abs(read(f"turned.{format}", size=16)[0].astype(int) - upright).max() <= 2


def test_orientation_of_16_bits(read, tmp_path):
    exif = Image.Exif()
    exif[274] = 3
    Image.fromarray(GREY[::-1, ::-1].astype(np.uint16) * 257).save(tmp_path / "deep.png", exif=exif)
    assert np.array_equal(read("deep.png")[0, ..., 0], GREY)


@pytest.mark.parametrize("kind", ["RGBA", "LA", "palette", "keyed", "keyed-grey", "keyed-deep", "gif"])
def test_transparency_is_laid_on_white_and_counted(kind, read, tmp_path, caplog):
    name = "clear.gif" if kind == "gif" else "clear.png"
    shown = GREY if kind in ("LA", "keyed-grey", "keyed-deep") else None
    expected = COLOURS.copy() if shown is None else np.repeat(GREY[..., None], 3, 2)
    expected[0, 0] = WHITE
    if kind == "RGBA":
        alpha = np.full((3, 3, 1), 255, np.uint8)
        alpha[0, 0], alpha[1, 1] = 0, 51  # a fifth of the colour, four of white
        expected[1, 1] = np.rint(0.2 * COLOURS[1, 1] + 0.8 * WHITE)
        Image.fromarray(np.concatenate([COLOURS, alpha], 2)).save(tmp_path / name)
    elif kind == "LA":
        alpha = np.full((3, 3), 255, np.uint8)
        alpha[0, 0] = 0
        Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(alpha)]).save(tmp_path / name)
    elif kind in ("palette", "gif"):
        image = Image.fromarray(np.arange(9, dtype=np.uint8).reshape(3, 3))
        image.putpalette(COLOURS.tobytes())
        image.save(tmp_path / name, transparency=0)
    elif kind == "keyed":
        Image.fromarray(COLOURS).save(tmp_path / name, transparency=tuple(COLOURS[0, 0].tolist()))
    else:
        file = written("PNG", GREY.astype(np.uint16) * 257 if kind == "keyed-deep" else GREY)
        data = file.index(b"IDAT") - 4
        (tmp_path / name).write_bytes(file[:data] + chunk(b"tRNS" + struct.pack(">H", 0)) + file[data:])
    Image.fromarray(COLOURS).save(tmp_path / "plain.png")
    found = read(name, "plain.png", name)
    assert np.abs(found[0].astype(int) - expected).max() <= 1
    assert np.array_equal(found[1], COLOURS)
    assert [r.getMessage() for r in caplog.records] == [
        f"list '{tmp_path / 'list.txt'}': 2 of 3 images have transparent pixels, laid on white"
    ]


def test_an_opaque_alpha_changes_nothing(read, tmp_path, caplog):
    Image.fromarray(COLOURS).convert("RGBA").save(tmp_path / "opaque.png")
    assert np.array_equal(read("opaque.png")[0], COLOURS)
    assert not caplog.records


@pytest.mark.parametrize("format", ["gif", "png", "tiff", "webp"])
def test_the_first_of_several_frames_is_read(format, read, tmp_path, caplog):
    first, second = Image.new("RGB", (3, 3), (255, 0, 0)), Image.new("RGB", (3, 3), (0, 0, 255))
    lossless = {"lossless": True} if format == "webp" else {}
    first.save(tmp_path / f"moving.{format}", save_all=True, append_images=[second], **lossless)
    assert read(f"moving.{format}")[0].reshape(-1, 3).tolist() == [[255, 0, 0]] * 9
    assert "1 of 1 file hold several images, the first is read" in caplog.text


def test_16_bit_files_that_hold_12_are_a_notice(read, tmp_path, caplog):
    Image.fromarray(GREY.astype(np.uint16) * 16).save(tmp_path / "dim.png")
    read("dim.png")
    assert "the brightest pixel of its 1 image of 16 bits is 0.063 of 1: do they hold fewer bits?" in caplog.text
    caplog.clear()
    Image.fromarray(GREY.astype(np.uint16) * 257).save(tmp_path / "full.png")
    read("dim.png", "full.png")
    assert not caplog.records


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cannot be read .it is of no format that Pillow knows"),
        (b"<html>\n<body>", "cannot be read .it is of no format that Pillow knows"),
        (b"\x89PNG\r\n\x1a\nrubbish", "cannot be read"),
        (
            written("PNG", np.random.default_rng(0).integers(0, 256, (99, 99, 3), dtype=np.uint8))[:9000],
            "cannot be read",
        ),
        (written("JPEG", np.random.default_rng(0).integers(0, 256, (99, 99, 3), dtype=np.uint8))[:3000], "truncated"),
        (written("GIF", GREY)[:30], "cannot be read"),
        (None, "cannot be read .Is a directory"),
        ("nowhere", "is missing"),
    ],
)
def test_broken_files_are_one_line_with_list_line_and_file(content, reason, read, tmp_path):
    if content is None:
        (tmp_path / "x.png").mkdir()
    elif content != "nowhere":
        (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(ValueError, match=rf"^list '.*list.txt', line 7: image '.*x.png' .*{reason}.*$") as caught:
        read("x.png")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("limit", [100, 1])
def test_too_large_files_are_named(limit, read, tmp_path, monkeypatch):
    """Pillow warns above its limit and raises above twice that: here both name the file."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    Image.new("RGB", (15, 10)).save(tmp_path / "huge.png")
    with pytest.raises(
        ValueError, match=r"line 7: image '.*huge.png' is too large \(Image size \(150 pixels\) exceeds"
    ):
        read("huge.png")


def test_a_broken_exif_block_is_no_broken_image(read, tmp_path):
    Image.fromarray(COLOURS).save(tmp_path / "odd.png", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    with warnings.catch_warnings(record=True) as seen:
        assert np.array_equal(read("odd.png")[0], COLOURS)
    assert seen == []


def test_pillow_says_nothing_of_its_own(read, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    image = Image.fromarray(np.arange(9, dtype=np.uint8).reshape(3, 3))
    image.putpalette(COLOURS.tobytes())
    image.save(tmp_path / "clear.png", transparency=bytes(9))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert (read("clear.png") == 255).all()
    assert seen == []
