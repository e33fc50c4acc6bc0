"""The command line: settings, exit codes and the run of Hydra."""

import os
import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from pipeline import sweeps
from pipeline.errors import UserError
from pipeline.runtime import CONF_DIR, heavy_imports, mlruns

if TYPE_CHECKING:
    from pipeline.job import Outcome, SweepPosition


Task = Callable[[DictConfig, "SweepPosition | None"], "Outcome"]


def run_command(task: Task, config_name: str = "config") -> NoReturn:
    """Run the jobs that the command line asks for and exit with their worst code.

    Args:
        task: Takes what Hydra composed and, in a sweep, the job's place there.
        config_name: Primary configuration in `conf/`.
    """
    exit_codes: list[int] = []

    @hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name=config_name)
    def job(config: DictConfig) -> "Outcome | float | None":
        outcome = task(config, _sweep_position())
        exit_codes.append(outcome.exit_code)
        is_searched = HydraConfig.get().sweeper._target_ == sweeps.TARGET
        return outcome if is_searched else outcome.objective

    sweeps.register()
    OmegaConf.register_new_resolver("mlruns", lambda: str(mlruns()), replace=True)
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # refusals are worded here, not by Hydra
    code = _launch(job) or int(sweeps.OptunaSweeper.n_failed > 0)
    if sweeps.is_begun():
        sys.exit(sweeps.end(code))
    sys.exit(code or (exit_codes[0] if len(exit_codes) == 1 else int(any(exit_codes))))


def main() -> NoReturn:
    """Evaluate the configurations that the command line describes."""
    run_command(_evaluate)


def _launch(job: Callable[[], object]) -> int:
    """Let Hydra run the jobs and return 0, or the exit code of what kept it from doing so."""
    try:
        job()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
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
        dead_worker = type(error).__name__ == "TerminatedWorkerError"  # Hydra's stack tells nothing
        print(message or (error if dead_worker else traceback.format_exc()), file=sys.stderr)
        return 1 if message is None else 2
    return 0


def _sweep_position() -> "SweepPosition | None":
    """Return where the job that runs stands in a sweep, or None outside one."""
    running = HydraConfig.get()
    if running.mode != RunMode.MULTIRUN:
        return None
    with heavy_imports():
        from pipeline.job import SweepPosition

    own = [it for it in running.overrides.task if not it.startswith("racing.")]  # of the search
    return SweepPosition(running.job.num, own)


def _evaluate(config: DictConfig, position: "SweepPosition | None") -> "Outcome":
    with heavy_imports():
        from pipeline.job import run_job

    return run_job(config, position)
