"""Hydra's callback: makes the parent run of a sweep before its jobs and ends it after them.

Hydra creates the callback in the launching process and sends it along with the jobs. Jobs receive
what they need as overrides, which reach them under every launcher and sweeper.
"""

import atexit
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, read_write

from pipeline.errors import UserError
from pipeline.runtime import divide_cores, end_with_parent
from pipeline.sweeps.overrides import (
    check_constant_settings,
    check_shared_settings,
    command_line,
    count_parallel_jobs,
    parse,
    plan_sweep,
    set_joblib_batch_size,
    sweep_name,
)
from pipeline.sweeps.plugins import prepare_launcher

if TYPE_CHECKING:
    from pipeline.comparison import Criterion, Leaderboard
    from pipeline.tracking import Store, Sweep


INTERRUPTED = (130, 143)
TO_STORE = ("tracking.uri", "+tracking.uri", "++tracking.uri")


@dataclass(frozen=True)
class _ActiveSweep:
    """A sweep that this process began and has to end."""

    sweep: "Sweep"
    store: "Store"
    pid: int
    heartbeats: ExitStack
    criterion: "Criterion | None" = None


_active: _ActiveSweep | None = None


class SweepCallback(Callback):
    """Begins a sweep in the launching process, and prepares the processes that run its jobs."""

    def __init__(self) -> None:
        """Remember the launching process."""
        self._launching = os.getpid()
        self._n_parallel_jobs = 1

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Make the parent run and pass it to the jobs.

        Raises:
            SystemExit: After any failure; Hydra turns other exceptions of a callback into warnings.
        """
        try:
            n_jobs = _begin(config)
            self._n_parallel_jobs = count_parallel_jobs(config, n_jobs)
        except UserError as error:
            print(error, file=sys.stderr)
            raise SystemExit(2) from error
        except Exception as error:
            traceback.print_exc()
            raise SystemExit(1) from error

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Limit a process other than the launching one to its part of the cores."""
        if os.getpid() == self._launching:
            return
        if self._n_parallel_jobs > 1:
            divide_cores(self._n_parallel_jobs)
            if os.getppid() != self._launching:
                os._exit(128 + signal.SIGTERM)  # orphaned between two jobs
            end_with_parent()


def is_begun() -> bool:
    """Return whether this process has to end a sweep."""
    return _active is not None


def set_expected_jobs(n_jobs: int, criterion: "Criterion") -> None:
    """Set the facts of the sweep that only a sweeper knows.

    Args:
        n_jobs: Number of jobs, as far as it is known.
        criterion: Criterion of the leaderboard.
    """
    global _active
    if _active:
        plan = replace(_active.sweep.plan, n_jobs=n_jobs)
        sweep = replace(_active.sweep, plan=plan)
        _active = replace(_active, sweep=sweep, criterion=criterion)


def end(code: int) -> int:
    """End the sweep: end dead runs, print and log the leaderboard, and return the exit code.

    Args:
        code: Exit code so far: 0, or why no further jobs were launched.
    """
    global _active
    assert _active
    active, _active = _active, None
    active.heartbeats.close()
    from pipeline import console
    from pipeline.comparison import read_leaderboard
    from pipeline.console.run_tables import leaderboard_on_screen
    from pipeline.tracking import delete_sweep, end_dead_runs, end_sweep

    boards: list[Leaderboard] = []
    _try(lambda: end_dead_runs(active.sweep))
    if not _try(lambda: boards.append(read_leaderboard(active.sweep, active.criterion))):
        return code or 1
    (board,) = boards
    if code == 2 and not board.entries:
        _try(lambda: delete_sweep(active.sweep))  # the command line was refused
        return code
    console.show("", *leaderboard_on_screen(board))
    is_interrupted = code in INTERRUPTED
    is_written = _try(lambda: log_leaderboard(active.sweep, board))
    is_ended = _try(lambda: end_sweep(active.sweep, board.is_complete, is_interrupted))
    console.show("")
    console.show_commands(_next_commands(active, board))
    return code or int(not (board.is_complete and is_written and is_ended))


def _try(action: Callable[[], object]) -> bool:
    """Return whether an action of the store succeeds; a failure is printed."""
    try:
        action()
    except Exception as error:
        print(f"The sweep could not be ended: {type(error).__name__}: {error}", file=sys.stderr)
        return False
    return True


