"""What is wrong with a benchmark's images, all of it at once: nothing is computed with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

import numpy as np

from ..words import counted
from .benchmark import Benchmark
from .content import check_black, check_layout, check_range, looks_of
from .images import ImageSet
from .near import joined, near_pairs, small_of

TOGETHER = 128
"""Images that are looked at at a time."""
UNEVEN = 10
"""How many times as many images as the smallest a class may have without a notice."""
FEW = 10
"""Fewer images than this in a set are a notice."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (`error`: a run would end, or its numbers mean nothing) or that one should know."""

    level: Literal["error", "notice"]
    text: str


@dataclass
class Looked:
    """What one set holds."""

    name: str
    place: str
    """ID train, ID val, ID test, OOD val, OOD test or shifted ID."""
    images: int
    readable: int = 0
    distinct: int = 0
    classes: int = 0
    per_class: tuple[int, int] | None = None
    """The fewest and most images of a class; None for OOD."""
    sizes: list[str] = field(default_factory=list)
    """Width x height x channels of the images as a network gets them."""

    def __str__(self) -> str:
        return f"{self.place} {self.name}"


@dataclass
class Validation:
    """All sets and findings."""

    name: str
    sets: list[Looked]
    findings: list[Finding]

    @property
    def failed(self) -> bool:
        return any(finding.level == "error" for finding in self.findings)


@dataclass
class Seen:
    """What is kept of a set's images while sets are compared."""

    names: list[str]
    exact: list[bytes]
    small: np.ndarray


def validate(bench: Benchmark) -> Validation:
    """Read every image of a benchmark once, a few at a time, and say what is wrong with sets, classes and images.

    Images that are the same in two places are an error, nearly the same ones (another encoding or size, by a
    perceptual hash) a notice; of OOD test sets among themselves both are notices, as is one image twice in a set.
    Covariate-shifted ID is made of ID images: it is not compared with ID.
    """
    found = Validation(bench.name, [], [])
    seen: list[tuple[Looked, Seen]] = []
    for place, images in bench.places():
        looked, mine = look(place, images, found.findings)
        found.sets.append(looked)
        seen.append((looked, mine))
        judge(looked, found.findings)
    judge_classes(bench, found.findings)
    shapes = {size for looked in found.sets for size in looked.sizes}
    if len(shapes) > 1:
        text = "; ".join(f"{looked} {', '.join(looked.sizes)}" for looked in found.sets if looked.sizes)
        found.findings.append(Finding("error", f"images of several sizes, and a network takes one: {text}"))
    for (one, mine), (other, theirs) in combinations(seen, 2):
        if other.place == "shifted ID" and one.place.startswith(("ID", "shifted")):
            continue
        both = one.place == other.place == "OOD test"
        found.findings += compared(one, mine, other, theirs, "notice" if both else "error")
    found.findings.sort(key=lambda finding: finding.level != "error")
    return found


def look(place: str, images: ImageSet, findings: list[Finding]) -> tuple[Looked, Seen]:
    """Read a set; images that cannot be read are findings, and left out of what follows."""
    looked = Looked(images.name, place, len(images))
    names, exact, parts, sizes = list[str](), list[bytes](), list[np.ndarray](), set[str]()
    wrong, brightest = list[str](), 0.0

    def read(start: int) -> list[tuple[int, np.ndarray | str]]:
        index = range(start, min(start + TOGETHER, len(images)))
        try:
            return list(zip(index, pixels_at(images, index), strict=True))
        except ValueError:
            return [(i, one_at(images, i)) for i in index]

    for start in range(0, len(images), TOGETHER):
        for i, image in read(start):
            if isinstance(image, str):
                wrong.append(image)
                continue
            names.append(images.names[i])
            h, w, c = image.shape if image.dtype == np.uint8 else (*image.shape[1:], image.shape[0])
            sizes.add(f"{w} x {h} x {c}")
            brightest = max(brightest, float(image.max()) / (255 if image.dtype == np.uint8 else 1))
            exact += looks_of_any(image[None])
            parts.append(small_of(image[None]))
    findings += [Finding("error", text) for text in dict.fromkeys(wrong)]
    try:
        check_black(str(looked), brightest, bytes_=True)
    except ValueError as error:
        findings += [Finding("error", str(error))] if names else []
    looked.readable, looked.distinct, looked.sizes = len(names), len(set(exact)), sorted(sizes)
    if not place.startswith("OOD"):
        counts = np.unique(images.labels.numpy(), return_counts=True)[1]
        looked.classes, looked.per_class = len(counts), (int(counts.min()), int(counts.max()))
    return looked, Seen(names, exact, joined(parts))


