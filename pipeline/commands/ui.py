"""Open the MLflow UI at the training runs of an experiment, or at one run."""

import argparse
import os
import socket
import subprocess
import sys
import time
import webbrowser
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pipeline.command_line import make_command_parser, parse, run
from pipeline.config import TrackingConfig
from pipeline.errors import UserError
from pipeline.mlflow_variables import server_variables
from pipeline.runtime import heavy_imports

if TYPE_CHECKING:
    from pipeline.tracking import Store

HOST = "127.0.0.1"
PORT = 5000  # MLflow's own; another one if it is in use
SECONDS_TO_START = 120
NO_JOBS = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # else it starts eight processes more


def main(argv: Sequence[str]) -> int:
    """Open the UI and return the exit code."""
    return run(lambda: _open(*parse(make_parser(), argv)))


def _open(arguments: argparse.Namespace, tracking: TrackingConfig) -> None:
    with heavy_imports():
        from pipeline import console
        from pipeline.tracking import RunReader, check_store, find_page, locate
        from pipeline.tracking.store import announce_server, find_server, page_address

    store = locate(tracking)
    with console.waiting("reading the store"):
        reader = RunReader(store)
        if arguments.run:
            record = reader.one(arguments.run)
            experiment_id, run_id = record.experiment_id, record.run_id
        else:
            experiment_id, run_id = reader.experiment_id(tracking.experiment_name), None
    page = find_page(store, experiment_id, run_id)
    if page:
        _show_page(page)
        return
    if not store.database:
        raise UserError(
            "tracking.uri: expected an SQLite file or the address of an MLflow server. Received: "
            f"{store.uri}"
        )
    check_store(store)
    port = arguments.port or _free_port()
    server = f"http://{HOST}:{port}"
    process = _start_server(store, port)
    try:
        with announce_server(store.database, server):
            with console.waiting("starting the MLflow server"):
                _wait_until_ready(process, server, lambda: bool(find_server(store)))
            _show_page(page_address(server, experiment_id, run_id))
            console.show("Ctrl-C stops the server.")
            process.wait()
    except KeyboardInterrupt:
        console.show("Stopped.")
    finally:
        process.terminate()
        process.wait()


def _show_page(address: str) -> None:
    """Print the address of a page, and open it where there is a screen."""
    print(address, flush=True)
    if sys.platform in {"darwin", "win32"} or os.environ.get("DISPLAY"):
        webbrowser.open(address)


def _start_server(store: "Store", port: int) -> subprocess.Popen[bytes]:
    """Start a server for an SQLite store; its log goes to a file beside the store."""
    assert store.database
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", store.uri]
    with store.database.with_suffix(".ui.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=NO_JOBS | server_variables())


def _wait_until_ready(
    process: subprocess.Popen[bytes], server: str, is_ready: Callable[[], bool]
) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while not is_ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise UserError(
                f"The MLflow server did not start at {server}. Its log is the file *.ui.log beside "
                "the store. Try another port: --port 5050"
            )
        time.sleep(0.2)


def _free_port() -> int:
    """Return MLflow's usual port, or any free one if that is in use."""
    for port in (PORT, 0):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise UserError(f"No port of {HOST} is free.")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = make_command_parser(
        "ui",
        "Start MLflow's UI on 127.0.0.1, or use the one that is running, at the training runs of "
        "the experiment or at one run.",
        "tracking.experiment_name=... names the experiment.",
    )
    parser.add_argument("run", nargs="?", metavar="RUN", help="name or id of a run or sweep")
    parser.add_argument("--port", type=int, help="port of a new server (default: 5000 if free)")
    return parser
