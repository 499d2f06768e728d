"""A record and the file beside it are read as one only where they are of one run."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

import detectors
import roodbench
from roodbench import Result
from roodbench.certify import CertifiedResult, CertifyConfig, certify
from tests.roodbench.helpers import small

REPORTS = sorted(Path(__file__).parents[3].glob("reports/ross-under-attack/*/result.json"))
KNOWN_SEED = {"steps": 2, "check": False, "threat": "known-seed"}


@pytest.fixture(scope="module")
def folders(digits_net, tmp_path_factory):
    """Two runs that differ in their seed alone, and one under another threat."""
    made = []
    for seed, settings in ((0, {"steps": 2, "check": False}), (1, {"steps": 2, "check": False}), (0, KNOWN_SEED)):
        bench = small(6)
        ross = detectors.create("ross", digits_net, sigma=bench.sigma, copies=5).fit(bench.id_train, bench.id_val)
        made.append(tmp_path_factory.mktemp("run"))
        roodbench.evaluate(ross, bench, seed=seed, **settings).save(made[-1])
    return made


@pytest.fixture
def folder(folders, tmp_path):
    return shutil.copytree(folders[0], tmp_path / "run")


def rewritten(change):
    """A change of the tensors in a folder's scores."""

    def forge(folder):
        tensors = load_file(folder / "scores.safetensors")
        change(tensors)
        save_file(tensors, folder / "scores.safetensors")

    return forge


def older(folder):
    """The record as it was before it had a hash of its scores."""
    record = json.loads((folder / "result.json").read_text())
    del record["scores_sha256"]
    (folder / "result.json").write_text(json.dumps(record))


def refused(folder):
    """What `load` says, in one line that names the folder."""
    with pytest.raises(ValueError) as caught:
        Result.load(folder)
    (line,) = str(caught.value).splitlines()
    assert str(folder) in line
    return line


@pytest.mark.parametrize("is_older", [False, True])
def test_scores_of_another_run_are_refused(is_older, folder, folders):
    shutil.copy(folders[1] / "scores.safetensors", folder)
    if is_older:
        older(folder)
    assert "is not of the run in result.json" in refused(folder)


def one_less(tensors):
    tensors["ross(gen)/digits/clean"] = tensors["ross(gen)/digits/clean"][:, 1:].clone()


def another_winner(tensors):
    tensors["ross(gen)/0.0627451/digits/min/winner"][0] += 1


def swapped(tensors):
    """ID scores for OOD scores, which have the same shape."""
    one, other = "ross(gen)/digits/clean", "ross(gen)/unseen-digits/clean"
    tensors[one], tensors[other] = tensors[other], tensors[one]


FORGERIES = {
    "ross(gen)/digits/clean is in the record alone": lambda tensors: tensors.pop("ross(gen)/digits/clean"),
    "other/digits/clean is in the scores alone": lambda tensors: tensors.update(
        {"other/digits/clean": tensors["ross(gen)/digits/clean"].clone()}
    ),
    "ross(gen)/digits/clean has shape (10, 5): expected (draws, 6)": one_less,
    "ross(gen)/0.0627451/digits/min/winner differs": another_winner,
    "ross(gen) on unseen-digits, clean: auroc is 1.0, its scores give 0.0": swapped,
}


@pytest.mark.parametrize("message", FORGERIES)
def test_scores_that_do_not_fit_are_refused(message, folder):
    """By their hash, and by what the record's rows imply where it has none."""
    rewritten(FORGERIES[message])(folder)
    assert "the hash of the scores is" in refused(folder)
    older(folder)
    assert message in refused(folder)


def test_a_last_bit_that_changed_is_refused(folder):
    rewritten(lambda tensors: tensors["ross(gen)/digits/clean"].mul_(1 + 1e-6))(folder)
    assert "the hash of the scores is" in refused(folder)


def test_a_file_that_is_cut_off_is_refused(folder):
    file = folder / "scores.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    assert "is not a safetensors file" in refused(folder)


@pytest.mark.parametrize("which", [0, 2])
def test_older_records_still_load(which, folders, tmp_path):
    folder = shutil.copytree(folders[which], tmp_path / "run")
    older(folder)
    result = Result.load(folder)
    assert len(result.scores) == 6
    result.save(tmp_path / "again")
    assert Result.load(tmp_path / "again").to_json() == result.to_json()


