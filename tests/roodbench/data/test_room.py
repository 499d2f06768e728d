"""Large sets lie in a file of which memory keeps what is in use; they say the same as small ones."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import roodbench
from roodbench.data import ImageSet, room
from roodbench.data.files import read_files
from roodbench.data.picture import Frame
from roodbench.data.room import Room, room_for
from tests.roodbench.data.pictures import draw, own_folder

ONE = 224 * 224 * 3
"""Bytes of a decoded image."""


def traced(call):
    """What a call gives, and the most bytes that it had allocated at a time."""
    tracemalloc.start()
    try:
        return call(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_decoded_images_of_224_pixels_are_never_all_in_memory(tmp_path, monkeypatch):
    """Of 192 images (29 MB) reading keeps fewer than 24 at a time, serving two shards, one in use and one ahead."""
    folder, count, threads = draw(tmp_path / "x", 3, size=(230, 226)), 192, []
    names = [f"{i % 3:02}.png" for i in range(count)]

    class Counted(ThreadPoolExecutor):
        def __init__(self, workers=None):
            threads.append(workers)
            super().__init__(4)

    def load():
        return read_files("x", folder, names, Frame(224, 226))

    whole, peak = traced(load)
    assert peak > count * ONE
    monkeypatch.setattr(room, "MEMORY", 2**20)
    monkeypatch.setattr(room, "ThreadPoolExecutor", Counted)
    pixels, peak = traced(load)
    assert isinstance(pixels, Room)
    assert threads == [None]
    assert np.array_equal(pixels, whole)
    assert peak < 24 * ONE
    images = ImageSet("x", "OOD test", [-1] * count, lambda: pixels)

    def serve():
        assert images.brightest <= 1
        return [float(x.mean()) for _, x in images.shards()]

    means, peak = traced(serve)
    small = ImageSet("x", "OOD test", [-1] * count, lambda: whole)
    assert means == [float(x.mean()) for _, x in small.shards()]
    assert images.digest == small.digest
    assert peak < 5 * 64 * 4 * ONE  # floats of 4 bytes: two shards, each while it is converted


def test_each_image_is_decoded_once(tmp_path, monkeypatch):
    from roodbench.data import files

    read, seen = files.read_picture, []
    monkeypatch.setattr(files, "read_picture", lambda file, frame: seen.append(file) or read(file, frame))
    monkeypatch.setattr(room, "MEMORY", 100)
    bench = roodbench.load_benchmark(str(own_folder(tmp_path / "pets")), ood="foxes")
    bench.check()
    for images in (bench.id_train, bench.id_test, bench.ood["foxes"]):
        list(images.shards())
        assert images.distinct == len(images)
    assert len(seen) - len(set(seen)) == 5  # the first of each set, validation sets too, says its size


@pytest.mark.parametrize("memory", [2**30, 100])
def test_nobody_can_write_into_either(memory, tmp_path, monkeypatch):
    monkeypatch.setattr(room, "MEMORY", memory)
    bench = roodbench.load_benchmark(str(own_folder(tmp_path / "pets")))
    images = bench.id_test
    before = images.shard(0, 5)
    images.shard(0, 5).mul_(0)
    with pytest.raises(ValueError, match="read-only"):
        images.array[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        images._content().pixels[0] = 0
    assert (images.shard(0, 5) == before).all()


def test_a_disk_without_room_is_one_line(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full, raising=False)
    with pytest.raises(ValueError, match=r"^x: no room of 15\.1 GB in '.*' for 100000 decoded images \(No space left"):
        room_for("x", (100_000, 224, 224, 3))
