"""Statistics of scores over folds: mean, deviation, confidence interval and paired tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

CONFIDENCE = 0.95


@dataclass(frozen=True)
class MetricSummary:
    """Mean, standard deviation and confidence interval of a metric.

    Attributes:
        mean: Mean over the folds in which the metric is defined; NaN if there are none.
        std: Population standard deviation over the same folds; NaN likewise.
        ci: 95% confidence interval of the mean; None for fewer than two folds.
        n_folds: Number of folds in which the metric is defined.
        n_undefined: Number of folds in which it is undefined.
        n_undefined_labels: Number of labels that macro averages skipped, summed over folds.
    """

    mean: float
    std: float
    ci: tuple[float, float] | None
    n_folds: int
    n_undefined: int = 0
    n_undefined_labels: int = 0

    @classmethod
    def from_metrics(cls, name: str, metrics: Mapping[str, float]) -> "MetricSummary":
        """Restore the summary of a metric from the logged metrics of a run."""
        mean, std, low, high = (
            metrics.get(summary_key(name, statistic), np.nan)
            for statistic in ("mean", "std", "ci_low", "ci_high")
        )
        ci = None if np.isnan(low) else (low, high)
        return cls(mean, std, ci, n_folds=int(np.isfinite(mean)))

    def as_dict(self) -> dict[str, float]:
        """Return the defined statistics by name: mean, std, ci_low, ci_high."""
        if self.n_folds == 0:
            return {}
        interval = {"ci_low": self.ci[0], "ci_high": self.ci[1]} if self.ci else {}
        return {"mean": self.mean, "std": self.std, **interval}

    def describe_undefined(self) -> str:
        """Describe where the metric is undefined; empty if nowhere."""
        parts = []
        if self.n_undefined:
            parts.append(f"in {self.n_undefined} of {self.n_folds + self.n_undefined} folds")
        if self.n_undefined_labels:
            labels = "label" if self.n_undefined_labels == 1 else "labels"
            parts.append(f"for {self.n_undefined_labels} {labels} within folds")
        return f"undefined {' and '.join(parts)}" if parts else ""


def summary_key(metric: str, statistic: str) -> str:
    """Return the name of a summary statistic in MLflow, such as `accuracy_ci_low`."""
    return f"{metric}_{statistic}"


def summarise(
    values: Sequence[float],
    test_fraction: float,
    n_undefined_labels: int = 0,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> MetricSummary:
    """Summarize the scores of a metric over folds.

    The interval is that of the corrected resampled t statistic. It is symmetric, so with few folds
    or a mean near 0 or 1 it can exceed the range of the metric. Clipping it to the range costs no
    coverage; benchmarks/intervals.py compares it with an interval on the logit scale.

    Args:
        values: Score of each fold; NaN where the metric is undefined.
        test_fraction: Mean of n_test / n_train over folds.
        n_undefined_labels: Number of labels that macro averages skipped, for the record.
        bounds: Smallest and largest possible value of the metric.
    """
    scores = np.asarray(values, dtype=np.float64)
    scores = scores[np.isfinite(scores)]
    n, n_undefined = len(scores), len(values) - len(scores)
    if n == 0:
        return MetricSummary(np.nan, np.nan, None, 0, n_undefined, n_undefined_labels)
    mean, std, ci = float(scores.mean()), float(scores.std()), None
    if n > 1:
        half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2) * corrected_error(scores, test_fraction))
        ci = max(mean - half, bounds[0]), min(mean + half, bounds[1])
    return MetricSummary(mean, std, ci, n, n_undefined, n_undefined_labels)


def corrected_error(scores: NDArray[np.float64], test_fraction: float) -> float:
    """Return the standard error of a mean over folds, corrected for overlapping training sets.

    Folds share most of their training rows, so their scores are correlated, and the usual squared
    error of the mean, variance / n, is far too small. The corrected one is
    variance * (1 / n + n_test / n_train).

    Args:
        scores: Score, or difference of scores, of each of at least two folds.
        test_fraction: Mean of n_test / n_train over folds.

    References:
        Nadeau and Bengio, Inference for the Generalization Error, Machine Learning 52, 2003.
    """
    return float(np.sqrt(scores.var(ddof=1) * (1 / len(scores) + test_fraction)))


ROUNDING = 1e-12  # relative to the largest score


@dataclass(frozen=True)
class PairedTest:
    """Test of the first configuration's mean advantage over the second.

    Attributes:
        ci: Confidence interval of the advantage, with confidence 1 - alpha.
        p: Two-sided p-value of the corrected resampled t test.
        better: Probability that the first is better by more than the region of practical
            equivalence.
        equivalent: Probability that the difference is within the region.
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
    """Test a mean advantage over folds: corrected resampled t test and Bayesian counterpart.

    Args:
        advantages: Advantage of the first configuration in each of at least two folds; they
            must not all be equal.
        test_fraction: Mean of n_test / n_train over folds.
        alpha: 1 - the confidence of the interval.
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
    """Return whether differences are equal up to the rounding of the largest absolute score."""
    return bool(np.ptp(differences) <= ROUNDING * largest)


def holm(p: NDArray[np.float64], n_tests: int | None = None) -> NDArray[np.float64]:
    """Adjust p-values by Holm's method, which controls the family-wise error rate.

    Args:
        p: p-value of each test.
        n_tests: Number of all tests, if p has the p-values of only some of them; the adjusted
            values are then not smaller than with all.

    References:
        Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of
        Statistics 6, 1979.
    """
    order = np.argsort(p, kind="stable")
    remaining = (n_tests or len(p)) - np.arange(len(p))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * remaining), 1)
    return adjusted
