"""Open the MLflow UI at the training runs of an experiment, or at one run."""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

from pipeline.command_line import parse, run
from pipeline.config import TrackingConfig
from pipeline.errors import UserError
from pipeline.runtime import heavy_imports, write_atomically

if TYPE_CHECKING:
    from pipeline.tracking import Store

HOST = "127.0.0.1"
PORT = 5000  # MLflow's own; another one if it is in use
SECONDS_TO_START = 120


def main(argv: Sequence[str]) -> int:
    """Open the UI and return the exit code."""
    return run(lambda: _open(*parse(make_parser(), argv)))


def _open(arguments: argparse.Namespace, tracking: TrackingConfig) -> None:
    with heavy_imports():
        from pipeline import console
        from pipeline.tracking import RunReader, locate, page_address
        from pipeline.tracking.heartbeat import is_process_running, this_process

    store = locate(tracking)
    with console.waiting("reading the store"):
        reader = RunReader(store)
        if arguments.run:
            record = reader.one(arguments.run)
            experiment_id, run_id = record.experiment_id, record.run_id
        else:
            experiment_id, run_id = reader.experiment_id(tracking.experiment_name), None
    if not store.database:
        console.show(page_address(store.uri, experiment_id, run_id))
        return
    server = _running_server(store.database, is_process_running)
    if server:
        _show_page(page_address(server, experiment_id, run_id))
        return
    port = arguments.port or _free_port()
    server = f"http://{HOST}:{port}"
    process = _start_server(store, port)
    try:
        with console.waiting("starting the MLflow server"):
            _wait_until_ready(process, server)
        note = json.dumps({"server": server, "process": this_process()})
        write_atomically(_note(store.database), lambda path: path.write_text(note))
        _show_page(page_address(server, experiment_id, run_id))
        console.show("Ctrl-C stops the server.")
        process.wait()
    except KeyboardInterrupt:
        console.show("Stopped.")
    finally:
        process.terminate()
        process.wait()
        _note(store.database).unlink(missing_ok=True)


def _show_page(address: str) -> None:
    """Print the address of a page, and open it where there is a screen."""
    print(address, flush=True)
    if sys.platform in {"darwin", "win32"} or os.environ.get("DISPLAY"):
        webbrowser.open(address)


def _note(database: Path) -> Path:
    """Return the file that holds the address of the server of a store while it runs."""
    return database.with_suffix(".ui.json")


def _running_server(database: Path, is_running: Callable[[str], bool | None]) -> str | None:
    """Return the address of the server that a previous call started, if it still answers."""
    try:
        note = json.loads(_note(database).read_text())
        server, process = str(note["server"]), str(note["process"])
    except (OSError, ValueError, KeyError):
        return None
    return server if is_running(process) and _is_ready(server) else None


def _start_server(store: "Store", port: int) -> subprocess.Popen[bytes]:
    """Start MLflow's server for a store; its log goes to a file beside the store."""
    assert store.database
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", store.uri]
    with store.database.with_suffix(".ui.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def _wait_until_ready(process: subprocess.Popen[bytes], server: str) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while not _is_ready(server):
        if process.poll() is not None or time.monotonic() > deadline:
            raise UserError(
                f"The MLflow server did not start at {server}. Its log is the file *.ui.log beside "
                "the store. Try another port: --port 5050"
            )
        time.sleep(0.2)


def _is_ready(server: str) -> bool:
    try:
        with urlopen(f"{server}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _free_port() -> int:
    """Return MLflow's usual port, or any free one if that is in use."""
    for port in (PORT, 0):
        with socket.socket() as server:
            try:
                server.bind((HOST, port))
            except OSError:
                continue
            return int(server.getsockname()[1])
    raise UserError(f"No port of {HOST} is free.")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(
        prog="manyfold ui",
        description="Start MLflow's UI on 127.0.0.1, or use the one that is running, at the "
        "training runs of the experiment or at one run.",
        epilog="Settings: tracking.uri=... and tracking.experiment_name=...",
    )
    parser.add_argument("run", nargs="?", metavar="RUN", help="name or id of a run or sweep")
    parser.add_argument("--port", type=int, help="port of a new server (default: 5000 if free)")
    return parser
