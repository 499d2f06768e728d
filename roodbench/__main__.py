"""python -m roodbench."""

import os
import sys


def leave(code: int) -> None:
    """End the process without taking torch's modules apart, which takes a tenth of a second or two and helps nobody."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:  # a closed descriptor has none
                stream.flush()
        except (OSError, ValueError):  # nobody listens any more
            code = code or 1
    os._exit(code)


def occupy() -> None:
    """Open what is closed of stdin, stdout and stderr on nothing: a file of ours would take its number and its text."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def script() -> None:
    """The console script `roodbench`."""
    occupy()
    try:
        from .cli import main

        leave(main())
    except KeyboardInterrupt:  # before main could say so
        leave(130)


if __name__ == "__main__":
    from .lazy import search_here

    search_here()
    script()
