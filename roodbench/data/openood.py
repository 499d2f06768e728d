"""Benchmarks in OpenOOD's folder layout: images_*/ and benchmark_imglist/NAME/{train,val,test}_SET.txt."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from detectors import unknown

from .benchmark import Benchmark
from .corruptions import array_folder, by_corruption, is_arrays
from .files import inside
from .given import held_out
from .images import ImageSet, Split, SplitGuard
from .lists import list_source
from .picture import Frame
from .source import OOD, Source, joined

log = logging.getLogger("roodbench")
CLASSIC, LARGE = "images_classic", "images_largescale"
SMALL = Frame(32)
PHOTO = Frame(224, 256)
"""OpenOOD's preprocessing of ImageNet: the short side to 256, the central 224."""
HELD = 1000
"""The most images that stand in for OOD validation, as many as OpenOOD's lists have."""


@dataclass(frozen=True)
class Layout:
    """OpenOOD v1.5's lists, groups and preprocessing of one ID data set."""

    lists: str
    """The folder of its lists, and the name of the ID set in theirs."""
    near: tuple[str, ...]
    far: tuple[str, ...]
    shifted: tuple[str, ...] = ()
    """Covariate-shifted ID: the full spectrum."""
    val: str = "tin"
    """The OOD validation list, where there are several."""
    images: str = CLASSIC
    frame: Frame = SMALL
    train: int | None = None
    """So many training images are read unless more are asked for: all of ImageNet's would take hours."""
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    """Sets whose images lie in another folder."""
    frames: Mapping[str, Frame] = field(default_factory=dict)
    """Sets with another preprocessing."""
    arrays: str | None = None
    """The folder, beside the images, of its corrupted copies as they are published."""


FAR = ("mnist", "svhn", "texture", "places365")
IMAGENET = {
    "near": ("ssb_hard", "ninco"),
    "far": ("inaturalist", "textures", "openimage_o"),
    "val": "openimage_o",
    "images": LARGE,
    "frame": PHOTO,
    "train": 10_000,
    "elsewhere": {"textures": CLASSIC},
}
SHIFTS = ("v2", "c", "r")
LAYOUTS = {
    "cifar10": Layout("cifar10", ("cifar100", "tin"), FAR, ("cifar10c",), arrays="CIFAR-10-C"),
    "cifar100": Layout("cifar100", ("cifar10", "tin"), FAR, arrays="CIFAR-100-C"),
    **{
        name: Layout(
            lists,
            shifted=tuple(f"{lists}_{shift}" for shift in SHIFTS),
            frames={f"{lists}_c": Frame(224)},
            **IMAGENET,  # type: ignore[arg-type]
        )
        for name, lists in (("imagenet200", "imagenet200"), ("imagenet1k", "imagenet"))
    },
}
"""By benchmark. ImageNet-C has 224 pixels already: its frame zooms into nothing."""


def openood(
    name: str,
    root: Path,
    limit: int | None = None,
    train_limit: int | None = None,
    ood: Sequence[str] | None = None,
    *,
    corruptions: bool = False,
) -> Benchmark:
    """A benchmark of `LAYOUTS` with every OOD set that `root` has a list for, or those named in `ood`.

    A `test_*.txt` whose labels are all -1 is an OOD set; one with class labels is ID, and a second such list (a JPEG
    copy, say) is covariate-shifted ID. Sets that are none of OpenOOD's are far. An official set without a list is a
    notice, one whose images are not all there an error that names what can run without it (`ood`); where these are
    images of OOD validation, `ood` holds some of its own sets out for that. Images: as OpenOOD prepares them;
    docs/data.md says what becomes of other modes, transparency and orientation. With `corruptions` every corruption and
    severity that paths of a shifted list name is a set of its own, whatever `ood` says.
    """
    sets = Sets(name, root, limit, train_limit)
    layout, lists, found = sets.layout, sets.lists, sets.found
    required = {split: lists / f"{split}_{layout.lists}.txt" for split in ("train", "val", "test")}
    for file in required.values():
        if not file.is_file():
            raise ValueError(f"list '{file}' is missing: {name} needs {file.name} with 'path label' lines")
    tests = {key_of(file): file for file in sorted(lists.glob("test_*.txt"))}
    del tests[layout.lists]
    official = [*layout.near, *layout.far]
    check_wanted(name, lists, ood, tests, [*official, *layout.shifted])
    if lacking := [key for key in official if key not in tests and ood is None]:
        log.warning("%s: '%s' lacks the lists of %s: means are not OpenOOD's", name, lists, ", ".join(lacking))
    validation = val_list(lists, layout)
    sets.look_at_validation(validation, hold_out=bool(ood))
    for key, file in tests.items():
        if ood is None or key in ood or corruptions:
            sets.add(key, file, whole=ood is None or key in ood, corruptions=corruptions)
    if corruptions:
        sets.add_arrays()
    if not found[True] and ood is None:
        raise ValueError(f"'{lists}' has no OOD list: expected a test_*.txt whose labels are all -1")
    id_test = sets.read(required["test"], "ID test")
    refuse_missing(name, sets.missing, layout, found)
    return Benchmark(
        name,
        id_train=sets.read(required["train"], "ID train"),
        id_val=sets.read(required["val"], "ID val"),
        id_test=id_test,
        ood_val=joined(name, sets.held).limited(HELD).image_set("held out", "OOD val", sets.guard)
        if sets.held
        else sets.read(validation, "OOD val"),
        ood=found[True],
        groups={key: "near" if key in layout.near else "far" for key in found[True]},
        shifted=found[False],
    )


