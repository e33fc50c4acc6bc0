"""The command `serve`: what MLflow's server answers around a model, and its latency's parts."""

import asyncio
import json
import re
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.models.utils import _enforce_schema
from mlflow.types import ColSpec, Schema

from pipeline.dataset.builder import dataset_from_frame
from pipeline.errors import UserError
from pipeline.model.loaded_model import LoadedModel
from pipeline.tracking.logged_model import make_signature
from pipeline.tracking.model_server import bind_port, make_app
from tests.command_runner import CommandRunner
from tests.servers import free_port, listens, wait_for
from tests.test_logged_model import post
from tests.test_pyfunc_model import SKLEARN, N
from tests.test_pyfunc_model import serve as train

ROW = {"size": 1, "city": "Rome"}


@pytest.fixture(scope="module")
def models(tmp_path_factory, make_config):
    """A model that imputes missing numbers, and one that does not."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"size": rng.integers(0, 9, N), "city": rng.choice(["Rome", "Oslo"], N)})
    frame["l0"], frame["l1"] = frame["size"] > 4, frame["city"] == "Rome"
    dataset = dataset_from_frame("t", "t", frame, ["l0", "l1"])
    loaded = []
    for options in (("preprocessing=standard",), ("preprocessing.imputation=none",)):
        folder = tmp_path_factory.mktemp("model")
        train(make_config(*SKLEARN, *options), dataset, folder)
        loaded.append(LoadedModel(folder / "model"))
    return loaded


def ask(model, content):
    """Send a body to the application and return the status and the answer."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    scope = {
        "type": "http", "method": "POST", "path": "/invocations", "raw_path": b"/invocations",
        "query_string": b"", "headers": headers, "http_version": "1.1", "scheme": "http",
        "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1), "root_path": "",
    }  # fmt: skip
    sent = []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(make_app(model)(scope, receive, send))
    answer = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], json.loads(answer)


def records(*rows, **params):
    return {"dataframe_records": list(rows), **({"params": params} if params else {})}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (records({"city": "Rome"}), "none named 'size'"),
        (records({**ROW, "size": "many"}), "numbers in column 'size'. Received: 'many' in row 0"),
        (records({**ROW, "size": float("inf")}), "Received: inf in column 'size', row 0"),
        (records({**ROW, "size": [1, 2]}), "'size'"),
        (records({**ROW, "city": {"a": 1}}), "Expected numbers, texts and dates"),
        (records(ROW, dicide=True), "params among decide, threshold, thresholds. Received: dicide"),
        (records(ROW, threshold=2), "threshold from 0 to 1. Received: 2"),
        (records(ROW, thresholds={"l9": 0.2}), "Received: 'l9'. Available: l0, l1"),
        (records(ROW, thresholds=0.2), "thresholds by label. Received: 0.2"),
        (b"", "an empty body"),
        (b"{}", "dataframe_records"),
        (b"[1]", "Received a list"),
        (b"{", "JSON"),
        ({"inputs": [[1, 2]]}, "none named 'size', 'city'"),
    ],
)
def test_bad_requests_get_a_400_that_says_why(models, body, message):
    status, answer = ask(models[0], body)
    assert status == 400, answer
    assert message in answer["message"]


def test_null_and_nan_are_missing_values(models):
    (imputing, strict), missing = models, {"size": None, "city": None}
    nan = b'{"dataframe_records": [{"size": NaN, "city": null}]}'
    answers = [ask(imputing, body) for body in (records(missing), nan)]
    assert answers[0] == answers[1]
    assert answers[0][0] == 200
    for body in (records({**missing, "city": "Rome"}), nan):
        status, answer = ask(strict, body)
        assert status == 400
        assert "missing number" in answer["message"]
        assert "column 'size', row 0" in answer["message"]
    assert ask(strict, records({"size": 1, "city": None}))[0] == 200


def test_params_decide(models):
    model, rows = models[0], [{"size": size, "city": "Rome"} for size in range(9)]
    _, answer = ask(model, records(*rows))
    y_score = pd.DataFrame(answer["predictions"])
    for params, thresholds in (
        ({"decide": True}, [0.5, 0.5]),
        ({"threshold": 0.2}, [0.2, 0.2]),
        ({"thresholds": {"l0": 0.9}}, [0.9, 0.5]),
        ({"decide": None, "threshold": 0.1, "thresholds": {"l1": 1}}, [0.1, 1.0]),
    ):
        _, answer = ask(model, records(*rows, **params))
        assert (pd.DataFrame(answer["predictions"]) == (y_score > thresholds)).all(axis=None)


def test_only_the_any_type_lets_whole_numbers_and_missing_values_through():
    """If MLflow becomes more lenient, the signature can be typed."""
    whole, partly = pd.DataFrame({"a": np.arange(3)}), pd.DataFrame({"a": [1.0, None, 2.0]})
    empty = pd.DataFrame({"a": [np.nan, np.nan]})
    for kind, refused in (("double", whole), ("long", partly), ("string", empty)):
        with pytest.raises(MlflowException):
            _enforce_schema(refused, Schema([ColSpec(kind, "a", required=False)]))
    for frame in (whole, partly, empty):
        enforced = _enforce_schema(frame, make_signature(["a"], ["l"]).inputs)
        pd.testing.assert_frame_equal(enforced, frame)


def test_a_port_in_use():
    with bind_port(None) as server:
        server.listen()
        with pytest.raises(UserError, match="--port: expected a free port"):
            bind_port(server.getsockname()[1])


def test_the_command_serves_until_ctrl_c(tmp_path):
    store = CommandRunner(tmp_path)
    store.run_here("model=logistic", "cv.n_splits=2", "cv.n_repeats=1", "report=none")
    (run,) = store.runs()
    port = free_port()
    arguments = [run.info.run_id[:8], "--port", str(port), "--threshold", "0.3"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "serve", *arguments, f"tracking.uri={store.uri}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        first = process.stdout.readline()
        assert f"at http://127.0.0.1:{port}/invocations" in first
        example = json.loads(re.search(r"-d '(.*)'", process.stdout.readline())[1])
        wait_for("the server", lambda: listens(port), process)
        status, probabilities = post(port, example)
        assert status == 200
        status, decisions = post(port, example | {"params": {"decide": True}})
        (row,), (decided,) = probabilities["predictions"], decisions["predictions"]
        assert decided == {label: float(value > 0.3) for label, value in row.items()}
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert "Stopped." in out, err
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()
