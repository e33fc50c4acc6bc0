"""The command line: `python -m pipeline` and `manyfold`. Imports nothing heavy."""

import os
import sys
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from pipeline.imports import uncollected
from pipeline.project import CONF_DIR, mlruns

EXIT_CODES: list[int] = []


@hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="config")
def _task(config: DictConfig) -> float | None:
    with uncollected():
        from pipeline.job import run_job

    job = HydraConfig.get()
    overrides = list(job.overrides.task) if job.mode == RunMode.MULTIRUN else []
    outcome = run_job(config, overrides)
    EXIT_CODES.append(outcome.exit_code)
    return outcome.objective


def main() -> NoReturn:
    """Run the jobs that the command line asks for and exit with their worst code."""
    OmegaConf.register_new_resolver("mlruns", lambda: str(mlruns()), replace=True)
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # refusals are worded here, not by Hydra
    try:
        _task()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        from pipeline.config.refusals import explain

        message = explain(error, sys.argv[1:])
        if message is None:
            raise
        print(message, file=sys.stderr)
        sys.exit(2)
    sys.exit(EXIT_CODES[0] if len(EXIT_CODES) == 1 else int(any(EXIT_CODES)))


if __name__ == "__main__":
    main()
