"""studies.setting: options, tables, AUROCs from a record, and runs that go on where they stopped."""

import logging

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from roodbench import Result
from studies import setting


def test_options_name_the_digits_without_data_and_cifar10_with_it():
    parser = setting.parser_of("about", images=64, seeds=3)
    digits = setting.run_config(parser.parse_args([]), seed=5)
    assert (digits.benchmark, digits.model, digits.ood, digits.limit) == (
        "digits",
        "digits-cnn",
        ("unseen-digits",),
        64,
    )
    assert (digits.data_root, digits.checkpoint, digits.seed) == (None, None, 5)
    cifar = setting.run_config(parser.parse_args(["--data-root", "D", "--checkpoint", "W", "--images", "8"]))
    assert (cifar.benchmark, cifar.model, cifar.ood, cifar.limit) == ("cifar10", "cifar-resnet20", ("texture",), 8)
    assert (cifar.data_root, cifar.checkpoint) == ("D", "W")
    other = setting.run_config(parser.parse_args(["--ood", "photos", "--model", "digits-cnn-at"]))
    assert (other.model, other.ood) == ("digits-cnn-at", ("photos",))


def test_a_setting_holds_what_the_configuration_names(private_cache):
    config = setting.run_config(setting.parser_of("about", images=4).parse_args([]))
    with setting.setting_of(config) as found:
        assert found.plain.name == "digits-cnn"
        assert list(found.bench.ood) == ["unseen-digits"]
        assert len(found.bench.id_test) == 4
        assert found.net.backbone.sizes == ()


def test_tables_are_markdown(tmp_path):
    setting.save_table(tmp_path / "t.md", ("a", "b"), [[1, "x"], [2.5, "y"]])
    assert (tmp_path / "t.md").read_text() == "| a | b |\n|---|---|\n| 1 | x |\n| 2.5 | y |\n"


def test_rows_are_printed_as_they_come(capsys):
    def rows():
        yield ["1"]
        assert capsys.readouterr().out == "| n |\n|---|\n| 1 |\n"
        yield ["2"]

    setting.print_table(("n",), rows())
    assert capsys.readouterr().out == "| 2 |\n"


def test_the_area_of_every_row_is_its_auroc(small_run):
    record = Result.load(small_run)
    assert {row.condition for row in record.rows} == {"clean", "min", "max", "both"}
    assert {setting.label_of(row) for row in record.rows} == {"gen", "ross(gen)"}
    for row in record.rows:
        assert setting.area(record, row).value == pytest.approx(row.auroc, abs=1e-12)


def test_a_record_is_read_from_its_folder_or_file_and_without_scores(small_run, tmp_path):
    record = Result.load(small_run / "result.json")
    id_scores, ood_scores = (record.scores_of("gen", name) for name in ("digits", "unseen-digits"))
    clean = next(row for row in record.rows if row.detector == "gen" and row.condition == "clean")
    labels = np.repeat([1, 0], 4)
    assert roc_auc_score(labels, np.concatenate([id_scores[0], ood_scores[0]])) == pytest.approx(clean.auroc)
    (tmp_path / "result.json").write_text((small_run / "result.json").read_text())
    with pytest.raises(ValueError, match="read from JSON alone"):
        setting.area(Result.load(tmp_path), clean)


def test_runs_go_on_where_they_stopped(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="roodbench")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "done.txt").touch()
    computed, tables = [], []

    def compute(config, folder):
        computed.append((config, folder))
        return 3.0

    configs = [("a", 1), ("b", 2), ("c", 3)]
    setting.resume(configs, tmp_path, "done.txt", compute, lambda names: tables.append(list(names)))
    assert computed == [(1, tmp_path / "a"), (3, tmp_path / "c")]
    assert tables == [["a"], ["a", "b"], ["a", "b", "c"]]
    assert "a: 3 s" in caplog.text
