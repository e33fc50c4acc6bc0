"""The MLflow store: its location, creation and limits, its server, and tags of Manyfold."""

import fcntl
import json
import logging
import os
import re
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import Engine, event
from sqlalchemy.exc import SQLAlchemyError

from pipeline.config import TrackingConfig
from pipeline.errors import TRACKING_URI, UserError
from pipeline.runtime import mlruns, uninterrupted, write_atomically
from pipeline.tracking.heartbeat import is_process_running, this_process

PARENT = "mlflow.parentRunId"
SUPERSEDED = "superseded_by"  # tag: id of the run that a resumed sweep lists instead
STOPPED = "stopped_after_repeat"  # tag: number of repeats after which racing stopped the run
FINAL_FIT = "final_fit"  # tag: the rows that the logged model is trained on, in words
STOPPED_BECAUSE = "stopped_because"  # tag: outcome of the race that stopped the run
MAX_PARAM = 6000  # characters of a param's value
MAX_TAG = 5000  # characters of a tag's value
MAX_NAME = 250  # characters of a run's name
MAX_SCHEMA = 1_000_000  # characters of the columns of a data set
MAX_PARAMS = 100  # in one call
MAX_METRICS = 1000  # in one call
SQLITE = "sqlite:///"
SECONDS_TO_ANSWER = 5
GIVEN_URI = os.environ.get(TRACKING_URI)  # by the user; MLflow sets the variable itself later

logging.getLogger("mlflow").setLevel(logging.WARNING)  # else it logs each table it creates
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # else a bar for each upload
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # else a link to each run


@dataclass(frozen=True)
class Store:
    """An MLflow tracking store.

    Attributes:
        uri: Tracking URI.
        artifacts: Root URI of artifacts; None for that of the server.
        checkpoints: Folder for finished folds of unfinished runs.
    """

    uri: str
    artifacts: str | None
    checkpoints: Path

    @property
    def is_default(self) -> bool:
        """True for the store that is used if none is named."""
        return self.uri == store_at(None).uri

    @property
    def is_server(self) -> bool:
        """True if the URI is the address of an MLflow server."""
        return self.uri.startswith(("http:", "https:"))

    @property
    def database(self) -> Path | None:
        """The SQLite file, if the store is one."""
        return Path(self.uri.removeprefix(SQLITE)) if self.uri.startswith(SQLITE) else None


def locate(config: TrackingConfig) -> Store:
    """Return the store that the configuration names."""
    return store_at(config.uri, config.checkpoint_dir)


def store_at(uri: str | None, checkpoints: str | None = None) -> Store:
    """Return the store of a tracking URI; by default MLflow's variable, or SQLite in `mlruns/`.

    Checkpoints are by default beside an SQLite store, and under `mlruns/` for a server.
    """
    uri = uri or GIVEN_URI or f"{SQLITE}{mlruns() / 'mlflow.db'}"
    given = checkpoints and Path(checkpoints).absolute()
    if not uri.startswith(SQLITE):
        return Store(uri, None, given or mlruns() / "checkpoints")
    database = Path(uri.removeprefix(SQLITE)).absolute()
    artifacts = (database.parent / "artifacts").as_uri()
    return Store(f"{SQLITE}{database}", artifacts, given or database.parent / "checkpoints")


def check_store(store: Store) -> None:
    """Check that the store can be written.

    Raises:
        UserError: If it cannot.
    """
    if store.database:
        _check_writable(store.database)
    url = urlsplit(store.uri)
    if url.scheme in {"http", "https"}:
        port = url.port or {"http": 80, "https": 443}[url.scheme]
        try:
            socket.create_connection((url.hostname or "", port), SECONDS_TO_ANSWER).close()
        except OSError as error:
            raise UserError(
                f"tracking.uri: expected a running MLflow server. Received: {store.uri} ({error}). "
                f"Start it with `mlflow server --host {url.hostname} --port {port}`."
            ) from error


def readable_uri(store: Store) -> str:
    """Return the URI to read a store, which need not be writable.

    An SQLite file in WAL mode is opened for writing even by readers, unless it is declared
    immutable; nobody writes to it while its log is empty.
    """
    database = store.database
    if database is None or all(os.access(it, os.W_OK) for it in (database, database.parent)):
        return store.uri
    log = database.with_name(f"{database.name}-wal")
    is_immutable = not log.exists() or not log.stat().st_size
    mode = "mode=ro&immutable=1" if is_immutable else "mode=ro"
    return f"{SQLITE}file:{database}?{mode}&uri=true"


