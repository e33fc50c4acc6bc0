"""Passwords in URIs: they reach no file, no store and no screen, and the run can be repeated."""

import logging
import os

import mlflow
import pandas as pd
import pytest
from servers import open_mlflow_server

from pipeline.commands import promote
from pipeline.config import flatten, to_yaml
from pipeline.errors import VARIABLE, UserError, hide_all, mask, mask_logs, reveal
from tests.command_runner import CommandRunner

SECRET = "s3cr3t-pa55"
QUICK = (
    *("model=dummy", "dataset.n_samples=60", "dataset.predict_rows=[]", "report.figures=false"),
    *("cv.n_splits=2", "cv.n_repeats=1"),
)


@pytest.fixture(autouse=True)
def _no_uris(monkeypatch):
    for name in (VARIABLE, "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "")  # to be restored


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql+psycopg://ann:pw@host:5432/db", "postgresql+psycopg://***@host:5432/db"),
        ("postgresql://ann:p@ss@host/db", "postgresql://***@host/db"),
        ("postgresql://ann:p/a,s:1@host/db", "postgresql://***@host/db"),
        ("postgresql://ann:12/p3@host/db", "postgresql://***@host/db"),
        ("postgresql://ann:12@host:5432/db", "postgresql://***@host:5432/db"),
        ("postgresql://ann@host/db", "postgresql://ann@host/db"),
        ("https://token@host/api", "https://***@host/api"),
        ("http://:pw@host", "http://***@host"),
        (
            "http://host/?api_key=a&x=1&X-Signature=f",
            "http://host/?api_key=***&x=1&X-Signature=***",
        ),
        ("'http://a:pw@host:5', \"http://b:pw@host\"", "'http://***@host:5', \"http://***@host\""),
        ("uri=pg://a:1@h/d,pg://b:2@h/e", "uri=pg://***@h/d,pg://***@h/e"),
        ("[pg://a:1@h,pg://h:80,x@y]", "[pg://***@h,pg://h:80,x@y]"),
        ("at http://host:5000/a: ann@example.org", "at http://host:5000/a: ann@example.org"),
        ("sqlite:////data/a:b@c/mlflow.db", "sqlite:////data/a:b@c/mlflow.db"),
        ("models:/synthetic@champion", "models:/synthetic@champion"),
    ],
)
def test_user_password_and_tokens_are_masked(text, masked):
    assert mask(text) == masked
    assert mask(masked) == masked
    assert str(UserError(text)) == masked


def test_hidden_uris_are_revealed_in_this_process_and_its_children():
    uris = ["http://a:1@h/d", "pg://b:2@h/e?token=3"]
    hidden = hide_all([f"tracking.uri={uris[0]}", f"dataset.params.uris=[{uris[1]},{uris[0]}]"])
    assert hidden == [
        "tracking.uri=http://***@h/d",
        "dataset.params.uris=[pg://***@h/e?token=***,http://***@h/d]",
    ]
    assert reveal(hidden[1]) == f"dataset.params.uris=[{uris[1]},{uris[0]}]"
    assert os.environ[VARIABLE].split() == uris


def test_a_masked_uri_of_a_run_is_revealed_by_the_variable_of_mlflow(monkeypatch):
    masked = "http://***@h/d"
    with pytest.raises(UserError, match=r"Give it anew: as tracking.uri=... or in MLFLOW_TRACK"):
        reveal(masked)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://a:1@h/d")
    assert reveal(masked) == "http://a:1@h/d"
    assert hide_all(["tracking.uri=http://a:2@h/d"]) == [f"tracking.uri={masked}"]
    assert reveal(masked) == "http://a:2@h/d"  # what the command says counts more


def test_uris_that_differ_in_their_passwords_only_are_rejected():
    with pytest.raises(UserError, match="differ in more than passwords"):
        hide_all(["dataset.params.uri=pg://a:1@h/d,pg://b:2@h/d"])


def test_settings_are_masked(make_config):
    config = make_config("tracking.uri=http://a:1@h/d", "dataset.name=x")
    assert config.tracking.uri == "http://a:1@h/d"
    assert flatten(config)["tracking.uri"] == "http://***@h/d"
    assert "a:1" not in to_yaml(config)


def test_logs_of_libraries_are_masked(caplog):
    factory = logging.getLogRecordFactory()
    mask_logs.__wrapped__()
    try:
        try:
            raise ValueError("cannot reach http://a:1@h/d")
        except ValueError:
            logging.getLogger("library").exception("failed: %s, %d times", "pg://a:1@h/d", 3)
    finally:
        logging.setLogRecordFactory(factory)
    assert "failed: pg://***@h/d, 3 times" in caplog.text
    assert "ValueError: cannot reach http://***@h/d" in caplog.text
    assert "a:1" not in caplog.text


