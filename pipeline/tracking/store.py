"""Where runs go: found from any working directory, created once, whoever comes first."""

import fcntl
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

import mlflow
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from pipeline.config import TrackingConfig
from pipeline.errors import UserError
from pipeline.project import mlruns

SQLITE = "sqlite:///"
SECONDS_TO_ANSWER = 5

logging.getLogger("mlflow").setLevel(logging.WARNING)  # no word on each table it creates


@dataclass(frozen=True)
class Store:
    """A tracking URI, and the root of artifacts (None: the server's own)."""

    uri: str
    artifacts: str | None

    @property
    def database(self) -> Path | None:
        """The SQLite file, if the store is one."""
        return Path(self.uri.removeprefix(SQLITE)) if self.uri.startswith(SQLITE) else None


def locate(config: TrackingConfig) -> Store:
    """Return the store that the configuration names."""
    return store_at(config.uri)


def store_at(uri: str | None) -> Store:
    """Return the store of a tracking URI; by default SQLite under `mlruns/`."""
    uri = uri or f"{SQLITE}{mlruns() / 'mlflow.db'}"
    if not uri.startswith(SQLITE):
        return Store(uri, None)
    database = Path(uri.removeprefix(SQLITE)).absolute()
    return Store(f"{SQLITE}{database}", (database.parent / "artifacts").as_uri())


def refuse_unreachable(store: Store) -> None:
    """Raise UserError if nothing could be written to the store, before anything is trained."""
    if store.database:
        _refuse_unwritable(store.database)
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


def open_store(store: Store, experiment_name: str) -> str:
    """Create the store and the experiment where missing and return the experiment's id.

    Raises:
        UserError: If MLflow refuses the store or the name.
    """
    try:
        with _created_once(store):
            mlflow.set_tracking_uri(store.uri)
            client = mlflow.MlflowClient()
            experiment = client.get_experiment_by_name(experiment_name)
            if experiment is None:
                folder = re.sub(r"[^\w-]+", "_", experiment_name)
                root = store.artifacts and f"{store.artifacts}/{folder}"
                tags = {"mlflow.experimentKind": "custom_model_development"}  # the UI's view of it
                return str(client.create_experiment(experiment_name, root, tags))
    except (MlflowException, SQLAlchemyError) as error:
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


def _refuse_unwritable(database: Path) -> None:
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
def _created_once(store: Store) -> Iterator[None]:
    """Keep other processes out while an SQLite store is created: its migrations cannot be shared.

    It is put into write-ahead mode, in which readers do not wait for writers.
    """
    if not store.database:
        yield
        return
    with open(store.database.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with closing(sqlite3.connect(store.database, timeout=20)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        yield
