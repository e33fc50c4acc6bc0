"""The program on a whole job: what it prints and logs, and how it ends."""

import json
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import mlflow
import numpy as np
import pandas as pd
import pytest

from pipeline.scoring.statistics import summarise
from tests.command_runner import CommandRunner, artifact

QUICK = ("cv.n_splits=3", "cv.n_repeats=1", "training.epochs=3", "report=none")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> CommandRunner:
    return CommandRunner(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def default(store):
    """The default experiment in a process of its own: what it printed, and its run."""
    out, err = store.run("tracking.experiment_name=tutorial")
    assert err == ""
    (run,) = store.runs("tutorial")
    return out, run


def test_it_prints_the_lines_of_the_tutorial_and_nothing_else(default):
    out, run = default
    lines = out.splitlines()
    assert lines[0].startswith("synthetic: 1000 rows, 10 features, 3 labels; ")
    (device,) = [line for line in lines if line.startswith("Device: ")]
    assert device.startswith(f"Device: {run.data.tags['device']}")
    assert lines.index(device) < next(i for i, line in enumerate(lines) if line.startswith(">"))
    assert len([line for line in lines if re.fullmatch(r">0\.\d{3}", line)]) == 30
    (accuracy,) = [line for line in lines if re.fullmatch(r"Accuracy: 0\.\d{3} \(0\.\d{3}\)", line)]
    assert 0.79 < float(accuracy.split()[1]) < 0.84
    (predicted,) = [line for line in lines if line.startswith("Predicted: [")]
    y_score = [float(value) for value in predicted[len("Predicted: [") : -1].split()]
    np.testing.assert_allclose(y_score, [1, 1, 0], atol=0.1)
    assert lines[-2] == f"Run {run.info.run_id} in experiment 'tutorial'. Open its page:"
    command = f"-m pipeline ui {run.info.run_id[:8]} tracking.uri=sqlite:///{_database(run)}"
    assert lines[-1].endswith(command)  # the port of a server is known once it runs


def _database(run) -> Path:
    return artifact(run, "").parents[3] / "mlflow.db"


def test_settings_and_versions_are_logged(default):
    _, run = default
    assert run.info.status == "FINISHED"
    assert run.data.params["cv.n_splits"] == "10"
    assert run.data.params["model.hidden_units"] == "[20]"
    assert "n_splits: 10" in artifact(run, "config.yaml").read_text()
    tags = run.data.tags
    assert {"split_digest", "data_digest", "config_digest", "version.tensorflow"} <= tags.keys()


def test_folds_are_steps_of_metrics_and_the_summary_follows_from_them(default, store):
    _, run = default
    history = store.client.get_metric_history(run.info.run_id, "fold/accuracy")
    assert sorted(metric.step for metric in history) == list(range(30))
    values = [metric.value for metric in sorted(history, key=lambda metric: metric.step)]
    metrics = run.data.metrics
    expected = summarise(values, test_fraction=1 / 9)
    assert metrics["accuracy_mean"] == pytest.approx(np.mean(values))
    assert metrics["accuracy_std"] == pytest.approx(np.std(values))
    assert (metrics["accuracy_ci_low"], metrics["accuracy_ci_high"]) == pytest.approx(expected.ci)
    assert {"hamming_loss_mean", "f1_micro_mean"} <= metrics.keys()
    assert metrics["undefined_values"] == 0
    for name in ("epoch/loss", "epoch/test_loss"):
        curve = store.client.get_metric_history(run.info.run_id, name)
        assert sorted(metric.step for metric in curve) == list(range(1, 101))


def test_the_tables_agree_with_the_metrics(default, store):
    _, run = default
    table = json.loads(artifact(run, "folds.json").read_text())
    folds = pd.DataFrame(table["data"], columns=table["columns"])
    assert folds[["n_train", "n_test"]].drop_duplicates().to_numpy().tolist() == [[900, 100]]
    assert folds["accuracy"].mean() == pytest.approx(run.data.metrics["accuracy_mean"])
    rows = pd.read_parquet(artifact(run, "predictions.parquet"))
    assert rows.groupby("repeat")["row"].apply(sorted).map(lambda r: r == list(range(1000))).all()
    true = rows[["true_y0", "true_y1", "true_y2"]].to_numpy()
    score = rows[["score_y0", "score_y1", "score_y2"]].to_numpy()
    right = pd.Series(((score > 0.5) == true).all(axis=1))
    by_fold = right.groupby([rows["repeat"], rows["fold"]]).mean()
    np.testing.assert_allclose(by_fold.to_numpy(), folds["accuracy"])
    table = json.loads(artifact(run, "labels.json").read_text())
    labels = pd.DataFrame(table["data"], columns=table["columns"]).set_index("label")
    assert labels["f1_mean"].mean() == pytest.approx(run.data.metrics["f1_macro_mean"])
    shown = json.loads(run.data.tags["mlflow.loggedArtifacts"])
    assert [table["path"] for table in shown] == ["folds.json", "labels.json", "checks.json"]


def test_figures_and_report_are_logged(default):
    _, run = default
    files = list(artifact(run, "figures").iterdir())
    assert {file.stem for file in files} == {
        *("labels", "fold_scores", "training_curves", "label_scores", "precision_recall"),
        *("roc", "calibration", "label_counts", "co_occurrence"),
    }
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
    page = artifact(run, "report.html").read_text("utf-8")
    mean, low = (run.data.metrics[f"accuracy_{name}"] for name in ("mean", "ci_low"))
    assert f"{mean:.3f}" in page
    assert f"{low:.3f} to " in page
    tags = run.data.tags
    assert all(tag in page for tag in (run.info.run_id, tags["data_digest"], tags["device"]))


def test_the_data_set_is_logged_with_the_digest_of_all_values(default):
    _, run = default
    (used,) = run.inputs.dataset_inputs
    assert used.dataset.digest == run.data.tags["data_digest"]
    assert len(used.dataset.digest) <= 36
    assert json.loads(used.dataset.profile)["n_samples"] == 1000


def test_the_logged_model_takes_raw_named_rows_and_names_its_labels(default, store):
    out, run = default
    mlflow.set_tracking_uri(store.uri)
    (logged,) = store.client.search_logged_models([run.info.experiment_id])
    model = mlflow.pyfunc.load_model(f"models:/{logged.model_id}")
    row = pd.DataFrame([[3.0, 3, 6, 7, 8, 2, 11, 11, 1, 3]]).add_prefix("x").astype(float)
    answer = model.predict(row[row.columns[::-1]])
    assert list(answer.columns) == ["y0", "y1", "y2"]
    printed = " ".join(f"{value:.5f}" for value in answer.to_numpy()[0])
    assert f"Predicted: [{printed}]" in out
    folder = Path(logged.artifact_location.removeprefix("file://"))
    assert "tensorflow==" in (folder / "requirements.txt").read_text()


def test_the_summaries_are_linked_to_the_logged_model(default, store):
    """They stay single metrics of the run; the score of a fold says nothing about the model."""
    _, run = default
    (logged,) = store.client.search_logged_models([run.info.experiment_id])
    metrics = store.client.get_logged_model(logged.model_id).metrics
    summaries = {
        key: value
        for key, value in run.data.metrics.items()
        if key.endswith(("_mean", "_std", "_ci_low", "_ci_high"))
    }
    assert len(summaries) == 4 * 5
    assert {metric.key: metric.value for metric in metrics} == summaries
    assert len(metrics) == len(summaries)
    dataset = run.inputs.dataset_inputs[0].dataset
    used = {(metric.run_id, metric.dataset_name, metric.dataset_digest) for metric in metrics}
    assert used == {(run.info.run_id, dataset.name, dataset.digest)}
    assert logged.params == run.data.params
    assert [output.model_id for output in run.outputs.model_outputs] == [logged.model_id]
    for key in summaries:
        assert len(store.client.get_metric_history(run.info.run_id, key)) == 1


def test_a_plan_that_the_memory_makes_smaller_is_shown_before_the_training(store):
    small = ("tracking.experiment_name=memory", "report=none", "training.epochs=2")
    out, _ = store.run_here(*small, "training.n_threads=2", "training.memory=0.5MB")
    lines = out.splitlines()
    (warning,) = [line for line in lines if line.startswith("Warning: ")]
    assert re.fullmatch(
        r"Warning: 2 x 16 fits at once would take \d+\.\d\d MB, more than the 0\.50 MB of "
        r"training\.memory, so 1 x [1-7] train at once\.",
        warning,
    )
    assert lines.index(warning) < next(i for i, line in enumerate(lines) if line.startswith(">"))


@pytest.fixture(scope="module")
def repeated(default, store):
    """Two runs like the default one: one without a report, in another process, and other seed."""
    quiet = ("tracking.experiment_name=repeated", "report=none")
    store.run_here(*quiet)
    store.run_here(*quiet, "seed=2")
    other_seed, same = store.runs("repeated")
    return same, other_seed


def read_predictions(run) -> pd.DataFrame:
    return pd.read_parquet(artifact(run, "predictions.parquet"))


def test_only_another_seed_changes_the_predictions(default, repeated):
    _, run = default
    same, other_seed = map(read_predictions, repeated)
    pd.testing.assert_frame_equal(read_predictions(run), same)
    assert not read_predictions(run).equals(other_seed)


def test_a_run_without_a_report_differs_in_its_files_only(default, repeated):
    _, run = default
    same, _ = repeated
    assert run.data.tags["config_digest"] == same.data.tags["config_digest"]
    scores = [{**one.data.metrics, "seconds": 0.0} for one in (run, same)]
    assert scores[0] == scores[1]
    files = [{file.name for file in artifact(one, "").iterdir()} for one in (run, same)]
    assert files[0] - files[1] == {"figures", "report.html"}


def test_a_failed_run_keeps_its_scores_and_logs_the_reason(store):
    # Passes every check, trains, and fails where the final model is saved.
    builder = ("model=keras", "model.builder=tests.test_job.model_that_fails_to_save")
    _, err = store.run_here(*builder, *QUICK, "tracking.experiment_name=failed", code=1)
    assert "The job failed: RuntimeError: no config" in err
    (run,) = store.runs("failed")
    assert run.info.status == "FAILED"
    assert run.data.tags["failure"] == "RuntimeError: no config"
    assert "no config" in artifact(run, "traceback.txt").read_text()
    assert "accuracy_mean" in run.data.metrics
    assert store.client.search_logged_models([run.info.experiment_id]) == []


def model_that_fails_to_save(n_features, n_labels, calls=[]):  # noqa: B006 - counts the calls
    import keras

    @keras.saving.register_keras_serializable("tests")
    class FailingLayer(keras.layers.Layer):
        def call(self, x):
            return x

        def get_config(self):
            calls.append(1)
            if len(calls) > 1:  # the first call is the check before training
                raise RuntimeError("no config")
            return super().get_config()

    inputs = keras.Input((n_features,))
    outputs = keras.layers.Dense(n_labels, "sigmoid")(FailingLayer()(inputs))
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize(
    ("signum", "code", "endless"),
    [
        (signal.SIGINT, 130, ("training.epochs=200000",)),
        (signal.SIGTERM, 143, ("model=random_forest", "model.params.n_estimators=2000")),
    ],
    ids=["compiled", "scikit-learn"],
)
def test_a_signal_stops_a_training(store, signum, code, endless):
    ended, experiment = Event(), signum.name

    def interrupt() -> None:
        while not is_training(store, experiment):
            if ended.wait(0.1):
                return
        if not ended.wait(1):
            os.kill(os.getpid(), signum)

    with ThreadPoolExecutor(1) as executor:
        interrupting = executor.submit(interrupt)
        try:
            store.run_here(*QUICK, *endless, f"tracking.experiment_name={experiment}", code=code)
        finally:
            ended.set()
            interrupting.result()
    (run,) = store.runs(experiment)
    assert run.info.status == "KILLED"


def is_training(store, experiment: str) -> bool:
    return any("config_digest" in run.data.tags for run in store.runs(experiment))


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("http://127.0.0.1:9", "expected a running MLflow server"),
        ("sqlite:////proc/none/mlflow.db", "expected an SQLite store that can be written"),
        ("./folder", "expected a store that MLflow can use"),
        ("sqlite:///{file}", "expected an SQLite store that can be written"),
    ],
)
def test_a_store_that_cannot_be_written_is_rejected_before_training(tmp_path, uri, expected):
    file = tmp_path / "not_a_database.db"
    file.write_text("this is not a database, and is long enough to be recognised as none" * 20)
    store = CommandRunner(tmp_path)
    out, err = store.run_here(f"tracking.uri={uri.format(file=file)}", code=2)
    assert expected in err
    assert "Traceback" not in err
    assert not re.search(r"^>0", out, re.MULTILINE)