def pixels_at(images: ImageSet, index: range) -> np.ndarray:
    """The images at some places, checked as a set's are."""
    if images.source is None:
        return images.shard(index.start, index.stop).numpy()
    pixels = images.source.read(np.array(index))
    check_layout(images.name, pixels, len(index))
    check_range(images.name, [images.names[i] for i in index], pixels)
    return pixels


def one_at(images: ImageSet, i: int) -> np.ndarray | str:
    """One image, or why it cannot be read."""
    try:
        return pixels_at(images, range(i, i + 1))[0]
    except ValueError as error:
        return str(error)


def looks_of_any(pixels: np.ndarray) -> Sequence[bytes]:
    """Hashes, equal where a network sees the same."""
    if pixels.dtype == np.uint8:
        pixels = pixels.transpose(0, 3, 1, 2) / np.float32(255)
    return looks_of(pixels)


def judge(looked: Looked, findings: list[Finding]) -> None:
    """What one set lacks."""
    if looked.distinct < 2:
        findings.append(
            Finding("error", f"{looked}: {counted(looked.distinct, 'different image')}, expected at least 2")
        )
    elif looked.images < FEW:
        findings.append(Finding("notice", f"{looked}: {looked.images} images are few, intervals will be wide"))
    if looked.distinct < looked.readable:
        repeated = looked.readable - looked.distinct
        verb = "repeats" if repeated == 1 else "repeat"
        findings.append(Finding("notice", f"{looked}: {repeated} of {looked.readable} images {verb} another one"))
    if looked.per_class and looked.per_class[1] > UNEVEN * looked.per_class[0]:
        low, high = looked.per_class
        findings.append(Finding("notice", f"{looked}: classes have {low} to {counted(high, 'image')}"))


def judge_classes(bench: Benchmark, findings: list[Finding]) -> None:
    """Classes of ID sets that ID train lacks, or that only ID train has."""
    known = set(bench.id_train.labels.tolist())
    for images in (bench.id_val, bench.id_test, *bench.shifted.values()):
        own = set(images.labels.tolist())
        if odd := sorted(own - known):
            shown = ", ".join(map(str, odd[:5]))
            text = (
                f"{images.split} {images.name}: no training image has class {shown} ({counted(len(odd), 'such class')})"
            )
            findings.append(Finding("error", text))
        if images is not bench.id_val and (absent := sorted(known - own)):
            shown = ", ".join(map(str, absent[:5]))
            text = f"{images.split} {images.name}: no image of class {shown} ({len(absent)} of {len(known)} classes)"
            findings.append(Finding("notice", text))


def compared(one: Looked, mine: Seen, other: Looked, theirs: Seen, level: Literal["error", "notice"]) -> list[Finding]:
    """Images that two sets share: exactly, or nearly."""
    place: dict[bytes, int] = {}
    for i, exact in enumerate(mine.exact):
        place.setdefault(exact, i)
    same = [(place[look], j) for j, look in enumerate(theirs.exact) if look in place]
    found = []
    if same:
        found.append(Finding(level, shared("the same image", len(same), one, mine, other, theirs, *same[0])))
    near = [(i, j) for i, j in near_pairs(mine.small, theirs.small).tolist() if mine.exact[i] != theirs.exact[j]]
    if near:
        count = len({j for _, j in near})
        found.append(Finding("notice", shared("nearly the same image", count, one, mine, other, theirs, *near[0])))
    return found


def shared(what: str, count: int, one: Looked, mine: Seen, other: Looked, theirs: Seen, i: int, j: int) -> str:
    """One line for images that two sets share, with the first of them."""
    more = f" ({count} such images)" if count > 1 else ""
    return f"{what} is in {one} ({mine.names[i]}) and in {other} ({theirs.names[j]}){more}"
