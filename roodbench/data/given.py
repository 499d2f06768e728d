"""A benchmark of image sets that are given in Python, or by what names them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from detectors.care import usual_state

from ..words import counted
from .benchmark import Benchmark, check_limits
from .corruptions import by_corruption
from .images import ImageSet, Split, SplitGuard, subset
from .picture import Frame
from .source import Source, joined
from .spec import Reading, source_of
from .torchvision import PREFIX

log = logging.getLogger("roodbench")
SHARE = 5
"""One in so many images is held out for a validation set that is not given."""
LOOKED_AT = 8
"""Images by which a data set of torchvision is grey or not."""


@usual_state()
def benchmark_from(
    name: str = "mine",
    *,
    id_train: Any,
    id_test: Any,
    id_val: Any = None,
    near: Mapping[str, Any] | None = None,
    far: Mapping[str, Any] | None = None,
    ood_val: Any = None,
    shifted: Mapping[str, Any] | None = None,
    size: int | None = None,
    resize: int | None = None,
    channels: int | None = None,
    eps: float = Benchmark.eps,
    sigma: float = Benchmark.sigma,
    limit: int | None = None,
    train_limit: int | None = None,
    root: str | Path | None = None,
    download: bool = False,
    corruptions: bool = False,
) -> Benchmark:
    """A benchmark of your images: ID sets with labels, and OOD sets by name, `near` or `far`.

    A set is an array (n, ...) with labels, (images, labels); for OOD also without; a torch Dataset of (image, label);
    or a name: a folder (of class folders for ID), a list (.txt), a file of arrays (.npz, .npy, .pt),
    `torchvision:NAME/SPLIT` (below `root`, fetched with `download`) or `module:attribute`. Images are uint8
    (n, H, W, C) or float32 (n, C, H, W) in [0, 1], C 1 or 3. With `size` pictures become that many pixels wide and
    high: the short side to `resize` (default `size`), then the central square; `channels` 1 makes them grey. A
    validation set that is not given is a fifth of ID train, or of every OOD set, held out. `limit`, `train_limit` and
    `corruptions` are `load_benchmark`'s; `eps` and `sigma` default radius and noise, in pixels. Raises ValueError, in
    one line, for anything else; images are read, and checked, at the first use.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> images = rng.integers(0, 256, (60, 8, 8, 1), dtype=np.uint8)
    >>> own = {"id_train": (images[:20], [0, 1] * 10), "id_test": (images[20:30], [0, 1] * 5)}
    >>> benchmark_from(**own, far={"noise": images[30:]})
    Benchmark(mine: 10 ID images; OOD noise (far, 24); pixel space)
    """
    check_limits(limit, train_limit)
    frame = Frame(size, resize, channels or 3)
    how = Reading(frame, root=None if root is None else Path(root), download=download)
    groups: dict[str, Literal["near", "far"]] = {}
    ood: dict[str, Source] = {}
    for group, sets in (("near", near), ("far", far)):
        for key, what in named(group, sets).items():
            if key in ood:
                raise ValueError(f"benchmark {name}: OOD set {key!r} is near and far")
            ood[key] = source_of(what, how, ood=True, where=f"{name}, {group} {key}")
            groups[key] = group  # type: ignore[assignment]
    train = source_of(id_train, how, ood=False, where=f"{name}, ID train")

    def labelled(what: Any, split: str) -> Source:
        found = source_of(what, how, ood=False, classes=train.classes, where=f"{name}, {split}")
        return found if train.classes is not None else numbered(found, train)

    test, more = labelled(id_test, "ID test"), named("shifted", shifted)
    extra = {key: labelled(what, f"shifted {key}") for key, what in more.items()}
    if corruptions:
        parts = {key: by_corruption(key, source) or {key: source} for key, source in extra.items()}
        extra = {key: source for its in parts.values() for key, source in its.items()}
    if id_val is None:
        train, val = held_out(name, "ID", train)
    else:
        val = labelled(id_val, "ID val")
    if ood_val is not None:
        other = source_of(ood_val, how, ood=True, where=f"{name}, OOD val")
    elif ood:
        split = {key: held_out(name, f"OOD ({key})", source) for key, source in ood.items()}
        ood = {key: rest for key, (rest, _) in split.items()}
        other = joined(f"{name}, OOD val", {key: part for key, (_, part) in split.items()})
    else:
        raise ValueError(f"benchmark {name} has no OOD set: give near or far, as far={{'textures': images}}")
    guard = SplitGuard()

    def tested(key: str, source: Source, split: Split) -> ImageSet:
        return source.limited(limit).image_set(key, split, guard)

    kept = train.limited(train_limit) if train_limit and train_limit < len(train) else train
    bench = Benchmark(
        name,
        id_train=kept.image_set(f"{name}-train", "ID train", guard),
        id_val=val.image_set(f"{name}-val", "ID val", guard),
        id_test=tested(name, test, "ID test"),
        ood_val=other.image_set(f"{name}-ood-val", "OOD val", guard),
        ood={key: tested(key, source, "OOD test") for key, source in ood.items()},
        groups=groups,
        shifted={key: tested(key, source, "ID test") for key, source in extra.items()},
        eps=radius("eps", eps),
        sigma=radius("sigma", sigma),
    )
    return bench.corrupted() if corruptions else bench


def named(what: str, sets: Any) -> Mapping[str, Any]:
    """Sets by name; ValueError for anything else."""
    if sets is None:
        return {}
    if not isinstance(sets, Mapping) or not all(isinstance(key, str) and key for key in sets):
        raise ValueError(f"{what}: expected sets by name, as {what}={{'textures': images}}")
    return sets


def numbered(source: Source, train: Source) -> Source:
    """Images in class folders with the labels of an ID training set that has no names of classes.

    Folders named by numbers have those; others, of which there is one for each class, are numbered by name, which is a
    notice. ValueError where there are more or fewer.
    """
    if source.classes is None:
        return source
    known = np.unique(train.labels)
    if all(name.isdecimal() for name in source.classes):
        known = np.array([int(name) for name in source.classes])
    elif len(known) == len(source.classes):
        said = ", ".join(f"{key} {label}" for key, label in zip(source.classes[:3], known, strict=False))
        log.warning("%s: ID train has no names of classes, folders are numbered by name: %s, ...", source.where, said)
    else:
        raise ValueError(
            f"{source.where} has {counted(len(source.classes), 'class folder')}, ID train {len(known)} classes without "
            f"names: expected folders named by the labels of ID train, such as {known[0]}"
        )
    return replace(source, labels=known[source.labels])


def held_out(name: str, what: str, source: Source) -> tuple[Source, Source]:
    """(the rest, a fifth): a fixed random choice."""
    order = subset(len(source), None)
    count = len(source) // SHARE
    if count < 2:
        raise ValueError(
            f"{source.where}: {counted(len(source), 'image')}, too few to hold out for {what} val: give {what} val"
        )
    log.info("%s: no %s validation images are given, %d of %d are held out", name, what, count, len(source))
    return source.at(np.sort(order[count:])), source.at(np.sort(order[:count]))


def radius(name: str, value: Any) -> float:
    """A default in pixels; ValueError for anything but a number between 0 and 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ValueError(f"{name} {value!r}: expected a number above 0, at most 1, such as 8/255")
    return float(value)


