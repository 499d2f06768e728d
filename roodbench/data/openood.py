"""Benchmarks in OpenOOD's folder layout: images_classic/ and benchmark_imglist/NAME/{train,val,test}_SET.txt."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from .benchmark import Benchmark
from .images import ImageSet, Split, SplitGuard, subset
from .picture import Picture, read_picture

log = logging.getLogger("roodbench")
NEAR = {"cifar10": ("cifar100", "tin")}
"""OpenOOD's near-OOD sets; every other set is far."""
BLANK = " \t\r\ufeff"
"""Around a line: blanks, and a mark of byte order where lists were joined."""
LINE = re.compile(r"(.*[^ \t])[ \t]+(-?[0-9]{1,9})", re.DOTALL)
DIM = 1 / 15
"""A brightest pixel of 16-bit files below this (12 bits reach 0.0625) leaves bits unused."""


def cifar10(root: Path, limit: int | None = None) -> Benchmark:
    """CIFAR-10 with every OOD set that `root` has a list for; (3, 32, 32) in [0, 1].

    A `test_*.txt` whose labels are all -1 is an OOD set; one with class labels is ID, and a second such list (a JPEG
    copy, say) is covariate-shifted ID. Images: RGB, short side resized to 32 (bilinear), centre crop, as OpenOOD does;
    docs/data.md says what becomes of other modes, transparency and orientation.
    """
    name, size, guard = "cifar10", 32, SplitGuard()
    if not root.is_dir():
        raise ValueError(
            f"data root '{root}' is not a folder: expected one with images_classic/ and benchmark_imglist/"
        )
    lists = root / "benchmark_imglist" / name
    if not lists.is_dir():
        raise ValueError(f"'{root}' has no benchmark_imglist/{name}/ folder: expected OpenOOD's layout")

    def read(file: Path, split: Split) -> ImageSet:
        entries = entries_of(file)
        for _, label, line in entries:
            if (label < 0) is not split.startswith("OOD") or label < -1:
                wanted = "-1" if split.startswith("OOD") else "a class label of at least 0"
                raise ValueError(f"list '{file}', line {line}: label {label} in {split}, expected {wanted}")
        kept = [entries[i] for i in subset(len(entries), limit)] if split.endswith("test") else entries
        images = root / "images_classic"
        return ImageSet(
            file.stem.split("_", 1)[1],
            split,
            [label for _, label, _ in kept],
            lambda: load_images(images, file, [(path, line) for path, _, line in kept], size),
            names=[path for path, _, _ in kept],
            guard=guard,
        )

    required = {split: lists / f"{split}_{name}.txt" for split in ("train", "val", "test")}
    for file in required.values():
        if not file.is_file():
            raise ValueError(f"list '{file}' is missing: {name} needs {file.name} with 'path label' lines")
    ood: dict[str, ImageSet] = {}
    shifted: dict[str, ImageSet] = {}
    for file in sorted(lists.glob("test_*.txt")):
        if file != required["test"]:
            labels = {label for _, label, _ in entries_of(file)}
            if -1 in labels and labels != {-1}:
                raise ValueError(f"list '{file}' mixes label -1 (OOD) with class labels (ID)")
            images = read(file, "OOD test" if labels == {-1} else "ID test")
            (ood if labels == {-1} else shifted)[images.name] = images
    val = [file for file in sorted(lists.glob("val_*.txt")) if file != required["val"]]
    if not ood:
        raise ValueError(f"'{lists}' has no OOD list: expected a test_*.txt whose labels are all -1")
    if not val:
        raise ValueError(f"'{lists}' has no OOD validation list: expected val_tin.txt")
    tin = [file for file in val if file.name == "val_tin.txt"]
    if len(val) > 1 and not tin:
        raise ValueError(f"'{lists}' has several OOD validation lists and no val_tin.txt: keep one of them")
    return Benchmark(
        name=name,
        id_train=read(required["train"], "ID train"),
        id_val=read(required["val"], "ID val"),
        id_test=read(required["test"], "ID test"),
        ood_val=read((tin or val)[0], "OOD val"),
        ood=ood,
        groups={key: "near" if key in NEAR[name] else "far" for key in ood},
        shifted=shifted,
    )


def entries_of(file: Path) -> list[tuple[str, int, int]]:
    """(path, label, line number) of every line of an image list: UTF-8, `path label`, apart by spaces or tabs."""
    entries = []
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"list '{file}' cannot be read: {error}") from None
    for number, line in enumerate(text.split("\n"), 1):  # splitlines would also cut at U+2028, part of a name
        found = LINE.fullmatch(line.strip(BLANK))
        if found:
            entries.append((found[1], int(found[2]), number))
        elif line.strip(BLANK):
            raise ValueError(f"list '{file}', line {number}: {line[:120]!r} is not 'path label'")
    if len(entries) < 2:
        raise ValueError(f"list '{file}' has {len(entries)} images: expected at least 2")
    return entries


def load_images(folder: Path, file: Path, entries: Sequence[tuple[str, int]], size: int) -> np.ndarray:
    """The listed images as uint8 (n, size, size, 3), locked; what was done to some of them is a notice."""
    out = np.empty((len(entries), size, size, 3), np.uint8)

    def load(place: tuple[int, tuple[str, int]]) -> Picture:
        i, (path, line) = place
        source = folder / path
        if "\\" in path and not source.exists():  # a list that was written on Windows
            source = folder / path.replace("\\", "/")
        try:
            picture = read_picture(source, size)
        except ValueError as error:
            raise ValueError(f"list '{file}', line {line}: {error}") from None
        out[i] = picture.pixels
        return replace(picture, pixels=out[i])

    with warnings.catch_warnings(), ThreadPoolExecutor() as readers:  # Pillow decodes outside the interpreter's lock
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        pictures = list(readers.map(load, enumerate(entries)))
    note(file, pictures)
    out.flags.writeable = False
    return out


def note(file: Path, pictures: Sequence[Picture]) -> None:
    """Say once of a list how many of its images are transparent, animated, or 16-bit files that hold less."""
    clear, several = sum(p.transparent for p in pictures), sum(p.frames for p in pictures)
    deep = [p.brightest for p in pictures if p.brightest is not None]
    if clear:
        log.warning("list '%s': %d of %d images have transparent pixels, laid on white", file, clear, len(pictures))
    if several:
        log.warning("list '%s': %d of %d files hold several images, the first is read", file, several, len(pictures))
    if deep and max(deep) < DIM:
        dark = "list '%s': the brightest pixel of its %d images of 16 bits is %.2g of 1: do they hold fewer bits?"
        log.warning(dark, file, len(deep), max(deep))
