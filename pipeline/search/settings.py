"""The typed schema of `conf/hydra/sweeper/optuna.yaml`."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, TypeAdapter
from pydantic.dataclasses import dataclass

from pipeline.config.strict import STRICT, Name, read_settings
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
