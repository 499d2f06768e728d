"""A benchmark in a small TOML file, or in a folder that is laid out as the file's tables are."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from reprlib import repr
from typing import Any

from detectors import unknown

from .arrays import ENDINGS
from .benchmark import Benchmark
from .given import benchmark_from, radius
from .picture import Frame
from .source import Source
from .spec import Reading, source_of
from .torchvision import PREFIX

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = "benchmark.toml"
LARGEST = 2**20
"""Bytes of such a file."""
SETTINGS: dict[str, str] = {
    "name": "what the benchmark is called in tables; default the file's name",
    "size": "pictures become so many pixels wide and high; default their own size, which must be one",
    "resize": "the short side before the central square is cut out; default `size`",
    "channels": "3 (RGB) or 1 (grey); default 3",
    "images": "the folder below which the images of lists lie; default the file's own",
    "eps": 'the default radius in pixels, as 0.03 or "8/255"; default 2/255',
    "sigma": "the default standard deviation of smoothing noise, in pixels; default 0.0125",
}
"""Of a file's first lines."""
TABLES: dict[str, str] = {
    "id": "`train`, `test` and `val` (default: a fifth of train), each with labels",
    "ood": "`val` (default: a fifth of every OOD set)",
    "near": "near-OOD test sets, `name = set`",
    "far": "far-OOD test sets",
    "shifted": "covariate-shifted ID test sets, with labels",
}
KEYS = {"id": ("train", "val", "test"), "ood": ("val",)}


def toml_benchmark(
    place: Path,
    *,
    root: Path | None = None,
    limit: int | None = None,
    train_limit: int | None = None,
    download: bool = False,
    corruptions: bool = False,
) -> Benchmark:
    """The benchmark of a TOML file, or of a folder with `benchmark.toml` or `id/train`, `near/NAME` and so on.

    Names in it start from its folder. ValueError, in one line with file and line, for an unknown key (with
    the nearest), a value of another type, and a set that cannot be found.
    """
    if place.is_dir() and not (place / FILE).is_file():
        file, text, content = place, "", laid_out(place)
    else:
        file = place / FILE if place.is_dir() else place
        text = text_of(file)
        content = parsed(file, text)
    where = f"benchmark '{file}'"
    check_keys(where, text, content)
    settings = {key: setting(where, text, key, content[key]) for key in SETTINGS if key in content}
    folder = place if place.is_dir() else file.parent
    images = settings.pop("images", None)
    try:
        frame = Frame(settings.get("size"), settings.get("resize"), settings.get("channels", 3))
    except ValueError as error:
        raise ValueError(f"{where}{at(text, str(error).partition(' ')[0])}: {error}") from None
    how = Reading(frame, folder, None if images is None else folder / images, root, download)
    classes: tuple[str, ...] | None = None

    def found(table: str, key: str) -> Source:
        what = content[table][key]
        line = at(text, key, table)
        if not isinstance(what, str | Mapping) or not what:
            raise ValueError(f"{where}{line}: {table}.{key} {repr(what)}: expected the name of a set")
        ood = table in ("ood", "near", "far")
        try:
            return source_of(what, how, ood=ood, classes=classes)
        except (ValueError, OSError) as error:
            raise ValueError(f"{where}{line}, {table}.{key}: {error}") from None

    for key in ("train", "test"):
        if key not in content.get("id", {}):
            raise ValueError(f"{where} has no ID {key} set: expected {f'{key} in [id]' if text else f'id/{key}'}")
    train = found("id", "train")
    classes = train.classes
    sets = {table: {key: found(table, key) for key in content.get(table, {})} for table in TABLES if table != "id"}
    own = {key: found("id", key) for key in content["id"] if key != "train"}
    if not sets["near"] and not sets["far"]:
        raise ValueError(
            f"{where} has no OOD set: expected {'a set in [near] or [far]' if text else 'near/NAME or far/NAME'}"
        )
    try:
        return benchmark_from(
            settings.get("name", folder.resolve().name if place.is_dir() else file.stem),
            id_train=train,
            id_test=own["test"],
            id_val=own.get("val"),
            near=sets["near"],
            far=sets["far"],
            ood_val=sets["ood"].get("val"),
            shifted=sets["shifted"],
            eps=settings.get("eps", Benchmark.eps),
            sigma=settings.get("sigma", Benchmark.sigma),
            limit=limit,
            train_limit=train_limit,
            corruptions=corruptions,
        )
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def text_of(file: Path) -> str:
    """The text of a TOML file; ValueError for what cannot be read."""
    if not file.is_file():
        raise ValueError(f"benchmark '{file}' is {'no file' if file.exists() else 'missing'}: expected a TOML file")
    try:
        if file.stat().st_size > LARGEST:
            raise ValueError(f"benchmark '{file}' has more than {LARGEST} bytes: expected a small TOML file")
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"benchmark '{file}' cannot be read: {error}") from None


