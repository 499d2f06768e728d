"""stdout and stderr as they are: closed, without a reader, or of an encoding that lacks half the characters."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO, cast

PLAIN = str.maketrans({"─": "-", "━": "=", "…": "..."})
"""What stands for a table's rules where they cannot be encoded; any other character is escaped."""


class Tolerant:
    """A text stream that escapes what its encoding lacks, outlives its reader, and may be closed (None).

    OSError, naming the stream, where it cannot be written for another reason and is `needed`.
    """

    def __init__(self, stream: TextIO | None, name: str, *, needed: bool) -> None:
        self._stream = None if stream is None or stream.closed else stream
        self._name, self._needed = name, needed

    @property
    def encoding(self) -> str:
        return getattr(self._stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        try:
            text.encode(self.encoding)
            shown = text
        except UnicodeEncodeError:
            shown = text.translate(PLAIN).encode(self.encoding, "backslashreplace").decode(self.encoding)
        self._try("write", shown)
        return len(text)

    def flush(self) -> None:
        self._try("flush")

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        return -1 if self._stream is None else self._stream.fileno()

    def _try(self, action: str, *arguments: str) -> None:
        if self._stream is None:
            return
        try:
            getattr(self._stream, action)(*arguments)
        except OSError as error:
            if self._needed and not isinstance(error, BrokenPipeError):
                raise OSError(f"cannot write to {self._name}: {error.strerror}") from None
            drain(self._stream)
            self._stream = None


def drain(stream: TextIO) -> None:
    """Let what a stream still holds go nowhere, or it would fail once more when the process ends."""
    try:
        descriptor, nowhere = stream.fileno(), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
    except (OSError, ValueError):
        pass  # a stream without a descriptor


@contextmanager
def tolerant() -> Iterator[None]:
    """Print and log through `Tolerant` streams."""
    out, err = Tolerant(sys.stdout, "stdout", needed=True), Tolerant(sys.stderr, "stderr", needed=False)
    with redirect_stdout(cast(TextIO, out)), redirect_stderr(cast(TextIO, err)):
        yield


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does; gives the list of those that came.

    One that is ignored, as SIGHUP under nohup, stays so.
    """
    came: list[int] = []

    def stop(number: int, frame: Any) -> None:
        came.append(number)
        raise KeyboardInterrupt

    found = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    alone = threading.current_thread() is threading.main_thread()
    ours = [number for number in found if alone and signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, stop)
    try:
        yield came
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
