"""How configurations are drawn from a space: Optuna's samplers, and a grid in its order."""

from collections.abc import Mapping

import numpy as np
from optuna import Study
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from pipeline.search.grid import grid_values
from pipeline.search.settings import SearchConfig
from pipeline.search.space import Choice, Parameter, Space


def make_sampler(config: SearchConfig, space: Space, place: int) -> BaseSampler:
    """Return what draws the configuration in that place of a study, and no other.

    Its randomness is the place's own, so that a study that was cut off goes on as it would have.
    """
    if config.sampler == "grid":
        return Given(grid_values(space, place))
    seed = int(np.random.SeedSequence([config.seed, place]).generate_state(1)[0])
    return TPESampler(seed=seed) if config.sampler == "tpe" else RandomSampler(seed=seed)


class Given(BaseSampler):
    """Draws what it is given."""

    def __init__(self, values: Mapping[str, float | str]) -> None:
        """Take a value for each parameter."""
        self._values = values

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return nothing: no parameter depends on another."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, float | str]:
        """Return nothing: no parameter depends on another."""
        return {}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> float | str:
        """Return the value of one parameter."""
        return self._values[param_name]


def make_distribution(parameter: Parameter) -> BaseDistribution:
    """Return a parameter in Optuna's words."""
    if isinstance(parameter, Choice):
        return CategoricalDistribution(parameter.options)
    low, high, log = parameter.low, parameter.high, parameter.log
    if parameter.integer:
        return IntDistribution(int(low), int(high), log=log, step=int(parameter.step or 1))
    return FloatDistribution(low, high, log=log, step=parameter.step)
