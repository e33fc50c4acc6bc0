"""Racing: what is behind the best so far, beyond noise, stops after the first repeat of the folds.

Both are scored on the same folds, so that their differences pair up. Whether the mean difference
is more than noise is asked of the corrected resampled t test, one-sided: folds share training
rows, and the usual t test would take far too little for proof.

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
from pipeline.scoring import are_constant, corrected_error, lower_is_better, short_name


@dataclass(frozen=True)
class Decision:
    """What the first repeat says of a configuration.

    Attributes:
        advantage: Mean over folds by which it is better than the incumbent; below 0, worse.
        p: Chance of falling as far behind by noise alone.
        stop: Whether that is too small to go on.
    """

    advantage: float
    p: float
    stop: bool


@dataclass(frozen=True)
class Race:
    """A race against the incumbent.

    Attributes:
        incumbent: MLflow run to beat.
        scores: Its score on each fold of the first repeat; NaN where undefined.
        metric: By which it is raced.
        lower_is_better: Whether less of it is better.
        alpha: Which p stops.
        test_fraction: Mean of n_test / n_train over the folds of the first repeat.
        n_repeats: How many repeats there are.
    """

    incumbent: str
    scores: tuple[float, ...]
    metric: str
    lower_is_better: bool
    alpha: float
    test_fraction: float
    n_repeats: int

    def decide(self, scores: Sequence[float]) -> Decision | None:
        """Return what the scores on the folds of the first repeat say; None: nothing."""
        sign = -1.0 if self.lower_is_better else 1.0
        advantages = sign * (np.asarray(scores) - np.asarray(self.scores))
        advantages = advantages[np.isfinite(advantages)]
        if len(advantages) < 2 or are_constant(advantages, float(np.nanmax(np.abs(scores)))):
            return None  # no spread to measure noise by
        mean, error = float(advantages.mean()), corrected_error(advantages, self.test_fraction)
        p = float(stdtr(len(advantages) - 1, mean / error))
        return Decision(mean, p, p < self.alpha)


def describe_decision(race: Race, decision: Decision) -> str:
    """Return how the race went: `accuracy 0.0523 behind run 0f3c..., p = 0.003`."""
    way = "behind" if decision.advantage < 0 else "ahead of"
    by = f"{abs(decision.advantage):.4f}"
    return f"{race.metric} {by} {way} run {race.incumbent}, p = {decision.p:.2g}"


def raced_metric(config: Config, splits: Sequence[Split]) -> str | None:
    """Return the metric that a configuration is raced by; None if it is in no race.

    Raises:
        UserError: If the metric is not computed.
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
    """Return a race.

    Args:
        racing: Against whom, and when it stops.
        metric: By what.
        splits: All folds.
        scores: Those of the incumbent on all of them.
    """
    lower = lower_is_better(metric)
    if racing.direction is not None:
        lower = racing.direction == "minimize"
    first = [place for place, split in enumerate(splits) if split.repeat == 0]
    return Race(
        incumbent=str(racing.incumbent),
        scores=tuple(scores[place] for place in first),
        metric=metric,
        lower_is_better=lower,
        alpha=racing.alpha,
        test_fraction=float(np.mean([len(splits[i].test) / len(splits[i].train) for i in first])),
        n_repeats=splits[-1].repeat + 1,
    )
