"""The SQLite file of a store: its URI, its creation, and whether it can be written."""

import os
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote

from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import Engine, event

from pipeline.errors import UserError

SQLITE = ("sqlite:///", "sqlite+pysqlite:///")
RESERVED = re.compile("[%?#]")  # in URIs; other characters stand for themselves, even blanks
MIN_FREE = 1_000_000  # bytes; the empty tables of a new store take them


def sqlite_uri(database: Path) -> str:
    """Return the URI of a file, as SQLAlchemy reads it.

    With a plain `sqlite:`, MLflow would also make a folder whose name is spelled as in the URI.
    """
    path = RESERVED.sub(lambda match: f"%{ord(match[0]):02X}", str(database))
    return f"{SQLITE[path != str(database)]}{path}"


def database_path(uri: str) -> Path | None:
    """Return the file of a URI as an absolute path, or None for a URI of another kind.

    People write paths behind `sqlite:///`, not URIs. So a folder that exists under the very name
    that is written, such as `a%20b`, or a question mark in a folder's name, counts more.
    """
    scheme = next(filter(uri.startswith, SQLITE), None)
    if scheme is None:
        return None
    written = Path(uri.removeprefix(scheme)).absolute()
    folder = str(written.parent)
    if scheme == SQLITE[0] and ("?" in folder or ("%" in folder and written.parent.is_dir())):
        return written
    return Path(unquote(str(written).partition("?")[0]))


def check_writable(database: Path) -> None:
    """Check that an SQLite file can be written, or created, with files beside it.

    Raises:
        UserError: If it cannot.
    """
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        probe = database.with_name(f".{database.name}.{os.getpid()}.probe")
        try:
            probe.write_bytes(bytes(MIN_FREE))  # an empty file fits on a full disk
        finally:
            probe.unlink(missing_ok=True)
        if database.exists():
            with closing(sqlite3.connect(database, timeout=20)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.rollback()
    except (OSError, sqlite3.Error) as error:
        raise UserError(
            f"tracking.uri: expected an SQLite store that can be written. Received: {database} "
            f"({error})"
        ) from error


def is_read_only(database: Path) -> bool:
    """Return whether a file cannot be written, or the files of SQLite beside it."""
    return not (os.access(database, os.W_OK) and os.access(database.parent, os.W_OK))


def copy_database(database: Path, folder: Path) -> Path:
    """Copy a file with its write-ahead log: SQLite cannot read the log in a read-only folder."""
    for path in (database, database.with_name(f"{database.name}-wal")):
        if path.exists():
            shutil.copyfile(path, folder / path.name)
    return folder / database.name


def create_database(database: Path, artifacts: str | None) -> None:
    """Create an SQLite store if there is none, in WAL mode, so that readers do not wait.

    MLflow's migrations can neither run in two processes at once nor continue after a kill, so the
    store is created under a temporary name and renamed when it is complete.
    """
    if not database.exists():
        unfinished = database.with_name(f"{database.name}.new")
        for leftover in database.parent.iterdir():
            if leftover.name.startswith(unfinished.name):
                leftover.unlink()
        event.listen(Engine, "connect", _do_not_sync)
        try:
            made = SqlAlchemyStore(sqlite_uri(unfinished), artifacts)  # type: ignore[no-untyped-call]
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
