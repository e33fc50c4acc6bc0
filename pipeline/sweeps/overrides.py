"""What a command line asks of a sweep, read before any job is composed."""

import shlex
import sys
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, read_write

from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.tracking import SweepPlan


ONE_VALUE = ("tracking.uri", "tracking.experiment_name", "tracking.checkpoints", "resume")
HOW_FAR = ("resume", "n_trials", "n_jobs", "max_batch_size")  # settings of sweepers that may change


def parse(config: DictConfig) -> list[Override]:
    """Return what the command sets for all jobs and what it varies, the sweeper's own included."""
    params = (config.hydra.sweeper.params or {}) if _is_basic(config) else {}
    lines = [f"{key}={value}" for key, value in params.items()]
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    return parser.parse_overrides([*lines, *config.hydra.overrides.task])


def _is_basic(config: DictConfig) -> bool:
    return bool(config.hydra.sweeper._target_.endswith(".BasicSweeper"))


def check_constant_settings(overrides: Sequence[Override]) -> None:
    """Raise UserError if something is varied that a sweep has but one of."""
    for override in overrides:
        key = override.key_or_group
        if key in ONE_VALUE and override.is_sweep_override():
            raise UserError(
                f"{key}: expected one value in a sweep. Received: {override.input_line}"
            )


def check_shared_settings(config: DictConfig, overrides: Sequence[Override]) -> None:
    """Raise UserError if a value that all jobs share is refused, before there is a sweep.

    The first and the last combination are tried. A search tries its space itself, and what Hydra
    cannot compose it refuses in its own words.
    """
    if not _is_basic(config):
        return
    varied = [
        (it.get_key_element(), list(it.sweep_string_iterator()))
        for it in overrides
        if it.is_sweep_override()
    ]
    fixed = [it.input_line or "" for it in overrides if not it.is_sweep_override()]
    loader = GlobalHydra.instance().config_loader()
    refusals: set[str] = set()
    for end in (0, -1):
        ends = [f"{key}={values[end]}" for key, values in varied]
        try:
            refusal = validation_error(loader, config, [*fixed, *ends])
        except HydraException:
            return
        if refusal is None:
            return
        refusals.add(str(refusal))
    if len(refusals) == 1:
        raise UserError(refusals.pop())


def validation_error(
    loader: ConfigLoader, config: DictConfig, overrides: Sequence[str]
) -> UserError | None:
    """Return why a job of these overrides would be refused before it reads data, or None.

    Raises:
        HydraException: If it cannot be composed.
    """
    from pipeline.config import load

    composed = loader.load_sweep_config(config, list(overrides))
    own = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    try:
        load(own)
    except UserError as refusal:
        return refusal
    return None


def set_joblib_batch_size(config: DictConfig) -> None:
    """Let joblib give its workers one job at a time.

    It would guess how many from how long the first took, which says nothing where some are reused.
    """
    launcher = config.hydra.launcher
    if _is_joblib(config) and launcher.n_jobs == 0:
        raise UserError(
            "hydra.launcher.n_jobs: expected how many jobs run at once, or -1 for one per core. "
            "Received: 0"
        )
    if _is_joblib(config) and launcher.batch_size == "auto":
        with read_write(config.hydra):
            launcher.batch_size = "1"


def _is_joblib(config: DictConfig) -> bool:
    return bool(config.hydra.launcher._target_.endswith(".JoblibLauncher"))


def plan_sweep(config: DictConfig, overrides: Sequence[Override]) -> "SweepPlan":
    """Return what is known of the sweep before its jobs.

    Args:
        config: What Hydra composed for the launching process.
        overrides: What the command sets and varies.
    """
    from pipeline.config import IGNORED_IN_FINGERPRINT
    from pipeline.evaluation import digest
    from pipeline.tracking import SweepPlan

    sizes = {
        it.get_key_element(): len(list(it.sweep_string_iterator())) if it.is_discrete_sweep() else 1
        for it in overrides
    }
    fixed = [it for it in overrides if not it.is_sweep_override()]
    alike = [
        it.input_line or ""
        for it in fixed
        if not it.key_or_group.startswith(IGNORED_IN_FINGERPRINT)
    ]
    varied = [it.input_line or "" for it in overrides if it.is_sweep_override()]  # in its order
    sweeper = {key: it for key, it in config.hydra.sweeper.items() if key not in HOW_FAR}
    keys = [it.get_key_element().lstrip("+~") for it in fixed]
    return SweepPlan(
        command=command_line(),
        digest=digest("\n".join([repr(sweeper), *sorted(alike), *varied])),
        fixed=(*keys, "tracking.uri", "tracking.parent_run_id"),
        n_jobs=prod(sizes.values()) if _is_basic(config) else _n_trials(config),
        in_order=_is_basic(config),
    )


def _n_trials(config: DictConfig) -> int | None:
    """Return how many jobs a search will have, if it says so; a grid may have fewer."""
    sweeper = config.hydra.sweeper
    return None if sweeper.get("sampler") == "grid" else sweeper.get("n_trials")


def sweep_name(overrides: Sequence[Override]) -> str:
    """Return what the sweep is called, by what it varies."""
    varied = [it.key_or_group for it in overrides if it.is_sweep_override()]
    return f"sweep of {', '.join(varied)}" if varied else "sweep"


def jobs_at_once(config: DictConfig, n_jobs: int | None) -> int:
    """Return how many jobs share this machine's cores."""
    if not _is_joblib(config):
        return 1
    from joblib import effective_n_jobs

    return min(int(effective_n_jobs(config.hydra.launcher.n_jobs)), n_jobs or sys.maxsize)


def command_line(resume: bool = False) -> str:
    """Return this process's command line as a shell takes it.

    Args:
        resume: Whether to change it into one that continues what this one leaves.
    """
    arguments = sys.argv[1:]
    if resume:
        arguments = [*(it for it in arguments if not it.startswith("resume=")), "resume=true"]
    return command_of(*arguments)


def command_of(*arguments: str) -> str:
    """Return the command that runs this program with other arguments, as a shell takes it."""
    from pipeline.console import own_command

    program = Path(sys.argv[0])
    if program.name == "__main__.py":
        return own_command(*arguments)
    return shlex.join([program.name, *arguments])
