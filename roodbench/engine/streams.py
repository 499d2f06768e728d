"""Every stream of randomness: uses that must be independent draw from streams of their own."""

from __future__ import annotations

import hashlib

import torch

STREAMS = {
    "attack": "starts, noisy copies and queries of one component: attack/pgd:exact",
    "eot": "sizes the noisy copies of a gradient: eot/mean",
    "select": "chooses between candidates",
    "report": "scores that the report shows",
    "reference": "clean scores by which candidates are ranked",
    "instability": "the deviation D that the record shows of clean images",
    "repeat": "scores that must not differ between repeats",
    "company": "scores and gradients of images among other images",
    "differences": "starts and common noise of the differences that judge a gradient",
    "search": "scores of the validation images in a search of parameters",
    "precision": "the rehearsal that decides on bfloat16",
    "behaviour": "scores and gradients by which a kept result is known to be of the same detector",
    "landscape": "two directions, and the noise on which a landscape is scored",
    "certify": "noisy scores of a certification, by block: certify/3",
    "verify": "noisy scores of an assessor's check, by seed and block: verify/77/3",
}
"""What draws from a stream, by the first part of its name. (`fit` draws on the CPU, from the detector's own seed.)"""


def stream(seed: int, name: str, population: str, shard: int, device: torch.device) -> torch.Generator:
    """The generator of one use of randomness; other names, populations and shards get unrelated ones.

    >>> cpu = torch.device("cpu")
    >>> draw = lambda shard: float(torch.rand(1, generator=stream(0, "report", "digits", shard, cpu)))
    >>> draw(0) == draw(0), draw(0) == draw(1)
    (True, False)
    """
    if name.partition("/")[0] not in STREAMS:
        raise ValueError(f"unknown stream {name!r}: expected one of {', '.join(STREAMS)}")
    digest = hashlib.sha256(f"{seed}/{name}/{population}/{shard}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)
