"""The data set in MLflow, when several jobs bring it at once."""

from concurrent.futures import ThreadPoolExecutor

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput

from pipeline.tracking.run import log_dataset
from pipeline.tracking.store import open_store, store_at

N_JOBS, N_DATASETS = 4, 10


def test_jobs_that_bring_the_same_data_at_once_all_list_them(tmp_path):
    store = store_at(f"sqlite:///{tmp_path}/mlflow.db")
    experiment_id = open_store(store, "race")
    client = MlflowClient(store.uri)
    runs = [client.create_run(experiment_id).info.run_id for _ in range(N_JOBS)]
    with ThreadPoolExecutor(N_JOBS) as executor:
        for number in range(N_DATASETS):
            described = DatasetInput(Dataset(f"data {number}", "digest", "code", "{}"))
            list(executor.map(lambda run: log_dataset(client, run, described), runs))  # noqa: B023
    for run in runs:
        listed = {it.dataset.name for it in client.get_run(run).inputs.dataset_inputs}
        assert listed == {f"data {number}" for number in range(N_DATASETS)}