def log_leaderboard(sweep: "Sweep", board: "Leaderboard") -> None:
    """Log the leaderboard to the parent run: a table, a figure, and the scores of the best job."""
    from pipeline.report.artifacts import LEADERBOARD, write_leaderboard
    from pipeline.tracking import BEST, TrackedRun

    run = TrackedRun(sweep.run_id)
    with TemporaryDirectory() as folder:
        write_leaderboard(Path(folder), board)
        run.log_files(Path(folder), tables=[LEADERBOARD])
    counts = {"n_finished": board.count("FINISHED"), "n_failed": board.count("FAILED")}
    run.log_metrics([*((name, n, 0) for name, n in counts.items()), *board.best_metrics()])
    if board.best:
        run.set_tags({BEST: board.best.run_id, "best": board.best.name})


def _begin(config: DictConfig) -> int | None:
    """Make the parent run, or reopen one, and return the number of jobs."""
    global _active
    overrides = parse(config)
    check_constant_settings(overrides)
    set_joblib_batch_size(config)
    check_shared_settings(config, overrides)
    prepare_launcher(config)
    from pipeline import console
    from pipeline.runtime import heavy_imports

    with console.waiting("loading MLflow"), heavy_imports():
        from pipeline.config import parse_tracking
        from pipeline.evaluation.fingerprint import code_version, versions
        from pipeline.tracking import (
            begin_sweep,
            check_store,
            end_dead_runs,
            locate,
            open_store,
            send_heartbeats,
        )

    tracking = parse_tracking(config)
    store = locate(tracking)
    check_store(store)
    with console.waiting("opening the MLflow store"):
        experiment_id = open_store(store, tracking.experiment_name)
    plan = plan_sweep(config, overrides)
    name = tracking.run_name or sweep_name(overrides)
    sweep, is_resumed = begin_sweep(
        store, experiment_id, plan, name, code_version(), versions(), config.resume
    )
    if is_resumed:
        end_dead_runs(sweep)
    heartbeats = ExitStack()
    heartbeats.enter_context(send_heartbeats(sweep.run_id))
    _active = _ActiveSweep(sweep, store, os.getpid(), heartbeats)
    atexit.register(_end_at_exit)
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))
    _pass_to_jobs(config, sweep, store)
    console.show_sweep(sweep.run_id, plan.n_jobs, is_resumed, config.resume)
    return plan.n_jobs


def _end_at_exit() -> None:
    """End the parent run where nothing else did; it is too late for figures."""
    if _active and _active.pid == os.getpid():
        from pipeline.comparison import read_leaderboard
        from pipeline.tracking import end_dead_runs, end_sweep

        end_dead_runs(_active.sweep)
        is_complete = read_leaderboard(_active.sweep).is_complete
        end_sweep(_active.sweep, is_complete, is_interrupted=False)


def _pass_to_jobs(config: DictConfig, sweep: "Sweep", store: "Store") -> None:
    """Pass the parent run and absolute paths to every job, as overrides.

    Hydra composes each job again with the overrides of `hydra.overrides.hydra`.
    """
    values = {"++tracking.parent_run_id": sweep.run_id, "++tracking.uri": store.uri}
    if "${mlruns:" in str(config.hydra.sweep._get_node("dir")._value()):
        values["hydra.sweep.dir"] = config.hydra.sweep.dir
    overrides = config.hydra.overrides
    with read_write(config.hydra):  # the user's own override would come later and win
        overrides.task = [it for it in overrides.task if it.partition("=")[0] not in TO_STORE]
        overrides.hydra += [f"{key}={quoted(it)}" for key, it in values.items()]


def quoted(value: str) -> str:
    """Quote a text for an override of Hydra."""
    escaped = re.sub(r"(\\*)('|$)", lambda it: it[1] * 2 + ("\\'" if it[2] else ""), value)
    return f"'{escaped}'"


def _next_commands(active: _ActiveSweep, board: "Leaderboard") -> dict[str, str]:
    """Return the commands that are useful after the sweep, by a word for each."""
    from pipeline.console import run_command

    commands, store, run_id = {}, active.store, active.sweep.run_id
    if board.n_ranked > 1:
        commands["Compare"] = run_command("compare", run_id, store)
    if board.best:
        commands["Promote"] = run_command("promote", board.best.run_id, store)
    if not board.is_complete:
        commands["Continue"] = command_line(resume=True)
    commands["Look"] = run_command("ui", run_id, store)
    return commands
