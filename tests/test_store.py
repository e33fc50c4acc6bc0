"""The server of a store and the addresses of its pages."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from servers import free_port

from pipeline.tracking.heartbeat import this_process
from pipeline.tracking.store import announce_server, find_page, find_server, store_at

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
