"""Numbers given as text, such as `--batch-size 64`."""

from __future__ import annotations


def whole(name: str, text: str, expected: str) -> int:
    """A whole number given as text."""
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{name} {text!r}: expected {expected}") from None


def number(name: str, text: str) -> float:
    """A number given as text."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name} {text!r}: expected a number, such as 0.05") from None


def share_of(text: str) -> tuple[int, int]:
    """The I and N of `--shard I/N`; I counts from 1."""
    number, slash, of = text.partition("/")
    if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise ValueError(f"shard {text!r}: expected I/N, as 1/4 to 4/4")
    return int(number), int(of)
