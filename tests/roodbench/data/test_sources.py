"""Sets from arrays and Datasets, in Python and from files; nothing in a file is run."""

import pickle
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, Subset, TensorDataset

from roodbench.data import SplitGuard
from roodbench.data.picture import Frame
from roodbench.data.spec import Reading, source_of

RNG = np.random.default_rng(0)
LEVELS = RNG.integers(0, 256, (12, 6, 5, 3), dtype=np.uint8)
LABELS = np.arange(12) % 3


class Pairs(Dataset):
    """Pictures and labels, without `targets`."""

    def __init__(self, pairs):
        self.pairs = pairs

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, i):
        return self.pairs[i]


def read(what, *, ood=False, **how):
    return source_of(what, Reading(**how), ood=ood)


FILES = {
    "x.npz": lambda f: np.savez(f, images=LEVELS, labels=LABELS),
    "short.npz": lambda f: np.savez(f, x=LEVELS, y=LABELS),
    "bare.npz": lambda f: np.savez(f, LEVELS, LABELS),
    "x.pt": lambda f: torch.save((torch.from_numpy(LEVELS), torch.from_numpy(LABELS)), f),
    "torch.pt": lambda f: torch.save(
        {"data": torch.from_numpy(LEVELS).permute(0, 3, 1, 2), "targets": torch.from_numpy(LABELS)}, f
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_arrays(name, tmp_path):
    FILES[name](tmp_path / name)
    source = read(name, folder=tmp_path)
    assert source.labels.tolist() == LABELS.tolist()
    assert np.array_equal(source.images(), LEVELS)
    assert np.array_equal(source.at(np.array([7, 2])).images(), LEVELS[[7, 2]])


def test_a_numpy_array_has_its_labels_in_another_file(tmp_path):
    np.save(tmp_path / "x.npy", LEVELS), np.save(tmp_path / "y.npy", LABELS)
    assert read("x.npy", folder=tmp_path).labels.tolist() == [-1] * 12
    source = read({"images": "x.npy", "labels": "y.npy"}, folder=tmp_path)
    assert source.labels.tolist() == LABELS.tolist()
    assert np.array_equal(source.images(), LEVELS)


@pytest.mark.parametrize("size", [4, (4, 6)])
def test_arrays_of_another_size_become_pictures_in_a_frame(size):
    side, short = size if isinstance(size, tuple) else (size, None)
    frame = Frame(side, short)
    expected = np.stack([frame.of(Image.fromarray(image)) for image in LEVELS])
    assert np.array_equal(read(LEVELS, frame=frame, ood=True).images(), expected)
    pairs = Pairs([(Image.fromarray(image), int(y)) for image, y in zip(LEVELS, LABELS, strict=True)])
    assert np.array_equal(read(pairs, frame=frame).images(), expected)
    grey = read(LEVELS[..., 0], frame=Frame(side, short, 1), ood=True).images()
    assert grey.shape == (12, side, side, 1)
    floats = LEVELS.transpose(0, 3, 1, 2) / np.float32(255)
    assert read(floats, frame=frame, ood=True).images().shape == (12, 3, 6, 5)


@pytest.mark.parametrize("kind", ["pictures", "arrays", "tensors", "bytes of torch", "TensorDataset", "Subset", "list"])
def test_datasets(kind):
    floats = torch.from_numpy(LEVELS.transpose(0, 3, 1, 2) / np.float32(255))
    items = {
        "pictures": [Image.fromarray(image) for image in LEVELS],
        "arrays": list(LEVELS),
        "tensors": list(floats),
        "bytes of torch": [torch.from_numpy(image).permute(2, 0, 1) for image in LEVELS],
    }
    if kind == "TensorDataset":
        dataset = TensorDataset(floats, torch.from_numpy(LABELS))
    else:
        dataset = Pairs([(x, int(y)) for x, y in zip(items.get(kind, items["arrays"]), LABELS, strict=True)])
    index = np.array([3, 1, 8])
    if kind == "Subset":
        dataset.targets = LABELS.tolist()
        dataset = Subset(dataset, index.tolist())
    source = read(dataset.pairs if kind == "list" else dataset)
    source = source if kind == "Subset" else source.at(index)
    assert source.labels.tolist() == LABELS[index].tolist()
    found = source.images()
    found = np.rint(found.transpose(0, 2, 3, 1) * 255) if found.dtype == np.float32 else found
    assert np.array_equal(found, LEVELS[index])


def test_labels_that_a_dataset_says_are_asked_for_no_image():
    class Counting(Pairs):
        asked = 0
        targets = LABELS.tolist()

        def __getitem__(self, i):
            self.asked += 1
            return super().__getitem__(i)

    dataset = Counting([(image, int(y)) for image, y in zip(LEVELS, LABELS, strict=True)])
    source = read(dataset).at(np.array([1, 2]))
    assert dataset.asked == 0
    source.images()
    assert dataset.asked == 5  # the first for its shape, both again: are they the same?


class Flips(Pairs):
    """Half of the items are flipped, others each time, but never the first."""

    def __getitem__(self, i):
        image, label = self.pairs[i]
        return (image[:, ::-1] if i and RNG.random() < 0.5 else image), label


def test_a_random_flip_is_noticed_wherever_it_happens():
    found = Flips([(RNG.integers(0, 256, (4, 4, 3), dtype=np.uint8), 1) for _ in range(40)])
    with pytest.raises(ValueError, match=r"item \d+ is another image every time: leave out random transforms"):
        read(found).images()


class Odd(Pairs):
    def __init__(self, item, targets=None):
        super().__init__([item] * 3)
        if targets is not None:
            self.targets = targets

    def __getitem__(self, i):
        return item() if callable(item := self.pairs[i]) else item


def broken():
    raise KeyError("lost")


DATASETS = {
    "no label": (Odd(LEVELS[0]), "item 0 has the int -1|item 0 has label|expected a class|has no labels"),
    "a float label": (Odd((LEVELS[0], 0.5)), "item 0 has the float 0.5 for a label: expected (image, class)"),
    "other targets": (Odd((LEVELS[0], 1), [1, 2, 1]), "item 1 has label 1 and its targets say 2"),
    "random": (Odd(lambda: (RNG.integers(0, 9, (4, 4, 3), dtype=np.uint8), 1)), "item 0 is another image every time"),
    "raises": (Odd(broken), "item 0: KeyError: 'lost'"),
    "text": (Odd(("x.png", 1)), "expected a PIL image, a uint8 array"),
    "deep": (Odd((Image.new("I", (4, 4)), 1)), "an image of mode I, whose range is unknown"),
    "odd shape": (Odd((LEVELS[0, :, :, :2], 1)), "uint8 (6, 5, 2): expected a PIL image"),
    "whole numbers": (Odd((LEVELS[0].astype(np.int64), 1)), "int64 (6, 5, 3): expected a PIL image"),
    "two sizes": (
        Pairs([(LEVELS[0], 0), (LEVELS[0][:3], 1)]),
        "item 1 is uint8 (3, 5, 3), item 0 uint8 (6",
    ),
    "one image": (Pairs([(LEVELS[0], 0)]), "has 1 image: expected at least 2"),
    "nothing": (Pairs([]), "has 0 images: expected at least 2"),
}


@pytest.mark.parametrize("case", DATASETS)
def test_a_dataset_that_cannot_be_read_is_one_line(case):
    dataset, message = DATASETS[case]
    expected = message if "|" in message else re.escape(message)
    with pytest.raises(ValueError, match=expected) as caught:
        read(dataset).image_set("x", "ID test", SplitGuard()).shard(0, 2)
    assert "\n" not in str(caught.value)


class Trap:
    """Whoever unpickles it is found out."""

    def __reduce__(self):
        return (open, (str(TRAP), "w"))


TRAP = None


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.pt", "plain.pt", "plain.npy", "objects.npz"])
def test_nothing_is_unpickled(name, tmp_path):
    global TRAP
    TRAP = tmp_path / "sprung"
    trap = np.array([Trap(), Trap()], dtype=object)
    file = tmp_path / name
    if name.startswith("plain"):
        file.write_bytes(pickle.dumps(Trap()))
    elif name.endswith(".npz"):
        np.savez(file, **{"images": LEVELS, "labels": trap} if name == "x.npz" else {"images": trap})
    elif name.endswith(".npy"):
        np.save(file, trap, allow_pickle=True)
    else:
        torch.save({"images": torch.from_numpy(LEVELS), "labels": Trap()}, file)
    with pytest.raises(ValueError, match=r"array '.*' is no array, or holds Python objects, which are not unpickled"):
        read(name, folder=tmp_path)
    assert not TRAP.exists()


MALFORMED = {
    "empty.npy": (b"", "cannot be read, or is cut off|is no array"),
    "text.npz": (b"<html>", "is no array, or holds Python objects"),
    "text.pt": (b"hello", "is no array|cannot be read"),
    "folder.npy": (None, "is no file: expected .npz"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_files_are_one_line(name, tmp_path):
    content, message = MALFORMED[name]
    (tmp_path / name).mkdir() if content is None else (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read(name, folder=tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ((LEVELS, LABELS[:5]), "5 labels for 12 images"),
        ((LEVELS, LABELS / 2), "labels are float64 (12,): expected whole numbers (n,)"),
        ((LEVELS, LABELS + 2**40), "label 1099511627778: expected a class"),
        (np.float32(3), "expected"),
        (3, "the int 3: expected images (n, ...), (images, labels), a Dataset"),
        ({"images": "x", "label": "y"}, "unknown key 'label': did you mean 'labels'?"),
        ({"images": 3, "labels": "y"}, "images is the int 3: expected a name"),
        ("nowhere", "folder 'nowhere' is missing"),
        ("nomodule:x", "data set 'nomodule:x': cannot import 'nomodule' (ModuleNotFoundError"),
        ("math:pi", "data set 'math:pi' is the float 3.14"),
        ("math:pie", "unknown attribute of math 'pie'|math has no 'pie'"),
    ],
)
def test_what_is_no_set_is_one_line(what, message):
    with pytest.raises(ValueError, match=message if "|" in message else re.escape(message)) as caught:
        read(what)
    assert "\n" not in str(caught.value)
