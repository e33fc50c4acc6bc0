"""The score to expect of the configuration that is chosen as the best of several.

The best of several scores is partly the luckiest. Bootstrap bias-corrected cross-validation chooses
again and again: the best on a bootstrap sample of the held-out rows is scored on the rows outside
it. The optimism is how much better the best on all rows scores there, on average.

References:
    Tsamardinos, Greasidou and Borboudakis, Bootstrapping the Out-of-sample Predictions for
    Efficient and Accurate Cross-validation, Machine Learning 107, 2018.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from pipeline.runtime import n_cores
from pipeline.scoring import CURVE_METRICS, metric_range, short_name
from pipeline.scoring.resampled import HeldOutPredictions, weighted_scores

N_RESAMPLES = 500
N_RESAMPLES_OWN = 100  # for a metric of the user's own, which scores them one by one
MIN_RESAMPLES = 50
MAX_CELLS = 50_000_000_000  # predictions in all samples together, of all configurations
MAX_CELLS_CURVES = 5_000_000_000  # those that metrics of curves sort
MAX_CELLS_OWN = 1_000_000_000  # those that are passed to a metric of the user's own
CELLS_AT_ONCE = 50_000_000  # predictions that are held in memory
DECIMALS = 12  # of scores, up to which they are equal
SEED = 0
QUANTILES = (0.025, 0.975)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ExpectedScore:
    """Score of a chosen configuration without the optimism of choosing it.

    Attributes:
        metric: Name of the metric.
        best: Mean over folds of the chosen configuration.
        mean: The mean less the optimism.
        ci: Its 95% interval.
    """

    metric: str
    best: float
    mean: float
    ci: tuple[float, float]


@dataclass(frozen=True, eq=False)
class BootstrapScores:
    """Scores of a configuration on all rows, and inside and outside of bootstrap samples.

    Attributes:
        all: Score on all rows.
        inside: Scores on the samples, of shape (n_resamples,).
        outside: Scores on the rows that are not in the sample, of the same shape.
    """

    all: float
    inside: Floats
    outside: Floats


def bootstrap_weights(n_units: int) -> Floats:
    """Return weights of all units, of each sample, and of the units outside each sample.

    Returns:
        Weights of shape (1 + 2 * N_RESAMPLES, n_units).
    """
    generator = np.random.default_rng(SEED)
    inside = generator.multinomial(n_units, np.full(n_units, 1 / n_units), size=N_RESAMPLES)
    return np.vstack([np.ones((1, n_units)), inside, inside == 0])


def bootstrap_scores(
    metric: str,
    zero_division: float,
    predictions: HeldOutPredictions,
    weights: Floats,
    n_used: int = N_RESAMPLES,
) -> BootstrapScores:
    """Score one configuration on all rows and on bootstrap samples.

    Args:
        metric: Name of a metric, or the dotted path of the user's own.
        zero_division: Value of a metric that is 0 / 0.
        predictions: Its held-out predictions.
        weights: Weights from `bootstrap_weights`.
        n_used: Number of samples that are scored; the scores of the others are NaN.
    """
    n = len(weights) // 2
    used = np.r_[0, 1 : 1 + n_used, 1 + n : 1 + n + n_used] if n_used < n else np.arange(2 * n + 1)
    scores = np.full(len(weights), np.nan)
    scores[used] = weighted_scores(metric, zero_division, predictions, weights[used])
    return BootstrapScores(float(scores[0]), scores[1 : n + 1], scores[n + 1 :])


def count_resamples(metric: str, n_cells: int) -> int:
    """Return the number of samples by which a metric is scored in acceptable time.

    Args:
        metric: Name of a metric, or the dotted path of the user's own.
        n_cells: Number of predictions: rows times labels times configurations.

    Returns:
        At most `N_RESAMPLES`; 0 if fewer than `MIN_RESAMPLES` would take too long.
    """
    n, max_cells = N_RESAMPLES, MAX_CELLS
    if "." in metric:
        n, max_cells = N_RESAMPLES_OWN, MAX_CELLS_OWN
    elif metric in CURVE_METRICS:
        max_cells = MAX_CELLS_CURVES
    n = min(n, max_cells // n_cells)
    return n if n >= MIN_RESAMPLES else 0


def choose(
    scores: Sequence[BootstrapScores], ranked: Sequence[float], minimize: bool
) -> NDArray[np.int64]:
    """Return the index of the best configuration on each sample, -1 where all are undefined.

    The score by which a configuration was ranked is a mean over folds, or the bound of an interval,
    rather than its score on all rows. It keeps that difference on each sample.

    Args:
        scores: Scores of each configuration.
        ranked: Score by which each was ranked.
        minimize: Whether lower is better.
    """
    shifts = np.array([score - one.all for score, one in zip(ranked, scores, strict=True)])
    inside = np.round(np.stack([one.inside for one in scores]) + shifts[:, None], DECIMALS)
    losses = np.where(np.isnan(inside), np.inf, inside if minimize else -inside)
    return np.where(np.isfinite(losses).any(axis=0), losses.argmin(axis=0), -1)


def expected_scores(
    ranked: Sequence[float],
    read: Callable[[int], HeldOutPredictions],
    means: Mapping[str, float],
    *,
    minimize: bool,
    zero_division: float,
) -> list[ExpectedScore]:
    """Estimate the scores to expect of the configuration that has the best first metric.

    Only the configurations that are the best on some sample are scored by the other metrics.

    Args:
        ranked: Score by which each configuration was ranked on the same folds, the best one first.
        read: Returns the predictions of a configuration, by its index.
        means: Mean over folds of the chosen configuration by metric, with the metric by which it
            is chosen first; dotted paths for the user's own.
        minimize: Whether lower values of the first metric are better.
        zero_division: Value of a metric that is 0 / 0.

    Returns:
        One for each metric that is defined on some sample and can be computed in acceptable time;
        none if the first one cannot.
    """
    like_others = read(0)
    n_cells = like_others.y_true.size
    n_used = {name: count_resamples(name, n_cells * len(ranked)) for name in means}
    first, *others = (name for name in means if n_used[name] or name == next(iter(means)))
    if not n_used[first]:
        return []
    weights = bootstrap_weights(int(like_others.unit.max()) + 1)
    del like_others
    n_threads = max(1, min(n_cores(), CELLS_AT_ONCE // n_cells))
    if n_cells * len(ranked) <= CELLS_AT_ONCE:
        read = cache(read)

    def score(metrics: Sequence[str], index: int) -> list[BootstrapScores]:
        predictions = read(index)
        return [
            bootstrap_scores(metric, zero_division, predictions, weights, n_used[metric])
            for metric in metrics
        ]

    def score_all(metrics: Sequence[str], indices: Sequence[int]) -> list[list[BootstrapScores]]:
        with ThreadPoolExecutor(n_threads) as pool:
            return list(pool.map(partial(score, metrics), indices))

    by_first = [scores[0] for scores in score_all([first], range(len(ranked)))]
    chosen = choose(by_first, ranked, minimize)
    needed = sorted({0, *chosen.tolist()} - {-1})
    by_others = dict(zip(needed, score_all(others, needed), strict=True))
    scores = {first: {index: by_first[index] for index in needed}}
    scores |= {name: {i: by_others[i][k] for i in needed} for k, name in enumerate(others)}
    estimates = [_estimate(name, means[name], scores[name], chosen) for name in scores]
    return [estimate for estimate in estimates if estimate]


def _estimate(
    metric: str,
    mean: float,
    scores: Mapping[int, BootstrapScores],
    chosen: NDArray[np.int64],
) -> ExpectedScore | None:
    """Subtract the optimism from the first's mean over folds; None if the metric is undefined."""
    outside = np.array([scores[i].outside[k] if i >= 0 else np.nan for k, i in enumerate(chosen)])
    of_best = scores[0].outside
    is_defined = np.isfinite(outside) & np.isfinite(of_best)
    if not is_defined.any():
        return None
    outside, shift = outside[is_defined], mean - of_best[is_defined].mean()
    values = np.array([outside.mean(), *np.quantile(outside, QUANTILES)]) + shift
    expected, low, high = np.clip(values, *metric_range(metric)).tolist()
    return ExpectedScore(short_name(metric), mean, expected, (low, high))
