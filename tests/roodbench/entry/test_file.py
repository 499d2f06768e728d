"""An entry's file: what goes into it comes out of it, and what is none is one line."""

import json
from dataclasses import replace

import pytest
import torch

from roodbench import Result
from roodbench.entry.file import NoEntryError, contradictions_of, gathered, read, text_of
from roodbench.entry.schema import faults
from tests.roodbench.entry import made


@pytest.fixture
def entry(tmp_path):
    """A file with an entry, and its record."""
    record = made.record()
    file = tmp_path / "mine.json"
    file.write_text(text_of(record))
    return file, record


def test_an_entry_is_the_record_with_its_scores(entry, small_run):
    file, record = entry
    assert list(faults(json.loads(file.read_text()))) == []
    for wanted, text in ((record, file.read_text()), (small_run[0], text_of(small_run[0]))):
        file.write_text(text)
        found = read(file)
        assert found.name == "mine"
        assert found.record.to_json() == wanted.to_json()
        assert found.record.scores.keys() == wanted.scores.keys()
        for key, scores in wanted.scores.items():
            assert found.record.scores[key].dtype == scores.dtype
            assert torch.equal(found.record.scores[key], scores)


def test_a_runs_folder_is_read_like_an_entry(small_run):
    result, folder = small_run
    found = read(folder)
    assert (found.name, found.record.scores_sha256) == (folder.name, result.scores_sha256)
    assert read(folder / "result.json").record.to_json() == result.to_json()


def edited(file, **changes):
    found = json.loads(file.read_text())
    file.write_text(json.dumps({**found, **changes}))


def test_edited_scores_are_not_those_of_the_record(entry):
    file, _ = entry
    scores = json.loads(file.read_text())["scores"]
    scores["one/id/clean"]["values"][0][0] += 0.5
    edited(file, scores=scores)
    with pytest.raises(NoEntryError, match="its scores are not those of its record: the hash"):
        read(file)
    edited(file, scores_sha256=None)
    assert "one on noise, clean: auroc is" in next(contradictions_of(read(file), resampled=False))


BAD = {
    "words": "is not JSON",
    "[" * 100_000: "is not JSON",
    "[]": "breaks the schema of a record: the record is []: expected object",
    '{"schema_version": "\\ud800"}': "is not JSON",
    '{"rows": NaN}': "NaN is no number of JSON",
    '{"rows": 1, "rows": 2}': "names rows twice",
    "{}": "the record has no config",
    '{"violations": []}': "breaks the schema of a certification: the record has no schema_version",
}


@pytest.mark.parametrize(("text", "words"), BAD.items(), ids=range(len(BAD)))
def test_what_is_no_entry_is_a_line(tmp_path, text, words):
    (file := tmp_path / "bad.json").write_text(text)
    with pytest.raises(NoEntryError) as error:
        read(file)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("scores", "words"),
    {
        "ragged": ({"dtype": "float32", "values": [[1, 2], [1, 2, 3]]}, "its draws have different numbers of images"),
        "text": ({"dtype": "float32", "values": [["1", 2]]}, 'values, 0, 0 is "1": expected number'),
        "a type": ({"dtype": "int8", "values": [[1, 2]]}, 'dtype is "int8": expected one of'),
        "one image": ({"dtype": "float32", "values": [[1]]}, "values, 0 has 1 entries: expected 2"),
    }.values(),
)
def test_malformed_scores_are_a_line(entry, scores, words):
    file, _ = entry
    edited(file, scores={"one/id/clean": scores})
    with pytest.raises(NoEntryError) as error:
        read(file)
    assert words in str(error.value)


def test_a_huge_file_is_not_read(entry, monkeypatch):
    monkeypatch.setattr("roodbench.entry.file.LARGEST", 100)
    with pytest.raises(ValueError, match="expected an entry of at most 100"):
        read(entry[0])


def test_a_folder_gives_entries_and_what_is_refused(entry, tmp_path):
    _, record = entry
    (tmp_path / "run").mkdir()
    Result(**{**vars(record)}).save(tmp_path / "run")
    (tmp_path / "run" / "manifest.json").write_text("{}")
    (tmp_path / "other").mkdir()
    text = text_of(made.said(replace(record, config={**record.config, "attack": "min"})))
    (tmp_path / "other" / "mine.json").write_text(text)
    entries, refused = gathered([tmp_path])
    assert [found.name for found in entries] == [str(tmp_path / "mine"), "run"]
    assert list(refused) == [str(tmp_path / "other" / "mine")]
    assert "attack is min" in next(iter(refused.values()))


def test_a_record_without_scores_makes_no_entry():
    with pytest.raises(ValueError, match="the record has no scores"):
        text_of(replace(made.record(), scores={}))
