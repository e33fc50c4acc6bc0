"""A sweep as Hydra drives it: its parent run is made before the jobs and ended after them.

This is where the launching process and its jobs meet. The callback that `conf/config.yaml` names is
made in the former and travels with the jobs; what they need is passed on as overrides, which reach
them under every launcher and sweeper. Nothing heavy is imported before a sweep begins.
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
from typing import TYPE_CHECKING, Any, TypeVar

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, read_write

from pipeline.errors import UserError
from pipeline.runtime import divide_cores, end_with_parent
from pipeline.sweeps.overrides import (
    check_constant_settings,
    check_shared_settings,
    command_line,
    jobs_at_once,
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
class _Begun:
    """A sweep that this process has begun and has to end."""

    sweep: "Sweep"
    store: "Store"
    experiment_name: str
    pid: int
    signs: ExitStack


_begun: _Begun | None = None
T = TypeVar("T")


class SweepCallback(Callback):
    """Begins a sweep in the process that launches it; prepares processes that run its jobs."""

    def __init__(self) -> None:
        """Remember the process that launches."""
        self._launching = os.getpid()
        self._at_once = 1

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Make the parent run and tell the jobs of it.

        Raises:
            SystemExit: If anything goes wrong; Hydra would make a warning of another exception.
        """
        try:
            n_jobs = _begin(config)
            self._at_once = jobs_at_once(config, n_jobs)
        except UserError as error:
            print(error, file=sys.stderr)
            raise SystemExit(2) from error
        except Exception as error:
            traceback.print_exc()
            raise SystemExit(1) from error

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Keep a process that works for the launching one to its share of the cores."""
        if os.getpid() == self._launching:
            return
        if self._at_once > 1:
            divide_cores(self._at_once)
            if os.getppid() != self._launching:
                os._exit(128 + signal.SIGTERM)  # orphaned between two jobs
            end_with_parent()


def is_begun() -> bool:
    """Return whether this process has to end a sweep."""
    return _begun is not None


def set_expected_jobs(n_jobs: int, criterion: "Criterion") -> None:
    """Take from a sweeper what only it knows.

    Args:
        n_jobs: How many jobs there will be; it may learn so on the way.
        criterion: What decides which is best.
    """
    global _begun
    if _begun:
        plan = replace(_begun.sweep.plan, n_jobs=n_jobs, criterion=criterion)
        _begun = replace(_begun, sweep=replace(_begun.sweep, plan=plan))


def end(code: int) -> int:
    """End the sweep: mark what was lost, show and log the leaderboard, return the exit code.

    Args:
        code: Of what came before: 0, or why no further jobs were launched.
    """
    global _begun
    assert _begun
    begun, _begun = _begun, None
    begun.signs.close()
    from pipeline import console
    from pipeline.console.run_tables import leaderboard_on_screen
    from pipeline.tracking import (
        end_dead_runs,
        end_sweep,
        forget_sweep,
        log_leaderboard,
        read_leaderboard,
    )

    def write(board: "Leaderboard") -> bool:
        log_leaderboard(begun.sweep, board)
        end_sweep(begun.sweep, board, interrupted=code in INTERRUPTED)
        return True

    _tried(lambda: end_dead_runs(begun.sweep))
    board = _tried(lambda: read_leaderboard(begun.sweep))
    if board is None:
        return code or 1
    if code == 2 and not board.entries:
        _tried(lambda: forget_sweep(begun.sweep))  # the command line was refused
        return code
    console.show("", *leaderboard_on_screen(board))
    written = _tried(lambda: write(board))
    console.show("")
    console.show_commands(_commands(begun, board))
    return code or int(not (board.is_complete and written))


def _tried(work: Callable[[], T]) -> T | None:
    """Return what the work returns; None where the store fails, which is shown."""
    try:
        return work()
    except Exception as error:
        print(f"The sweep could not be ended: {type(error).__name__}: {error}", file=sys.stderr)
        return None


def _begin(config: DictConfig) -> int | None:
    """Make the parent run, or take up an earlier one, and return how many jobs there will be."""
    global _begun
    overrides = parse(config)
    check_constant_settings(overrides)
    set_joblib_batch_size(config)
    check_shared_settings(config, overrides)
    prepare_launcher(config)
    from pipeline import console
    from pipeline.runtime import heavy_imports

    with console.waiting("loading MLflow"), heavy_imports():
        from pipeline.config import load_tracking
        from pipeline.tracking import (
            begin_sweep,
            check_store,
            end_dead_runs,
            locate,
            open_store,
            send_heartbeats,
        )

    tracking = load_tracking(config)
    store = locate(tracking)
    check_store(store)
    with console.waiting("opening the MLflow store"):
        experiment_id = open_store(store, tracking.experiment_name)
    plan = plan_sweep(config, overrides)
    name = tracking.run_name or sweep_name(overrides)
    sweep, is_resumed = begin_sweep(store, experiment_id, plan, name, config.resume)
    if is_resumed:
        end_dead_runs(sweep)
    signs = ExitStack()
    signs.enter_context(send_heartbeats(sweep.run_id))
    _begun = _Begun(sweep, store, tracking.experiment_name, os.getpid(), signs)
    atexit.register(_end_at_exit)
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))
    _tell_jobs(config, sweep, store)
    console.show_sweep(sweep.run_id, plan.n_jobs, is_resumed, config.resume)
    return plan.n_jobs


def _end_at_exit() -> None:
    """End the parent run where nothing else did; too late for figures."""
    if _begun and _begun.pid == os.getpid():
        from pipeline.tracking import end_dead_runs, end_sweep, read_leaderboard

        end_dead_runs(_begun.sweep)
        end_sweep(_begun.sweep, read_leaderboard(_begun.sweep), interrupted=False)


def _tell_jobs(config: DictConfig, sweep: "Sweep", store: "Store") -> None:
    """Let every job know its parent run, and find store and folders from any directory.

    What Hydra was given for itself is what it composes each job with again.
    """
    values = {"++tracking.parent_run_id": sweep.run_id, "++tracking.uri": store.uri}
    if "${mlruns:" in str(config.hydra.sweep._get_node("dir")._value()):
        values["hydra.sweep.dir"] = config.hydra.sweep.dir
    overrides = config.hydra.overrides
    with read_write(config.hydra):  # the user's own store would come later and win
        overrides.task = [it for it in overrides.task if it.partition("=")[0] not in TO_STORE]
        overrides.hydra += [f"{key}={quoted(it)}" for key, it in values.items()]


def quoted(value: str) -> str:
    """Return a text as Hydra's overrides take it, whatever it holds."""
    escaped = re.sub(r"(\\*)('|$)", lambda it: it[1] * 2 + ("\\'" if it[2] else ""), value)
    return f"'{escaped}'"


def _commands(begun: _Begun, board: "Leaderboard") -> dict[str, str]:
    from pipeline import console
    from pipeline.tracking import store_at

    commands, store = {}, begun.store
    elsewhere = [] if store.uri == store_at(None).uri else ["--tracking-uri", store.uri]
    if board.n_ranked > 1:
        run_id = begun.sweep.run_id
        commands["Compare"] = console.own_command("compare", run_id, *elsewhere)
    if board.best:
        run_id = board.best.run_id
        commands["Promote"] = console.own_command("promote", run_id, *elsewhere)
    if not board.is_complete:
        commands["Continue"] = command_line(resume=True)
    commands["Look"] = console.look_command(store.uri, store.database)
    return commands
