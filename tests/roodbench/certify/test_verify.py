"""`roodbench certify --verify`: honest certificates hold, forgeries are found, malformed ones get one line."""

import copy
import json
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest

from roodbench import cli
from roodbench.certify.certificate import read
from roodbench.certify.coherent import incoherences
from roodbench.certify.evidence import KINDS
from roodbench.certify.result import CertifiedResult
from roodbench.certify.row import CertifiedRow
from roodbench.certify.run import certify
from roodbench.certify.stated import parts_of
from roodbench.certify.verifier import Verdict, verify
from roodbench.cli.certify import in_words
from roodbench.store.vision import import_torchvision
from tests.roodbench.certify.conftest import ALONE, SMALL, UNATTACKED
from tests.roodbench.models.by_hand import needed

REPORTS = Path(__file__).parents[3] / "reports"


def test_symbols_of_the_papers_are_verified_too(digits_net, tmp_path):
    run = replace(ALONE, detector=("ross-q",), params={"lambda": 0.05, "N": 15}, limit=4)
    result, folder = certify(replace(SMALL, run=run, samples=300, radius=(0.1,)), out=tmp_path)
    assert (result.rows[0].params["gain"], result.rows[0].copies) == (0.05, 15)
    assert verify(read(folder / "certificate.json"), seed=2, samples=500).failures == []


def test_certificate_verifies(certified):
    _, folder = certified
    certificate = read(folder / "certificate.json")
    verdict = verify(certificate, seed=5, samples=2000)
    assert verdict.failures == list(incoherences(certificate)) == []
    assert verdict.images == 3 * 8  # ID, OOD and ID validation
    assert verdict.finds[1] == pytest.approx(8 / 12)  # of 12 images
    assert verdict.bounds == 3 * 3 * 2 * 8 * 2 * 3


def path(*keys, value):
    """A forgery that sets one value."""

    def forge(certificate):
        *way, last = keys
        place = certificate
        for key in way:
            place = place[key]
        place[last] = value(place[last]) if callable(value) else value

    return forge


OWN = ("detectors", 1, "populations", "digits")
MEDIAN, ROSS_Q = (("detectors", i, "populations") for i in (0, 2))
FORGERIES = [
    (path(*MEDIAN, "digits", "bounds", "0.3", "lower", value=lambda v: [a + 0.5 for a in v]), "the lower bound"),
    (path(*ROSS_Q, "unseen-digits", "bounds", "0.3", "upper", value=lambda v: [a - 0.7 for a in v]), "the upper bound"),
    (path("detectors", 1, "params", "gain", value=0.5), "params, gain is 0.5: expected 0.01"),
    (path("detectors", 1, "fitted", "tau", value=lambda v: v + 0.1), "detectors, 1, fitted, tau is"),
    (path("detectors", 1, "fitted", value={}), "detectors, 1, fitted has no tau"),
    (path("detectors", 1, "alpha_image", value=1e-9), "alpha_image is"),
    (path("detectors", 1, "extremes", value=[None, None]), "extremes, 0 is None"),
    (path("detectors", value=[]), "detectors is"),
    (path("detectors", value={}), "detectors is"),
    (path(*OWN, "images", value=lambda v: v[::-1]), "images, 0 is"),
    (path(*OWN, "sha256", value="0" * 64), "digits, sha256 is"),
    (path(*OWN, "role", value="OOD"), "role is 'OOD'"),
    (path(*OWN, "score", value=lambda v: [99.0] * len(v)), "lies outside its own bounds"),
    (path(*OWN, "score", value=lambda v: v[1:]), "digits, score is ["),
    (
        path(*OWN, "bounds", "0.3", value={"lower": [], "upper": []}),
        "0.3, lower is []: expected 12 numbers",
    ),
    (
        path("gauroc", 0, "gauroc", value=lambda v: v + 0.01),
        "median(gen): the row of unseen-digits, min at 0.1, gaur",
    ),
    (path("gauroc", 0, "detector", value="best"), "gauroc, 0, detector is 'best': expected 'median'"),
    (path("gauroc", value=[]), "gauroc is []: expected a list of 18"),
    (path("network", "sha256", value="0" * 64), "network, sha256 is"),
    (path("data", "ID test: digits", "sha256", value="0" * 64), "data, ID test: digits, sha256 is"),
    (path("data", value={}), "data has no ID train: digits-train"),
    (path("sigma", value=0.01), "sigma is 0.01"),
    (path("samples", value="600"), "samples is '600'"),
    (path("alpha", value=1e-12), "alpha is"),
    (path("seed", value=7), "seed is 7: expected"),
    (path("code", value="0" * 24), "code is '000"),
    (path("claim", value="safe"), "claim is 'safe'"),
    (path("threat", "norm", value="linf"), "threat, norm is 'linf'"),
    (path("config", "sigma", value=0.5), "sigma is 0.25: expected 0.5"),
    (path("config", "run", value=lambda run: run | UNATTACKED), "detectors, 0, passes_attack is"),
    (path("config", "run", "reviewed", value=True), "config, run has an unknown 'reviewed'"),
    (path("reviewed", value=True), "the certificate has an unknown 'reviewed'"),
    (path("gauroc", 0, "auroc", value=1.0), "gauroc, 0 has an unknown 'auroc'"),
    (path("detectors", 1, "fitted", "tau", value=10**400), "detectors, 1, fitted, tau is 1000"),
]


