"""The MLflow store: its location, creation and limits, its server, and tags of Manyfold."""

import fcntl
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname, urlopen

import mlflow
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from pipeline.config import TrackingConfig
from pipeline.errors import TRACKING_URI, UserError, explain_missing_package, is_installed
from pipeline.mlflow_variables import check_variables, ignore_variables
from pipeline.runtime import mlruns, uninterrupted, write_atomically
from pipeline.tracking.heartbeat import is_process_running, this_process
from pipeline.tracking.reachability import find_obstacle
from pipeline.tracking.sqlite import check_writable, create_database, database_path, sqlite_uri

PARENT = "mlflow.parentRunId"
SUPERSEDED = "superseded_by"  # tag: id of the run that a resumed sweep lists instead
STOPPED = "stopped_after_repeat"  # tag: number of repeats after which racing stopped the run
OUTDATED = "outdated_metrics"  # tag with the names of metrics that no longer hold
CODES = "checks"  # tag with the codes of the findings
DEVICE = "device"  # tag: the processor that trained, in words
CRITERION = "criterion"  # tag of a search: what its leaderboard ranks by
FINAL_FIT = "final_fit"  # tag: the rows that the logged model is trained on, in words
STOPPED_BECAUSE = "stopped_because"  # tag: outcome of the race that stopped the run
MAX_PARAM = 6000  # characters of a param's value
MAX_TAG = 5000  # characters of a tag's value
MAX_NAME = 250  # characters of a run's name
MAX_FOLDER = 60  # characters of the folder of an experiment; 255 bytes are the usual limit
MAX_SCHEMA = 1_000_000  # characters of the columns of a data set
MAX_PARAMS = 100  # in one call
MAX_METRICS = 1000  # in one call
ARTIFACT_MODULES = {
    "s3": "boto3",
    "r2": "boto3",
    "gs": "google.cloud.storage",
    "wasbs": "azure.storage.blob",
    "abfss": "azure.storage.filedatalake",
    "sftp": "pysftp",
}
"""Modules that MLflow needs for artifacts, by the scheme of their URI."""

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
        return database_path(self.uri)


def locate(config: TrackingConfig) -> Store:
    """Return the store that the configuration names."""
    return store_at(config.uri, config.checkpoint_dir)


def store_at(uri: str | None, checkpoints: str | None = None) -> Store:
    """Return the store of a tracking URI; by default MLflow's variable, or SQLite in `mlruns/`.

    Checkpoints are by default beside an SQLite store, and under `mlruns/` for a server.
    """
    uri = uri or os.environ.get(TRACKING_URI) or sqlite_uri(mlruns() / "mlflow.db")
    given = checkpoints and Path(checkpoints).absolute()
    database = database_path(uri)
    if database is None:
        return Store(uri, None, given or mlruns() / "checkpoints")
    artifacts = (database.parent / "artifacts").as_uri()
    return Store(sqlite_uri(database), artifacts, given or database.parent / "checkpoints")


def check_store(store: Store) -> None:
    """Check that the store can be written; a server or database has some seconds to answer.

    Raises:
        UserError: If it cannot, or a variable of MLflow has an invalid value.
    """
    check_variables()
    if store.database:
        check_writable(store.database)
    error = find_obstacle(store.uri)
    if error is not None and store.is_server:
        url = urlsplit(store.uri)
        port = url.port or {"http": 80, "https": 443}[url.scheme]
        raise UserError(
            f"tracking.uri: expected a running MLflow server. Received: {store.uri} ({error}). "
            f"Start it with `mlflow server --host {url.hostname} --port {port}`."
        ) from error
    if error is not None:
        raise store_error(error, store.uri) from error


def use_store(store: Store) -> None:
    """Let MLflow use the store, and ignore its variables that name a run or model.

    MLflow would set the variable of the URI, which is the user's.
    """
    given = os.environ.get(TRACKING_URI)
    mlflow.set_tracking_uri(store.uri)
    os.environ.pop(TRACKING_URI, None)
    if given is not None:
        os.environ[TRACKING_URI] = given
    ignore_variables()
    mlflow.clear_active_model()


@uninterrupted()
def open_store(store: Store, experiment_name: str) -> str:
    """Create the store and the experiment where missing and return the experiment's id.

    Raises:
        UserError: If MLflow refuses the store or the name.
    """
    try:
        with locked(store):
            if store.database:
                create_database(store.database, store.artifacts)
            use_store(store)
            client = mlflow.MlflowClient()
            experiment = client.get_experiment_by_name(experiment_name)
            if experiment is None:
                folder = re.sub(r"[^\w-]+", "_", experiment_name)[:MAX_FOLDER]
                root = store.artifacts and f"{store.artifacts}/{folder}"
                tags = {"mlflow.experimentKind": "custom_model_development"}  # the UI's view of it
                created = client.create_experiment(experiment_name, root, tags)
                experiment = client.get_experiment(created)
    except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
        raise store_error(error, store.uri) from error
    if experiment.lifecycle_stage == "deleted":
        raise UserError(
            f"tracking.experiment_name: {experiment_name!r} was deleted in {store.uri}. Restore it "
            f"with `mlflow experiments restore --experiment-id {experiment.experiment_id}`, or "
            "name another."
        )
    check_artifacts(experiment.artifact_location)
    return str(experiment.experiment_id)


def check_artifacts(uri: str) -> None:
    """Check that the folder of artifacts can be written, and that the package for it is there.

    Raises:
        UserError: If it cannot, or the package is missing.
    """
    parts = urlsplit(uri)
    if parts.scheme == "file" or uri.startswith("/"):
        _check_folder(Path(url2pathname(parts.path) if parts.scheme else uri))
    module = ARTIFACT_MODULES.get(parts.scheme)
    if module and not is_installed(module):
        raise UserError(f"Artifacts in {uri}: {explain_missing_package(module)}")


def _check_folder(folder: Path) -> None:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        raise UserError(
            f"tracking.experiment_name: expected an experiment whose files can be written. "
            f"Received: {existing}, which belongs to {_owner(existing)} or is read-only."
        )


def _owner(path: Path) -> str:
    try:
        return f"user {path.owner()}"
    except KeyError:  # of another machine
        return f"user {path.stat().st_uid}"


def store_error(error: Exception, uri: str) -> UserError:
    """Return the error for a store that MLflow cannot use."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if isinstance(error, ImportError) and error.name:  # no such driver
        reason = explain_missing_package(error.name)
    return UserError(
        f"tracking.uri: expected a store that MLflow can use. Received: {uri} ({reason})"
    )


@contextmanager
def locked(store: Store) -> Iterator[None]:
    """Lock an SQLite store against other processes of this program; a server needs no lock."""
    if not store.database:
        yield
        return
    with open(store.database.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


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
