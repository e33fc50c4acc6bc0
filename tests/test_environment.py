"""Environment variables of MLflow: honoured where the configuration leaves them open."""

import importlib.util
import json
import os
import sys

import mlflow
import pytest

from pipeline import mlflow_variables
from pipeline.commands import compare, promote
from pipeline.errors import UserError
from pipeline.tracking import RunReader
from pipeline.tracking import store as store_module
from pipeline.tracking.store import check_artifacts, check_store, open_store, store_at
from tests.command_runner import CommandRunner

QUICK = (
    *("model=dummy", "dataset.n_samples=60", "dataset.predict_rows=[]", "report.figures=false"),
    *("cv.n_splits=2", "cv.n_repeats=2"),
)
NAMES = (
    *mlflow_variables.IGNORED, "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_REGISTRY_URI", "MLFLOW_WORKSPACE", mlflow_variables.SYSTEM_METRICS,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch):
    for name in NAMES:
        monkeypatch.setenv(name, "")  # to be restored
        monkeypatch.delenv(name)
    monkeypatch.setattr(mlflow_variables, "_ignored", {})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A store with one finished run, and the run."""
    store = CommandRunner(tmp_path_factory.mktemp("finished"))
    store.run_here(*QUICK)
    (run,) = store.runs()
    return store, run


def state(store, run_id):
    """Return all that MLflow knows of a run."""
    run = store.client.get_run(run_id)
    history = {key: store.client.get_metric_history(run_id, key) for key in run.data.metrics}
    points = {key: [(m.value, m.step, m.timestamp) for m in h] for key, h in history.items()}
    models = store.client.search_logged_models([run.info.experiment_id])
    files = sorted(file.path for file in store.client.list_artifacts(run_id))
    return (
        run.to_dictionary(),
        points,
        files,
        [m.to_dictionary() for m in models if m.source_run_id == run_id],
    )


def leave_behind(monkeypatch, run):
    """Set the variables that name a finished run, its experiment and its model."""
    monkeypatch.setenv("MLFLOW_RUN_ID", run.info.run_id)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    monkeypatch.setenv("MLFLOW_ACTIVE_MODEL_ID", "m-00000000000000000000000000000000")
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_LOGGING", "true")
    monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", "true")
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", "/nowhere")
    parent = json.dumps({"mlflow.parentRunId": run.info.run_id, "superseded_by": "x"})
    monkeypatch.setenv("MLFLOW_RUN_CONTEXT", parent)


@pytest.mark.parametrize("arguments", [(), ("--multirun", "seed=1,2")], ids=["run", "sweep"])
def test_a_finished_run_that_a_variable_names_stays_as_it_is(finished, monkeypatch, arguments):
    store, run = finished
    before, n_before = state(store, run.info.run_id), len(store.runs())
    leave_behind(monkeypatch, run)
    out, _ = store.run_here(*arguments, *QUICK, "seed=5" if not arguments else "resume=false")
    assert state(store, run.info.run_id) == before
    new = store.runs()[: len(store.runs()) - n_before]
    assert len(new) == (3 if arguments else 1)
    assert {one.info.status for one in new} == {"FINISHED"}
    assert all(one.data.tags.get("mlflow.parentRunId") != run.info.run_id for one in new)
    assert not any("superseded_by" in one.data.tags for one in new)
    assert out.count(f"MLFLOW_RUN_ID={run.info.run_id} is ignored: ") == 1
    assert out.count("MLFLOW_EXPERIMENT_ID=0 is ignored: name the experiment: tracking.exp") == 1
    assert out.count("MLFLOW_RUN_CONTEXT=") == out.count("MLFLOW_ACTIVE_MODEL_ID=m-") == 1


@pytest.mark.parametrize("command", [promote, compare])
def test_commands_leave_a_finished_run_as_it_is(finished, monkeypatch, capfd, command, tmp_path):
    store, run = finished
    before = state(store, run.info.run_id)
    leave_behind(monkeypatch, run)
    monkeypatch.chdir(tmp_path)
    arguments = [run.info.run_id, f"tracking.uri={store.uri}"]
    if command is compare:
        arguments += ["--json", f"{tmp_path}/x.json", "--figure", f"{tmp_path}/x.png"]
    command.main(arguments)
    assert state(store, run.info.run_id)[:3] == before[:3]  # promoting tags the model
    assert f"MLFLOW_RUN_ID={run.info.run_id} is ignored: " in capfd.readouterr().err


def test_switches_that_are_off_are_ignored_without_a_word(monkeypatch, make_config):
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_LOGGING", "false")
    monkeypatch.setenv("MLFLOW_RUN_ID", "")
    mlflow_variables.ignore_variables()
    assert mlflow_variables.describe_variables(make_config().tracking) == []


def test_the_experiment_and_the_store_of_the_environment(tmp_path, monkeypatch):
    store = CommandRunner(tmp_path)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "team a")
    out, _ = store.run_here(*QUICK)
    assert "Experiment of MLFLOW_EXPERIMENT_NAME: team a" in out
    assert len(store.runs("team a")) == 1
    out, _ = store.run_here("--multirun", "seed=1,2", *QUICK)
    assert out.count("Experiment of MLFLOW_EXPERIMENT_NAME: team a") == 1
    assert len(store.runs("team a")) == 4
    out, _ = store.run_here(*QUICK, "tracking.experiment_name=mine")
    assert "MLFLOW_EXPERIMENT_NAME" not in out
    assert len(store.runs("mine")) == 1
    assert store.runs("manyfold") == []

    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    out, _ = store.run_here(*QUICK, "tracking.uri=null")
    assert f"MLflow store of MLFLOW_TRACKING_URI: {store.uri}" in out
    assert len(store.runs("manyfold")) == 1
    other = CommandRunner(tmp_path / "other")
    out, _ = other.run_here(*QUICK)
    assert "MLFLOW_TRACKING_URI" not in out
    assert len(other.runs()) == len(store.runs()) == 1
    assert os.environ["MLFLOW_TRACKING_URI"] == store.uri  # MLflow would set it


def test_the_registry_of_the_environment(finished, tmp_path, monkeypatch, capfd):
    store, run = finished
    registry = f"sqlite:///{tmp_path / 'registry.db'}"
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", registry)
    assert promote.main([run.info.run_id, f"tracking.uri={store.uri}"]) == 0
    assert f"Model registry of MLFLOW_REGISTRY_URI: {registry}" in capfd.readouterr().out
    client = mlflow.MlflowClient(store.uri, registry)
    assert client.get_model_version_by_alias("synthetic", "champion").run_id == run.info.run_id
    assert store.client.search_registered_models("name = 'synthetic'") is not None


def test_system_metrics_need_psutil(tmp_path, monkeypatch):
    store = store_at(f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv(mlflow_variables.SYSTEM_METRICS, "true")
    real = importlib.util.find_spec
    monkeypatch.setattr(
        mlflow_variables, "find_spec", lambda name: None if name == "psutil" else real(name)
    )
    with pytest.raises(UserError, match=r"psutil is not installed. Install it: pip install psutil"):
        check_store(store)
    monkeypatch.setenv(mlflow_variables.SYSTEM_METRICS, "yes")
    with pytest.raises(UserError, match=r"expected true or false. Received: yes"):
        check_store(store)
    monkeypatch.setenv(mlflow_variables.SYSTEM_METRICS, "")
    check_store(store)


def test_the_server_of_the_ui_gets_no_settings_of_another_one(monkeypatch):
    monkeypatch.setenv("MLFLOW_STATIC_PREFIX", "/x")
    monkeypatch.setenv("MLFLOW_FLASK_SERVER_SECRET_KEY", "kept")
    variables = mlflow_variables.server_variables()
    assert "MLFLOW_STATIC_PREFIX" not in variables
    assert variables["MLFLOW_FLASK_SERVER_SECRET_KEY"] == "kept"


def test_autologging_of_own_code_adds_nothing(finished, monkeypatch, tmp_path):
    (tmp_path / "own_logging.py").write_text(
        "import mlflow\nfrom sklearn.dummy import DummyClassifier\n"
        "mlflow.sklearn.autolog(silent=True)\n"
        "class Model(DummyClassifier):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    store, _ = finished
    try:
        store.run_here(
            *QUICK,
            "model=sklearn",
            "model.estimator=own_logging.Model",
            "tracking.experiment_name=autolog",
        )
    finally:
        mlflow.sklearn.autolog(disable=True)
    (run,) = store.runs("autolog")
    assert not [key for key in run.data.metrics if key.startswith("training_")]


def test_an_empty_variable_names_no_experiment(monkeypatch, make_config):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "")
    assert make_config().tracking.experiment_name == "manyfold"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "a/b: $x ${y}")
    assert make_config().tracking.experiment_name == "a/b: $x ${y}"


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        (
            "postgresql://host/db",
            r"psycopg is not installed. Install it: pip install 'psycopg\[bin",
        ),
        (
            "mysql://host/db",
            r"MySQLdb is not installed. Install it: pip install pymysql and write mysql\+pymysql:",
        ),
        ("mysql+pymysql://host/db", "pymysql is not installed. Install it: pip install pymysql"),
        ("mssql+pyodbc://host/db", "pyodbc is not installed. Install it: pip install pyodbc"),
    ],
)
def test_a_missing_driver_is_named(monkeypatch, uri, reason):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for use in (lambda: open_store(store_at(uri), "x"), lambda: RunReader(store_at(uri))):
        with pytest.raises(UserError, match=reason) as caught:
            use()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "package"),
    [
        ("s3://bucket/x", "boto3"),
        ("gs://bucket/x", "google-cloud-storage"),
        ("wasbs://c@a.blob.core.windows.net/x", "azure-storage-blob"),
        ("sftp://host/x", "pysftp"),
    ],
)
def test_a_missing_package_for_artifacts_is_named(monkeypatch, uri, package):
    monkeypatch.setattr(store_module, "is_installed", lambda module: False)
    with pytest.raises(UserError, match=f"not installed. Install it: pip install {package}$"):
        check_artifacts(uri)
    monkeypatch.setattr(store_module, "is_installed", lambda module: True)
    check_artifacts(uri)