@uninterrupted()
def open_store(store: Store, experiment_name: str) -> str:
    """Create the store and the experiment where missing and return the experiment's id.

    Raises:
        UserError: If MLflow refuses the store or the name.
    """
    try:
        with locked(store):
            if store.database:
                _create_database(store.database, store.artifacts)
            mlflow.set_tracking_uri(store.uri)
            client = mlflow.MlflowClient()
            experiment = client.get_experiment_by_name(experiment_name)
            if experiment is None:
                folder = re.sub(r"[^\w-]+", "_", experiment_name)
                root = store.artifacts and f"{store.artifacts}/{folder}"
                tags = {"mlflow.experimentKind": "custom_model_development"}  # the UI's view of it
                return str(client.create_experiment(experiment_name, root, tags))
    except (MlflowException, SQLAlchemyError, ModuleNotFoundError) as error:  # no such driver
        raise UserError(
            f"tracking.uri: expected a store that MLflow can use. Received: {store.uri} "
            f"({str(error).strip().splitlines()[0]})"
        ) from error
    if experiment.lifecycle_stage == "deleted":
        raise UserError(
            f"tracking.experiment_name: {experiment_name!r} was deleted in {store.uri}. Restore it "
            f"with `mlflow experiments restore --experiment-id {experiment.experiment_id}`, or "
            "name another."
        )
    return str(experiment.experiment_id)


def _check_writable(database: Path) -> None:
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        if database.exists():
            with closing(sqlite3.connect(database, timeout=20)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.rollback()
        elif not os.access(database.parent, os.W_OK):
            raise PermissionError(f"{database.parent} is not writable")
    except (OSError, sqlite3.Error) as error:
        raise UserError(
            f"tracking.uri: expected an SQLite store that can be written. Received: {database} "
            f"({error})"
        ) from error


@contextmanager
def locked(store: Store) -> Iterator[None]:
    """Lock an SQLite store against other processes of this program; a server needs no lock."""
    if not store.database:
        yield
        return
    with open(store.database.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _create_database(database: Path, artifacts: str | None) -> None:
    """Create an SQLite store if there is none, in WAL mode, so that readers do not wait.

    MLflow's migrations can neither run in two processes at once nor continue after a kill, so the
    store is created under a temporary name and renamed when it is complete.
    """
    if not database.exists():
        unfinished = database.with_name(f"{database.name}.new")
        for leftover in database.parent.glob(f"{unfinished.name}*"):
            leftover.unlink()
        event.listen(Engine, "connect", _do_not_sync)
        try:
            made = SqlAlchemyStore(f"{SQLITE}{unfinished}", artifacts)  # type: ignore[no-untyped-call]
            made.engine.dispose()
        finally:
            event.remove(Engine, "connect", _do_not_sync)
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.rename(database)
    with closing(sqlite3.connect(database, timeout=20)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


def _do_not_sync(connection: sqlite3.Connection, record: object) -> None:
    """Skip waiting for the disk in each of a hundred migrations; the file is synced at the end."""
    connection.execute("PRAGMA synchronous=OFF")


def find_server(store: Store) -> str | None:
    """Return the address of the server of a store, or None if it has none.

    The server of an SQLite store is the one that `manyfold ui` has started, if it still answers.
    """
    if store.is_server:
        return store.uri
    if not store.database:
        return None
    try:
        note = json.loads(_note(store.database).read_text())
        server, process = str(note["server"]), str(note["process"])
    except (OSError, ValueError, KeyError):
        return None
    return server if is_process_running(process) and _does_answer(server) else None


def find_page(store: Store, experiment_id: str, run_id: str | None = None) -> str | None:
    """Return the address of a page of the store's server, or None if it has no server."""
    server = find_server(store)
    return page_address(server, experiment_id, run_id) if server else None


def page_address(server: str, experiment_id: str, run_id: str | None = None) -> str:
    """Return the address of a page of MLflow's UI: the runs of an experiment, or one run."""
    server = re.sub("(?<=://)[^/]*@", "", server)  # a browser asks for user and password
    run = f"/{run_id}" if run_id else ""
    return (
        f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs{run}"
        "?workflowType=machine_learning"
    )


@contextmanager
def announce_server(database: Path, server: str) -> Iterator[None]:
    """Let `find_server` find the server of an SQLite store while the block lasts."""
    note = json.dumps({"server": server, "process": this_process()})
    write_atomically(_note(database), lambda path: path.write_text(note))
    try:
        yield
    finally:
        _note(database).unlink(missing_ok=True)


def _does_answer(server: str) -> bool:
    try:
        with urlopen(f"{server}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _note(database: Path) -> Path:
    """Return the file that holds the address of the server of a store while it runs."""
    return database.with_suffix(".ui.json")
