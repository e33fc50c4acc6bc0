"""Ranking of configurations on the same folds, with a paired test of every pair."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import median

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from pipeline.scoring import (
    PairedTest,
    are_constant,
    choose_decimals,
    common_decimals,
    holm,
    paired_test,
)

MAX_PAIRED = 6  # configurations, up to which every pair is shown
POWER = 0.8  # probability of detecting a difference
DECIMALS = 4  # of scores, at least: differences are smaller than scores


@dataclass(frozen=True)
class Pair:
    """Comparison of two configurations.

    Attributes:
        first: Index, in the ranking, of the configuration with the better mean.
        second: Index of the other one.
        advantage: Difference of their means over folds, positive if the first is better.
        test: The paired test; None if the difference is the same in every fold, so that its
            variance is zero, and for windows of a time series.
        p_holm: The p-value, adjusted for all pairs; 1 without a test.
        n_ahead: Number of folds in which the first is better.
    """

    first: int
    second: int
    advantage: float
    test: PairedTest | None
    p_holm: float = 1.0
    n_ahead: int = 0

    @property
    def decimals(self) -> int:
        """Number of decimals with which to show the advantage and its interval."""
        half_width = (self.test.ci[1] - self.test.ci[0]) / 2 if self.test else None
        return choose_decimals(self.advantage, half_width, DECIMALS)


@dataclass(frozen=True, eq=False)
class Ranking:
    """Configurations ranked by a metric.

    Attributes:
        metric: Name of the metric.
        lower_is_better: Whether lower is better.
        alpha: Family-wise error rate: probability of at least one false positive in all pairs.
        rope: Half the width of the region of practical equivalence, in units of the metric.
        names: Names of the configurations, the best mean first.
        scores: Scores by fold, of shape (n_configurations, n_folds).
        pairs: All pairs of configurations, ordered by their indices.
        n_undefined: Number of folds that are skipped, as the metric is undefined for a run.
        n_unranked: Number of configurations that are not ranked but count in `p_holm`.
        has_tests: False for windows of a time series, which no paired test suits.
    """

    metric: str
    lower_is_better: bool
    alpha: float
    rope: float
    names: tuple[str, ...]
    scores: NDArray[np.float64]
    pairs: tuple[Pair, ...]
    n_undefined: int = 0
    n_unranked: int = 0
    has_tests: bool = True

    @property
    def decimals(self) -> int:
        """Number of decimals with which to show means and standard deviations."""
        return common_decimals(
            zip(self.scores.mean(axis=1), self.scores.std(axis=1), strict=True), DECIMALS
        )

    @property
    def n_pairs(self) -> int:
        """Number of pairs for which the p-values are adjusted."""
        return _n_pairs(len(self.names) + self.n_unranked)

    def is_significant(self, pair: Pair) -> bool:
        """Return whether the two differ significantly, adjusted for all pairs."""
        return pair.p_holm < self.alpha

    def is_equivalent(self, *pairs: Pair) -> bool:
        """Return whether all pairs at once are practically equivalent, with probability 1 - alpha.

        The probability that one of them is not is at most the sum of their probabilities
        (Bonferroni's inequality), whatever the dependence between the differences.
        """
        doubts = [1.0 if pair.test is None else 1 - pair.test.equivalent for pair in pairs]
        return sum(doubts) < self.alpha

    @property
    def detectable(self) -> float | None:
        """Smallest difference that a pair's test detects with probability 0.8; None without tests.

        It is that of the median pair, at the level alpha without adjustment.
        """
        df = self.scores.shape[1] - 1
        halves = [(it.test.ci[1] - it.test.ci[0]) / 2 for it in self.pairs if it.test]
        if not halves:
            return None
        critical = stdtrit(df, 1 - self.alpha / 2)
        return float(median(halves) * (critical + stdtrit(df, POWER)) / critical)

    def shown_pairs(self) -> list[Pair]:
        """Return the pairs to show: all of a few configurations; of many, those with the best.

        Their p-values stay adjusted for all pairs, as the same scores decided which one is best.
        """
        shows_all = len(self.names) <= MAX_PAIRED
        return [pair for pair in self.pairs if shows_all or pair.first == 0]

    def groups(self) -> list[range]:
        """Return the longest ranges of ranks in which no two configurations differ significantly.

        A critical-difference diagram joins these by bars. Two configurations without a common bar
        can still be without a significant difference, if one between them has less variance.
        """
        different = {(pair.first, pair.second) for pair in self.pairs if self.is_significant(pair)}
        groups: list[range] = []
        for start in range(len(self.names)):
            stop = start + 1
            while stop < len(self.names) and not any(
                (i, stop) in different for i in range(start, stop)
            ):
                stop += 1
            if not groups or stop > groups[-1].stop:
                groups.append(range(start, stop))
        return groups


def mean_test_fraction(
    sizes: NDArray[np.int64], settings: Mapping[str, str] | None = None
) -> float | None:
    """Return the mean of n_test / n_train over folds; None for windows of a time series.

    Args:
        sizes: n_train and n_test of each fold, of shape (n_folds, 2).
        settings: Settings of the run, by dotted key.
    """
    if settings and settings.get("cv.kind") == "time_series":
        return None
    return float((sizes[:, 1] / sizes[:, 0]).mean())


def rank_runs(
    scores: Mapping[str, Sequence[float] | NDArray[np.float64]],
    *,
    metric: str,
    test_fraction: float | None,
    lower_is_better: bool,
    alpha: float,
    rope: float,
    n_unranked: int = 0,
) -> Ranking:
    """Rank configurations by their means and test every pair.

    Args:
        scores: Scores by fold of at least two configurations, by name, for the same folds in the
            same order. A fold in which one of them is NaN is skipped for all.
        metric: Name of the metric.
        test_fraction: Mean of n_test / n_train over folds; None for windows of a time series, which
            are not tested.
        lower_is_better: Whether lower is better.
        alpha: Family-wise error rate.
        rope: Half the width of the region of practical equivalence.
        n_unranked: Number of further configurations, with worse means. These were selected from
            all, so their p-values are adjusted for the pairs of all.

    Raises:
        ValueError: If fewer than two folds remain.
    """
    names, table = tuple(scores), np.array([*scores.values()], dtype=np.float64)
    defined = np.asarray(np.isfinite(table).all(axis=0))
    if defined.sum() < 2:
        raise ValueError(
            f"Expected at least two folds in which {metric} is defined for all runs. Received: "
            f"{defined.sum()} of {len(defined)}."
        )
    sign = -1.0 if lower_is_better else 1.0
    order = np.argsort(-sign * table[:, defined].mean(axis=1), kind="stable")
    table = table[order][:, defined]
    pairs = [
        _pair(i, j, sign * table, test_fraction, alpha, rope)
        for i, j in combinations(range(len(table)), 2)
    ]
    p = np.array([pair.test.p if pair.test else 1.0 for pair in pairs])
    adjusted = holm(p, _n_pairs(len(table) + n_unranked)).tolist()
    return Ranking(
        metric=metric,
        lower_is_better=lower_is_better,
        alpha=alpha,
        rope=rope,
        names=tuple(names[i] for i in order),
        scores=table,
        pairs=tuple(
            replace(pair, p_holm=float(q)) for pair, q in zip(pairs, adjusted, strict=True)
        ),
        n_undefined=int((~defined).sum()),
        n_unranked=n_unranked,
        has_tests=test_fraction is not None,
    )


def _pair(
    first: int,
    second: int,
    utilities: NDArray[np.float64],
    test_fraction: float | None,
    alpha: float,
    rope: float,
) -> Pair:
    """Test the difference of two rows of utilities, where higher is better."""
    advantages = utilities[first] - utilities[second]
    constant = are_constant(advantages, float(np.abs(utilities[[first, second]]).max()))
    test = None
    if not constant and test_fraction is not None:
        test = paired_test(advantages, test_fraction, alpha=alpha, rope=rope)
    n_ahead = int((advantages > 0).sum())
    return Pair(first, second, float(advantages.mean()), test, n_ahead=n_ahead)


def _n_pairs(n: int) -> int:
    return n * (n - 1) // 2