def torchvision_benchmark(
    spec: str,
    root: Path | None,
    ood: Sequence[str] | None,
    limit: int | None,
    train_limit: int | None,
    download: bool,
) -> Benchmark:
    """A data set of torchvision as ID, its splits train and test, and the OOD sets `ood`, far, each named as a source.

    A fifth of train, and of every OOD set, is held out for validation. OOD images become as large as those of ID,
    and grey where they are.
    """
    if "/" in spec:
        raise ValueError(f"benchmark {spec}: its splits are train and test, leave out /{spec.partition('/')[2]}")
    if not ood:
        raise ValueError(f"benchmark {spec} has no OOD set: give --ood with sources, as torchvision:SVHN or a folder")
    own = Reading(root=root, download=download)
    some = source_of(f"{spec}/train", own, ood=False).read(np.arange(LOOKED_AT))
    grey = (some == some[..., :1]).all()
    if some.shape[1] != some.shape[2]:
        raise ValueError(
            f"{spec} has images of {some.shape[2]} x {some.shape[1]} pixels: name it in a TOML, with a size"
        )
    own = replace(own, frame=Frame(some.shape[1], channels=1 if grey else 3))
    train, test = (source_of(f"{spec}/{split}", own, ood=False) for split in ("train", "test"))
    far = {key_of(what): source_of(what, own, ood=True) for what in ood}
    return benchmark_from(key_of(spec), id_train=train, id_test=test, far=far, limit=limit, train_limit=train_limit)


def key_of(what: str) -> str:
    """What an OOD set is called that a source names: svhn of torchvision:SVHN/test, foxes of pictures/foxes.npz."""
    return what.removeprefix(PREFIX).partition("/")[0].lower() if what.startswith(PREFIX) else Path(what).stem
