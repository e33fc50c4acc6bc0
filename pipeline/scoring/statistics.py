"""Statistics of scores over folds, and their format: mean, deviation, interval, paired tests."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

CONFIDENCE = 0.95
DECIMALS = 3  # of an ordinary score
SIGNIFICANT_DIGITS = 2  # of a standard deviation, at least
MAX_DECIMALS = 9  # beyond which a number is in scientific notation
ROUNDING_ERROR = 1e-12  # relative to the score; smaller deviations are rounding errors
MAX_WINDOWS = 6  # of a time series, whose scores are listed; of more, the lowest and the highest
NO_INTERVAL = (
    "No interval: it would take the folds for interchangeable, but each window of a time series is "
    "later than the one before and has other training rows. The scores of the windows stand in its "
    "place."
)


@dataclass(frozen=True)
class MetricSummary:
    """Mean, standard deviation and confidence interval of a metric.

    Attributes:
        mean: Mean over the folds in which the metric is defined; NaN if there are none.
        std: Population standard deviation over the same folds; NaN likewise.
        ci: 95% confidence interval of the mean; None for fewer than two folds, and for windows of
            a time series.
        n_folds: Number of folds in which the metric is defined.
        n_undefined: Number of folds in which it is undefined.
        n_undefined_labels: Number of labels that macro averages skipped, summed over folds.
        windows: Score of each of at least two windows of a time series, in order of time; empty
            for other folds.
        n_partial_rows: Number of rows that accuracy skipped, as not all of their labels are known,
            summed over folds.
    """

    mean: float
    std: float
    ci: tuple[float, float] | None
    n_folds: int
    n_undefined: int = 0
    n_undefined_labels: int = 0
    windows: tuple[float, ...] = ()
    n_partial_rows: int = 0

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
        if self.n_partial_rows:
            rows = "row" if self.n_partial_rows == 1 else "rows"
            parts.append(f"for {self.n_partial_rows} test {rows} of all folds with unknown labels")
        return f"undefined {' and '.join(parts)}" if parts else ""


def summary_key(metric: str, statistic: str) -> str:
    """Return the name of a summary statistic in MLflow, such as `accuracy_ci_low`."""
    return f"{metric}_{statistic}"


def summarise(
    values: Sequence[float],
    test_fraction: float,
    n_undefined_labels: int = 0,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    *,
    has_order: bool = False,
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
        has_order: Whether the folds are windows of a time series, which have no such interval.
    """
    scores = np.asarray(values, dtype=np.float64)
    scores = scores[np.isfinite(scores)]
    n, n_undefined = len(scores), len(values) - len(scores)
    if n == 0:
        return MetricSummary(np.nan, np.nan, None, 0, n_undefined, n_undefined_labels)
    mean, std, ci = float(scores.mean()), float(scores.std()), None
    if n > 1 and not has_order:
        half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2) * corrected_error(scores, test_fraction))
        ci = max(mean - half, bounds[0]), min(mean + half, bounds[1])
    windows = tuple(values) if has_order and len(values) > 1 else ()
    return MetricSummary(mean, std, ci, n, n_undefined, n_undefined_labels, windows)


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


class FormattedSummary(NamedTuple):
    """A metric's statistics as text: `mean` may be "undefined", the others may be empty.

    In place of an interval, windows of a time series have their scores.
    """

    mean: str
    std: str
    interval: str

    @property
    def headline(self) -> str:
        """Mean with the standard deviation in parentheses, if there is one: 0.803 (0.037)."""
        return f"{self.mean} ({self.std})" if self.std else self.mean


def choose_decimals(score: float, std: float | None = None, least: int = DECIMALS) -> int:
    """Return the number of decimals that shows two significant digits of the deviation.

    Args:
        score: The score or mean. Without a deviation, its own digits are shown.
        std: Standard deviation or half the width of an interval, if there is one.
        least: Smallest number of decimals.
    """
    decisive = abs(score)
    if std is not None and math.isfinite(std) and std > ROUNDING_ERROR * abs(score):
        decisive = std
    if not math.isfinite(decisive) or decisive == 0:
        return least
    needed = SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(decisive))
    return min(max(least, needed), MAX_DECIMALS)


def format_number(value: float | None, decimals: int | None = None) -> str:
    """Return a number with so many decimals, by default as many as `choose_decimals` gives it.

    None is empty, and NaN or infinity "undefined".
    """
    if value is None:
        return ""
    if not math.isfinite(value):
        return "undefined"
    decimals = choose_decimals(value) if decimals is None else decimals
    text = f"{value:z.{decimals}f}"
    vanishes = decimals == MAX_DECIMALS and value != 0 and float(text) == 0
    return f"{value:.{SIGNIFICANT_DIGITS - 1}e}" if vanishes else text


def format_interval(ci: tuple[float, float] | None, decimals: int) -> str:
    """Return both ends of an interval; empty for None."""
    return " to ".join(format_number(end, decimals) for end in ci) if ci else ""


def format_summary(summary: MetricSummary) -> FormattedSummary:
    """Return the statistics of a metric; a single fold has no deviation and no interval."""
    std = summary.std if summary.ci or summary.std > 0 else None
    decimals = choose_decimals(summary.mean, std)
    interval = format_interval(summary.ci, decimals)
    if 0 < len(summary.windows) <= MAX_WINDOWS:
        interval = ", ".join(format_number(score, decimals) for score in summary.windows)
    elif summary.windows and summary.n_folds:
        extremes = float(np.nanmin(summary.windows)), float(np.nanmax(summary.windows))
        interval = format_interval(extremes, decimals)
    return FormattedSummary(
        format_number(summary.mean, decimals), format_number(std, decimals), interval
    )


def interval_title(summary: MetricSummary) -> str:
    """Return the title of an interval, or of the scores that stand in its place."""
    if not summary.windows:
        return "95% interval of the mean"
    if len(summary.windows) <= MAX_WINDOWS:
        return "windows, the earliest first"
    return f"lowest to highest of {len(summary.windows)} windows"


def common_decimals(
    rows: Iterable[tuple[float | None, float | None]], least: int = DECIMALS
) -> int:
    """Return the number of decimals for a column of scores and their deviations."""
    return max(
        (choose_decimals(score, std, least) for score, std in rows if score is not None),
        default=least,
    )
