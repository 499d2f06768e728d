"""A download that is not finished: OOD validation in OpenOOD's layout, which no choice of test sets leaves out."""

import pytest

import roodbench
from tests.roodbench.data.pictures import draw


@pytest.fixture
def root(tmp_path):
    """CIFAR-10's layout, of which the images of tin, also of OOD validation, are not there."""
    lists = tmp_path / "benchmark_imglist" / "cifar10"
    lists.mkdir(parents=True)
    counts = {"train_cifar10": 6, "val_cifar10": 4, "test_cifar10": 5, "test_mnist": 20, "test_texture": 10}
    for seed, (name, n) in enumerate({**counts, "test_tin": 4, "val_tin": 4}.items()):
        lines = [f"{name}/{i:02}.png {i % 3 if 'cifar10' in name else -1}" for i in range(n)]
        (lists / f"{name}.txt").write_text("\n".join(lines))
        if "tin" not in name:
            draw(tmp_path / "images_classic" / name, n, seed)
    return tmp_path


def test_what_the_error_proposes_runs(root, caplog):
    said = r"cifar10 lacks images of val_tin \(4 of 4, the first in .*\); tin \(4 of 4, .*\); finish the download, "
    with pytest.raises(ValueError, match=said + "or run with the rest: --ood mnist,texture$"):
        roodbench.load_benchmark("cifar10", root=root)
    bench = roodbench.load_benchmark("cifar10", root=root, ood=["mnist", "texture"])
    bench.check()
    assert "cifar10: OOD validation lacks images (4 of 4, the first in list" in caplog.text
    names = {key: set(images.names) for key, images in bench.ood.items()}
    assert {key: len(its) for key, its in names.items()} == {"mnist": 16, "texture": 8}
    held = {name.partition(": ")[2] for name in bench.ood_val.names}
    assert len(held) == 4 + 2
    assert not held & (names["mnist"] | names["texture"])
