"""Logged models: other processes load and serve them, and those of any run can be registered."""

import json
import os
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.utils import environment

from pipeline.commands import promote
from pipeline.dataset.builder import dataset_from_arrays
from pipeline.errors import UserError
from pipeline.tracking.logged_model import _without_advice, check_code
from pipeline.tracking.store import open_store, store_at
from tests.command_runner import CommandRunner
from tests.servers import BIN, free_port, listens, started, wait_for
from tests.test_pyfunc_model import (
    CATEGORICAL,
    DATES,
    KERAS,
    SKLEARN,
    TOLERANCE,
    N,
    assert_served,
    mixed_frame,
    serve,
    write_csv,
)


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
    assert version.description == f"The first champion of this name.\nRun {run_id}"


def test_a_model_is_logged_without_reading_the_files_of_all_packages(monkeypatch):
    """MLflow's check of the requirements, which are those of this process, is what reads them."""
    checked = []
    name = "warn_dependency_requirement_mismatches"
    monkeypatch.setattr(environment, name, checked.append)
    environment._process_pip_requirements(None, ["numpy==1.0"])
    assert len(checked) == 1
    with _without_advice():
        environment._process_pip_requirements(None, ["numpy==1.0"])
    assert len(checked) == 1
    environment._process_pip_requirements(None, ["numpy==1.0"])
    assert len(checked) == 2


def post(port: int, body: dict) -> tuple[int, dict]:
    """Send JSON to a served model and return the status and the answer."""
    request = Request(
        f"http://127.0.0.1:{port}/invocations",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urlopen(request) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, json.load(error)


def test_a_process_with_the_code_of_the_folder_alone_loads_a_network(tmp_path, make_config):
    X = np.random.default_rng(0).normal(size=(N, 2))
    dataset = dataset_from_arrays("t", "t", X, (X > 0.5).astype(int))
    serve(make_config("preprocessing=standard", *KERAS), dataset, tmp_path)
    check_code(tmp_path)


def test_mlflow_serves_a_logged_model(tmp_path):
    store = CommandRunner(tmp_path)
    path = tmp_path / "t.csv"
    frame, labels = mixed_frame()
    write_csv(path, frame, labels)
    store.run_here(
        *("dataset=table", f"dataset.path={path}", "dataset.labels=['l?']", "report=none"),
        *(f"dataset.categorical=[{','.join(CATEGORICAL)}]", "cv.n_splits=2", "cv.n_repeats=1"),
        *(f"dataset.numeric=[{','.join(DATES)}]", "dataset.predict_rows=[]", *SKLEARN),
    )
    (run,) = store.runs()
    (logged,) = store.client.search_logged_models([run.info.experiment_id])
    rows = pd.read_csv(path)[list(frame.columns)].head()
    model = mlflow.pyfunc.load_model(logged.artifact_location)
    expected = model.predict(rows).to_dict("records")
    port, log = free_port(), tmp_path / "log"
    command = [
        *(sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"),
        *("-m", logged.artifact_location, "--host", "127.0.0.1", "--port", str(port)),
    ]
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    with started(command, log, cwd=tmp_path, env=environment) as server:
        wait_for("the served model", lambda: listens(port), server, log)
        split = json.loads(rows.to_json(orient="split", double_precision=15))
        records = json.loads(rows.to_json(orient="records", double_precision=15))
        columns = {name: [record[name] for record in records] for name in rows}
        for body in (
            {"dataframe_split": split},
            {"dataframe_records": records},
            {"inputs": columns},
        ):
            status, answer = post(port, body)
            assert status == 200, answer
            for actual, probabilities in zip(answer["predictions"], expected, strict=True):
                assert actual == pytest.approx(probabilities, abs=TOLERANCE)
        status, answer = post(port, {"dataframe_records": records, "params": {"decide": True}})
        decided = [{name: float(p > 0.5) for name, p in row.items()} for row in expected]
        assert answer["predictions"] == decided
        for value, message in (
            (float("inf"), "Expected finite numbers"),
            ("many", "Expected numbers in column 'plain'. Received: 'many' in row 1"),
        ):
            records[1]["plain"] = value
            status, answer = post(port, {"dataframe_records": records})
            assert status == 400
            assert message in answer["message"]


def test_a_model_that_was_logged_before_there_was_a_schema_loads_as_before():
    model = mlflow.pyfunc.load_model(str(Path(__file__).parent / "models" / "before_schema"))
    rows = pd.DataFrame({"age": [50, 30, None], "city": ["Rome", "Oslo", "Paris"]})
    expected = [[0.7119448, 0.9079509], [0.0667760, 0.1194463], [0.6928009, 0.5425525]]
    np.testing.assert_allclose(model.predict(rows), expected, atol=TOLERANCE)


ESTIMATOR = """
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
{import_prior}


class Frequency(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        self.frequency_ = prior.smooth(np.mean(y))
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, X):
        return np.tile([1 - self.frequency_, self.frequency_], (len(X), 1))
"""


@pytest.mark.parametrize(
    ("name", "import_prior", "travels"),
    [
        ("static", "from . import prior", True),
        (
            "dynamic",
            "from importlib import import_module\nprior = import_module('{}.prior')",
            False,
        ),
    ],
)
def test_the_users_code_travels_with_the_model(
    tmp_path, make_config, monkeypatch, name, import_prior, travels
):
    package = f"own_{name}"  # a namespace package, as it has no __init__.py
    (tmp_path / package).mkdir()
    text = ESTIMATOR.format(import_prior=import_prior.format(package))
    (tmp_path / package / "estimators.py").write_text(text)
    (tmp_path / package / "prior.py").write_text("def smooth(p): return float(0.9 * p + 0.05)")
    (tmp_path / package / "rows.bin").write_bytes(b"much data")
    monkeypatch.syspath_prepend(tmp_path)
    config = make_config(
        "model=sklearn", f"model.estimator={package}.estimators.Frequency", "preprocessing=standard"
    )
    X = np.random.default_rng(0).normal(size=(N, 2))
    dataset = dataset_from_arrays("t", "t", X, (X > 0.5).astype(int))
    folder = tmp_path / "model"
    folder.mkdir()
    served, expected = serve(config, dataset, folder)
    assert_served(served, expected, pd.DataFrame(X, columns=dataset.feature_names))
    copied = {path.name for path in (folder / "code" / package).iterdir()}
    assert copied == ({"estimators.py", "prior.py"} if travels else {"estimators.py"})
    if travels:
        check_code(folder)
    else:
        with pytest.raises(UserError, match=r"No module named 'own_dynamic\.prior'"):
            check_code(folder)
