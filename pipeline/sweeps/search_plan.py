"""Plan of a search, read from the settings and the command line."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from pydantic import Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from pipeline.config import STRICT, Name, affects_scores, parse_settings
from pipeline.errors import UserError
from pipeline.runtime import mlruns
from pipeline.scoring import check_directions
from pipeline.sweeps.overrides import validation_error
from pipeline.sweeps.search_space import (
    Choice,
    Direction,
    Objective,
    SearchSpace,
    Statistic,
    make_objectives,
    make_parameter,
    split_overrides,
)

KEY = "hydra.sweeper"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SearchConfig:
    """Settings of the search."""

    sampler: Literal["tpe", "random", "grid"]
    n_trials: PositiveInt
    n_jobs: PositiveInt
    seed: NonNegativeInt
    objective: Statistic
    metrics: Annotated[tuple[Name, ...], Field(min_length=1)] | None
    directions: tuple[Direction, ...] | None
    params: dict[str, str | int | float | bool | list[Any] | None] | None


def read_search_config(settings: Mapping[str, Any]) -> SearchConfig:
    """Check the settings of the search.

    Raises:
        UserError: If a value is invalid; the message names all invalid ones.
    """
    return parse_settings(SearchConfig, KEY, settings, depth=1)


SQLITE = ("sqlite:///", "sqlite+pysqlite:///")


@dataclasses.dataclass(frozen=True)
class SearchPlan:
    """A search before its first trial.

    Attributes:
        config: Settings of the search.
        space: Search space.
        objectives: Numbers to optimize.
        file: File of the Optuna study; a resumed search finds it.
        has_racing: Whether jobs race.
        sets_incumbent: Whether jobs race against the best trial, not against a run of the user.
        note: A remark for the user, or None.
    """

    config: SearchConfig
    space: SearchSpace
    objectives: tuple[Objective, ...]
    file: Path
    has_racing: bool
    sets_incumbent: bool
    note: str | None


def plan_search(
    settings: Mapping[str, Any],
    config: DictConfig,
    config_loader: ConfigLoader,
    arguments: Sequence[str],
) -> SearchPlan:
    """Plan a search; overrides of the command line replace those of `settings["params"]`.

    Raises:
        UserError: If something is missing, impossible or contradictory.
    """
    search = read_search_config(settings)
    params = [f"{key}={_format_param(value)}" for key, value in (search.params or {}).items()]
    parser = OverridesParser.create(config_loader=config_loader)
    searched, fixed = split_overrides(parser.parse_overrides([*params, *arguments]))
    if not searched:
        raise UserError(
            "hydra/sweeper=optuna: nothing to search. Give at least one range, as "
            "'model.dropout=interval(0,0.5)', or a ready space, as search_space=mlp_small."
        )
    base = config_loader.load_sweep_config(config, list(fixed))
    parameters = {
        key: make_parameter(override, OmegaConf.select(base, override.key_or_group))
        for key, override in searched.items()
    }
    space = SearchSpace(parameters, fixed)
    if search.sampler == "grid":
        search = dataclasses.replace(search, n_trials=len(space.grid()))
    scoring, greater_is_better = base.scoring, dict(base.scoring.greater_is_better or {})
    check_directions(greater_is_better, [*scoring.metrics, base.decision.threshold_metric])
    objectives = make_objectives(
        search.metrics,
        search.directions,
        search.objective,
        list(scoring.metrics),
        greater_is_better,
    )
    _check_space(space, config, config_loader)
    if search.sampler == "tpe" and base.cv.get("outer_splits") is not None:
        raise UserError(
            "cv.outer_splits: expected hydra.sweeper.sampler=random or grid, because tpe learns "
            "from scores on all rows, the test rows of the outer folds among them, and the "
            f"outer scores would be too good. Received: {KEY}.sampler={search.sampler}"
        )
    has_racing, note = _plan_racing(base, space, objectives)
    return SearchPlan(
        config=search,
        space=space,
        objectives=objectives,
        file=_study_file(base, _digest(base, space, objectives)),
        has_racing=has_racing,
        sets_incumbent=has_racing and base.racing.incumbent is None,
        note=note,
    )


def _format_param(value: object) -> str:
    """Return a value of `params` as it is written on the command line."""
    return value if isinstance(value, str) else json.dumps(value)


def _plan_racing(
    base: DictConfig, space: SearchSpace, objectives: Sequence[Objective]
) -> tuple[bool, str | None]:
    """Return whether jobs race, and a remark for the user."""
    if base.get("racing") is None:
        return False, None
    if len(objectives) > 1:
        raise UserError(
            "racing: works with one objective only. Received: "
            f"{', '.join(objective.name for objective in objectives)}. Turn racing off: ~racing"
        )
    searches_cv = any(key.partition(".")[0] == "cv" for key in space.parameters)
    if base.cv.get("n_repeats", 1) == 1 and not searches_cv:
        return False, "Racing is off: the cross-validation has only one repeat."
    return True, None


def _digest(base: DictConfig, space: SearchSpace, objectives: Sequence[Objective]) -> str:
    own = OmegaConf.masked_copy(base, [str(key) for key in base if key != "hydra"])
    groups: Any = OmegaConf.to_container(own, resolve=True, throw_on_missing=False)
    settings = {
        f"{group}.{key}": value
        for group, values in groups.items()
        for key, value in (values if isinstance(values, dict) else {"": values}).items()
    }
    hashed_settings = {key: value for key, value in settings.items() if affects_scores(key, value)}
    content = [hashed_settings, repr(sorted(space.parameters.items())), repr(objectives)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _study_file(base: DictConfig, digest: str) -> Path:
    """Return the file of the study, beside an MLflow store in a file, else in `mlruns/`.

    It is named by the sweep's parent run, so that a resumed sweep finds its study.
    """
    uri = base.tracking.uri
    scheme = next(filter(str(uri).startswith, SQLITE), None)
    path = unquote(str(uri).removeprefix(scheme or ""))  # jobs and studies get the encoded URI
    folder = Path(path).absolute().parent if scheme else mlruns()
    name = base.tracking.get("parent_run_id") or f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}"
    return folder / "studies" / f"{name}_{digest}.journal"


def _check_space(space: SearchSpace, config: DictConfig, config_loader: ConfigLoader) -> None:
    """Reject a space without a valid configuration, or with an invalid bound, before any job.

    The first values of all parameters are tried together, the last ones too, and each option of a
    config group. Other combinations of values may still be invalid; their trials then fail.
    """
    intervals = [
        key for key, parameter in space.parameters.items() if not isinstance(parameter, Choice)
    ]
    low, high = (
        {key: parameter.bounds[end] for key, parameter in space.parameters.items()}
        for end in (0, 1)
    )
    file_options = []
    for key, parameter in space.parameters.items():
        group = key.lstrip("+").partition("@")[0]
        if isinstance(parameter, Choice) and config_loader.get_group_options(group):
            file_options += [{**low, key: option} for option in parameter.options[1:]]
    errors = []
    for values in (low, high, *file_options):
        overrides = [*space.fixed, *space.overrides(values)]
        error = validation_error(config_loader, config, overrides)
        if error and any(f"{key}:" in str(error) for key in intervals):
            raise error
        errors += [error] if error else []
    if len(errors) == 2 + len(file_options):
        raise errors[0]
