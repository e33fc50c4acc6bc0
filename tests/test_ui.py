"""The command that opens the MLflow UI, with a store of one run and with a real server."""

import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import mlflow
import pytest
from mlflow import MlflowClient
from servers import free_port, started, wait_for

from pipeline.commands import ui
from pipeline.tracking.store import find_page, store_at


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> tuple[Path, str, str]:
    """A store with one run: the database and the ids of the experiment and the run."""
    folder = tmp_path_factory.mktemp("store")
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment_id = client.create_experiment("manyfold", (folder / "artifacts").as_uri())
    run = client.create_run(experiment_id, run_name="first")
    client.set_terminated(run.info.run_id)
    return folder / "mlflow.db", experiment_id, run.info.run_id


@pytest.fixture
def command(monkeypatch, capsys):
    """Run the command in this process; return exit code, output and errors."""
    handler, uri = signal.getsignal(signal.SIGTERM), mlflow.get_tracking_uri()
    monkeypatch.delenv("DISPLAY", raising=False)  # else a browser would open

    def run(*arguments: str) -> tuple[int, str, str]:
        code = ui.main(arguments)
        return code, *capsys.readouterr()

    yield run
    signal.signal(signal.SIGTERM, handler)
    mlflow.set_tracking_uri(uri)


def group(leader: int) -> list[int]:
    """Return the running processes of a process group."""
    pids = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            state, _, pgrp = path.read_text().rpartition(")")[2].split()[:3]
            if int(pgrp) == leader and state != "Z":
                pids.append(int(path.parent.name))
    return pids


def test_a_missing_store_is_one_message(command, tmp_path):
    code, out, err = command(f"tracking.uri=sqlite:///{tmp_path / 'gone.db'}")
    assert (code, out) == (2, "")
    assert "gone.db, which does not exist" in err.replace("\n", " ")
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frist"], "'frist'. Did you mean 'first'?"),
        (["tracking.experiment_name=manifold"], "Did you mean 'manyfold'?"),
    ],
)
def test_an_unknown_run_or_experiment_is_an_error(command, store, arguments, message):
    code, out, err = command(*arguments, f"tracking.uri=sqlite:///{store[0]}")
    assert (code, out) == (2, "")
    assert message in err


def test_the_usual_port_is_preferred_and_another_one_used_if_it_is_taken(monkeypatch):
    with socket.socket() as other:
        other.bind((ui.HOST, 0))
        other.listen()
        usual = other.getsockname()[1]
        monkeypatch.setattr(ui, "PORT", usual)
        assert ui._free_port() not in (0, usual)
    for _ in range(20):  # another process may take a free port before it is asked for
        monkeypatch.setattr(ui, "PORT", free_port())
        if ui._free_port() == ui.PORT:
            return
    pytest.fail("the usual port was never taken")


def test_a_database_without_a_file_is_refused(command, store, monkeypatch):
    monkeypatch.setattr("pipeline.tracking.store.database_path", lambda uri: None)
    code, out, err = command(f"tracking.uri=sqlite:///{store[0]}")
    assert (code, out) == (2, "")
    assert "expected an SQLite file or the address of an MLflow server" in err.replace("\n", " ")


@pytest.mark.skipif(sys.platform != "linux", reason="reads the processes of /proc")
def test_a_server_is_started_used_again_and_stopped(command, store, tmp_path):
    database, experiment_id, run_id = store
    server, log = f"http://127.0.0.1:{free_port()}", tmp_path / "log"
    page = f"{server}/#/experiments/{experiment_id}/runs"
    arguments = ["first", "--port", server.rpartition(":")[2], f"tracking.uri=sqlite:///{database}"]
    environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
    with started(
        [sys.executable, "-m", "pipeline", "ui", *arguments], log, env=environment
    ) as process:
        wait_for("the UI", lambda: "Ctrl-C" in log.read_text(), process, log)
        query = "?workflowType=machine_learning"
        assert log.read_text().splitlines()[0] == f"{page}/{run_id}{query}"
        with urlopen(f"{server}/health") as answer:
            assert answer.status == 200
        # Both the store and the address of its server lead to the same server.
        for uri in (f"sqlite:///{database}", server):
            assert command("first", f"tracking.uri={uri}") == (0, f"{page}/{run_id}{query}\n", "")
            assert command(f"tracking.uri={uri}") == (0, f"{page}{query}\n", "")
            assert find_page(store_at(uri), experiment_id, run_id) == f"{page}/{run_id}{query}"
        assert 1 < len(group(process.pid)) < 8  # MLflow's runners of jobs alone would be eight
        process.terminate()
        assert process.wait(60) == 128 + signal.SIGTERM
        wait_for("the end of all processes", lambda: not group(process.pid))
    assert not database.with_suffix(".ui.json").exists()
    assert find_page(store_at(f"sqlite:///{database}"), experiment_id, run_id) is None
