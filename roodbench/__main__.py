"""python -m roodbench."""

import os
import sys


def leave(code: int) -> None:
    """End the process without taking torch's modules apart, which takes a tenth of a second or two and helps nobody."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # nobody listens any more
        code = code or 1
    os._exit(code)


def script() -> None:
    """The console script `roodbench`."""
    try:
        from .cli import main

        leave(main())
    except KeyboardInterrupt:  # before main could say so
        leave(130)


if __name__ == "__main__":
    script()
