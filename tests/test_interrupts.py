"""Ctrl-C within a transaction of each function that writes to the MLflow store."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from pipeline.runtime import handle_signals, is_interrupted, raise_interrupt
from tests.command_runner import CommandRunner

ROOT = Path(__file__).parents[1]

QUICK = (
    *("model=dummy", "dataset.n_samples=60", "dataset.predict_rows=[]", "report=none"),
    *("cv.n_splits=2", "cv.n_repeats=1"),
)
SWEEP = ("--multirun", "seed=1,2", *QUICK)
WRITES = ("INSERT", "UPDATE", "DELETE")
SECONDS = 15  # less than the 20 s that SQLite waits for a lock


class Transactions:
    """Notes the transactions that write, and sends a signal within one of them.

    Attributes:
        callers: The function of this project that caused each transaction so far.
    """

    def __init__(self, at: int = -1, signum: signal.Signals = signal.SIGINT) -> None:
        self.callers: list[str] = []
        self._at, self._signum = at, signum

    @contextmanager
    def watched(self) -> Iterator[None]:
        event.listen(Engine, "after_cursor_execute", self._mark)
        event.listen(Engine, "commit", self._note)
        try:
            yield
        finally:
            event.remove(Engine, "after_cursor_execute", self._mark)
            event.remove(Engine, "commit", self._note)

    def _mark(self, connection, cursor, statement, *rest) -> None:
        if statement.startswith(WRITES):
            connection.info["writes"] = True

    def _note(self, connection) -> None:
        """Send the signal while the transaction still holds the lock of the store."""
        if connection.info.pop("writes", False):
            self.callers.append(_caller())
            if len(self.callers) - 1 == self._at:
                signal.raise_signal(self._signum)


def _caller() -> str:
    """Return the innermost function of the project on the stack, and its callers' names."""
    frame, names = sys._getframe(), []
    while frame is not None:
        if "/pipeline/" in frame.f_code.co_filename:
            names.append(frame.f_code.co_name)
        frame = frame.f_back
    return " < ".join(names[:3])


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> CommandRunner:
    return CommandRunner(tmp_path_factory.mktemp("store"))


def check_interrupted(store, at, *arguments):
    """Interrupt a command, check that it ends soon and leaves no run open; return its new runs."""
    before = {run.info.run_id for run in all_runs(store)}
    transactions, began = Transactions(at), time.monotonic()
    with transactions.watched():
        _, err = store.run_here(*arguments, code=130)
    caller = transactions.callers[at]
    assert time.monotonic() - began < SECONDS
    assert err == "Interrupted.\n", caller
    runs = all_runs(store)
    assert [run for run in runs if run.info.status == "RUNNING"] == [], caller
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return [run for run in runs if run.info.run_id not in before]


def all_runs(store):
    return [*store.runs(), *store.runs("single")]


def callers_of(store, *arguments: str) -> list[str]:
    transactions = Transactions()
    with transactions.watched():
        store.run_here(*arguments)
    return transactions.callers


def first_of_each(callers: list[str]) -> list[int]:
    return sorted({caller: at for at, caller in reversed([*enumerate(callers)])}.values())


def test_a_single_run_ends_after_the_write(store):
    arguments = (*QUICK, "tracking.experiment_name=single")
    assert check_interrupted(store, 0, *arguments) == []
    callers = callers_of(store, *arguments)
    names = ("track", "log_settings", "log_dataset", "log_metrics", "begin_model", "log_model")
    assert {*names} == {caller.split(" ")[0] for caller in callers}
    for at in {*first_of_each(callers), len(callers) - 1}:
        (run,) = check_interrupted(store, at, *arguments)
        is_last = at == len(callers) - 1
        assert run.info.status == ("FINISHED" if is_last else "KILLED"), callers[at]


def test_a_run_that_is_continued_ends_after_the_write(store):
    arguments = (*QUICK, "seed=3", "resume=true")
    (run,) = check_interrupted(store, 1, *arguments)
    for at in range(4):
        assert check_interrupted(store, at, *arguments) == []
        assert store.client.get_run(run.info.run_id).info.status == "KILLED"
    callers = callers_of(store, *arguments)
    assert callers[0].startswith("claim_run")
    assert store.client.get_run(run.info.run_id).info.status == "FINISHED"


def test_a_sweep_ends_after_the_write_and_starts_no_other_job(store):
    (parent,) = check_interrupted(store, 0, *SWEEP)
    assert parent.info.status == "KILLED"
    job, parent = check_interrupted(store, 4, *SWEEP)
    assert (job.info.status, parent.info.status) == ("KILLED", "KILLED")
    # Finished jobs are reused, so that the first and the last transactions are those of the sweep.
    arguments = (*SWEEP, "resume=true")
    callers_of(store, *arguments)
    callers = callers_of(store, *arguments)
    assert {"begin_sweep", "log_metrics", "end_sweep"} <= {it.split(" ")[0] for it in callers}
    for at in first_of_each(callers):
        assert check_interrupted(store, at, *arguments) == []
        is_last = at == len(callers) - 1
        status = store.client.get_run(parent.info.run_id).info.status
        assert status == ("FINISHED" if is_last else "KILLED"), callers[at]


METRICS = """
import os
import signal
from pathlib import Path
from sqlalchemy import Engine, event

ONCE = Path(__file__).with_name("once")


def interrupt(connection, cursor, statement, *rest):
    if statement.startswith("INSERT INTO metrics") and not ONCE.exists():
        ONCE.touch()
        os.killpg(0, signal.SIGINT)


if "MANYFOLD_CORES" in os.environ:  # a worker
    event.listen(Engine, "after_cursor_execute", interrupt)


def half_score(y_true, y_score, y_pred):
    return 0.5
"""


def test_parallel_jobs_end_after_the_write_and_no_other_job_starts(tmp_path, monkeypatch):
    """Ctrl-C reaches all processes of a terminal at once."""
    (tmp_path / "metrics.py").write_text(METRICS)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{tmp_path}")
    store = CommandRunner(tmp_path)
    joblib = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "seed=range(6)")
    process = store.start(
        "--multirun", *joblib, *QUICK, "scoring.metrics=[metrics.half_score]", new_session=True
    )
    out, err = process.communicate(timeout=120)
    assert (tmp_path / "once").exists()
    assert process.returncode == 130, out + err
    assert err == "Interrupted.\n"
    jobs, parent = store.jobs_and_parent()
    assert parent.info.status == "KILLED"
    assert {run.info.status for run in jobs} <= {"KILLED", "FINISHED"}
    assert "KILLED" in {run.info.status for run in jobs}
    assert len(jobs) < 6


@pytest.mark.parametrize("place", ["with uninterrupted(): ", "", "with suppress(BaseException): "])
def test_a_second_ctrl_c_ends_the_process_at_once(place):
    program = f"""
from contextlib import suppress
import signal, time
from pipeline.runtime import handle_signals, uninterrupted

with handle_signals():
    try:
        {place}signal.raise_signal(signal.SIGINT)
    finally:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        print("still here")
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (130, "")
    assert ended.stderr.startswith("Ended at once.")


def test_a_signal_whose_exception_is_lost_is_raised_again():
    with handle_signals():
        with suppress(SystemExit):
            signal.raise_signal(signal.SIGTERM)
        assert is_interrupted()
        with pytest.raises(SystemExit) as ended:
            raise_interrupt()
    assert ended.value.code == 143