def test_the_emotions_experiment(store, shared_data):
    path = shared_data / "emotions.arff"
    out, _ = store.run_here(
        *("experiment=emotions", f"dataset.path={path}", "cv.n_splits=5", "cv.n_repeats=1"),
        "report=none",
    )
    (run,) = [run for run in store.runs() if run.info.run_name.startswith("emotions")]
    assert "emotions: 593 rows, 72 features, 6 labels; 1.868 labels per row" in out
    assert run.data.params["preprocessing.scaling"] == "standard"
    assert run.data.metrics["accuracy_mean"] > 0.25


def test_labels_that_are_not_binary_are_rejected(store, shared_data, tmp_path):
    xml = tmp_path / "solar.xml"
    xml.write_text('<labels xmlns="x"><label name="c-class"/></labels>')
    path = shared_data / "meka_solar_flare.arff"
    _, err = store.run_here(f"dataset.path={path}", "dataset=arff", f"dataset.xml={xml}", code=2)
    assert "labels" in err


def test_a_table_of_numbers_and_categories_end_to_end(store, tmp_path):
    rng = np.random.default_rng(0)
    age, city = rng.integers(20, 80, size=150), rng.choice(["Rome", "Bonn", "Oslo"], size=150)
    table = pd.DataFrame({"age": age.astype(float), "city": city})
    table["tag_old"] = np.where(age > 50, "yes", "no")
    table["tag_rome"] = np.where(city == "Rome", "yes", "no")
    table.loc[::9, "age"] = np.nan
    table.loc[::11, "city"] = None
    path = tmp_path / "people.csv"
    table.to_csv(path, index=False)
    out, _ = store.run_here(
        *("dataset=table", f"dataset.path={path}", "dataset.labels=[tag_*]"),
        *("dataset.predict_rows=[[75,Rome],[null,Paris]]", "cv.n_splits=3", "cv.n_repeats=1"),
        *("training.learning_rate=0.02", "tracking.experiment_name=table", "report=none"),
        *("decision.threshold=global", "decision.calibration=temperature", "model.ensemble_size=2"),
    )
    (run,) = store.runs("table")
    assert run.data.metrics["accuracy_mean"] > 0.8
    mlflow.set_tracking_uri(store.uri)
    (logged,) = store.client.search_logged_models([run.info.experiment_id])
    model = mlflow.pyfunc.load_model(f"models:/{logged.model_id}")
    rows = pd.DataFrame({"city": ["Rome", "Paris"], "age": [75, None]}, dtype=object)
    answer = model.predict(rows)
    assert list(answer.columns) == ["tag_old", "tag_rome"]
    for row in answer.to_numpy():
        assert f"Predicted: [{' '.join(f'{value:.5f}' for value in row)}]" in out
    table = json.loads(artifact(run, "labels.json").read_text())
    labels = pd.DataFrame(table["data"], columns=table["columns"]).set_index("label")
    assert (labels["temperature_final"] != 1).all()
    decided = model.predict(rows, params={"decide": True})
    assert (decided == (answer > labels["threshold_final"])).all(axis=None)
    assert decided["tag_rome"].tolist() == [1, 0]
    held_out = pd.read_parquet(artifact(run, "predictions.parquet"))
    assert set(held_out["pred_tag_old"]) == {0, 1}
    whole = pd.DataFrame({"age": [75], "city": ["Rome"]})
    np.testing.assert_allclose(model.predict(whole), answer[:1])