def test_the_error_of_a_database_is_masked(tmp_path):
    """No driver of this database is installed."""
    uri, store = f"mssql://ann:{SECRET}@127.0.0.1:1/db", CommandRunner(tmp_path)
    out, err = store.run_here(f"tracking.uri={uri}", *QUICK, code=2)
    sweep = ("--multirun", "seed=1,2", f"tracking.uri={uri}", *QUICK)
    out_of_sweep, err_of_sweep = store.run_here(*sweep, code=2)
    assert err.count("mssql://***@127.0.0.1:1/db") == 1
    assert err.endswith(err_of_sweep)
    _, unknown = store.run_here(f"dataset.uri={uri}", code=2)
    assert "dataset.uri: no such key" in unknown
    assert SECRET not in out + err + out_of_sweep + unknown
    assert_no_file_has_the_secret(tmp_path)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """URI and folder of an MLflow server."""
    folder = tmp_path_factory.mktemp("server")
    with open_mlflow_server(folder, SECRET) as uri:
        yield uri, folder


def assert_no_file_has_the_secret(folder) -> None:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    assert [path for path in paths if SECRET.encode() in path.read_bytes()] == []


def test_the_password_of_a_server_reaches_no_file_store_or_screen(server, tmp_path, monkeypatch):
    uri, server_folder = server
    (tmp_path / "conf" / "tracking").mkdir(parents=True)
    defaults = "experiment_name: manyfold\nrun_name: null\nparent_run_id: null\n"
    file = tmp_path / "conf" / "tracking" / "mine.yaml"
    store = CommandRunner(tmp_path, uri)
    checkpoints = f"tracking.checkpoint_dir={tmp_path}/checkpoints"

    # From a configuration file.
    file.write_text(f"uri: {uri}\ncheckpoint_dir: null\n{defaults}")
    mine = (f"--config-dir={tmp_path}/conf", "tracking=mine", checkpoints, *QUICK)
    printed = "".join(store.run_here(*mine))
    printed += "".join(store.run_here("--multirun", *mine, "seed=4"))
    file.unlink()

    # From the command line, with a job that fails, in processes.
    arguments = ("--multirun", "seed=1,-1", checkpoints, *QUICK)
    joblib = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", f"tracking.uri={uri}")
    printed += "".join(store.run(*arguments, *joblib, code=1))

    # Again, as the printed command says, with the URI in the environment.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    masked = mask(uri)
    assert f"tracking.uri={masked}" in printed
    out, err = store.run_here(*arguments, f"tracking.uri={masked}", "resume=true", code=1)
    assert "reused finished run" in out
    printed += out + err

    assert SECRET not in printed
    assert_no_file_has_the_secret(tmp_path)
    assert_no_file_has_the_secret(server_folder)
    assert len(store.runs()) == 1 + 2 + 1 + 3
    assert {run.data.params.get("tracking.uri", masked) for run in store.runs()} == {masked}


def test_a_server_links_metrics_and_takes_a_model_with_other_thresholds(server, tmp_path, capsys):
    uri, _ = server
    store = CommandRunner(tmp_path, uri)
    experiment = "tracking.experiment_name=linked"
    store.run_here(*QUICK, experiment, f"tracking.checkpoint_dir={tmp_path}/checkpoints")
    (run,) = store.runs("linked")
    (model,) = store.client.search_logged_models([run.info.experiment_id])
    metrics = {it.key: it.value for it in store.client.get_logged_model(model.model_id).metrics}
    assert metrics.items() <= run.data.metrics.items()
    assert "accuracy_mean" in metrics
    assert len(store.client.get_metric_history(run.info.run_id, "accuracy_mean")) == 1
    arguments = [run.info.run_id, "--name", "linked", "--threshold", "0.3"]
    assert promote.main([*arguments, f"tracking.uri={uri}"]) == 0
    assert "Thresholds given by the user: 0.3 for all labels." in capsys.readouterr().out
    version = store.client.get_model_version_by_alias("linked", "champion")
    copy = store.client.get_logged_model(version.model_id or version.source.partition(":/")[2])
    assert (copy.source_run_id, str(copy.status)) == (run.info.run_id, "READY")
    loaded = mlflow.pyfunc.load_model("models:/linked@champion")
    rows = pd.DataFrame([[3.0, 3, 6, 7, 8, 2, 11, 11, 1, 3]]).add_prefix("x")
    expected = loaded.predict(rows) > 0.3
    assert (loaded.predict(rows, params={"decide": True}) == expected).all(axis=None)
