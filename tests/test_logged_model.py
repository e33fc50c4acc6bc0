"""Registration of final models, also of runs of other programs."""

import mlflow
import pytest

from pipeline.commands import promote
from pipeline.tracking.store import open_store, store_at


@pytest.fixture
def run(tmp_path):
    """A finished run of another program with a model: the URI of its store and its id."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    experiment_id = open_store(store_at(uri), "other")
    with mlflow.start_run(experiment_id=experiment_id) as active:
        model = mlflow.initialize_logged_model("model")
        mlflow.finalize_logged_model(model.model_id, "READY")
    return uri, active.info.run_id


def test_a_run_of_another_program_is_described_by_its_id(run):
    uri, run_id = run
    assert promote.main([run_id, "--name", "other", f"tracking.uri={uri}"]) == 0
    (version,) = mlflow.MlflowClient(uri).search_model_versions("name = 'other'")
    assert version.description == f"run {run_id}"
