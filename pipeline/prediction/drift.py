"""Test whether new rows differ from the training rows of a model, and by how much.

Each check has a p-value and an effect size. The p-values of all checks are adjusted together by
Benjamini and Hochberg's method. A check reports drift if the adjusted p-value is at most alpha and
the effect is at least moderate: a test alone finds irrelevant differences in many rows, and an
effect alone is noise in few.

References:
    Benjamini and Hochberg, Controlling the False Discovery Rate, JRSS B 57, 1995.
    Yurdakul, Statistical Properties of Population Stability Index, 2018.
    Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import betabinom, chi2_contingency, false_discovery_control, fisher_exact

from pipeline.prediction.row_counts import MAX_EXAMPLES, ColumnCounts, RowCounts

Kind = Literal["distribution", "missing", "range", "predicted rate"]
Level = Literal["none", "moderate", "large"]
MODERATE_PSI, LARGE_PSI = 0.1, 0.25
MODERATE_H, LARGE_H = 0.2, 0.5
MIN_EXPECTED = 5  # rows of each bin in both samples; fewer suit the chi-square test badly


@dataclass(frozen=True)
class DriftCheck:
    """One comparison of new rows with the training rows.

    Attributes:
        name: The feature or label.
        kind: The values of a feature, its missing values, its values outside of the training
            range, or the rate at which a label is predicted.
        before: Rate in the training rows: missing, expected outside of the range, predicted; None
            for the distribution.
        now: Rate in the new rows; None likewise.
        effect: Population stability index of the distribution, less its expectation without drift;
            Cohen's h of two rates, without sign.
        p: p-value, adjusted for all checks.
        level: Size of the drift; none unless it is significant.
    """

    name: str
    kind: Kind
    before: float | None
    now: float | None
    effect: float
    p: float
    level: Level = "none"

    @property
    def severity(self) -> float:
        """Effect relative to a large one of its kind."""
        return self.effect / (LARGE_PSI if self.kind == "distribution" else LARGE_H)


@dataclass(frozen=True, eq=False)
class Drift:
    """The comparison of new rows with the training rows of a model.

    Attributes:
        checks: All checks, the worst first.
        n_training: Number of training rows.
        counts: Counts of the new rows.
        alpha: The false discovery rate.
        has_rates: Whether the predicted label rates could be compared.
    """

    checks: tuple[DriftCheck, ...]
    n_training: int
    counts: RowCounts
    alpha: float
    has_rates: bool

    @property
    def has_drift(self) -> bool:
        """True if a check reports drift."""
        return bool(self.drifted)

    @property
    def drifted(self) -> tuple[DriftCheck, ...]:
        """Checks that report drift, the worst first."""
        return tuple(check for check in self.checks if check.level != "none")

    def as_dict(self) -> dict[str, Any]:
        """Return all checks, and the values that the training rows lack, as JSON types."""
        counts = self.counts
        return {
            "has_drift": self.has_drift,
            "n_rows": counts.n_rows,
            "n_predicted": counts.n_predicted,
            "n_training": self.n_training,
            "alpha": self.alpha,
            "has_predicted_rates": self.has_rates,
            "checks": [asdict(check) for check in self.checks],
            "outside_range": {
                it.column.name: {
                    "below": it.n_below,
                    "above": it.n_above,
                    "range": [it.profile["min"], it.profile["max"]],
                    "examples": it.examples,
                }
                for it in counts.columns
                if it.n_below + it.n_above
            },
            "unseen_categories": {
                it.column.name: {
                    "rows": it.n_unseen,
                    "examples": dict(it.unseen.most_common(MAX_EXAMPLES)),
                }
                for it in counts.columns
                if it.n_unseen
            },
        }


def measure_drift(
    counts: RowCounts, training: Mapping[str, Any], label_names: Sequence[str], alpha: float
) -> Drift:
    """Compare new rows with the training rows of a model.

    Args:
        counts: Counts of the new rows.
        training: As of `describe_training`.
        label_names: Names of the labels.
        alpha: Accepted rate of false checks among those that report drift.
    """
    checks = [check for column in counts.columns for check in _check_column(column, training)]
    n_held_out = training.get("n_held_out")  # None in models of earlier versions
    if n_held_out and counts.n_predicted:
        for name, positives in zip(label_names, counts.positives.tolist(), strict=True):
            before = round(training["predicted_label_rates"][name] * n_held_out)
            rates = (before, n_held_out), (positives, counts.n_predicted)
            checks += _compare_rates(name, "predicted rate", *rates)
    if checks:
        adjusted = false_discovery_control([check.p for check in checks]).tolist()
        checks = [
            replace(check, p=p, level=_level(check, p <= alpha))
            for check, p in zip(checks, adjusted, strict=True)
        ]
    checks.sort(key=lambda check: (check.level == "none", -check.severity))
    return Drift(tuple(checks), training["n_rows"], counts, alpha, bool(n_held_out))


def _level(check: DriftCheck, is_significant: bool) -> Level:
    is_shift = check.kind == "distribution"
    moderate, large = (MODERATE_PSI, LARGE_PSI) if is_shift else (MODERATE_H, LARGE_H)
    if not is_significant or check.effect < moderate:
        return "none"
    return "large" if check.effect >= large else "moderate"


def _check_column(column: ColumnCounts, training: Mapping[str, Any]) -> list[DriftCheck]:
    name, profile, n = column.column.name, column.profile, column.n_present
    n_before = training["n_rows"] - profile["missing"]
    rates = (profile["missing"], training["n_rows"]), (column.n_missing, n + column.n_missing)
    checks = _compare_rates(name, "missing", *rates)
    if not n or not n_before:
        return checks
    before, now = np.array(profile["counts"]), column.counts
    if column.column.kind == "category":
        unseen = [*column.unseen.values()]
        before, now = pool_categories(
            np.append(before, np.zeros(len(unseen), np.int64)),
            np.append(now, np.array(unseen, np.int64)),
            n_rare=column.n_unseen - sum(unseen),
        )
    else:
        checks.append(_check_range(column, n_before))
        before, now = pool_bins(before, now)
    p = chi2_contingency([before, now], correction=False).pvalue if len(before) > 1 else 1.0
    psi = stability_index(before, now)
    return [*checks, DriftCheck(name, "distribution", None, None, psi, float(p))]


def _check_range(column: ColumnCounts, n_before: int) -> DriftCheck:
    """Test the number of values out of range.

    Without drift, the probability to fall outside of the range of m values is Beta(2, m - 1), so
    that the number of n new values there is beta-binomial. Ties make fewer.
    """
    n, n_outside = column.n_present, column.n_below + column.n_above
    expected = 2 / (n_before + 1)
    p = float(betabinom.sf(n_outside - 1, n, 2, n_before - 1)) if n_before > 1 else 1.0
    effect = max(0.0, _cohen_h(expected, n_outside / n)) if n_outside else 0.0
    rates = (min(expected, 1.0), n_outside / n)
    return DriftCheck(column.column.name, "range", *rates, effect, min(p, 1.0))


def _compare_rates(
    name: str, kind: Kind, before: tuple[int, int], now: tuple[int, int]
) -> list[DriftCheck]:
    """Compare two rates, each a number of cases and one of rows, by Fisher's exact test.

    Without any case, or any row that is none, there is nothing to compare, and no check.
    """
    table = [[cases, rows - cases] for cases, rows in (before, now)]
    if not all(map(sum, zip(*table, strict=True))):
        return []
    rates = before[0] / before[1], now[0] / now[1]
    p = min(float(fisher_exact(table).pvalue), 1.0)
    return [DriftCheck(name, kind, *rates, abs(_cohen_h(*rates)), p)]


def _cohen_h(before: float, now: float) -> float:
    angles = 2 * np.arcsin(np.sqrt(np.clip([before, now], 0, 1)))
    return float(angles[1] - angles[0])


def pool_bins(
    before: NDArray[np.int64], now: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Merge neighbouring bins until each is large enough for the chi-square test.

    Which are merged depends on the sum of both counts alone, so that no sample is favoured.

    Args:
        before: Counts of the first sample, of shape (n_bins,).
        now: Counts of the second sample, likewise.
    """
    totals, needed = before + now, _rows_needed(int(before.sum()), int(now.sum()))
    starts, size = [0], 0
    for j, total in enumerate(totals.tolist()):
        size += total
        if size >= needed:
            starts.append(j + 1)
            size = 0
    starts = starts[:-1] if len(starts) > 1 else starts  # the rest joins the last bin
    return np.add.reduceat(before, starts), np.add.reduceat(now, starts)


