"""Common corruptions as a threat: corrupted ID in the place of ID test, by corruption and severity."""

import shutil

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score
from torch import nn

import detectors
import roodbench
from roodbench import cli, metrics
from roodbench.data.corruptions import bare, of_path
from roodbench.metrics.paired import worst_of

NETWORK = """import torch
from torch import nn
net = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(48, 2))
with torch.no_grad():
    net[2].weight.copy_(torch.linspace(0.1, 0.3, 48).expand(2, -1) * torch.tensor([[-1.0], [1.0]]))
    net[2].bias.copy_(torch.tensor([4.7, -4.7]))
"""
"""Two classes, dark and bright."""
KINDS = [(name, severity) for name in ("fog", "gaussian_noise") for severity in (1, 3)]
SETS = [f"imagenet_c/{name}/{severity}" for name, severity in KINDS]
SIZES = {"train_cifar10": 12, "val_cifar10": 10, "test_cifar10": 12, "test_jpeg": 10, "val_tin": 10}
OOD = {"test_texture": 11, "test_tin": 12}


class Silent(nn.Module):
    """A detector that shows no network."""

    def __init__(self, detector):
        super().__init__()
        self.score = [detector]

    def forward(self, x):
        return self.score[0](x)


def picture(rng, away, contrast=1.0):
    """One shade under noise, so far away from the middle."""
    pixels = 125 + contrast * (away + rng.normal(0, 10, (32, 32, 3)))
    return pixels.clip(0, 255).astype(np.uint8)


def ours(rng, i):
    return (-1, 1)[i % 2] * rng.uniform(5, 50)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """OpenOOD's layout: two classes, two OOD sets, a JPEG list, and ID corrupted in two ways and severities."""
    root, rng = tmp_path_factory.mktemp("tree"), np.random.default_rng(0)
    lists = root / "benchmark_imglist" / "cifar10"
    lists.mkdir(parents=True)

    def listed(key, names, images, labels):
        lines = []
        for name, image, label in zip(names, images, labels, strict=True):
            file = root / "images_classic" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(file)
            lines.append(f"{name} {label}\n")
        with (lists / f"{key}.txt").open("a") as file:
            file.writelines(lines)

    for key, n in {**SIZES, **OOD}.items():
        own = key in SIZES and key != "val_tin"
        shades = [ours(rng, i) if own else rng.uniform(-25, 25) for i in range(n)]
        names = [f"{key}/{i}.png" for i in range(n)]
        listed(key, names, [picture(rng, away) for away in shades], [i % 2 if own else -1 for i in range(n)])
    for corruption, severity in KINDS:
        names = [f"imagenet_c/{corruption}/{severity}/{i:05}.png" for i in range(10)]
        contrast = 1 - (0.15 if corruption == "fog" else 0.05) * severity
        images = [picture(rng, ours(rng, i), contrast) for i in range(10)]
        labels = [(i + (severity == 3 and i < 2)) % 2 for i in range(10)]  # two that no network gets right
        listed("test_imagenet_c", names, images, labels)
    (root / "shades.py").write_text(NETWORK)
    return root


@pytest.fixture
def tree(written, tmp_path):
    return shutil.copytree(written, tmp_path / "tree")


def run(root, *more):
    given = ["--benchmark", "cifar10", "--data-root", str(root), "--model", f"{root}/shades.py:net"]
    return cli.main([*given, "--quiet", "--out", str(root / "runs"), "--threat", "corruptions", *more])


@pytest.fixture(scope="module")
def result(written):
    assert run(written, "--detector", "msp,median", "--param", "copies=5") == 0
    return roodbench.Result.load(next((written / "runs").glob("*/result.json")).parent)


