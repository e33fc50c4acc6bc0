"""Racing: stop a configuration after the first repeat if it is significantly worse than the best.

Both are scored on the same folds, so the differences are paired. The test is the one-sided
corrected resampled t test: folds share training rows, and the usual t test would reject too often.

References:
    Nadeau and Bengio, Inference for the Generalization Error, Machine Learning 52, 2003.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr

from pipeline.config import Config, RacingConfig
from pipeline.cv import Split
from pipeline.errors import UserError, suggest
from pipeline.scoring import (
    are_constant,
    corrected_error,
    format_number,
    lower_is_better,
    short_name,
)


@dataclass(frozen=True)
class Decision:
    """The outcome of a race.

    Attributes:
        advantage: Mean difference to the incumbent over folds; below 0, the incumbent is better.
        p: One-sided p-value of being worse.
        stop: Whether p is below alpha, so that training stops.
    """

    advantage: float
    p: float
    stop: bool


@dataclass(frozen=True)
class Race:
    """A race against the incumbent, the best run so far.

    Attributes:
        incumbent: Id of its run.
        scores: Its score on each fold of the first repeat; NaN where undefined.
        metric: Name of the compared metric.
        lower_is_better: Whether lower values of the metric are better.
        alpha: Significance level.
        test_fraction: Mean of n_test / n_train over the folds of the first repeat.
    """

    incumbent: str
    scores: tuple[float, ...]
    metric: str
    lower_is_better: bool
    alpha: float
    test_fraction: float

    def decide(self, scores: Sequence[float]) -> Decision | None:
        """Test the scores on the folds of the first repeat; None if they have no variance."""
        sign = -1.0 if self.lower_is_better else 1.0
        advantages = sign * (np.asarray(scores) - np.asarray(self.scores))
        advantages = advantages[np.isfinite(advantages)]
        if len(advantages) < 2 or are_constant(advantages, float(np.nanmax(np.abs(scores)))):
            return None
        mean, error = float(advantages.mean()), corrected_error(advantages, self.test_fraction)
        p = float(stdtr(len(advantages) - 1, mean / error))
        return Decision(mean, p, p < self.alpha)


def describe_decision(race: Race, decision: Decision) -> str:
    """Format an outcome: `accuracy 0.052 behind run 0f3c..., p = 0.003`."""
    side = "behind" if decision.advantage < 0 else "ahead of"
    by = format_number(abs(decision.advantage))
    return f"{race.metric} {by} {side} run {race.incumbent}, p = {decision.p:.2g}"


def raced_metric(config: Config, splits: Sequence[Split]) -> str | None:
    """Return the metric of the race, or None if the configuration is in no race.

    Raises:
        UserError: If the metric is not among `scoring.metrics`.
    """
    racing = config.racing
    if racing is None or racing.incumbent is None or splits[-1].repeat == 0:
        return None
    computed = [short_name(name) for name in config.scoring.metrics]
    metric = short_name(racing.metric or computed[0])
    if metric not in computed:
        raise UserError(
            f"racing.metric: {metric!r} is not among scoring.metrics. {suggest(metric, computed)}"
        )
    return metric


def make_race(
    racing: RacingConfig, metric: str, splits: Sequence[Split], scores: Sequence[float]
) -> Race:
    """Make the race of a configuration from the scores of the incumbent on all folds."""
    default = "minimize" if lower_is_better(metric) else "maximize"
    first = [index for index, split in enumerate(splits) if split.repeat == 0]
    return Race(
        incumbent=str(racing.incumbent),
        scores=tuple(scores[index] for index in first),
        metric=metric,
        lower_is_better=(racing.direction or default) == "minimize",
        alpha=racing.alpha,
        test_fraction=float(np.mean([len(splits[i].test) / len(splits[i].train) for i in first])),
    )
