"""The command line: Hydra's run of the jobs, settings of commands, exit codes."""

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from pipeline import sweeps
from pipeline.errors import UserError
from pipeline.outcome import JobResult, Outcome, SweepPosition
from pipeline.runtime import CONF_DIR, heavy_imports, mlruns

if TYPE_CHECKING:
    from pipeline.config import TrackingConfig
    from pipeline.tracking import SweepJob

Task = Callable[[DictConfig, SweepPosition | None], Outcome]
SETTINGS = "tracking."  # prefix of the words that are settings of a command
INTERRUPTED = 130  # exit code after Ctrl-C, as shells have it


def train() -> int:
    """Evaluate the configurations that the command line describes and return the exit code."""
    return hydra_command(_train)


def hydra_command(task: Task, config_name: str = "config") -> int:
    """Run the jobs that the command line describes and return the worst of their exit codes.

    Args:
        task: Runs one job from its composed configuration and its position in a sweep.
        config_name: Primary configuration in `conf/`.
    """
    exit_codes: list[int] = []

    @hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name=config_name)
    def job(config: DictConfig) -> "Outcome | float | None":
        outcome = task(config, _sweep_position())
        exit_codes.append(outcome.exit_code)
        is_searched = HydraConfig.get().sweeper._target_ == sweeps.OPTUNA_SWEEPER
        return outcome if is_searched else outcome.objective

    sweeps.register()
    OmegaConf.register_new_resolver("mlruns", lambda: str(mlruns()), replace=True)
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors are formatted here, not by Hydra
    code = _run_hydra(job) or int(sweeps.OptunaSweeper.n_failed > 0)
    if sweeps.is_begun():
        return sweeps.end(code)
    return code or (exit_codes[0] if len(exit_codes) == 1 else int(any(exit_codes)))


def parse(
    parser: argparse.ArgumentParser, words: Sequence[str]
) -> tuple[argparse.Namespace, "TrackingConfig"]:
    """Parse the words of a command: options, names of runs, and settings such as tracking.uri=...

    Raises:
        UserError: If a setting is refused.
    """
    if any(word.partition("=")[0] == "--tracking-uri" for word in words):
        parser.error("--tracking-uri was renamed: use tracking.uri=...")
    settings = [word for word in words if word.startswith(SETTINGS) and "=" in word]
    arguments = parser.parse_args([word for word in words if word not in settings])
    from pipeline.config import compose_tracking

    return arguments, compose_tracking(settings)


def run(work: Callable[[], object]) -> int:
    """Do the work of a command and return the exit code; failures are printed.

    Args:
        work: Does the work; it may return an exit code.
    """
    codes: list[int] = []

    def collect() -> None:
        code = work()
        codes.append(code if isinstance(code, int) else 0)

    try:
        outcome = attempt(collect)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED
    return outcome.exit_code or codes[0]


def attempt(work: Callable[[], JobResult | None], position: str = "") -> Outcome:
    """Do some work and return its outcome; failures are printed, not raised.

    Args:
        work: Returns the result.
        position: Position of the job in its sweep, printed before a failure. The traceback is
            left to the run in MLflow then.
    """
    prefix = f"{position} " if position else ""
    try:
        return Outcome(0, work())
    except UserError as error:
        _print_error(f"{prefix}{error}")
        return Outcome(2, failure=str(error))
    except Exception as error:
        if not position:
            _print_error(traceback.format_exc())
        _print_error(f"{prefix}The job failed: {type(error).__name__}: {error}")
        return Outcome(1, failure=f"{type(error).__name__}: {error}")


def _train(composed: DictConfig, position: SweepPosition | None) -> Outcome:
    """Run one job. A single run refuses bad data before MLflow and TensorFlow are loaded."""
    if position is None:
        refused = attempt(lambda: _check_inputs(composed))
        if refused.exit_code:
            return refused
    with heavy_imports():
        from pipeline.job import find_sweep_job, run_job
    if position is None:
        return attempt(lambda: run_job(composed))
    sweep_jobs: list[SweepJob | None] = []
    failed = attempt(lambda: sweep_jobs.append(find_sweep_job(composed, position)))
    if not sweep_jobs:
        return failed
    (sweep_job,) = sweep_jobs
    return attempt(lambda: run_job(composed, sweep_job), sweep_job.position if sweep_job else "")


def _check_inputs(composed: DictConfig) -> None:
    with heavy_imports():
        from pipeline import console
        from pipeline.config import parse_config
        from pipeline.evaluation.inputs import load_inputs

    config = parse_config(composed)
    with console.waiting("reading the data"):
        load_inputs(config)


def _print_error(message: str) -> None:
    from pipeline import console

    console.show_error(message)


def _run_hydra(job: Callable[[], Any]) -> int:
    """Let Hydra run the jobs and return 0, or the exit code for the error that prevented it."""
    try:
        job()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED
    except SystemExit as ended:
        if not sweeps.is_begun():
            raise
        return ended.code if isinstance(ended.code, int) else 1
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except Exception as error:
        from pipeline.config import explain_hydra_error

        message = explain_hydra_error(error, sys.argv[1:])
        if message is None and not sweeps.is_begun():
            raise
        is_dead_worker = type(error).__name__ == "TerminatedWorkerError"  # its traceback says less
        print(message or (error if is_dead_worker else traceback.format_exc()), file=sys.stderr)
        return 1 if message is None else 2
    return 0


def _sweep_position() -> SweepPosition | None:
    """Return the position of the running job in its sweep, or None for a single run."""
    running = HydraConfig.get()
    if running.mode != RunMode.MULTIRUN:
        return None
    overrides = [it for it in running.overrides.task if not it.startswith("racing.")]
    return SweepPosition(running.job.num, overrides)
