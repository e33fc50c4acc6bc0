"""Overrides of a sweep, checked before any job is composed."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, read_write

from pipeline.config import check_renamed, parse_config
from pipeline.errors import UserError
from pipeline.runtime import own_command

CONSTANT_SETTINGS = (
    "tracking.uri",
    "tracking.experiment_name",
    "tracking.checkpoint_dir",
    "resume",
)
RESUMABLE = ("n_trials", "n_jobs", "max_batch_size")  # sweeper settings that may change on resume


def parse(config: DictConfig) -> list[Override]:
    """Parse the overrides of the command line, and the sweeper's `params` of a grid."""
    params = (config.hydra.sweeper.params or {}) if is_grid(config) else {}
    lines = [f"{key}={value}" for key, value in params.items()]
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    task: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
    return parser.parse_overrides([*lines, *task])


def is_basic(config: DictConfig) -> bool:
    """Return whether Hydra's own sweeper runs the sweep."""
    return bool(config.hydra.sweeper._target_.endswith(".BasicSweeper"))


def is_grid(config: DictConfig) -> bool:
    """Return whether every combination of the values is run."""
    return is_basic(config) or config.hydra.sweeper.get("sampler") == "grid"


def check_former_names(config: DictConfig, overrides: Sequence[Override]) -> None:
    """Reject former names of settings on the command line and in the `params` of the sweeper."""
    params = config.hydra.sweeper.get("params") or {}
    lines = [f"{key}={value}" for key, value in params.items()]
    lines += [override.input_line or "" for override in overrides]
    loader, own = GlobalHydra.instance().config_loader(), list(config.hydra.overrides.hydra)
    check_renamed(lines, lambda group: loader.get_group_options(group, overrides=own))


def check_constant_settings(overrides: Sequence[Override]) -> None:
    """Reject sweeps over settings that must be constant."""
    for override in overrides:
        key = override.key_or_group
        if key in CONSTANT_SETTINGS and override.is_sweep_override():
            raise UserError(
                f"{key}: must be the same for all jobs of a sweep. Received: {override.input_line}"
            )


def check_shared_settings(config: DictConfig, overrides: Sequence[Override]) -> None:
    """Reject a sweep whose jobs would all be rejected for the same reason, before it begins.

    The first and the last combination of the varied values are validated. A search validates its
    own space.

    Raises:
        UserError: If both combinations are invalid for the same reason.
        HydraException: If Hydra can compose neither, for the same reason.
    """
    if not is_basic(config):
        return
    varied = [
        (override.get_key_element(), list(override.sweep_string_iterator()))
        for override in overrides
        if override.is_sweep_override()
    ]
    fixed = [
        override.input_line or "" for override in overrides if not override.is_sweep_override()
    ]
    loader = GlobalHydra.instance().config_loader()
    errors: list[Exception] = []
    for index in (0, -1):
        combination = [f"{key}={values[index]}" for key, values in varied]
        try:
            error: Exception | None = validation_error(loader, config, [*fixed, *combination])
        except HydraException as not_composed:
            error = not_composed
        if error is None:
            return
        errors.append(error)
    first, last = errors
    if str(first) == str(last):
        raise first


def validation_error(
    loader: ConfigLoader, config: DictConfig, overrides: Sequence[str]
) -> UserError | None:
    """Return the error in the configuration of a job, or None; no data are read.

    The overrides are those of the job, the configuration is that of the sweep.

    Raises:
        HydraException: If Hydra cannot compose the configuration.
    """
    composed = loader.load_sweep_config(config, list(overrides))
    own = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    try:
        parse_config(own)
    except UserError as error:
        return error
    return None


def set_joblib_batch_size(config: DictConfig) -> None:
    """Set joblib's batch size to one job.

    joblib's `auto` infers a size from the first jobs, which are too fast if they reuse runs.
    """
    launcher = config.hydra.launcher
    if not _is_joblib(config):
        return
    if launcher.n_jobs == 0:
        raise UserError(
            "hydra.launcher.n_jobs: expected a number of parallel jobs, or -1 for one per core. "
            "Received: 0"
        )
    if launcher.batch_size == "auto":
        with read_write(config.hydra):
            launcher.batch_size = "1"


def _is_joblib(config: DictConfig) -> bool:
    return bool(config.hydra.launcher._target_.endswith(".JoblibLauncher"))


def sweep_name(overrides: Sequence[Override]) -> str:
    """Return the name of the parent run: the varied settings."""
    varied = [override.key_or_group for override in overrides if override.is_sweep_override()]
    return f"sweep of {', '.join(varied)}" if varied else "sweep"


def count_parallel_jobs(config: DictConfig, n_jobs: int | None) -> int:
    """Return the number of jobs that share the cores of this machine."""
    if not _is_joblib(config):
        return 1
    from joblib import effective_n_jobs

    return min(int(effective_n_jobs(config.hydra.launcher.n_jobs)), n_jobs or sys.maxsize)


def command_line(resume: bool = False) -> str:
    """Return the command line of this process, quoted for a shell, or the one to resume it."""
    arguments = sys.argv[1:]
    if resume:
        arguments = [
            *(argument for argument in arguments if not argument.startswith("resume=")),
            "resume=true",
        ]
    program = Path(sys.argv[0])
    if program.name == "__main__.py":
        return own_command(*arguments)
    return shlex.join([program.name, *arguments])
