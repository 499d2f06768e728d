"""A record in MLflow: what is logged is what the record says."""

import sys
from pathlib import Path

import pytest

from roodbench import cli
from roodbench.record import tracking
from roodbench.record.result import Result

QUICK = ["--detector", "ebo", "--attack", "none", "--limit", "8", "--ood", "noise", "--track", "mlflow"]


def test_mlflow_is_installed_by_one_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    assert cli.main([*QUICK, "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.endswith("track mlflow needs mlflow: pip install 'roodbench[mlflow]'\n")
    assert list(tmp_path.iterdir()) == []


def test_what_tracks_nothing_is_a_mistake(tmp_path, capsys):
    for arguments, said in (
        (["--track", "mlfow"], "unknown tracker 'mlfow': did you mean 'mlflow'?"),
        (["--track", "mlflow", "--shard", "1/2"], "--shard takes no track"),
    ):
        assert cli.main([*arguments, "--out", str(tmp_path)]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")
def test_parameters_metrics_and_report_are_logged(tmp_path, monkeypatch, capsys, digits_net):
    mlflow = pytest.importorskip("mlflow", reason="pip install 'roodbench[mlflow]'")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for _ in range(2):
        assert cli.main([*QUICK, "--out", str(tmp_path / "runs")]) == 0
    assert "logged to file:" in capsys.readouterr().err
    place = (tmp_path / "runs" / "mlruns").as_uri()
    client = mlflow.MlflowClient(tracking_uri=place)
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT)
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 2
    (folder,) = (tmp_path / "runs").glob("digits-ebo-*")
    result = Result.load(folder)
    run = runs[0]
    assert (run.info.run_name, run.info.status) == (folder.name, "FINISHED")
    assert (run.data.params["detector"], run.data.params["limit"]) == ("ebo", "8")
    assert run.data.metrics["ebo/noise/clean/auroc"] == result.rows[0].auroc
    logged = Path(client.download_artifacts(run.info.run_id, "result.json", str(tmp_path)))
    assert Result.from_json(logged.read_text()).rows == result.rows
    assert {f.path for f in client.list_artifacts(run.info.run_id)} == set(tracking.REPORT)
