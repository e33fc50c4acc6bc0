"""Mean, standard deviation, corrected intervals and paired tests."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

CONFIDENCE = 0.95


@dataclass(frozen=True)
class MetricSummary:
    """One metric over the folds in which it is defined.

    Attributes:
        mean: Mean over folds; NaN if it is defined in none.
        std: Population standard deviation over folds; NaN like the mean.
        ci: Ends of the 95% interval of the corrected resampled t statistic; None for fewer than
            two folds.
        n_folds: Folds in which the metric is defined.
        n_undefined: Folds in which it is not.
        n_undefined_labels: Labels that the means within folds do without, summed over folds.
    """

    mean: float
    std: float
    ci: tuple[float, float] | None
    n_folds: int
    n_undefined: int = 0
    n_undefined_labels: int = 0

    def describe_undefined(self) -> str:
        """Return where the metric is undefined; empty if nowhere."""
        places = []
        if self.n_undefined:
            places.append(f"in {self.n_undefined} of {self.n_folds + self.n_undefined} folds")
        if self.n_undefined_labels:
            labels = "label" if self.n_undefined_labels == 1 else "labels"
            places.append(f"for {self.n_undefined_labels} {labels} within folds")
        return f"undefined {' and '.join(places)}" if places else ""


def summarise(
    values: Sequence[float], test_fraction: float, n_undefined_labels: int = 0
) -> MetricSummary:
    """Return mean, deviation and an interval that allows for overlapping training sets.

    Args:
        values: One score per fold; NaN, where the metric is undefined, is left out and counted.
        test_fraction: Mean of n_test / n_train over folds.
        n_undefined_labels: Labels left out within folds, to be told along.
    """
    scores = np.asarray(values, dtype=np.float64)
    scores = scores[np.isfinite(scores)]
    n, n_undefined = len(scores), len(values) - len(scores)
    if n == 0:
        return MetricSummary(np.nan, np.nan, None, 0, n_undefined, n_undefined_labels)
    mean, std = float(scores.mean()), float(scores.std())
    if n == 1:
        return MetricSummary(mean, std, None, n, n_undefined, n_undefined_labels)
    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2) * corrected_error(scores, test_fraction))
    return MetricSummary(mean, std, (mean - half, mean + half), n, n_undefined, n_undefined_labels)


def corrected_error(scores: NDArray[np.float64], test_fraction: float) -> float:
    """Return the standard error of a mean over folds, overlapping training sets allowed for.

    Folds share most of their training rows, so their scores are correlated, and the usual squared
    error of the mean, variance / n, is far too small. Corrected, it is
    variance * (1 / n + n_test / n_train).

    Args:
        scores: One score, or difference of scores, per fold; two of them at least.
        test_fraction: Mean of n_test / n_train over folds.

    References:
        Nadeau and Bengio, Inference for the Generalization Error, Machine Learning 52, 2003.
    """
    return float(np.sqrt(scores.var(ddof=1) * (1 / len(scores) + test_fraction)))


SAME = 1e-12  # of the largest score: spread of differences that is rounding


@dataclass(frozen=True)
class PairedTest:
    """What the folds say of the first configuration's advantage over the second.

    Attributes:
        ci: Ends of its interval, of confidence 1 - alpha.
        p: Chance of one as large, either way, where there is none: the corrected resampled t test.
        better: Probability that the first is better by more than the region of equivalence.
        equivalent: Probability that the two are within the region.
        worse: Probability that the first is worse by more than the region.
    """

    ci: tuple[float, float]
    p: float
    better: float
    equivalent: float
    worse: float


def paired_test(
    advantages: NDArray[np.float64], test_fraction: float, *, alpha: float, rope: float
) -> PairedTest:
    """Return the test of a mean advantage over folds.

    Args:
        advantages: By how much the first is better in each fold; two folds at least, not all equal.
        test_fraction: Mean of n_test / n_train over folds.
        alpha: One less the confidence of the interval.
        rope: Half the width of the region of practical equivalence.
    """
    mean, error = float(advantages.mean()), corrected_error(advantages, test_fraction)
    df = len(advantages) - 1
    half = float(stdtrit(df, 1 - alpha / 2)) * error
    better, worse = (float(stdtr(df, (sign * mean - rope) / error)) for sign in (1, -1))
    return PairedTest(
        ci=(mean - half, mean + half),
        p=float(2 * stdtr(df, -abs(mean) / error)),
        better=better,
        equivalent=max(0.0, 1 - better - worse),
        worse=worse,
    )


def are_constant(differences: NDArray[np.float64], largest: float) -> bool:
    """Return whether all differences are one, but for rounding: no deviation, nothing to test by.

    Args:
        differences: One per fold.
        largest: The largest absolute score that they are differences of.
    """
    return bool(np.ptp(differences) <= SAME * largest)


def holm(p: NDArray[np.float64], n_tests: int | None = None) -> NDArray[np.float64]:
    """Return the p-values adjusted so that, of all tests, one false finding has chance alpha.

    Args:
        p: One p-value per test.
        n_tests: How many tests there were, where p has only some of them; the result is then no
            smaller than all of them together would give.
    """
    order = np.argsort(p, kind="stable")
    remaining = (n_tests or len(p)) - np.arange(len(p))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * remaining), 1)
    return adjusted
