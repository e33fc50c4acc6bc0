"""Plan a search."""

import dataclasses
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from pydantic import Field, NonNegativeInt, PositiveInt, TypeAdapter
from pydantic.dataclasses import dataclass

from pipeline.config import IGNORED_IN_FINGERPRINT, STRICT, Name, read_settings
from pipeline.errors import UserError
from pipeline.runtime import mlruns
from pipeline.sweeps.overrides import validation_error
from pipeline.sweeps.search_space import (
    Choice,
    Direction,
    Objective,
    Of,
    Parameter,
    Space,
    divide,
    make_objectives,
    read_parameter,
)

KEY = "hydra.sweeper"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SearchConfig:
    """How to search; `n_trials` may be null where a grid says how many there are."""

    sampler: Literal["tpe", "random", "grid"]
    n_trials: PositiveInt | None
    n_jobs: PositiveInt
    seed: NonNegativeInt
    objective: Of
    metrics: Annotated[tuple[Name, ...], Field(min_length=1)] | None
    directions: tuple[Direction, ...] | None
    params: dict[str, str | int | float | bool | list[Any] | None] | None


_SETTINGS = TypeAdapter(SearchConfig)


def read_search(settings: Mapping[str, Any]) -> SearchConfig:
    """Return the settings, checked.

    Raises:
        UserError: If one is impossible; all such are named at once.
    """
    read = read_settings(_SETTINGS, KEY, settings)
    if read.n_trials is None and read.sampler != "grid":
        raise UserError(
            f"Configuration refused:\n  {KEY}.n_trials: expected a number; only {KEY}.sampler=grid "
            "knows how many there are. Received: null"
        )
    return read


def grid_size(space: Space) -> int:
    """Return how many combinations there are.

    Raises:
        UserError: If a parameter has more values than can be counted.
    """
    return prod(_size(key, parameter) for key, parameter in space.parameters.items())


def grid_values(space: Space, place: int) -> dict[str, float | str]:
    """Return the combination in that place, from 0."""
    values: dict[str, float | str] = {}
    for key, parameter in reversed(space.parameters.items()):
        place, digit = divmod(place, _size(key, parameter))
        values[key] = parameter.value(digit)
    return {key: values[key] for key in space.parameters}


def _size(key: str, parameter: Parameter) -> int:
    if parameter.size is None:
        raise UserError(
            f"{key}: expected values that a grid can count, as choice(0.1,0.2) or "
            "range(0,0.5,0.1). Received: an interval of any number"
        )
    return parameter.size


SQLITE = "sqlite:///"


@dataclasses.dataclass(frozen=True)
class SearchPlan:
    """A search, before it runs.

    Attributes:
        config: Its settings.
        space: What is searched, and what stays.
        objectives: What is made better.
        n_places: How many configurations are tried.
        file: Where its study is kept; a search that is resumed finds it there.
        racing: Whether jobs race.
        names_incumbent: Whether the search tells them against whom.
        note: What the user should know of it, or None.
        elsewhere: Words of the command line that say where settings and runs are.
    """

    config: SearchConfig
    space: Space
    objectives: tuple[Objective, ...]
    n_places: int
    file: Path
    racing: bool
    names_incumbent: bool
    note: str | None
    elsewhere: tuple[str, ...]


def plan_search(
    settings: Mapping[str, Any],
    config: DictConfig,
    config_loader: ConfigLoader,
    arguments: Sequence[str],
) -> SearchPlan:
    """Return the plan.

    Args:
        settings: Of `conf/hydra/sweeper/optuna.yaml`.
        config: What Hydra composed.
        config_loader: Composes jobs.
        arguments: The overrides of the command line; they count more than the settings' `params`.

    Raises:
        UserError: If something is missing, impossible or contradictory.
    """
    search = read_search(settings)
    params = [f"{key}={_text(value)}" for key, value in (search.params or {}).items()]
    parser = OverridesParser.create(config_loader=config_loader)
    searched, fixed = divide(parser.parse_overrides([*params, *arguments]))
    if not searched:
        raise UserError(
            "hydra/sweeper=optuna: expected something to search, as "
            "'model.dropout=interval(0,0.5)' or sweep=mlp_small. Received: fixed values alone."
        )
    base = config_loader.load_sweep_config(config, list(fixed))
    parameters = {
        key: read_parameter(override, OmegaConf.select(base, override.key_or_group))
        for key, override in searched.items()
    }
    space = Space(parameters, fixed)
    objectives = make_objectives(
        search.metrics, search.directions, search.objective, list(base.scoring.metrics)
    )
    _check_space(space, config, config_loader)
    racing, note = _racing(base, space, objectives)
    return SearchPlan(
        config=search,
        space=space,
        objectives=objectives,
        n_places=_n_places(search, space),
        file=_file(base, _digest(base, space, objectives)),
        racing=racing,
        names_incumbent=racing and base.racing.incumbent is None,
        note=note,
        elsewhere=_elsewhere(config),
    )


