"""Runs that several jobs write at once."""

from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline.tracking.logged_model import begin_model, log_model
from pipeline.tracking.run import DatasetInfo, TrackedRun, track
from pipeline.tracking.store import open_store, store_at

N_JOBS, N_DATASETS = 4, 10


def test_jobs_that_log_the_same_new_data_set_at_once_all_list_it(tmp_path):
    store = store_at(f"sqlite:///{tmp_path}/mlflow.db")
    experiment_id = open_store(store, "race")
    client = MlflowClient(store.uri)
    runs = [client.create_run(experiment_id).info.run_id for _ in range(N_JOBS)]
    tracked = [TrackedRun(run_id) for run_id in runs]
    with ThreadPoolExecutor(N_JOBS) as executor:
        for number in range(N_DATASETS):
            dataset = DatasetInfo(f"data {number}", "digest", ("x",), ("y",), {}, None)
            list(executor.map(lambda run: run.log_dataset(dataset), tracked))  # noqa: B023
    for run in runs:
        listed = {
            dataset_input.dataset.name
            for dataset_input in client.get_run(run).inputs.dataset_inputs
        }
        assert listed == {f"data {number}" for number in range(N_DATASETS)}


def test_keys_that_mlflow_refuses_are_cleaned(tmp_path):
    experiment = open_store(store_at(f"sqlite:///{tmp_path}/mlflow.db"), "a" * 400)
    keys = ("a$b", "[bold]x", "c//d", "../e", "n" * 300, "統計", "x y:z")
    with track(experiment, "keys", {}) as run:
        run.log_settings({f"model.params.{key}": "1" for key in keys} | {"/f": "2"})
        params = run.record().params
    assert len(params) == len(keys) + 1
    assert params["model.params.a_b"] == params["model.params.統計"] == "1"
    assert params["_f"] == "2"


def test_a_continued_run_links_what_it_logged_before_to_its_new_model(tmp_path):
    """A metric that has changed since is linked with its last value, once."""
    experiment = open_store(store_at(f"sqlite:///{tmp_path}/mlflow.db"), "linked")
    client = MlflowClient()
    with track(experiment, "run", {}) as run:
        run.log_scores(0, {"accuracy": 0.5})
        before = client.create_logged_model(experiment, "model", run.run_id)
        values = [("accuracy_mean", 0.5, 0), ("accuracy_std", 0.0, 0)]
        run.log_metrics(values, linked={before.model_id: ["accuracy_mean", "accuracy_std"]})
    with track(experiment, "run", {}, continued=run.run_id) as again:
        again.skip_logged()
        dataset = DatasetInfo("data", "digest", ("x",), ("y",), {}, None)
        again.log_dataset(dataset)
        again.log_scores(0, {"accuracy": 0.5})
        model = client.create_logged_model(experiment, "model", run.run_id)
        values = [("accuracy_mean", 0.75, 0), ("accuracy_std", 0.0, 0)]
        names = ["accuracy_mean", "accuracy_std", "f1_macro_mean"]
        again.log_metrics(values, linked={model.model_id: names})
    metrics = client.get_logged_model(model.model_id).metrics
    assert sorted((it.key, it.value, it.dataset_name, it.dataset_digest) for it in metrics) == [
        ("accuracy_mean", 0.75, "data", "digest"),
        ("accuracy_std", 0.0, "data", "digest"),
    ]
    histories = {
        key: [metric.value for metric in client.get_metric_history(run.run_id, key)]
        for key in ("accuracy_mean", "accuracy_std", "fold/accuracy")
    }
    assert histories == {
        "accuracy_mean": [0.5, 0.75], "accuracy_std": [0.0], "fold/accuracy": [0.5]
    }  # fmt: skip
    assert client.get_run(run.run_id).data.metrics["accuracy_mean"] == 0.75


def test_a_model_that_cannot_be_written_is_removed_and_one_of_a_killed_process_too(
    tmp_path, monkeypatch
):
    experiment = open_store(store_at(f"sqlite:///{tmp_path}/mlflow.db"), "failed")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "schema.json").write_text(
        '{"columns": [{"name": "x", "kind": "number"}], "label_names": ["l"]}'
    )
    client = MlflowClient()
    with (
        pytest.raises(FileNotFoundError),
        track(experiment, "run", {}) as run,
        begin_model(run) as model,
    ):
        log_model(model, tmp_path, {}, pd.DataFrame({"x": [1.0]}))  # without the code
    assert client.search_logged_models([experiment]) == []
    monkeypatch.setattr(
        MlflowClient, "finalize_logged_model", Mock(side_effect=MlflowException(""))
    )
    with pytest.raises(MlflowException), track(experiment, "run", {}) as run, begin_model(run):
        pass
    assert client.search_logged_models([experiment]) == []
    client.create_logged_model(experiment, "model", run.run_id)
    with track(experiment, "run", {}, continued=run.run_id) as again:
        again.skip_logged()
    assert client.search_logged_models([experiment]) == []
