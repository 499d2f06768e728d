"""Benchmarks by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path

from detectors import shown, unknown
from detectors.care import usual_state

from ..store.users import import_attribute
from .benchmark import Benchmark, check_limits

BENCHMARKS = {
    "digits": "scikit-learn's handwritten digits, embedded",
    "cifar10": "CIFAR-10 in OpenOOD's folder layout",
    "cifar100": "CIFAR-100 in OpenOOD's folder layout",
    "imagenet200": "200 classes of ImageNet in OpenOOD's folder layout, 224 pixels",
    "imagenet1k": "ImageNet in OpenOOD's folder layout, 224 pixels",
}
EMBEDDED = ("digits",)
"""Benchmarks that read no images from a folder."""


@usual_state()
def load_benchmark(
    name: str = "digits",
    *,
    root: str | Path | None = None,
    ood: Sequence[str] | None = None,
    limit: int | None = None,
    train_limit: int | None = None,
    download: bool = False,
    corruptions: bool = False,
) -> Benchmark:
    """The benchmark `name`, its test sets cut to `limit` images each (a fixed random subset, nested over limits).

    A name is one of ours, a TOML file or a folder (docs/data.md has the layout), `torchvision:NAME` or
    `module:attribute` (a Benchmark, or a function that gives one). `root` is the folder with OpenOOD's `images_classic`
    (or `images_largescale`) and `benchmark_imglist`, or of torchvision's data sets, which `download` fetches; `ood`
    names the OOD sets wanted, default all, of `torchvision:NAME` by sources such as `torchvision:SVHN`; `train_limit`
    how many training images, 0 for all, default the benchmark's own. With `corruptions` the images of every corruption
    and severity that covariate-shifted ID has are a test set (`Benchmark.corrupted`), also where `ood` names others.
    Raises ValueError for an unknown name, a missing folder, list or image, and a setting of another type.
    """
    check_benchmark(name)
    if not isinstance(root, str | PathLike | None):
        raise ValueError(f"root {root!r}: expected a folder")
    if not isinstance(ood, Iterable | None):
        raise ValueError(f"ood {ood!r}: expected a name or a list of them")
    if not isinstance(download, bool):
        raise ValueError(f"download {download!r}: expected True or False")
    check_limits(limit, train_limit)
    wanted = None if ood is None else [ood] if isinstance(ood, str) else list(ood)
    if name == "digits":
        from .digits import digits

        if train_limit is not None:
            raise ValueError("benchmark digits takes no train-limit: its 600 training images are few")
        bench = digits(limit)
    elif name not in BENCHMARKS:
        place = None if root is None else Path(root)
        bench = of_spec(name, place, wanted, limit, train_limit, download, corruptions=corruptions)
    else:
        from .openood import openood

        if root is None:
            raise ValueError(f"benchmark {name} needs its images: give --data-root DIR or set ROODBENCH_DATA")
        bench = openood(name, Path(root), limit, train_limit, wanted, corruptions=corruptions)
    bench = bench.corrupted() if corruptions else bench
    return bench if wanted is None or name.startswith("torchvision:") else bench.only(wanted)


def check_benchmark(name: object) -> None:
    """ValueError, with the nearest name, for a name that is not a benchmark's."""
    if isinstance(name, str) and (name in BENCHMARKS or ":" in name or Path(name).is_dir()):
        return
    if not isinstance(name, str) or not name.endswith(".toml"):
        expected, place = unknown("benchmark", name, BENCHMARKS), Path(name if isinstance(name, str) else "")
        near = difflib.get_close_matches(place.name, [p.name for p in place.parent.glob("*") if p.is_dir()], 1)
        hint = f" such as '{place.with_name(near[0])}'" if near else ""
        raise ValueError(f"{expected}, a FILE.toml, a folder{hint}, torchvision:NAME or MODULE:ATTRIBUTE")
    if not Path(name).is_file():
        near = difflib.get_close_matches(Path(name).name, [p.name for p in Path(name).parent.glob("*.toml")], 1)
        hint = f", did you mean '{Path(name).with_name(near[0])}'?" if near else ""
        raise ValueError(f"benchmark '{name}' is no file{hint or ': expected a TOML file'}")


def reads_root(name: str) -> bool:
    """Whether a benchmark reads images from a data root: OpenOOD's, and those that name a data set of torchvision."""
    if name in BENCHMARKS or name.startswith("torchvision:"):
        return name not in EMBEDDED
    file = Path(name) / "benchmark.toml" if Path(name).is_dir() else Path(name)
    return file.suffix == ".toml" and file.is_file() and b"torchvision:" in file.read_bytes()


def runs_code(name: str) -> bool:
    """Whether loading a benchmark runs code that it names: MODULE:ATTRIBUTE, or a TOML file or folder that has some."""
    if name in BENCHMARKS or name.startswith("torchvision:"):
        return False
    if name.endswith(".toml") or Path(name).is_dir():
        from .toml import names_code

        return names_code(Path(name))
    return ":" in name


def downloads(name: str) -> bool:
    """Whether a benchmark names images that can be downloaded."""
    return name not in BENCHMARKS and reads_root(name)


def of_spec(
    name: str,
    root: Path | None,
    ood: Sequence[str] | None,
    limit: int | None,
    train_limit: int | None,
    download: bool,
    *,
    corruptions: bool,
) -> Benchmark:
    """A benchmark that is not one of ours."""
    if name.endswith(".toml") or Path(name).is_dir():
        from .toml import toml_benchmark

        limits = {"limit": limit, "train_limit": train_limit}
        return toml_benchmark(Path(name), root=root, **limits, download=download, corruptions=corruptions)
    if name.startswith("torchvision:"):
        from .given import torchvision_benchmark

        return torchvision_benchmark(name, root, ood, limit, train_limit, download)
    from .spec import made

    found = made(import_attribute(name, "benchmark"), f"benchmark {name!r}")
    if not isinstance(found, Benchmark):
        raise ValueError(
            f"benchmark {name!r} is {shown(found)}: expected a Benchmark, as benchmark_from gives; "
            "of a Dataset, name it in a TOML's [id], [near] or [far]"
        )
    return found.limited(limit)
