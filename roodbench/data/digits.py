"""The embedded benchmark: real 8x8 images that scikit-learn carries, no download."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from .benchmark import Benchmark
from .images import ImageSet, Split, SplitGuard, subset

ID_CLASSES = 6


def digits(limit: int | None = None) -> Benchmark:
    """Digits 0-5 as ID; near-OOD digits 6-9 (`unseen-digits`), far-OOD `photos` and `noise`; (1, 8, 8) in [0, 1].

    Splits (numpy default_rng(0), disjoint in content): ID train 600, val 150, test 333. OOD test 500 images of each
    set; OOD val 100 other images of each set, pooled. `photos` are 8x8 patches, on a grid, of scikit-learn's two
    sample photographs in grey; `noise` is uniform, in the digits' 17 grey levels.
    """
    images, target, known, pools = embedded()
    guard = SplitGuard()
    val = np.concatenate([pool[:100] for pool in pools.values()])

    def known_set(name: str, split: Split, index: np.ndarray) -> ImageSet:
        names = [f"digit {i}" for i in index]
        return ImageSet(name, split, target[index], lambda: images[index], names=names, guard=guard)

    def ood_set(name: str, pool: np.ndarray) -> ImageSet:
        kept = pool[subset(len(pool), limit)]
        return ImageSet(name, "OOD test", np.full(len(kept), -1), lambda: kept, guard=guard)

    test = known[750:]
    return Benchmark(
        name="digits",
        id_train=known_set("digits-train", "ID train", known[:600]),
        id_val=known_set("digits-val", "ID val", known[600:750]),
        id_test=known_set("digits", "ID test", test[subset(len(test), limit)]),
        ood_val=ImageSet("digits-ood-val", "OOD val", np.full(len(val), -1), lambda: val, guard=guard),
        ood={name: ood_set(name, pool[100:600]) for name, pool in pools.items()},
        groups={"unseen-digits": "near", "photos": "far", "noise": "far"},
        eps=16 / 255,
        sigma=0.05,
    )


@cache
def embedded() -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Read once, and not written into: images of digits (1797, 1, 8, 8) and which they are, the places of those that
    are ID in a random order, and the OOD images by set, too."""
    rng = np.random.default_rng(0)
    levels, target, photos = scikit_learn_images()
    images = (levels / 16).astype(np.float32)[:, None]
    known = rng.permutation(np.flatnonzero(target < ID_CLASSES))
    grey = [photo.astype(np.float64) @ [0.299, 0.587, 0.114] / 255 for photo in photos]
    pools = {
        "unseen-digits": images[rng.permutation(np.flatnonzero(target >= ID_CLASSES))],
        "photos": rng.permutation(np.concatenate([patches(photo) for photo in grey])),
        "noise": rng.integers(0, 17, (600, 1, 8, 8)).astype(np.float32) / 16,
    }
    for array in (images, target, known, *pools.values()):
        array.flags.writeable = False
    return images, target, known, pools


def scikit_learn_images() -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """What scikit-learn's `load_digits` and `load_sample_images` give, without importing it (0.3 to 1.5 s).

    Images (1797, 8, 8) in 0..16, their digits (1797,), and two photographs (427, 640, 3) uint8, read from the installed
    folder; where a file does not lie there, from scikit-learn's own functions.
    """
    spec = find_spec("sklearn")
    root = Path((spec and spec.origin) or "").parent / "datasets"
    files = [root / "data" / "digits.csv.gz", root / "images" / "china.jpg", root / "images" / "flower.jpg"]
    if not all(file.is_file() for file in files):
        from sklearn.datasets import load_digits, load_sample_images

        raw = load_digits()
        return raw.images, raw.target, load_sample_images().images
    from PIL import Image

    table = np.loadtxt(files[0], delimiter=",")
    return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(int), [np.asarray(Image.open(f)) for f in files[1:]]


def patches(photo: np.ndarray) -> np.ndarray:
    """The distinct 8x8 patches of a grey photograph's grid, (n, 1, 8, 8) float32."""
    h, w = photo.shape[0] // 8 * 8, photo.shape[1] // 8 * 8
    grid = photo[:h, :w].reshape(h // 8, 8, w // 8, 8).swapaxes(1, 2).reshape(-1, 1, 8, 8)
    return np.unique(grid.astype(np.float32), axis=0)