@pytest.mark.parametrize("detector", ["msp", "median(gen)"])
def test_rows_are_those_of_scikit_learn_on_the_scores(result, detector):
    scores = {name: result.scores_of(detector, name) for name in ("cifar10", "texture", "tin", *SETS)}

    def over(name, ood, metric):
        return np.mean([metric(i, o) for i, o in zip(scores[name], scores[ood], strict=True)])

    def area(name, ood):
        return over(name, ood, lambda i, o: roc_auc_score(np.repeat([1, 0], [len(i), len(o)]), np.concatenate([i, o])))

    own = {(r.ood, r.condition): r for r in result.rows if detector in (r.detector, f"{r.detector}({r.base})")}
    assert len(own) == 6
    entries = {e.name: e for e in result.shifted_id if e.detector == detector}
    for ood in ("texture", "tin"):
        areas = {name: area(name, ood) for name in SETS}
        fprs = {name: over(name, ood, metrics.fpr95_id) for name in SETS}
        worst = min(areas, key=areas.get)
        clean, mean, least = (own[ood, condition] for condition in ("clean", "corrupted", "worst"))
        assert clean.auroc == pytest.approx(area("cifar10", ood))
        assert mean.auroc == pytest.approx(np.mean(list(areas.values())))
        assert least.auroc == pytest.approx(areas[worst])
        assert 0.5 < least.auroc < mean.auroc < clean.auroc < 1
        assert (mean.attack, least.attack) == ("corruptions", worst)
        assert (clean.n_id, mean.n_id, least.n_id) == (12, 40, 10)
        assert mean.fpr95_id_refit == pytest.approx(np.mean(list(fprs.values())))
        assert least.fpr95_id_refit == pytest.approx(fprs[worst])
        assert clean.fpr95_id == mean.fpr95_id == least.fpr95_id
        parts = [metrics.components(scores[name], scores[ood]) for name in SETS]
        assert least.auroc_ci == pytest.approx(worst_of(parts).ci)
        assert f"{ood}: the worst is the least of 4 AUROCs" in least.warnings[-1]
        assert least.auroc_drop == pytest.approx(clean.auroc - areas[worst])
        for name in SETS:
            assert entries[name].auroc[ood] == pytest.approx(areas[name])
            assert entries[name].fpr95_id_refit[ood] == pytest.approx(fprs[name])
    means = {r.condition: r for r in result.averages if r.group == "all" and r.detector == detector.partition("(")[0]}
    by_name = {name: np.mean([area(name, ood) for ood in ("texture", "tin")]) for name in SETS}
    assert means["corrupted"].auroc == pytest.approx(np.mean(list(by_name.values())))
    assert means["worst"].auroc == pytest.approx(min(by_name.values()))
    assert means["worst"].warnings[-1].startswith("mean of all: the worst is the least of 4 AUROCs")
    assert means["worst"].attack == min(by_name, key=by_name.get)


def test_a_record_has_every_set_and_no_attack(result):
    assert result.config["threat"] == "corruptions"
    assert result.attacks == []
    kinds = [(e.corruption, e.severity) for e in result.shifted_id if e.detector == "msp"]
    assert sorted(kinds, key=str) == sorted([*KINDS, (None, None)], key=str)
    for row in [*result.rows, *result.averages]:
        low, high = row.auroc_ci
        assert 0 <= low <= row.auroc <= high <= 1
        assert row.passes == {"id": [0, 0], "ood": [0, 0]}
    again = roodbench.Result.from_json(result.to_json())
    assert (again.rows, again.shifted_id) == (result.rows, result.shifted_id)


def test_the_table_shows_mean_and_worst_and_names_it(result):
    head, _, columns, *_ = str(result).splitlines()
    assert head.endswith(
        "shades.py:net (ID accuracy 100.0%), 12 ID images; threat: 2 corruptions, 4 with their severities"
    )
    accuracies = {row.condition: row.id_accuracy for row in result.rows}
    assert accuracies == {"clean": 1.0, "corrupted": pytest.approx(0.9), "worst": 0.8}
    assert columns.split()[-8:] == ["clean", "corrupted", "worst", "FPR95", "FPR95", "corrupted", "FPR95", "worst"]
    assert "\nmsp: AUROC % by severity, mean over corruptions and OOD sets: 1: " in str(result)
    assert "; worst imagenet_c/fog/3: " in str(result)
    assert "shifted ID jpeg, msp" in str(result)
    assert "shifted ID imagenet_c" not in str(result)


