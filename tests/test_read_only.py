"""Folders that cannot be written: refused before training, and commands that only read work.

Where the user is root, whom permissions do not stop, `os.access` and `mkdir` are replaced; a
process of an unprivileged user is not started.
"""

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.commands import compare, describe, promote
from pipeline.errors import UserError
from pipeline.tracking import sqlite
from pipeline.tracking.store import check_artifacts, check_store, store_at
from tests.command_runner import CommandRunner

QUICK = (
    *("model=dummy", "dataset.n_samples=60", "dataset.predict_rows=[]", "report=none"),
    *("cv.n_splits=3", "cv.n_repeats=2"),
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    store = CommandRunner(tmp_path_factory.mktemp("runs"))
    store.run_here("--multirun", "model=dummy,logistic", *QUICK[1:])
    return store


@pytest.fixture
def make_read_only(monkeypatch):
    """Return a function that lets writes below a folder fail, as on a read-only file system."""

    def make(folder: Path, code: int = errno.EROFS) -> None:
        access, mkdir, open_, connect = os.access, Path.mkdir, Path.open, sqlite3.connect

        def fail(path) -> bool:
            return Path(path).is_relative_to(folder)

        def error(path):
            return OSError(code, os.strerror(code), str(path))

        def checked_access(path, mode, **options):
            return access(path, mode, **options) and not (mode & os.W_OK and fail(path))

        def checked_mkdir(self, *args, **options):
            if fail(self) and not self.exists():
                raise error(self)
            return mkdir(self, *args, **options)

        def checked_open(self, mode="r", *args, **options):
            if fail(self) and set(mode) & set("wax+"):
                raise error(self)
            return open_(self, mode, *args, **options)

        def checked_connect(database, *args, **options):
            if fail(str(database).split("?")[0]):
                raise sqlite3.OperationalError("attempt to write a readonly database")
            return connect(database, *args, **options)

        monkeypatch.setattr(os, "access", checked_access)
        monkeypatch.setattr(Path, "mkdir", checked_mkdir)
        monkeypatch.setattr(Path, "open", checked_open)
        monkeypatch.setattr(sqlite3, "connect", checked_connect)

    return make


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC, errno.EACCES])
@pytest.mark.parametrize("exists", [True, False])
def test_a_store_that_cannot_be_written_is_refused(tmp_path, make_read_only, code, exists):
    store = store_at(f"sqlite:///{tmp_path}/{'.' if exists else 'new'}/mlflow.db")
    make_read_only(tmp_path, code)
    with pytest.raises(UserError, match="expected an SQLite store that can be written") as caught:
        check_store(store)
    assert os.strerror(code) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_for_an_empty_store_is_refused(tmp_path, monkeypatch):
    def write(path, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, "write_bytes", write)
    with pytest.raises(UserError, match="No space left on device"):
        check_store(store_at(f"sqlite:///{tmp_path}/mlflow.db"))
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_an_experiment_of_somebody_else_is_refused(tmp_path, make_read_only):
    (tmp_path / "artifacts").mkdir()
    check_artifacts((tmp_path / "artifacts" / "x").as_uri())
    make_read_only(tmp_path / "artifacts")
    with pytest.raises(UserError, match=r"whose files can be written. Received: .*/artifacts, wh"):
        check_artifacts((tmp_path / "artifacts" / "x").as_uri())


@pytest.mark.parametrize("arguments", [(), ("--multirun", "seed=1,2")], ids=["run", "sweep"])
def test_an_unwritable_folder_of_hydra_is_one_sentence(tmp_path, monkeypatch, arguments):
    store = CommandRunner(tmp_path)
    blocked = tmp_path / "sweep" if arguments else tmp_path / "hydra"
    blocked.write_text("")  # a file where Hydra makes a folder
    out, err = store.run_here(*arguments, *QUICK, code=2)
    assert "expected a file that can be written. Received: " in err
    assert "Traceback" not in out + err
    assert str(blocked) in err
    assert not [run for run in store.runs() if run.info.status == "FINISHED"]


def test_compare_reads_a_read_only_store(runs, tmp_path, make_read_only, monkeypatch, capfd):
    parent = next(run for run in runs.runs() if "is_sweep" in run.data.tags)
    monkeypatch.setattr(compare, "mlruns", lambda: runs.folder / "mlruns")
    before = sorted((path.name, path.stat().st_mtime_ns) for path in runs.folder.iterdir())
    with closing(sqlite3.connect(runs.folder / "mlflow.db")) as kept_open:
        kept_open.execute("select 1")
        make_read_only(runs.folder)
        assert compare.main([parent.info.run_id, f"tracking.uri={runs.uri}"]) == 0
        out = capfd.readouterr().out
        assert "The figure was not written. Expected a file that can be written." in out
        assert promote.main([parent.info.run_id, f"tracking.uri={runs.uri}"]) == 2
        assert "expected an SQLite store that can be written" in capfd.readouterr().err
    named = f"--figure={runs.folder}/new/x.png"
    assert compare.main([parent.info.run_id, f"tracking.uri={runs.uri}", named]) == 2
    after = sorted((path.name, path.stat().st_mtime_ns) for path in runs.folder.iterdir())
    assert {name for name, _ in after} <= {name for name, _ in before} | {
        "mlflow.db-shm",
        "mlflow.db-wal",
    }


def test_a_copy_has_what_is_in_the_log(tmp_path):
    (tmp_path / "copy").mkdir()
    database = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(database, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("CREATE TABLE t (x)")
        writer.execute("INSERT INTO t VALUES (5)")
        copy = sqlite.copy_database(database, tmp_path / "copy")
        with closing(sqlite3.connect(copy)) as reader:
            assert reader.execute("SELECT x FROM t").fetchall() == [(5,)]


def test_describe_needs_no_folder(tmp_path, make_read_only, monkeypatch, capfd):
    monkeypatch.setattr(describe, "mlruns", lambda: tmp_path / "mlruns")
    monkeypatch.setattr("sys.argv", ["describe", "dataset.n_samples=60"])
    make_read_only(tmp_path)
    assert describe.main([]) == 0
    out = capfd.readouterr().out
    assert "60 rows" in out
    assert "The figure of the label frequencies was not written. Expected a file" in out


def test_paths_are_those_of_the_folder_of_the_command(tmp_path, monkeypatch):
    (tmp_path / "data.csv").write_text("a,b,t\n" + "1,2,0\n3,1,1\n" * 30)
    monkeypatch.chdir(tmp_path)
    store = CommandRunner(tmp_path)
    table = (
        "dataset=table",
        "dataset.path=data.csv",
        "dataset.labels=[t]",
        *QUICK[0:1],
        *QUICK[3:],
    )
    store.run_here(*table, "hydra.job.chdir=true")
    store.run_here("--multirun", "seed=1,2", *table, "hydra.job.chdir=true")
    assert len(store.runs()) == 4
    assert Path.cwd() == tmp_path
