"""The images that a run kept: the first of every attacked set, as they are and as the attack left them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import Tensor

from ..data import ImageSet
from ..evaluation.populations import Evaluated
from ..store.cells import checksum
from .pairs import sizes_of
from .record import Record, clean_key, score_key

ROUNDING = 1e-5
"""Of a distance, relative, and of a pixel."""


def images_in(found: Iterable[Evaluated]) -> dict[str, Tensor]:
    """Images (k, C, H, W): attacked ones by `score_key`, clean ones once by `clean_key`."""
    tensors: dict[str, Tensor] = {}
    for f in found:
        sets: dict[str, ImageSet] = {f.bench.id_test.name: f.bench.id_test, **f.bench.ood}
        for (name, condition), population in f.populations.items():
            if population.images is not None:
                tensors[score_key(f.detector.label, name, condition, f.eps)] = population.images
                tensors.setdefault(clean_key(name), sets[name].shard(0, len(population.images)))
    return tensors


def check_images(record: Record) -> None:
    """ValueError, in one clause, where the images of a record are not its own.

    That is by their hash, and by what its attacks imply: names, sizes, pixels, and the ball around the clean images.
    """
    if (found := checksum(record.images)) != record.images_sha256:
        raise ValueError(f"the hash of the images is {found}, the record's {record.images_sha256}")
    for line in contradictions(record):
        raise ValueError(line)


def contradictions(record: Record) -> Iterator[str]:
    """What images have that no attack of the record can have made."""
    sizes, norms = sizes_of(record), {row.eps: row.norm for row in record.rows}
    attacked = {score_key(a.detector, a.population, a.condition, a.eps): a for a in record.attacks}
    expected = {*attacked, *(clean_key(a.population) for a in record.attacks)}
    yield from (f"{key} is in the record alone" for key in sorted(expected - set(record.images)))
    yield from (f"{key} is among the images alone" for key in sorted(set(record.images) - expected))
    for key in sorted(expected & set(record.images)):
        images = record.images[key]
        if images.ndim != 4 or not images.is_floating_point() or not len(images):
            yield f"{key} has shape {tuple(images.shape)}: expected float images (k, C, H, W)"
        elif not (images.isfinite().all() and images.min() >= -ROUNDING and images.max() <= 1 + ROUNDING):
            yield f"{key} has pixels beyond [0, 1]"
    for key, a in attacked.items():
        moved, clean = (record.images.get(name) for name in (key, clean_key(a.population)))
        if moved is None or clean is None:
            continue
        if moved.shape != clean.shape or len(moved) > (sizes.get(a.population) or 0):
            yield f"{key} has shape {tuple(moved.shape)}: the clean ones {tuple(clean.shape)}"
            continue
        known = range(len(a.components))
        if len(a.winner) < len(moved) or any(winner not in known for winner in a.winner[: len(moved)]):
            yield f"{key} has no winner for each image"
        apart = (moved.double() - clean.double()).flatten(1)
        far = float((apart.norm(dim=1) if norms.get(a.eps) == "l2" else apart.abs().amax(1)).max())
        if far > a.eps * (1 + ROUNDING) + ROUNDING:
            yield f"{key} is {far:.4g} away from the clean images, beyond the radius {a.eps:.4g}"
