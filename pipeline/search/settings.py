"""The typed schema of `conf/hydra/sweeper/optuna.yaml`."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from pipeline.config.strict import STRICT, Name
from pipeline.errors import UserError
from pipeline.search.objective import Direction, Of

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


def read_settings(settings: Mapping[str, Any]) -> SearchConfig:
    """Return the settings, checked.

    Raises:
        UserError: If one is impossible; all such are named at once.
    """
    try:
        read = _SETTINGS.validate_json(json.dumps(dict(settings)))  # reads lists into tuples
    except ValidationError as error:
        refused = "\n".join(
            f"  {'.'.join([KEY, *map(str, detail['loc'][:1])])}: expected "
            f"{detail['msg'].removeprefix('Input should be ')}. Received: {detail['input']!r}"
            for detail in error.errors()
        )
        raise UserError(f"Configuration refused:\n{refused}") from error
    if read.n_trials is None and read.sampler != "grid":
        raise UserError(
            f"Configuration refused:\n  {KEY}.n_trials: expected a number; only {KEY}.sampler=grid "
            "knows how many there are. Received: null"
        )
    return read
