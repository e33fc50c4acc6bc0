"""Runs that several jobs write at once."""

from concurrent.futures import ThreadPoolExecutor

from mlflow import MlflowClient

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
