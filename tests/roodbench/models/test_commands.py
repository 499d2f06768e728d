"""Networks of other libraries through the command, on a folder in OpenOOD's ImageNet layout, images of 224 pixels."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import roodbench
from roodbench import cli
from roodbench.models import openood
from roodbench.models.timm import import_timm
from roodbench.store.vision import import_torchvision
from tests.roodbench.models.by_hand import needed, normalised, stirred

SETS = {"train_imagenet": 12, "val_imagenet": 8, "test_imagenet": 8, "test_ninco": 8, "test_textures": 8}
SIDE, CROP = 256, 16
"""Of the files, and what OpenOOD's preprocessing cuts off on each side."""
CLOSE = 1e-5
LIMIT = ["--no-check", "--limit", "8", "--format", "json"]


def blocks(name, i):
    """An image of 8 x 8 blocks: a small file."""
    rng = np.random.default_rng([i, *name.encode()])
    return rng.integers(0, 256, (8, 8, 3), dtype=np.uint8).repeat(SIDE // 8, 0).repeat(SIDE // 8, 1)


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """A data root for `imagenet1k` with images of six classes."""
    root = tmp_path_factory.mktemp("data")
    lists = root / "benchmark_imglist" / "imagenet"
    lists.mkdir(parents=True)
    for name, n in {**SETS, "val_openimage_o": 8}.items():
        folder, is_id = root / "images_largescale" / name, name.endswith("_imagenet")
        folder = root / "images_classic" / name if name.endswith("textures") else folder
        folder.mkdir(parents=True)
        for i in range(n):
            Image.fromarray(blocks(name, i)).save(folder / f"{i}.png")
        lines = [f"{name}/{i}.png {i % 6 if is_id else -1}" for i in range(n)]
        (lists / f"{name}.txt").write_text("\n".join(lines))
    return root


def images_of(name, order):
    """The same (n, 3, 224, 224) by hand."""
    inner = [blocks(name, i)[CROP:-CROP, CROP:-CROP] for i in order]
    return torch.from_numpy(np.stack(inner)).permute(0, 3, 1, 2).float() / 255


def timm_net(name):
    net = needed(import_timm).create_model(name)
    numbers = net.pretrained_cfg
    return net, (numbers["mean"], numbers["std"])


def torchvision_net(name):
    return getattr(needed(import_torchvision).models, name)(), openood.IMAGENET


NETS = {
    **{
        f"timm:{name}": timm_net
        for name in (
            *("resnet18", "vit_tiny_patch16_224", "convnext_atto", "efficientnet_lite0"),
            "mobilenetv3_small_050",
        )
    },
    **{f"torchvision:{name}": torchvision_net for name in ("resnet18", "squeezenet1_1", "swin_t")},
    "openood:resnet50": lambda name: (openood.ARCHITECTURES[name].make(1000), openood.IMAGENET),
}
HEADLESS = {"torchvision:squeezenet1_1"}
"""A ReLU follows its last layer."""
ATTACKS = {
    "pgd": ["--attack", "both", "--method", "pgd", "--steps", "2", "--restarts", "1", "--ood", "textures"],
    "suite": ["--attack", "both", "--steps", "1", "--restarts", "1"],
    "none": ["--attack", "none"],
}
"""The suite costs hundreds of passes an image, each OOD set as many again: the fastest network has both."""
CASES = [
    *(pytest.param(spec, "pgd", marks=pytest.mark.slow) for spec in NETS),
    pytest.param("timm:mobilenetv3_small_050", "suite", marks=pytest.mark.slow),
    pytest.param("timm:mobilenetv3_small_050", "none", marks=pytest.mark.slow),
    pytest.param("torchvision:squeezenet1_1", "none", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("spec", "attack"), CASES)
def test_a_network_of_224_pixels_through_the_command(spec, attack, imagenet, tmp_path, monkeypatch, capsys):
    """Clean scores are those of plain PyTorch, and attacks run on those of logits and of features."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    plain, numbers = NETS[spec](spec.partition(":")[2])
    torch.save(stirred(plain).state_dict(), "w.pt")
    chosen = ["--detector", "msp,knn", "--param", "neighbours=3", "--benchmark", "imagenet1k", "--out", "runs"]
    network = ["--model", spec, "--checkpoint", "w.pt"]
    code = cli.main([*chosen, *LIMIT, *ATTACKS[attack], "--data-root", str(imagenet), *network])
    out, err = capsys.readouterr()
    assert code == 0, err
    found = {(row["detector"], row["ood"], row["condition"]): row["auroc"] for row in json.loads(out)["rows"]}
    assert set(found) == {
        (detector, ood, condition)
        for detector in (("msp",) if spec in HEADLESS else ("msp", "knn"))
        for ood in (("textures",) if attack == "pgd" else ("ninco", "textures"))
        for condition in (("clean",) if attack == "none" else ("clean", "min", "max", "both"))
    }
    for (detector, ood, condition), auroc in found.items():
        clean = found[detector, ood, "clean"]
        assert auroc <= clean
        assert condition != "both" or auroc < clean or clean == 0
    assert ("knn is left out: knn needs penultimate features" in err) == (spec in HEADLESS)
    (folder,) = Path("runs").glob("imagenet1k-*")
    result = roodbench.Result.load(folder)
    bench = roodbench.load_benchmark("imagenet1k", root=imagenet, limit=8)
    for images in (bench.id_test, *(bench.ood[ood] for ood in dict.fromkeys(key[1] for key in found))):
        order = [int(Path(name).stem) for name in images.names]
        with torch.no_grad():
            expected = plain(normalised(images_of(f"test_{images.name}", order), *numbers)).softmax(1).amax(1)
        assert float(expected.std()) > 10 * CLOSE * float(expected.mean())
        np.testing.assert_allclose(result.scores_of("msp", images.name)[0], expected, rtol=CLOSE)
