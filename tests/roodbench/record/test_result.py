"""A record is short in a prompt, comes back from its folder with its scores, and names them exactly."""

import json

import pytest

import detectors
import roodbench
from roodbench.certify import CertifiedResult, read
from tests.roodbench.helpers import small


@pytest.fixture(scope="module")
def result(digits_net):
    gen = detectors.create("gen", digits_net)
    return roodbench.evaluate(gen, small(4), eps=16 / 255, steps=2, check=False)


@pytest.fixture(scope="module")
def certified_folder(digits_net, tmp_path_factory):
    run = roodbench.RunConfig(detector="median", norm="l2", attack="none", limit=4, ood="noise")
    config = roodbench.certify.CertifyConfig(run, radius=0.1, samples=500)
    return roodbench.certify.certify(config, out=tmp_path_factory.mktemp("runs"))


def test_a_record_is_one_short_line_in_a_prompt(result):
    assert repr(result) == "Result(gen: clean, min, max, both; 4 rows, 8 averages, 6 tensors of scores)"
    assert str(result) == result.to_table()


def test_a_record_comes_back_from_its_folder(result, tmp_path):
    result.save(tmp_path)
    for place in (tmp_path, str(tmp_path / "result.json")):
        again = roodbench.Result.load(place)
        assert again.to_json() == result.to_json()
        assert (again.scores_of("gen", "digits", "min") == result.scores_of("gen", "digits", "min")).all()
    with pytest.raises(ValueError, match=r"read from JSON alone: Result\.load\(FOLDER\) reads both"):
        roodbench.Result.from_json(result.to_json()).scores_of("gen", "digits")


@pytest.mark.parametrize(
    "asked",
    [
        ("gen/0.0627451", "digits", "min"),
        ("ge", "digits"),
        ("gen", "digits", "min/winner"),
        ("gen", "digits/min", "winner"),
        ("gen", "igits"),
        ("gen", "unseen-digits", "min"),
        ("gen", "digits", "min", 8 / 255),
    ],
)
def test_scores_have_exact_names(result, asked):
    assert result.scores_of("gen", "digits", "min", 16 / 255).shape == (1, 4)
    with pytest.raises(ValueError, match=r"0 sets of scores of .* expected one of gen/digits/clean"):
        result.scores_of(*asked)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "no record of a run: it is not JSON"),
        ("[]", "no record of a run: expected an object, not a list"),
        ("{}", "schema version None: expected 1"),
        ('{"schema_version": 1}', "no record of a run: it has no attacks, averages"),
        ('{"schema": "roodbench-certificate/1"}', "it is a certificate, which roodbench.certify.read reads"),
    ],
)
def test_other_text_is_no_record(text, sentence):
    with pytest.raises(ValueError) as caught:
        roodbench.Result.from_json(text)
    assert sentence in str(caught.value)


def test_a_malformed_row_gets_one_sentence(result):
    record = json.loads(result.to_json())
    del record["rows"][0]["auroc"]
    with pytest.raises(ValueError, match=r"malformed Row in the record: .*auroc"):
        roodbench.Result.from_json(json.dumps(record))


def test_a_certified_record_comes_back_too(certified_folder):
    found, folder = certified_folder
    again = CertifiedResult.load(folder)
    assert again.config == found.config
    assert again.to_json() == found.to_json()
    assert json.loads(json.dumps(again.certificate())) == read(folder)
    assert repr(again) == "CertifiedResult(median; 3 rows)"
    with pytest.raises(ValueError, match="is it one that CertifiedResult reads"):
        roodbench.Result.from_json(found.to_json())


def test_a_certificate_is_found_in_its_folder(certified_folder, tmp_path):
    _, folder = certified_folder
    assert read(folder) == read(folder / "certificate.json")
    with pytest.raises(ValueError, match=r"result\.json' is a result: expected a certificate\.json"):
        read(folder / "result.json")
    with pytest.raises(ValueError, match=r"No such file, expected a certificate\.json or the folder of a run"):
        read(tmp_path)
