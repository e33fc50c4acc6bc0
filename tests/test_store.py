"""The server of a store and the addresses of its pages."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import mlflow
import pytest
from servers import free_port
from sqlalchemy import make_url

from pipeline.tracking import RunReader, track
from pipeline.tracking.heartbeat import this_process
from pipeline.tracking.store import (
    announce_server,
    find_page,
    find_server,
    open_store,
    store_at,
)

HOST, _, START = this_process().split()
PAGE = "/#/experiments/1/runs/abc?workflowType=machine_learning"


@pytest.fixture
def server():
    """Serve an empty answer to any request, as MLflow does at /health, and yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


@pytest.fixture
def store(tmp_path):
    return store_at(f"sqlite:///{tmp_path / 'mlflow.db'}")


@pytest.mark.parametrize("uri", ["http://host:5050", "http://host:5050/", "https://host/mlflow"])
def test_a_server_names_its_own_page(uri):
    assert find_page(store_at(uri), "1", "abc") == uri.rstrip("/") + PAGE


def test_the_server_of_a_file_is_found_while_it_is_announced(store, server):
    assert find_page(store, "1", "abc") is None
    with announce_server(store.database, server):
        assert find_page(store, "1", "abc") == server + PAGE
    assert find_page(store, "1", "abc") is None


@pytest.mark.parametrize(
    "process", [f"{HOST} 999999999 {START}", f"elsewhere 1 {START}"], ids=["ended", "elsewhere"]
)
def test_a_server_whose_process_has_ended_is_not_found(store, server, process):
    note = store.database.with_suffix(".ui.json")
    note.write_text(json.dumps({"server": server, "process": process}))
    assert find_server(store) is None
    note.write_text(json.dumps({"server": server, "process": this_process()}))
    assert find_server(store) == server


def test_a_server_that_does_not_answer_is_not_found(store):
    with announce_server(store.database, f"http://127.0.0.1:{free_port()}"):
        assert find_server(store) is None
    store.database.with_suffix(".ui.json").write_text("{")
    assert find_server(store) is None


NAMES = ("c%20d q?x#y", "c%20d", "q?x", "a#b", "x&y z", "a:b;c@d", "p%q", "[b]x", "ü 統計", "'q'")


@pytest.mark.parametrize("name", NAMES)
def test_the_uri_of_a_store_in_a_folder_of_any_name(tmp_path, name):
    (tmp_path / name).mkdir()
    store = store_at(f"sqlite:///{tmp_path / name}/mlflow.db")
    assert store.database == tmp_path / name / "mlflow.db"
    again = store_at(store.uri)
    assert (again.uri, again.database) == (store.uri, store.database)
    assert make_url(store.uri).database == str(store.database)  # as SQLAlchemy reads it


@pytest.mark.parametrize("name", NAMES[:1])
def test_a_store_in_a_folder_of_any_name(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    store = store_at(f"sqlite:///{folder}/mlflow.db")
    experiment = open_store(store, "a/b: c?")
    with track(experiment, "run / % ? # $x$ [b]", {}) as run:
        (tmp_path / "files").mkdir()
        (tmp_path / "files" / "note.txt").write_text("1")
        run.log_files(tmp_path / "files")
    reader = RunReader(store_at(store.uri))
    record = reader.one("run / % ? # $x$ [b]")
    assert record.status == "FINISHED"
    client = mlflow.MlflowClient(store.uri)
    assert [file.path for file in client.list_artifacts(record.run_id)] == ["note.txt"]
    assert {path.name for path in tmp_path.iterdir()} == {name, "files"}


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("sqlite:////data/mlflow.db", "/data/mlflow.db"),
        ("sqlite:////data/mlflow.db?timeout=20", "/data/mlflow.db"),
        ("sqlite:////data/a%20b/mlflow.db", "/data/a b/mlflow.db"),
        ("sqlite:////data/a?b/mlflow.db", "/data/a?b/mlflow.db"),
        ("sqlite+pysqlite:////data/a%2520b/mlflow.db", "/data/a%20b/mlflow.db"),
        ("postgresql://host/db", None),
    ],
)
def test_the_file_of_a_uri(uri, path):
    assert store_at(uri).database == (path and Path(path))