def parsed(file: Path, text: str) -> dict[str, Any]:
    """What a TOML file says; ValueError, with the line, where it is not TOML."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        said = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "nested too deeply"
        line = re.search(r"\(at line (\d+), column \d+\)", said)
        place = f", line {line[1]}" if line else ""
        reason = said.partition(" (at ")[0]
        raise ValueError(
            f"benchmark '{file}'{place}: {reason}: a name stands in quotes, as train = \"photos\""
        ) from None


def names_code(place: Path) -> bool:
    """Whether a TOML file, or that of a folder, names a set by MODULE:ATTRIBUTE, so that to load it runs code."""
    file = place / FILE if place.is_dir() else place
    try:
        content = parsed(file, text_of(file))
    except ValueError:
        return False
    texts = [what for table in content.values() if isinstance(table, Mapping) for what in table.values()]
    return any(isinstance(what, str) and ":" in what and not what.startswith(PREFIX) for what in texts)


def check_keys(where: str, text: str, content: Mapping[str, Any]) -> None:
    """ValueError, with line and nearest name, for an unknown key."""
    for key, value in content.items():
        if key not in SETTINGS and key not in TABLES:
            raise ValueError(f"{where}{at(text, key)}: {unknown('key', key, [*SETTINGS, *TABLES])}")
        if key not in TABLES:
            continue
        if not isinstance(value, Mapping):
            raise ValueError(f"{where}{at(text, key)}: {key} {repr(value)}: expected a table, [{key}]")
        for inner in value:
            if inner not in KEYS.get(key, (inner,)):
                raise ValueError(f"{where}{at(text, inner, key)}: {unknown(f'key of [{key}]', inner, KEYS[key])}")


def setting(where: str, text: str, key: str, value: Any) -> Any:
    """The value of a setting; ValueError, with the line, for one of another type."""
    line = at(text, key)
    if key in ("name", "images"):
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"{where}{line}: {key} {repr(value)}: expected text")
        return value
    if key in ("size", "resize", "channels"):
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"{where}{line}: {key} {repr(value)}: expected a whole number")
        return value
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(Fraction(value))
    except (ValueError, TypeError, ZeroDivisionError, OverflowError):
        raise ValueError(f'{where}{line}: {key} {repr(value)}: expected a number, as 0.03 or "8/255"') from None
    try:
        return radius(key, number)
    except ValueError as error:
        raise ValueError(f"{where}{line}: {error}") from None


def at(text: str, key: str, table: str | None = None) -> str:
    """`, line N` of a key, in a table; "" where it is not found (a folder, or spelt in another way)."""
    inside: str | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if head := re.match(r"\s*\[+\s*[\"']?([^\"'\]]+?)[\"']?\s*\]", line):
            inside = head[1]
            if table is None and inside.partition(".")[0] == key:
                return f", line {number}"
        elif re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line) and inside == table:
            return f", line {number}"
    return ""


def laid_out(folder: Path) -> dict[str, Any]:
    """The tables of a folder: what lies in `id`, `ood`, `near`, `far` and `shifted`, folders or files."""
    found: dict[str, Any] = {}
    for table in TABLES:
        entries = sorted((folder / table).iterdir()) if (folder / table).is_dir() else []
        own = [e for e in entries if not e.name.startswith(".") and (e.is_dir() or e.suffix in (".txt", *ENDINGS))]
        if own:
            found[table] = {e.name if e.is_dir() else e.stem: f"{table}/{e.name}" for e in own}
    if "id" not in found:
        raise ValueError(
            f"benchmark '{folder}' has no {FILE} and no id/: expected id/train, id/test and near/NAME or far/NAME"
        )
    return found
