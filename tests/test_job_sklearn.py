"""A whole job of a scikit-learn model, without TensorFlow."""

import os
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from omegaconf import OmegaConf

from pipeline.commands import promote
from pipeline.config import parse_config
from tests.command_runner import CommandRunner, artifact

# As in cron jobs and small containers.
NO_UNICODE = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
PROGRAM = """
import atexit, sys
from pipeline.__main__ import main
atexit.register(lambda: print({"tensorflow", "keras"} & set(sys.modules)))
main()
"""


def test_a_job_needs_no_tensorflow_and_its_logged_model_takes_raw_rows(tmp_path):
    """Also in a terminal without Unicode."""
    city = np.tile(["Rome", "Bonn", "Oslo"], 30)
    age = np.arange(90.0)
    table = pd.DataFrame(
        {"age": age, "city": city, "tag_old": age > 50, "tag_日本": city == "Rome"}
    )
    table.loc[::9, "age"] = np.nan
    table.to_csv(tmp_path / "people.csv", index=False)
    store = CommandRunner(tmp_path)
    command = [
        *(sys.executable, "-c", PROGRAM, "model=random_forest", "model.params.n_estimators=9"),
        *("dataset=table", f"dataset.path={tmp_path / 'people.csv'}", "dataset.labels=[tag_*]"),
        *("dataset.predict_rows=[[75,Rome],[null,Paris]]", "cv.n_splits=3", "cv.n_repeats=1"),
        *(f"tracking.uri={store.uri}", f"hydra.run.dir={tmp_path}/hydra", "model.ensemble_size=2"),
    ]
    process = subprocess.run(command, env=NO_UNICODE, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stderr == ""
    assert process.stdout.rstrip().endswith("set()")
    assert r"tag_old 39, tag_\u65e5\u672c 30" in process.stdout
    assert len([line for line in process.stdout.splitlines() if line.startswith(">")]) == 3

    (run,) = store.runs()
    assert run.info.run_name == "people RandomForestClassifier"
    assert run.data.metrics["accuracy_mean"] > 0.8
    assert not [name for name in run.data.metrics if name.startswith("epoch/")]
    assert run.data.params["model.params.n_estimators"] == "9"
    assert "training.epochs" not in run.data.params
    assert artifact(run, "figures/fold_scores.png").exists()
    assert "tag_日本" in artifact(run, "report.html").read_text(encoding="utf-8")
    assert not artifact(run, "figures/training_curves.png").exists()

    mlflow.set_tracking_uri(store.uri)
    (logged,) = store.client.search_logged_models(["1"])
    folder = Path(logged.artifact_location.removeprefix("file://"))
    requirements = (folder / "requirements.txt").read_text()
    assert "skops==" in requirements
    assert "tensorflow" not in requirements
    assert not [path for path in folder.rglob("*") if path.suffix in {".pkl", ".pickle", ".joblib"}]
    model = mlflow.pyfunc.load_model(f"models:/{logged.model_id}")
    rows = pd.DataFrame({"city": ["Rome", "Paris"], "age": [75, None]}, dtype=object)
    y_score = model.predict(rows)
    assert list(y_score.columns) == ["tag_old", "tag_日本"]
    for row in y_score.to_numpy():
        assert f"Predicted: [{' '.join(f'{value:.5f}' for value in row)}]" in process.stdout


def test_it_is_said_that_the_final_model_leaves_published_test_rows_out(tmp_path):
    path = tmp_path / "t.csv"
    parts = ["train"] * 20 + ["test"] * 10
    table = pd.DataFrame({"a": np.arange(30), "fold": parts, "l": [0, 1, 1] * 10})
    table.to_csv(path, index=False)
    store = CommandRunner(tmp_path)
    out, _ = store.run_here(
        *("dataset=table", f"dataset.path={path}", "dataset.labels=[l]", "cv=predefined"),
        *("dataset.fold_column=fold", "model=dummy", "report.figures=false"),
    )
    (run,) = store.runs()
    sentence = "Final model: trained on the 20 training rows, without the 10 test rows"
    assert sentence in " ".join(out.split())
    assert sentence in artifact(run, "report.html").read_text()
    (logged,) = store.client.search_logged_models([run.info.experiment_id])
    folder = Path(logged.artifact_location.removeprefix("file://"))
    assert sentence in " ".join((folder / "MLmodel").read_text().split())
    assert promote.main([run.info.run_id, f"tracking.uri={store.uri}"]) == 0
    (version,) = store.client.search_model_versions()
    assert sentence in version.description


def test_class_weights_by_number_reach_the_estimator_and_its_run_also_in_sweeps(tmp_path):
    store, key = CommandRunner(tmp_path), "model.params.class_weight"
    command = (
        *("--multirun", "model=logistic", f"+{key}={{0: 1, 1: 1}},{{0: 1, 1: 90}}", "report=none"),
        *("dataset.n_samples=80", "dataset.n_features=4", "cv.n_splits=2", "cv.n_repeats=1"),
        "dataset.predict_rows=[]",
    )
    store.run_here(*command)
    jobs, _ = store.jobs_and_parent()
    assert [job.data.params[key] for job in jobs] == ["{0: 1, 1: 1}", "{0: 1, 1: 90}"]
    predictions = [pd.read_parquet(artifact(job, "predictions.parquet")) for job in jobs]
    even, heavy = (table.filter(like="score_").to_numpy() for table in predictions)
    assert heavy.mean() > even.mean() + 0.05
    settings = OmegaConf.load(artifact(jobs[1], "config.yaml"))
    assert parse_config(settings).model.params["class_weight"] == {0: 1, 1: 90}
    out, _ = store.run_here(*command, "resume=true")
    assert out.count("reused finished run") == 2


def test_a_terminal_without_unicode_fails_no_sweep(tmp_path):
    """Names outside of ASCII are printed as escapes."""
    path = tmp_path / "t.csv"
    table = pd.DataFrame({"größe": np.arange(30), "tag_日本": [0, 1, 1] * 10, "tag_é": [1, 0] * 15})
    table.to_csv(path, index=False)
    store = CommandRunner(tmp_path)
    arguments = (
        *("--multirun", "dataset=table", f"dataset.path={path}", "dataset.labels=[tag_*]"),
        *("model=dummy", "cv.n_splits=2", "cv.n_repeats=1", f"tracking.uri={store.uri}"),
        *(f"hydra.run.dir={tmp_path}/hydra", f"hydra.sweep.dir={tmp_path}/sweep"),
    )
    process = subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments],
        env=NO_UNICODE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stderr == ""
    assert r"tag_\u65e5\u672c 20, tag_\xe9 15" in process.stdout
    run = store.runs()[0]
    assert "tag_日本" in artifact(run, "report.html").read_text(encoding="utf-8")
