"""The command line: `python -m pipeline` and `manyfold`. Imports nothing heavy."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from pipeline import search
from pipeline.errors import UserError
from pipeline.imports import uncollected
from pipeline.project import CONF_DIR, mlruns

if TYPE_CHECKING:
    from pipeline.job import Outcome

Task = Callable[[DictConfig, list[str], str | None], "Outcome"]


def run_command(task: Task, config_name: str = "config") -> NoReturn:
    """Run the jobs that the command line asks for and exit with their worst code.

    Args:
        task: Takes what Hydra composed and, in a sweep, the overrides that set the job apart and
            the name of the sweep.
        config_name: Primary configuration in `conf/`.
    """
    exit_codes: list[int] = []

    @hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name=config_name)
    def job(config: DictConfig) -> "Outcome | float | None":
        running = HydraConfig.get()
        if running.mode == RunMode.MULTIRUN:
            name = "/".join(Path(running.sweep.dir).parts[-2:])
            mine = [word for word in running.overrides.task if not word.startswith("racing.")]
            outcome = task(config, mine, name)
        else:
            outcome = task(config, [], None)
        exit_codes.append(outcome.exit_code)
        return outcome if running.sweeper._target_ == search.TARGET else outcome.objective

    search.register()
    OmegaConf.register_new_resolver("mlruns", lambda: str(mlruns()), replace=True)
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # refusals are worded here, not by Hydra
    try:
        job()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        from pipeline.config.refusals import explain

        message = explain(error, sys.argv[1:])
        if message is None:
            raise
        print(message, file=sys.stderr)
        sys.exit(2)
    exit_codes += [1] * bool(search.OptunaSweeper.n_failed)  # of other processes' trials, too
    sys.exit(exit_codes[0] if len(exit_codes) == 1 else int(any(exit_codes)))


def main() -> NoReturn:
    """Evaluate the configurations that the command line describes."""
    run_command(_evaluate)


def _evaluate(config: DictConfig, overrides: list[str], sweep: str | None) -> "Outcome":
    with uncollected():
        from pipeline.job import run_job

    return run_job(config, overrides, sweep)


if __name__ == "__main__":
    main()