def _text(value: object) -> str:
    """Return a value of the settings as it would be written on the command line."""
    return value if isinstance(value, str) else json.dumps(value)


def _n_places(search: SearchConfig, space: Space) -> int:
    if search.sampler != "grid" and search.n_trials:
        return search.n_trials
    return min(grid_size(space), search.n_trials or sys.maxsize)


def _racing(
    base: DictConfig, space: Space, objectives: Sequence[Objective]
) -> tuple[bool, str | None]:
    if base.get("racing") is None:
        return False, None
    if len(objectives) > 1:
        raise UserError(
            "racing: expected one objective, to tell which trial is ahead. Received: "
            f"{', '.join(objective.name for objective in objectives)}. Leave it out: ~racing"
        )
    varied = any(key.partition(".")[0] == "cv" for key in space.parameters)
    if base.cv.get("n_repeats", 1) == 1 and not varied:
        return False, "Racing: the folds are not repeated, so that every trial is trained whole."
    return True, None


def _elsewhere(config: DictConfig) -> tuple[str, ...]:
    """Return the user's own folder of settings and store of runs, as words of a command line."""
    folders = [
        f"--config-dir={source.path}"
        for source in config.hydra.runtime.config_sources
        if source.provider == "command-line"
    ]
    stores = [word for word in sys.argv if word.partition("=")[0].lstrip("+") == "tracking.uri"]
    return (*folders, *stores)


def _digest(base: DictConfig, space: Space, objectives: Sequence[Objective]) -> str:
    own = OmegaConf.masked_copy(base, [str(key) for key in base if key != "hydra"])
    groups: Any = OmegaConf.to_container(own, resolve=True, throw_on_missing=False)
    settings = {
        f"{group}.{key}": value
        for group, values in groups.items()
        for key, value in (values if isinstance(values, dict) else {"": values}).items()
    }
    matter = {
        key: value for key, value in settings.items() if not key.startswith(IGNORED_IN_FINGERPRINT)
    }
    asked = [matter, repr(sorted(space.parameters.items())), repr(objectives)]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]


def _file(base: DictConfig, digest: str) -> Path:
    """Return the file of the study: beside the MLflow store where that is a file, too.

    It has the name of the sweep's parent run, so that who takes that up takes up the study.
    """
    uri = base.tracking.uri
    beside = uri is not None and uri.startswith(SQLITE)
    folder = Path(str(uri).removeprefix(SQLITE)).absolute().parent if beside else mlruns()
    name = base.tracking.get("parent_run_id") or f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}"
    return folder / "studies" / f"{name}_{digest}.journal"


def _check_space(space: Space, config: DictConfig, config_loader: ConfigLoader) -> None:
    """Refuse a space that no job could be of, or a range with an impossible end, before any runs.

    The two ends of the space are tried, and each option that is a file; what is possible at one of
    them may fail elsewhere in its own trial.
    """
    ranges = [key for key, it in space.parameters.items() if not isinstance(it, Choice)]
    low, high = ({key: p.ends[end] for key, p in space.parameters.items()} for end in (0, 1))
    options = []
    for key, parameter in space.parameters.items():
        group = key.lstrip("+").partition("@")[0]
        if isinstance(parameter, Choice) and config_loader.get_group_options(group):
            options += [{**low, key: option} for option in parameter.options[1:]]
    refusals = []
    for values in (low, high, *options):
        overrides = [*space.fixed, *space.overrides(values)]
        refusal = validation_error(config_loader, config, overrides)
        if refusal and any(f"{key}:" in str(refusal) for key in ranges):
            raise refusal
        refusals += [refusal] if refusal else []
    if len(refusals) == 2 + len(options):
        raise refusals[0]
