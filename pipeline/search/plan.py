"""What a search is to do, read from the composed configuration and the command line."""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from pipeline.config import load
from pipeline.errors import UserError
from pipeline.project import mlruns
from pipeline.search.grid import grid_size
from pipeline.search.objective import Objective, make_objectives
from pipeline.search.settings import SearchConfig, read_settings
from pipeline.search.space import Choice, Space, divide, read_parameter

SQLITE = "sqlite:///"
NO_MATTER = ("hydra", "tracking", "racing", "resume")  # to whether one search can continue another
SPEED = ("stack_size", "threads")


@dataclass(frozen=True)
class Plan:
    """A search, before it runs.

    Attributes:
        config: Its settings.
        space: What is searched, and what stays.
        objectives: What is made better.
        n_places: How many configurations are tried.
        digest: What searches share that can continue each other.
        folder: Where studies are kept.
        racing: Whether jobs race.
        names_incumbent: Whether the search tells them against whom.
        note: What the user should know of it, or None.
        config_dir: The user's own folder of settings, or None.
        has_resume: Whether one word makes all of the program resume.
    """

    config: SearchConfig
    space: Space
    objectives: tuple[Objective, ...]
    n_places: int
    digest: str
    folder: Path
    racing: bool
    names_incumbent: bool
    note: str | None
    config_dir: str | None
    has_resume: bool


def make_plan(
    settings: Mapping[str, Any],
    config: DictConfig,
    config_loader: ConfigLoader,
    arguments: Sequence[str],
) -> Plan:
    """Return the plan.

    Args:
        settings: Of `conf/hydra/sweeper/optuna.yaml`.
        config: What Hydra composed.
        config_loader: Composes jobs.
        arguments: The overrides of the command line; they count more than the settings' `params`.

    Raises:
        UserError: If something is missing, impossible or contradictory.
    """
    search = read_settings(settings)
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
    _refuse_impossible(space, config, config_loader)
    racing, note = _racing(base, space, objectives)
    return Plan(
        config=search,
        space=space,
        objectives=objectives,
        n_places=_n_places(search, space),
        digest=_digest(base, space, objectives),
        folder=_folder(base.tracking.uri),
        racing=racing,
        names_incumbent=racing and base.racing.incumbent is None,
        note=note,
        config_dir=_config_dir(config),
        has_resume="resume" in base,
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


def _config_dir(config: DictConfig) -> str | None:
    for source in config.hydra.runtime.config_sources:
        if source.provider == "command-line":
            return str(source.path)
    return None


def _digest(base: DictConfig, space: Space, objectives: Sequence[Objective]) -> str:
    matter = OmegaConf.masked_copy(base, [str(key) for key in base if key not in NO_MATTER])
    settings = OmegaConf.to_container(matter, resolve=True, throw_on_missing=False)
    assert isinstance(settings, dict)
    for key in SPEED:
        settings["training"].pop(key, None)
    asked = [settings, repr(sorted(space.parameters.items())), repr(objectives)]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]


def _folder(uri: str | None) -> Path:
    """Return the folder of studies: beside the MLflow store where that is a file, too."""
    beside = uri is not None and uri.startswith(SQLITE)
    folder = Path(str(uri).removeprefix(SQLITE)).absolute().parent if beside else mlruns()
    return folder / "studies"


def _refuse_impossible(space: Space, config: DictConfig, config_loader: ConfigLoader) -> None:
    """Refuse a space that no job could be of, before one is launched.

    Its two ends are tried, and what is possible at one of them may fail elsewhere in its own trial;
    but each option that is a file must be there.
    """
    low, high = ({key: p.ends[end] for key, p in space.parameters.items()} for end in (0, 1))
    options = []
    for key, parameter in space.parameters.items():
        group = key.lstrip("+").partition("@")[0]
        if isinstance(parameter, Choice) and config_loader.get_group_options(group):
            options += [{**low, key: option} for option in parameter.options[1:]]
    refusals = []
    for values in (low, high, *options):
        overrides = [*space.fixed, *space.overrides(values)]
        composed = config_loader.load_sweep_config(config, overrides)
        try:
            load(OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"]))
        except UserError as refusal:
            refusals.append(refusal)
    if len(refusals) == 2 + len(options):
        raise refusals[0]
