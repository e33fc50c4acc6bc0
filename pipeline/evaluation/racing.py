"""Racing: stop a configuration after the first repeat if it is significantly worse than the best.

Both are scored on the same folds, so the differences are paired. The test is the one-sided
corrected resampled t test: folds share training rows, and the usual t test would reject too often.
In a search, the incumbent is the best of many and so the luckiest: the p-value allows for that, as
Dunnett's comparison of many treatments with one control does.

References:
    Nadeau and Bengio, Inference for the Generalization Error, Machine Learning 52, 2003.
    Dunnett, A Multiple Comparison Procedure for Comparing Several Treatments with a Control,
    Journal of the American Statistical Association 50, 1955.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, stdtr

from pipeline.config import Config
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
        p: Probability of such a difference if the configuration is as good as the incumbent and as
            all that the incumbent was chosen from.
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
        n_candidates: Number of configurations of which the incumbent has the best mean.
        n_repeats: Number of repeats over which the means of the candidates are.
    """

    incumbent: str
    scores: tuple[float, ...]
    metric: str
    lower_is_better: bool
    alpha: float
    test_fraction: float
    n_candidates: int = 1
    n_repeats: float = 1.0

    def decide(self, scores: Sequence[float]) -> Decision | None:
        """Test the scores on the folds of the first repeat; None if they have no variance."""
        sign = -1.0 if self.lower_is_better else 1.0
        advantages = sign * (np.asarray(scores) - np.asarray(self.scores))
        advantages = advantages[np.isfinite(advantages)]
        if len(advantages) < 2 or are_constant(advantages, float(np.nanmax(np.abs(scores)))):
            return None
        n, q = len(advantages), self.test_fraction
        mean, error = float(advantages.mean()), corrected_error(advantages, q)
        correlation = (q + 1 / (n * self.n_repeats)) / (2 * (q + 1 / n))
        p = p_behind_best(mean / error, n - 1, self.n_candidates, correlation)
        return Decision(mean, p, p < self.alpha)


def p_behind_best(t: float, df: int, n_candidates: int, correlation: float) -> float:
    """Return the probability of a statistic of at most t if the candidates are equally good.

    The statistic compares a configuration with the best of the candidates. It is distributed as
    (sqrt(1 - c) Z - sqrt(c) M) / S, where c is the correlation, Z is standard normal, M is the
    largest of `n_candidates` independent standard normals, and df S^2 is chi-squared with df
    degrees of freedom. With one candidate that is Student's t.

    Args:
        t: Mean advantage over the best candidate divided by its standard error.
        df: Degrees of freedom of the standard error.
        n_candidates: Number of candidates.
        correlation: Variance of the mean by which the best candidate was chosen, divided by the
            variance of the advantage.
    """
    if n_candidates == 1:
        return float(stdtr(df, t))
    # The trapezoidal rule, over M and the logarithm of S as far as their densities reach.
    m = np.linspace(-8, 8, 81)
    density_m = np.exp(-(m**2) / 2) * ndtr(m) ** (n_candidates - 1)
    log_s = np.linspace(-37 / df, np.log(1 + 74 / df) / 2, 129)
    density_s = np.exp(df * (log_s - (np.exp(2 * log_s) - 1) / 2))
    below = ndtr((t * np.exp(log_s)[:, None] + correlation**0.5 * m) / (1 - correlation) ** 0.5)
    return float(density_s @ below @ density_m / (density_s.sum() * density_m.sum()))


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
    config: Config, metric: str, splits: Sequence[Split], scores: Sequence[float]
) -> Race:
    """Make the race of a configuration from the scores of the incumbent on all folds."""
    racing = config.racing
    assert racing
    is_minimized = lower_is_better(metric, config.scoring.greater_is_better)
    first = [index for index, split in enumerate(splits) if split.repeat == 0]
    return Race(
        incumbent=str(racing.incumbent),
        scores=tuple(scores[index] for index in first),
        metric=metric,
        lower_is_better=is_minimized
        if racing.direction is None
        else racing.direction == "minimize",
        alpha=racing.alpha,
        test_fraction=float(np.mean([len(splits[i].test) / len(splits[i].train) for i in first])),
        n_candidates=racing.n_candidates,
        n_repeats=len(splits) / len(first),
    )