@pytest.mark.parametrize(("forge", "message"), FORGERIES, ids=[message for _, message in FORGERIES])
def test_forgeries_are_found(certified, forge, message):
    _, folder = certified
    certificate = copy.deepcopy(read(folder / "certificate.json"))
    forge(certificate)
    verdict = verify(certificate, seed=1, samples=600)
    assert any(message in line for line in verdict.failures), verdict.failures


def test_another_revision_is_said_first(certified):
    """The seed of its noise is another one too: it follows from the code."""
    _, folder = certified
    certificate = {**read(folder / "certificate.json"), "code": "0" * 24, "seed": 7}
    first, second = verify(certificate, seed=1, samples=600).failures
    assert first.startswith(f"code is '{'0' * 24}': expected '")
    assert first.endswith("', of this revision; its own can verify it")
    assert second.startswith("seed is 7: expected ")


@pytest.mark.parametrize(("side", "shift"), [("lower", 0.25), ("upper", -0.25)])
def test_bounds_that_claim_too_much_are_found_by_fresh_noise(certified, side, shift):
    """Scores and metrics moved along, so that nothing but fresh evidence tells."""
    _, folder = certified
    certificate = copy.deepcopy(read(folder / "certificate.json"))
    for entry in certificate["detectors"]:
        for images in entry["populations"].values():
            images["score"] = [value + shift for value in images["score"]]
            other = "upper" if side == "lower" else "lower"
            for bounds in (bounds for kind in KINDS for bounds in images[kind].values()):
                bounds[side] = [value + shift for value in bounds[side]]
                bounds[other] = [None] * len(bounds[other])
    failures = verify(certificate, seed=1, samples=2000).failures
    assert any(f"the {side} bound" in line and "the most that fresh noise allows" in line for line in failures)


def test_a_certificate_of_too_few_samples_is_refused(certified):
    """True bounds that its own number of samples could not have given."""
    _, folder = certified
    certificate = copy.deepcopy(read(folder / "certificate.json"))
    certificate["samples"] = certificate["config"]["samples"] = 16
    for images in (images for entry in certificate["detectors"] for images in parts_of(entry).values()):
        images["sample"] = [row[:16] for row in images["sample"]]
    failures = verify(certificate, seed=1, samples=600).failures
    assert any("16 samples can bound nothing at radius 0.3" in line for line in failures)


