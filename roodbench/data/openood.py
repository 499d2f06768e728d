"""Benchmarks in OpenOOD's folder layout: images_classic/ and benchmark_imglist/NAME/{train,val,test}_SET.txt."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from .benchmark import Benchmark
from .images import ImageSet, Split, SplitGuard, subset

NEAR = {"cifar10": ("cifar100", "tin")}
"""OpenOOD's near-OOD sets; every other set is far."""


def cifar10(root: Path, limit: int | None = None) -> Benchmark:
    """CIFAR-10 with every OOD set that `root` has a list for; (3, 32, 32) in [0, 1].

    A `test_*.txt` whose labels are all -1 is an OOD set; one with class labels is ID, and a second such list (a JPEG
    copy, say) is covariate-shifted ID. Images: RGB, short side resized to 32 (bilinear), centre crop, as OpenOOD does.
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
    """(path, label, line number) of every line of an image list."""
    entries = []
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"list '{file}' cannot be read: {error}") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        path, _, label = line.strip().rpartition(" ")
        try:
            entries.append((path, int(label), number))
        except ValueError:
            raise ValueError(f"list '{file}', line {number}: {line!r} is not 'path label'") from None
        if not path:
            raise ValueError(f"list '{file}', line {number}: {line!r} is not 'path label'")
    if len(entries) < 2:
        raise ValueError(f"list '{file}' has {len(entries)} images: expected at least 2")
    return entries


def load_images(folder: Path, file: Path, entries: Sequence[tuple[str, int]], size: int) -> np.ndarray:
    """The listed images as uint8 (n, size, size, 3)."""
    out = np.empty((len(entries), size, size, 3), np.uint8)

    def load(place: tuple[int, tuple[str, int]]) -> None:
        i, (path, line) = place
        try:
            with Image.open(folder / path) as image:
                out[i] = np.asarray(resize_and_crop(image.convert("RGB"), size))
        except OSError as error:
            reason = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
            raise ValueError(f"list '{file}', line {line}: image '{folder / path}' {reason}") from None

    with ThreadPoolExecutor() as readers:  # Pillow decodes outside the interpreter's lock
        for _ in readers.map(load, enumerate(entries)):
            pass
    return out


def resize_and_crop(image: Image.Image, size: int) -> Image.Image:
    """Short side to `size` (bilinear, antialiased as Pillow does), then the central square, as torchvision rounds."""
    w, h = image.size
    if min(w, h) != size:
        w, h = (size, int(size * h / w)) if w <= h else (int(size * w / h), size)
        image = image.resize((w, h), Image.Resampling.BILINEAR)
    left, top = round((w - size) / 2), round((h - size) / 2)
    return image.crop((left, top, left + size, top + size))