class Sets:
    """The sets of a benchmark below a data root, read list by list; of train as many images as are wanted."""

    def __init__(self, name: str, root: Path, limit: int | None, train_limit: int | None) -> None:
        self.name, self.root, self.layout, self.guard, self.limit = name, root, LAYOUTS[name], SplitGuard(), limit
        self.lists = lists_of(root, self.layout)
        self.train = self.layout.train if train_limit is None else train_limit
        self.found: dict[bool, dict[str, ImageSet]] = {True: {}, False: {}}
        """The test sets but for ID, by whether they are OOD."""
        self.missing: dict[str, str] = {}
        """What is missing of a set's images, by its key."""
        self.held: dict[str, Source] = {}
        """Some of every OOD set, where `holds_out`, for validation."""
        self.holds_out = False

    def images(self, key: str) -> Path:
        """Where the images of a list are."""
        return self.root / self.layout.elsewhere.get(key, self.layout.images)

    def source(self, file: Path, split: Split) -> Source:
        """The images of a list, whose labels fit the split."""
        key = key_of(file)
        source = list_source(file, self.images(key), self.layout.frames.get(key, self.layout.frame))
        check_labels(source, split)
        return source

    def tested(self, key: str, source: Source) -> Source:
        """As many of the images as are wanted of a test set."""
        source = source.limited(self.limit)
        if absent := absent_of(source, self.images(key)):
            self.missing[key] = absent
        return source

    def read(self, file: Path, split: Split) -> ImageSet:
        """The set of a list."""
        source, key = self.source(file, split), key_of(file)
        if split == "OOD test" and self.holds_out:
            source, self.held[key] = held_out(self.name, f"OOD ({key})", source)
        if split.endswith("test"):
            source = self.tested(key, source)
        if split == "ID train" and self.train and self.train < len(source):
            n = self.train, len(source)
            log.warning("%s: %d of the %d training images, --train-limit 0 for all", self.name, *n)
            source = source.limited(self.train)
        return source.image_set(key, split, self.guard)

    def look_at_validation(self, file: Path, *, hold_out: bool) -> None:
        """Note where images of OOD validation are missing, or hold some out of every OOD set instead."""
        absent = absent_of(self.source(file, "OOD val"), self.images(key_of(file)))
        if absent and hold_out:
            said = "%s: OOD validation lacks images (%s): some of every OOD set are held out for it"
            log.warning(said, self.name, absent)
            self.holds_out = True
        elif absent:
            self.missing[file.stem] = absent

    def add(self, key: str, file: Path, *, whole: bool, corruptions: bool) -> None:
        """The test set of a list, where it is wanted `whole`, or every corruption and severity that it names."""
        labels = set(list_source(file, self.root, self.layout.frame).labels.tolist())
        if OOD in labels and labels != {OOD}:
            raise ValueError(f"list '{file}' mixes label -1 (OOD) with class labels (ID)")
        is_ood = labels == {OOD}
        parts = by_corruption(key, self.source(file, "ID test")) if corruptions and not is_ood else {}
        for part, source in parts.items():
            self.found[False][part] = self.tested(key, source).image_set(part, "ID test", self.guard)
        if whole and not parts:
            self.found[is_ood][key] = self.read(file, "OOD test" if is_ood else "ID test")

    def add_arrays(self) -> None:
        """Every corruption and severity that lies in arrays; ValueError where lists name none either."""
        name, found = self.layout.arrays, self.found[False]
        if name and is_arrays(folder := self.root / self.layout.images / name):
            for part, source in by_corruption(name, array_folder(folder, self.layout.frame)).items():
                found[part] = source.limited(self.limit).image_set(part, "ID test", self.guard)
        if not any("/" in key for key in found):
            raise ValueError(f"{self.name} has no corrupted ID: {expected_of(self.root, self.lists, self.layout)}")