def test_a_record_without_its_scores_loads_and_says_so(folder):
    (folder / "scores.safetensors").unlink()
    result = Result.load(folder)
    result.save(folder)
    with pytest.raises(ValueError, match="no scores"):
        Result.load(folder).scores_of("ross(gen)", "digits")


@pytest.mark.parametrize("file", REPORTS, ids=lambda file: file.parent.name)
def test_the_reports_have_their_own_scores(file):
    assert Result.load(file).scores


@pytest.fixture(scope="module")
def certified_folders(digits_net, tmp_path_factory):
    """Two certifications that differ in their seed alone."""
    runs = [
        roodbench.RunConfig(detector="median", norm="l2", attack="none", limit=4, ood="noise", seed=seed)
        for seed in (0, 1)
    ]
    return [
        certify(CertifyConfig(run, radius=0.1, samples=500), out=tmp_path_factory.mktemp("runs"))[1] for run in runs
    ]


def edited(change):
    def forge(folder, _):
        certificate = json.loads((folder / "certificate.json").read_text())
        change(certificate)
        (folder / "certificate.json").write_text(json.dumps(certificate))

    return forge


def a_bound(certificate):
    certificate["detectors"][0]["populations"]["digits"]["bounds"]["0.1"]["lower"][0] -= 1e-9


CERTIFICATES = {
    "seed is 1: expected 0": lambda folder, other: shutil.copy(other / "certificate.json", folder),
    "the hash of its detectors is": edited(a_bound),
    "network, sha256 is 'x'": edited(lambda certificate: certificate["network"].update(sha256="x")),
    "gauroc is []": edited(lambda certificate: certificate.update(gauroc=[])),
    "detectors is []": edited(lambda certificate: certificate.update(detectors=[])),
    "has schema None": edited(lambda certificate: certificate.pop("schema")),
    "is not JSON": lambda folder, _: (folder / "certificate.json").write_text("{"),
}


@pytest.mark.parametrize("message", CERTIFICATES)
def test_a_certificate_of_another_run_is_refused(message, certified_folders, tmp_path):
    folder = shutil.copytree(certified_folders[0], tmp_path / "run")
    CERTIFICATES[message](folder, certified_folders[1])
    with pytest.raises(ValueError) as caught:
        CertifiedResult.load(folder)
    (line,) = str(caught.value).splitlines()
    assert str(folder) in line
    assert message in line


def test_a_certification_without_its_certificate_loads_and_writes_none(certified_folders, tmp_path):
    folder = shutil.copytree(certified_folders[0], tmp_path / "run")
    (folder / "certificate.json").unlink()
    CertifiedResult.load(folder).save(tmp_path / "again")
    assert CertifiedResult.load(tmp_path / "again").certificates == []
    assert not (tmp_path / "again" / "certificate.json").exists()


def test_an_older_certification_still_loads(certified_folders, tmp_path):
    folder = shutil.copytree(certified_folders[0], tmp_path / "run")
    record = json.loads((folder / "result.json").read_text())
    del record["certificates_sha256"]
    (folder / "result.json").write_text(json.dumps(record))
    assert CertifiedResult.load(folder).certificates[0]["detector"] == "median"
    shutil.copy(certified_folders[1] / "certificate.json", folder)
    with pytest.raises(ValueError, match="seed is 1: expected 0"):
        CertifiedResult.load(folder)


FOLLOW = ("base", "params", "copies", "alpha_image", "n_id", "n_ood", "auroc_clean", "fpr95_clean", "gauroc", "gfpr95")
FOLLOW += ("gauroc_counted", "gauroc_predicted", "gauroc_joint", "gauroc_new", "deployed")


@pytest.mark.parametrize("name", FOLLOW)
def test_what_a_certificate_decides_is_not_read_as_it_was_edited(name, certified_folders, tmp_path):
    folder = shutil.copytree(certified_folders[0], tmp_path / "run")
    record = json.loads((folder / "result.json").read_text())
    value = record["rows"][0][name]
    others = {"deployed": {**record["rows"][0]["deployed"], "certified": 0.9}, "params": {}, "base": "x"}
    record["rows"][0][name] = others[name] if name in others else value + 0.5
    (folder / "result.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=name):
        CertifiedResult.load(folder)
