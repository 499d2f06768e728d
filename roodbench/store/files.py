"""Files that other processes see either whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from torch import Tensor

from .process import is_alive, mark_of, me, of_mark

ABANDONED = 24 * 3600.0
"""Seconds after which half a file of a process elsewhere counts as left behind."""


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A temporary file beside `file` that takes its place at the end, or vanishes with an exception.

    It has the permissions that the user's umask leaves a new file, and is on the disk before it takes the place: a
    power cut leaves the old one or the new one. What a process that was killed had half written is cleared away by the
    next one that writes the same file.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    sweep(file.parent, file.name)
    temporary = temporary_of(file)
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    mode = temporary.stat().st_mode
    try:
        yield temporary
        temporary.chmod(mode)  # a writer may have made the file anew
        flush(temporary)
        os.replace(temporary, file)
        flush(file.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def temporary_of(file: Path) -> Path:
    """A new name beside a file, which says that this process writes it: `NAME.PROCESS.HEX.tmp`."""
    return file.with_name(f"{file.name}.{mark_of(me())}.{secrets.token_hex(4)}.tmp")


def sweep(folder: Path, name: str = "") -> None:
    """Clear away the temporary files in a folder, with `name` those of one file alone, whose processes are gone.

    Of processes elsewhere nothing is known: theirs go when nothing was written to them for a day.
    """
    with suppress(OSError):  # no such folder yet
        for file in [folder / other for other in os.listdir(folder) if other.endswith(".tmp")]:
            whose, mark = ["", "", *file.name.rsplit(".", 3)][-4:-2]
            process = of_mark(mark)
            if process is not None and name in ("", whose):
                with suppress(OSError):  # another one is faster
                    alive = is_alive(process)
                    if file.stat().st_mtime < time.time() - ABANDONED if alive is None else not alive:
                        file.unlink()


def flush(place: Path) -> None:
    """Wait until a file, or what a folder lists, is on the disk."""
    handle = os.open(place, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EROFS, errno.ENOTSUP):  # a place that cannot be flushed
            raise
    finally:
        os.close(handle)


def save_tensors(tensors: Mapping[str, Tensor], file: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file; OSError where that fails."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with replacing(file) as temporary:
        try:
            save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, temporary, metadata)
        except SafetensorError as error:  # its words for a disk that is full
            raise OSError(f"'{file}' cannot be written: {error}") from None


def save_text(text: str, file: Path) -> None:
    """Write a text file in UTF-8."""
    with replacing(file) as temporary:
        temporary.write_text(text, encoding="utf-8")


def file_in(place: Path | str, name: str) -> Path:
    """The file `name` in a folder, or the file that `place` is itself."""
    place = Path(place)
    return place / name if place.is_dir() else place


def read_text(file: Path) -> str:
    """A text file in UTF-8; ValueError, naming it, where that cannot be read."""
    with reading(file):
        return file.read_text(encoding="utf-8")


def read_hashed(file: Path) -> tuple[str, str]:
    """The same, as it lies there to the last byte, and the SHA-256 of these bytes."""
    with reading(file):
        found = file.read_bytes()
        return found.decode("utf-8"), hashlib.sha256(found).hexdigest()


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """ValueError, naming the file, where it cannot be read or is no text."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"'{file}' cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"'{file}' is not text in UTF-8: {error.reason}") from None


def load_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors in a safetensors file; ValueError, naming it, where it is none."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"'{file}' is not a safetensors file: {error}") from None
