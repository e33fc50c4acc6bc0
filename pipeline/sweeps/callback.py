"""Hydra's callback: makes the parent run of a sweep before its jobs and ends it after them.

Hydra creates the callback in the launching process and sends it along with the jobs. Jobs receive
what they need as overrides, which reach them under every launcher and sweeper.
"""

import atexit
import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, read_write

from pipeline.config import explain_hydra_error, quote
from pipeline.errors import UserError, hide, mask
from pipeline.runtime import divide_cores, end_with_parent, heavy_imports
from pipeline.sweeps.overrides import (
    check_constant_settings,
    check_former_names,
    check_shared_settings,
    count_parallel_jobs,
    parse,
    set_joblib_batch_size,
)
from pipeline.sweeps.plugins import prepare_launcher

if TYPE_CHECKING:
    from pipeline.comparison import Criterion
    from pipeline.sweeps.parent_run import ParentRun

_parent_run: "ParentRun | None" = None


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
            self._n_parallel_jobs = count_parallel_jobs(config, _begin(config).n_jobs)
        except UserError as error:
            print(error, file=sys.stderr)
            raise SystemExit(2) from error
        except Exception as error:
            message = explain_hydra_error(error, sys.argv[1:])
            print(message or mask(traceback.format_exc()), file=sys.stderr)
            raise SystemExit(2 if message else 1) from error

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Mask passwords that come from configuration files, before Hydra saves them."""
        _hide_passwords(config)

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
    """Return whether this process has begun a sweep, which it has to end."""
    return _parent_run is not None


def set_expected_jobs(n_jobs: int, criterion: "Criterion") -> None:
    """Set the number of jobs and the criterion of the leaderboard, if a sweep has begun."""
    if _parent_run:
        _parent_run.set_expected_jobs(n_jobs, criterion)


def end(code: int) -> int:
    """End the sweep and return its exit code; `code` is the exit code so far."""
    global _parent_run
    assert _parent_run
    parent_run, _parent_run = _parent_run, None
    return parent_run.end(code)


def _begin(config: DictConfig) -> "ParentRun":
    global _parent_run
    values = _hide_passwords(config)
    with read_write(config.hydra):  # each job is composed again from the files
        config.hydra.overrides.hydra += [f"++{key}={quote(value)}" for key, value in values.items()]
    overrides = parse(config)
    check_former_names(config, overrides)
    check_constant_settings(overrides)
    set_joblib_batch_size(config)
    check_shared_settings(config, overrides)
    prepare_launcher(config)
    with heavy_imports():
        from pipeline.sweeps.parent_run import ParentRun

    _parent_run = ParentRun(config, overrides)
    atexit.register(_end_at_exit)
    return _parent_run


def _hide_passwords(config: DictConfig) -> dict[str, str]:
    """Mask the URIs of a configuration and return the masked settings by key."""
    hidden: dict[str, str] = {}

    def visit(node: object, key: str) -> None:
        if isinstance(node, dict):
            for name, value in node.items():
                visit(value, f"{key}.{name}" if key else str(name))
        elif isinstance(node, str) and (masked := hide(node)) != node:
            hidden[key] = masked

    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    visit(OmegaConf.to_container(own, resolve=False), "")
    for key, masked in hidden.items():
        OmegaConf.update(config, key, masked)
    return hidden


def _end_at_exit() -> None:
    if _parent_run:
        _parent_run.end_at_exit()
