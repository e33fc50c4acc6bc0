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
from pipeline.config import (
    TrackingConfig,
    compose_tracking,
    expand_patterns,
    explain_hydra_error,
    parse_config,
    quote_arguments,
)
from pipeline.errors import UserError, describe_unwritable, hide_all, mask, mask_logs
from pipeline.keras_backend import set_keras_variables
from pipeline.mlflow_variables import describe_variables, ignore_variables
from pipeline.outcome import JobResult, Outcome, SweepPosition
from pipeline.runtime import (
    CONF_DIR,
    escape_unprintable,
    handle_signals,
    heavy_imports,
    mlruns,
    raise_interrupt,
)

if TYPE_CHECKING:
    from pipeline.tracking import SweepJob

Task = Callable[[DictConfig, SweepPosition | None], Outcome]
SETTINGS = "tracking."  # prefix of the arguments that are settings of a command
INTERRUPTED = 130  # exit code after Ctrl-C, as shells have it


def train() -> int:
    """Evaluate the configurations that the command line describes and return the exit code."""
    return hydra_command(_train)


def hydra_command(task: Task, config_name: str = "config") -> int:
    """Run the jobs that the command line describes and return the worst of their exit codes."""
    exit_codes: list[int] = []

    @hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name=config_name)
    def job(config: DictConfig) -> "Outcome | float | None":
        mask_logs()
        if HydraConfig.get().job.chdir:  # Manyfold's files have their folders; paths stay as typed
            os.chdir(HydraConfig.get().runtime.cwd)
        with handle_signals():  # a job of a parallel sweep has a process of its own
            outcome = task(config, _sweep_position())
            raise_interrupt()  # if its exception was lost, no other job may start
        exit_codes.append(outcome.exit_code)
        is_searched = HydraConfig.get().sweeper._target_ == sweeps.OPTUNA_SWEEPER
        return outcome if is_searched else outcome.objective

    try:
        sys.argv[1:] = quote_arguments(expand_patterns(hide_all(sys.argv[1:])))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    mask_logs()
    ignore_variables()
    sweeps.register()
    OmegaConf.register_new_resolver("mlruns", lambda: str(mlruns()), replace=True)
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors are formatted here, not by Hydra
    try:
        with handle_signals():
            code = _run_hydra(job) or int(sweeps.OptunaSweeper.n_failed > 0)
            if sweeps.is_begun():
                return sweeps.end(code)
    except KeyboardInterrupt:  # at the end of a sweep
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED
    return code or (exit_codes[0] if len(exit_codes) == 1 else int(any(exit_codes)))


def parse(
    parser: argparse.ArgumentParser, argv: Sequence[str]
) -> tuple[argparse.Namespace, TrackingConfig]:
    """Parse the arguments of a command: options, runs, and settings such as tracking.uri=...

    Raises:
        UserError: If a setting is refused.
    """
    if any(argument.partition("=")[0] == "--tracking-uri" for argument in argv):
        parser.error("--tracking-uri was renamed: use tracking.uri=...")
    ignore_variables()
    argv = hide_all(argv)  # as the parser prints what it does not know
    settings = [argument for argument in argv if argument.startswith(SETTINGS) and "=" in argument]
    others = [argument for argument in argv if argument not in settings]
    arguments, tracking = parser.parse_intermixed_args(others), compose_tracking(settings)
    for line in describe_variables(tracking):
        print(line, file=sys.stderr)
    return arguments, tracking


