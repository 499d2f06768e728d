"""Words of messages."""

from __future__ import annotations


def counted(n: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "notice"), counted(0, "entry"), counted(2, "class"), counted(1000, "image")
    ('1 notice', '0 entries', '2 classes', '1000 images')
    """
    if n == 1:
        return f"1 {noun}"
    ending = "es" if noun.endswith(("s", "x", "ch")) else "ies" if noun.endswith("y") else "s"
    return f"{n} {noun.removesuffix('y') if ending == 'ies' else noun}{ending}"