REFUSED = {
    "--attack min": "threat corruptions takes no attack: leave out --attack min",
    "--attack both": "threat corruptions takes no attack: leave out --attack\n",
    "--eps 8/255": "threat corruptions takes no eps: leave out --eps 8/255",
    "--norm linf": "threat corruptions takes no norm: leave out --norm linf",
    "--method pgd": "threat corruptions takes no method: leave out --method pgd",
    "--quantize": "threat corruptions takes no quantize: leave out --quantize",
    "--full-spectrum": "threat corruptions takes no full-spectrum: leave out --full-spectrum",
    "--threat corruption": "as resubmit:10, or corruptions",
}


@pytest.mark.parametrize("arguments", REFUSED)
def test_settings_of_an_attack_are_refused(arguments, tmp_path, capsys):
    assert cli.main(["--threat", "corruptions", *arguments.split(), "--out", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert REFUSED[arguments] in err
    assert err.count("\n") == 1


def test_there_is_no_attack_to_check(tmp_path, capsys):
    assert cli.main(["check", "--threat", "corruptions", "--out", str(tmp_path)]) == 2
    assert "threat corruptions: there is no attack to check" in capsys.readouterr().err
    assert cli.main(["--threat", "corruptions", "--out", str(tmp_path)]) == 2
    assert "benchmark digits has no corrupted ID test set: expected a shifted set" in capsys.readouterr().err


def test_lists_that_are_not_there_are_named(tree, capsys):
    lists = tree / "benchmark_imglist" / "cifar10"
    (lists / "test_imagenet_c.txt").rename(lists / "test_cifar10c.txt")
    text = (lists / "test_cifar10c.txt").read_text()
    (lists / "test_cifar10c.txt").write_text(text.replace("fog/3/00000.png", "fog/00000.png"))
    assert run(tree) == 2
    assert "line 11: 'imagenet_c/fog/00000.png' names no corruption and severity, as" in capsys.readouterr().err
    (lists / "test_cifar10c.txt").write_text("".join(f"cifar10c/0000{i}_1.png 1\n" for i in range(4)))
    assert run(tree) == 2
    err = capsys.readouterr().err
    assert f"cifar10 has no corrupted ID: expected a list in '{lists}' with class labels and paths such as" in err
    assert "SET/fog/3/NAME.png; cifar10c there names none, or '" in err
    assert "/images_classic/CIFAR-10-C' with fog.npy, ... and labels.npy" in err.splitlines()[-1]


def test_missing_images_of_a_corrupted_list(tree, capsys):
    (tree / "images_classic" / "imagenet_c" / "fog" / "3" / "00004.png").unlink()
    assert run(tree, "--ood", "tin") == 2
    err = capsys.readouterr().err
    assert "cifar10 lacks images of imagenet_c (1 of 10, the first in list" in err
    assert "--ood" not in err


def test_limits_and_names_of_sets(written):
    given = {"root": written, "corruptions": True}
    bench = roodbench.load_benchmark("cifar10", **given, limit=4)
    assert [len(bench.shifted[name]) for name in SETS] == [4] * 4
    assert bench.corruptions == dict(zip(SETS, KINDS, strict=True))
    assert list(bench.shifted) == [*SETS, "jpeg"]
    few = roodbench.load_benchmark("cifar10", **given, ood=["tin", "imagenet_c"])
    assert (list(few.ood), list(few.shifted)) == (["tin"], SETS)
    plain = roodbench.load_benchmark("cifar10", root=written)
    assert (list(plain.shifted), dict(plain.corruptions)) == (["imagenet_c", "jpeg"], {})


@pytest.mark.parametrize(
    ("path", "kind", "rest"),
    [
        ("imagenet_c/fog/5/ILSVRC2012_val_00009346.JPEG", ("fog", 5), "imagenet_c//ILSVRC2012_val_00009346.JPEG"),
        ("c/zoom_blur_2/1.png", ("zoom_blur", 2), "c//1.png"),
        ("gaussian_noise/severity_3/cat/1.png", ("gaussian_noise", 3), "/cat/1.png"),
        ("cifar10c/04972_8.png", None, "cifar10c/04972_8.png"),
        ("imagenet_v2/fog/12/1.png", None, "imagenet_v2/fog/12/1.png"),
        ("imagenet_v2/snow/3.png", None, "imagenet_v2/snow/3.png"),
        ("c/bigfog/3/1.png", None, "c/bigfog/3/1.png"),
    ],
)
def test_what_a_path_says(path, kind, rest):
    assert of_path(path) == kind
    assert bare(path) == rest


def test_the_published_arrays_are_read_as_they_are(tree):
    """Each file of CIFAR-10-C has the images of severity 1, then those of 2, ...: 5 times the same labels."""
    rng, folder = np.random.default_rng(1), tree / "images_classic" / "CIFAR-10-C"
    folder.mkdir()
    files = {name: rng.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8) for name in ("frost", "snow", "spatter")}
    for name, images in files.items():
        np.save(folder / f"{name}.npy", images)
    np.save(folder / "labels.npy", np.tile([0, 1, 1, 0], 5))
    bench = roodbench.load_benchmark("cifar10", root=tree, corruptions=True)
    expected = {f"CIFAR-10-C/{name}/{severity}" for name in ("frost", "snow") for severity in range(1, 6)}
    assert {name for name in bench.corruptions if name.startswith("CIFAR")} == expected
    images = bench.shifted["CIFAR-10-C/snow/4"]
    order = [int(name.rpartition(" ")[2]) for name in images.names]
    assert np.array_equal(images.array, files["snow"][12:16][order])
    assert images.labels.tolist() == [[0, 1, 1, 0][i] for i in order]
    assert {bare(name) for name in images.names} == {bare(n) for n in bench.shifted["CIFAR-10-C/frost/1"].names}
    np.save(folder / "snow.npy", files["snow"][:18])
    np.save(folder / "labels.npy", np.zeros(18, int))
    (folder / "frost.npy").unlink()
    with pytest.raises(ValueError, match=r"snow.npy' has 18 images: expected as many of each of 5 severities"):
        roodbench.load_benchmark("cifar10", root=tree, corruptions=True)


def test_sets_of_a_toml_are_named_so(tmp_path):
    rng = np.random.default_rng(0)
    for key, n in {"train": 20, "test": 6, "dim": 6, "dark": 8, "foxes": 10}.items():
        images = rng.integers(0, 256, (n, 8, 8, 1), dtype=np.uint8)
        np.savez(tmp_path / f"{key}.npz", images=images, labels=np.arange(n) % 2)
    (tmp_path / "my.toml").write_text(
        '[id]\ntrain = "train.npz"\ntest = "test.npz"\n[near]\nfoxes = "foxes.npz"\n'
        '[shifted]\n"dusk/1" = "dim.npz"\n"dusk/3" = "dark.npz"\nother = "dim.npz"\n'
    )
    bench = roodbench.load_benchmark(str(tmp_path / "my.toml"), corruptions=True)
    assert bench.corruptions == {"dusk/1": ("dusk", 1), "dusk/3": ("dusk", 3)}
    assert list(bench.shifted) == ["dusk/1", "dusk/3", "other"]
    assert not roodbench.load_benchmark(str(tmp_path / "my.toml")).corruptions


def test_from_python(written):
    bench = roodbench.load_benchmark("cifar10", root=written, ood="tin", corruptions=True, limit=6)
    net = roodbench.load_model(f"{written}/shades.py:net", sample=bench.id_val.shard(0, 2))
    detector = detectors.create("msp", net).fit(bench.id_train, bench.id_val)
    result = roodbench.evaluate(detector, bench, threat="corruptions")
    assert [row.condition for row in result.rows] == ["clean", "corrupted", "worst"]
    with pytest.raises(ValueError, match="threat corruptions takes no attack: leave out --attack max"):
        roodbench.evaluate(detector, bench, threat="corruptions", attack="max")
    with pytest.raises(ValueError, match="takes no eps"):
        roodbench.evaluate(detector, bench, threat="corruptions", eps=0.1)
    silent = roodbench.evaluate(Silent(detector), bench, threat="corruptions")
    assert [row.auroc for row in silent.rows] == [row.auroc for row in result.rows]
    assert {entry.id_accuracy for entry in silent.shifted_id} == {None}
    assert "shifted ID" not in str(silent)