@pytest.mark.parametrize(
    ("forge", "message"),
    [
        (path("config", value={}), "config is malformed: KeyError"),
        (path("config", "run", "detector", value=["this:s"]), "unknown certifiable detector 'this:s'"),
        (path("config", "run", "limit", value="x"), "limit 'x': expected a whole number"),
        (path("config", "radius", value=None), "radius None: expected a number"),
    ],
)
def test_malformed_certificates_get_one_line(certified, forge, message, tmp_path, capsys):
    _, folder = certified
    certificate = copy.deepcopy(read(folder / "certificate.json"))
    forge(certificate)
    file = tmp_path / "forged.json"
    file.write_text(json.dumps(certificate))
    assert cli.main(["certify", "--verify", str(file), "--quiet"]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_a_certificate_that_fails_exits_1(certified, tmp_path, capsys):
    _, folder = certified
    certificate = copy.deepcopy(read(folder / "certificate.json"))
    certificate["network"]["sha256"] = "0" * 64
    file = tmp_path / "forged.json"
    file.write_text(json.dumps(certificate))
    assert cli.main(["certify", "--verify", str(file), "--quiet"]) == 1
    assert "the certificate does not hold: network, sha256" in capsys.readouterr().err


def test_command_verifies_what_it_certified(certified, capsys):
    _, folder = certified
    words = ["--samples", "1000", "--seed", "0", "--quiet"]
    assert cli.main(["certify", "--verify", str(folder / "certificate.json"), *words]) == 0
    out = capsys.readouterr().out
    assert out.startswith("holds: ")
    attacking = ", ".join(f"config.run.{name}" for name in ("strength", "budget", "steps", "restarts"))
    assert f"\nnot verified: {attacking}: the attack beside" in out
    assert "every image was drawn" not in out


def test_command_says_when_every_image_was_drawn():
    verdict = Verdict(8, 48, 1000, 5, [], {1: 1.0, 2: 1.0})
    assert "\nevery image was drawn, so that no bound of any was left out\n" in in_words(verdict)


def test_only_the_assessor_has_anything_fetched(tmp_path, capsys):
    """A certificate made with --download is verified without it."""
    needed(import_torchvision)
    run = {"benchmark": "torchvision:CIFAR10", "ood": ("torchvision:SVHN",), "model": "openood:resnet18"}
    config = replace(SMALL, run=replace(SMALL.run, **run, checkpoint="x", download=True, data_root=str(tmp_path)))
    with pytest.raises(ValueError, match=r"^torchvision:CIFAR10/train cannot be read from .*: give --download"):
        verify({"config": asdict(config)})


def test_verify_takes_download_as_every_verb_does(certified, capsys):
    _, folder = certified
    assert cli.main(["certify", "--verify", str(folder), "--download", "--quiet"]) == 2
    assert "benchmark digits is not downloaded: leave out --download" in capsys.readouterr().err


def test_a_radius_that_is_rounded_otherwise_is_the_same(certified):
    _, folder = certified
    certificate = copy.deepcopy(read(folder / "certificate.json"))
    certificate["gauroc"][0]["radius_l2"] *= 1 + 1e-7
    assert verify(certificate, seed=5, samples=600).failures == []


def test_reads_no_other_file(tmp_path):
    file = tmp_path / "x.json"
    file.write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        read(file)
    for schema, lacks in ((1, "the noisy scores, the seed and the code"), (2, "the operating point and the numbers")):
        file.write_text(f'{{"schema": "roodbench-certificate/{schema}"}}')
        with pytest.raises(ValueError, match=rf"/{schema}': it lacks {lacks} .*; certify again"):
            read(file)
    file.write_text('{"schema": "roodbench-certificate/9"}')
    with pytest.raises(ValueError, match="has schema 'roodbench-certificate/9'"):
        read(file)


@pytest.mark.parametrize("file", sorted(REPORTS.glob("certified/*/result.json")), ids=lambda file: file.parent.name)
def test_records_of_before_still_load_and_show_what_they_lack(file, tmp_path):
    """Every record that is kept, without what came later."""
    record, later = json.loads(file.read_text()), [f.name for f in fields(CertifiedRow) if f.default is None]
    assert {"gauroc_predicted", "gauroc_joint", "gauroc_new"} <= set(later)
    for name in ("code", "operating", "certificates_sha256"):
        del record[name]
    record["rows"] = [{name: its for name, its in row.items() if name not in later} for row in record["rows"]]
    (tmp_path / "result.json").write_text(json.dumps(record))
    old, whole = CertifiedResult.load(tmp_path), CertifiedResult.load(file.parent)
    assert (old.code, *old.operating) == ("",)
    assert whole.code
    assert whole.operating
    assert [row.gauroc for row in old.rows] == [row["gauroc"] for row in record["rows"]]
    assert all(row.gauroc_joint is None for row in old.rows)
    assert old.to_table() != whole.to_table()


CODE = {"model": "os:mkdir", "benchmark": "os:getcwd", "base": "trap.py:Score"}


@pytest.mark.parametrize("setting", CODE)
def test_code_that_a_certificate_names_is_not_run(certified, setting, tmp_path, monkeypatch, capsys):
    """Nor are files unpickled or fetched because it says so: an assessor's settings are their own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trap.py").write_text("import os\nos.mkdir('sprung')\n")
    certificate = read(certified[1] / "certificate.json")
    certificate["config"]["run"] |= {setting: CODE[setting], "model_args": {"path": "sprung"}}
    (tmp_path / "certificate.json").write_text(json.dumps(certificate))
    assert cli.main(["certify", "--verify", "certificate.json", "--quiet"]) == 2
    err = capsys.readouterr().err
    assert f"the certificate's {setting} is code, '{CODE[setting]}'" in err
    assert f"give --{setting} {CODE[setting]} too if you trust it" in err
    assert ("with {'path': 'sprung'}" in err) == (setting == "model")
    assert not (tmp_path / "sprung").exists()
    assert cli.main(["certify", "--verify", "certificate.json", "--quiet", f"--{setting}", CODE[setting]]) == 2
    assert (tmp_path / "sprung").exists() == (setting != "benchmark")


def test_a_certificate_neither_trusts_nor_downloads_for_its_reader(certified, monkeypatch):
    seen = {}

    def load(name, **given):
        seen.update(given)
        raise ValueError("enough")

    monkeypatch.setattr("roodbench.setup.network.load_model", load)
    certificate = read(certified[1] / "certificate.json")
    certificate["config"]["run"] |= {"model": "torchvision:resnet18", "trust_checkpoint": True, "download": True}
    for own in ({}, {"download": True}, {"trust_checkpoint": True}):
        with pytest.raises(ValueError, match="enough"):
            verify(certificate, samples=600, **own)
        asked = {key for key in ("download", "trust_checkpoint") if seen[key]}
        assert asked == set(own)
