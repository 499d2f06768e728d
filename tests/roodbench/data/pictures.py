"""Small pictures on disk, for tests of what reads them."""

import numpy as np
from PIL import Image

WHOLE = """name = "pets"
size = 8
resize = 9
eps = "4/255"

[id]
train = "id/train"
test = "id/test"

[near]
foxes = "near/foxes"

[far]
noise = "far/noise.npz"
"""
"""A file for the folder that `own_folder` makes."""


def draw(folder, count, seed=0, size=(12, 10), ending="png"):
    """`count` files of noise in a new folder; the folder."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(folder / f"{i:02}.{ending}")
    return folder


def own_folder(root):
    """A benchmark's folder: cats and dogs, 10 + 10 to train on, 5 + 5 to test, 10 foxes near and 12 arrays far."""
    for seed, (split, count) in enumerate((("train", 10), ("test", 5))):
        for place, name in enumerate(("cat", "dog")):
            draw(root / "id" / split / name, count, seed=10 * seed + place)
    draw(root / "near" / "foxes", 10, seed=7)
    (root / "far").mkdir()
    noise = np.random.default_rng(8).integers(0, 256, (12, 10, 12, 3), dtype=np.uint8)
    np.savez(root / "far" / "noise.npz", images=noise)
    return root