def key_of(file: Path) -> str:
    """The set of a list: test_tin.txt is of tin."""
    return file.stem.partition("_")[2]


def lists_of(root: Path, layout: Layout) -> Path:
    """The folder of a layout's lists; ValueError for a data root that is laid out otherwise."""
    if not root.is_dir():
        expected = f"expected one with {layout.images}/ and benchmark_imglist/"
        raise ValueError(f"data root '{root}' is not a folder: {expected}")
    lists = root / "benchmark_imglist" / layout.lists
    if not lists.is_dir():
        raise ValueError(f"'{root}' has no benchmark_imglist/{layout.lists}/ folder: expected OpenOOD's layout")
    return lists


def expected_of(root: Path, lists: Path, layout: Layout) -> str:
    """Where corrupted ID was looked for, and what is there instead."""
    there = next(
        (f"; {name} there names none" for name in layout.shifted if (lists / f"test_{name}.txt").is_file()), ""
    )
    arrays = f", or '{root / layout.images / layout.arrays}' with fog.npy, ... and labels.npy" if layout.arrays else ""
    return f"expected a list in '{lists}' with class labels and paths such as SET/fog/3/NAME.png{there}{arrays}"


def val_list(lists: Path, layout: Layout) -> Path:
    """The list of OOD validation images."""
    found = [file for file in sorted(lists.glob("val_*.txt")) if file.stem != f"val_{layout.lists}"]
    usual = [file for file in found if file.stem == f"val_{layout.val}"]
    if not found:
        raise ValueError(f"'{lists}' has no OOD validation list: expected val_{layout.val}.txt")
    if len(found) > 1 and not usual:
        raise ValueError(f"'{lists}' has several OOD validation lists and no val_{layout.val}.txt: keep one of them")
    return (usual or found)[0]


def check_wanted(
    name: str, lists: Path, ood: Sequence[str] | None, tests: Mapping[str, Path], official: Sequence[str]
) -> None:
    """ValueError for a wanted OOD set without a list."""
    for key in ood or ():
        if key not in tests and key in official:
            raise ValueError(f"OOD set {key} of {name} has no list: expected '{lists / f'test_{key}.txt'}'")
        if key not in tests:
            raise ValueError(unknown("OOD set", key, tests))


def check_labels(source: Source, split: Split) -> None:
    """ValueError, naming the line, for a label that does not fit the split."""
    bad = (source.labels < 0) != split.startswith("OOD")
    bad |= source.labels < OOD
    if bad.any():
        at = int(bad.argmax())
        wanted = "-1" if split.startswith("OOD") else "a class label of at least 0"
        raise ValueError(f"{source.place(at)}: label {source.labels[at]} in {split}, expected {wanted}")


def absent_of(source: Source, images: Path) -> str:
    """Of a set whose images are not all there: how many and the first of them; "" where they are."""
    absent = [i for i, path in enumerate(source.names) if not there(images, path)]
    if not absent:
        return ""
    first = f"the first in {source.place(absent[0])}: image '{images / source.names[absent[0]]}'"
    return f"{len(absent)} of {len(source)}, {first} is missing"


def there(images: Path, path: str) -> bool:
    """Whether a list's image exists; of a name that is not read at all, reading says so."""
    try:
        return inside(images, path).exists()
    except (ValueError, OSError):
        return True


def refuse_missing(
    name: str, missing: Mapping[str, str], layout: Layout, found: Mapping[bool, Mapping[str, ImageSet]]
) -> None:
    """ValueError for sets whose images are not all there, with the sets that are."""
    if not missing:
        return
    rest = [key for sets in (found[True], found[False]) for key in sets if key not in missing and "/" not in key]
    spoilt = layout.lists in missing or any(key.partition("/")[0] in missing for key in found[False] if "/" in key)
    without = not spoilt and any(key in found[True] for key in rest)
    cure = f", or run with the rest: --ood {','.join(rest)}" if without else ""
    said = "; ".join(f"{key} ({absent})" for key, absent in missing.items())
    raise ValueError(f"{name} lacks images of {said}; finish the download{cure}")