def pool_categories(
    before: NDArray[np.int64], now: NDArray[np.int64], n_rare: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Merge rare categories into one, as `pool_bins` does with neighbouring bins.

    So a column of many rare categories, where each sample has some that the other lacks, has no
    drift for that.

    Args:
        before: Counts of the first sample, of shape (n_categories,).
        now: Counts of the second sample, likewise.
        n_rare: Number of further rows of the second sample, of rare categories.
    """
    totals, needed = before + now, _rows_needed(int(before.sum()), int(now.sum()) + n_rare)
    is_rare = totals < needed
    n_merged = int(totals[is_rare].sum()) + n_rare
    if 0 < n_merged < needed and not is_rare.all():
        is_rare |= np.arange(len(totals)) == np.where(is_rare, totals.max() + 1, totals).argmin()
    merged = [np.append(counts[~is_rare], counts[is_rare].sum()) for counts in (before, now)]
    merged[1][-1] += n_rare
    is_empty = merged[0] + merged[1] == 0
    return merged[0][~is_empty], merged[1][~is_empty]


def _rows_needed(n_before: int, n_now: int) -> float:
    """Return the rows that a bin needs in both samples to have `MIN_EXPECTED` in each."""
    return MIN_EXPECTED * (n_before + n_now) / min(n_before, n_now)


def stability_index(before: NDArray[np.int64], now: NDArray[np.int64]) -> float:
    """Return the population stability index of two samples, at least 0.

    Half a row is added to each bin, as an empty one would make it infinite. Its expectation
    without drift, (bins - 1) (1 / n_before + 1 / n_now), is subtracted.
    """
    old, new = ((counts + 0.5) / (counts.sum() + len(counts) / 2) for counts in (before, now))
    index = float(((new - old) * np.log(new / old)).sum())
    bias = (len(before) - 1) * (1 / int(before.sum()) + 1 / int(now.sum()))
    return max(0.0, index - bias)