def make_command_parser(name: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
    """Return the parser of a command, without its arguments."""
    store = "Settings: tracking.uri=... names another MLflow store."
    return argparse.ArgumentParser(
        prog=f"manyfold {name}", description=description, epilog=f"{epilog} {store}".strip()
    )


def add_run_argument(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names a run."""
    parser.add_argument(
        "run",
        metavar="RUN|SWEEP",
        help="name or id of a run, the start of its id, or a sweep: its best run",
    )


def add_model_argument(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names a model, and whether its code is trusted."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="name or id of a run, the start of its id, a sweep (its best run), "
        "models:/NAME@ALIAS, models:/NAME/3, or the folder of a model",
    )
    parser.add_argument(
        "--trust-code",
        action="store_true",
        help="run the Python modules that the model carries, if it was made of the user's own code",
    )


def add_threshold_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that choose other thresholds than those of the model."""
    parser.add_argument(
        "--threshold",
        action="append",
        default=[],
        metavar="[LABEL=]NUMBER",
        help="decide with this threshold for all labels, or for one of them (repeatable)",
    )
    parser.add_argument(
        "--threshold-metric",
        metavar="METRIC",
        help="decide with thresholds tuned for this metric on the run's held-out predictions",
    )


def between_zero_and_one(text: str) -> float:
    """Return the number of an argument, which lies between 0 and 1."""
    value = parse_number(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"expected a number between 0 and 1. Received: {text}")
    return value


def parse_number(text: str) -> float:
    """Return the number of an argument; NaN, which is in no range, if it is none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def run(function: Callable[[], int | None]) -> int:
    """Call the function of a command and return its exit code; failures are printed."""
    codes: list[int] = []
    try:
        with handle_signals():
            failure = attempt(lambda: codes.append(function() or 0)).exit_code
            return failure or codes[0]
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED


def attempt(function: Callable[[], object], position: str = "") -> Outcome:
    """Call a function and return its outcome; failures are printed, not raised.

    The function may return an exit code. The position of a job in its sweep is printed before a
    failure. The traceback is left to the run in MLflow then.
    """
    prefix = f"{position} " if position else ""
    try:
        result = function()
        if isinstance(result, JobResult):
            return Outcome(result.exit_code, result)
        return Outcome(result if isinstance(result, int) else 0)
    except UserError as error:
        _print_error(f"{prefix}{error}")
        return Outcome(2, failure=str(error))
    except Exception as error:
        if not position:
            _print_error(traceback.format_exc())
        _print_error(f"{prefix}The job failed: {type(error).__name__}: {error}")
        return Outcome(1, failure=mask(f"{type(error).__name__}: {error}"))


def _train(composed: DictConfig, position: SweepPosition | None) -> Outcome:
    """Run one job. A single run refuses bad data before MLflow and TensorFlow are loaded."""
    escape_unprintable()  # also in the processes of a sweep
    set_keras_variables()
    if position is None:
        with heavy_imports():
            from pipeline import console
            from pipeline.evaluation.inputs import load_inputs
        with console.waiting("reading the data"):
            outcome = attempt(lambda: load_inputs(parse_config(composed)))
        if outcome.exit_code:
            return outcome
    with heavy_imports():
        from pipeline.job import run_job
        from pipeline.prepared_job import find_sweep_job
    if position is None:
        return attempt(lambda: run_job(composed))
    sweep_jobs: list[SweepJob | None] = []
    failed = attempt(lambda: sweep_jobs.append(find_sweep_job(composed, position)))
    if not sweep_jobs:
        return failed
    (sweep_job,) = sweep_jobs
    return attempt(lambda: run_job(composed, sweep_job), sweep_job.position if sweep_job else "")


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
    except BrokenPipeError:  # of `--help | head`; Python would complain again at the exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        message = explain_hydra_error(error, sys.argv[1:])
        if message is None and isinstance(error, OSError) and error.filename:
            message = f"hydra: {describe_unwritable(error)}"  # of its folders; jobs report theirs
        is_dead_worker = type(error).__name__ == "TerminatedWorkerError"  # its traceback says less
        text = message or (str(error) if is_dead_worker else traceback.format_exc())
        print(mask(text), file=sys.stderr)
        return 1 if message is None else 2
    return 0


def _sweep_position() -> SweepPosition | None:
    """Return the position of the running job in its sweep, or None for a single run."""
    running = HydraConfig.get()
    if running.mode != RunMode.MULTIRUN:
        return None
    overrides = [
        override for override in running.overrides.task if not override.startswith("racing.")
    ]
    return SweepPosition(running.job.num, overrides)
