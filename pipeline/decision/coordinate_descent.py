"""Tune the threshold of one label at a time."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.scoring import Counts, Labels, Mask, Scores, Weights
from pipeline.scoring.classification_metrics import row_blocks

CANDIDATES = np.arange(1, 100) / 100
MAX_ROUNDS = 3  # of coordinate descent over all labels


def coordinate_descent(
    values: Callable[[int], ArrayLike],
    move: Callable[[int, float], None],
    start: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Change the threshold of one label at a time to its best candidate.

    Args:
        values: Returns the metric with each candidate for a label; higher ones are better.
        move: Changes the threshold of a label for the next call of `values`.
        start: Thresholds to start from, of shape (n_labels,).
    """
    thresholds = start.copy()
    for _ in range(MAX_ROUNDS):
        before = thresholds.copy()
        for label in range(len(thresholds)):
            thresholds[label] = best_candidates(np.array([values(label)]))[0]
            move(label, thresholds[label])
        if (thresholds == before).all():
            break
    return thresholds


class RowCounts:
    """The counts of each row, which the threshold of one label changes by at most one.

    So accuracy and the micro and samples averages need no second look at the other labels.
    """

    def __init__(
        self,
        metric: str,
        zero_division: float,
        y_true: Labels,
        y_score: Scores,
        start: float,
        mask: Mask = None,
        sample_weight: Weights = None,
    ) -> None:
        """Count the labels of each row at the threshold `start`."""
        self._family, _, self._average = metric.rpartition("_")
        self._zero_division = zero_division
        # Label by label: each is read as a whole.
        self._y_true, self._y_score = np.ascontiguousarray(y_true.T == 1), y_score.T.copy()
        self._is_given = [np.True_] * y_true.shape[1] if mask is None else mask.T.copy()
        self._y_pred = self._y_score > start
        if mask is not None:
            self._y_pred &= self._is_given
        self._weights: NDArray[Any] | None = sample_weight  # of the rows
        if mask is not None and self._average != "micro":
            counts = mask.any(axis=1) if self._family else mask.all(axis=1)
            self._weights = counts * np.asarray(1.0 if sample_weight is None else sample_weight)
        self._counts = Counts.of(y_true, (y_score > start).astype(np.int8), "samples", mask)

    def values(self, label: int) -> NDArray[np.float64]:
        """Return the metric with each candidate for the threshold of a label."""
        y_true, others = self._y_true[label], self._without(label)
        n_exceeded = np.searchsorted(CANDIDATES, self._y_score[label])
        is_given, weights = self._is_given[label], self._weights
        if self._average == "micro":
            totals = [self._sum(it) for it in (others.true_positive, others.true, others.predicted)]
            counted = np.flatnonzero(np.broadcast_to(is_given, y_true.shape))
            sums = [
                _sums_above(n_exceeded[rows], None if weights is None else weights[rows])
                for rows in (y_true, counted)
            ]
            true = np.full_like(sums[1], totals[1])
            return self._row_values(Counts(totals[0] + sums[0], true, totals[2] + sums[1]))
        unset = self._row_values(others)
        gain = self._row_values(_add(others, y_true, is_given)) - unset
        n_rows = len(unset) if weights is None else weights.sum()
        gain = gain if weights is None else gain * weights
        with np.errstate(invalid="ignore"):  # no row counts
            means = (self._sum(unset) + _sums_above(n_exceeded, gain)) / n_rows
        return np.asarray(means)

    def move(self, label: int, threshold: float) -> None:
        """Change the threshold of a label."""
        y_pred = (self._y_score[label] > threshold) & self._is_given[label]
        self._counts = _add(self._without(label), self._y_true[label], y_pred)
        self._y_pred[label] = y_pred

    def _sum(self, values: NDArray[Any]) -> Any:
        return values.sum() if self._weights is None else (values * self._weights).sum()

    def _without(self, label: int) -> Counts:
        """Return the counts as if the label were predicted for no row."""
        return _add(self._counts, self._y_true[label], self._y_pred[label], sign=-1)

    def _row_values(self, counts: Counts) -> NDArray[np.float64]:
        values: NDArray[np.float64]
        if self._family:
            values = getattr(counts, self._family)(self._zero_division)
        else:
            values = (counts.true + counts.predicted == 2 * counts.true_positive) * 1.0
        return values


def _add(
    counts: Counts, y_true: NDArray[np.bool_], y_pred: NDArray[np.bool_] | np.bool_, sign: int = 1
) -> Counts:
    """Add the predictions of one label to the counts of each row, or take them away."""
    true_positive = counts.true_positive + sign * (y_true & y_pred)
    return Counts(true_positive, counts.true, counts.predicted + sign * y_pred)


def _sums_above(
    n_exceeded: NDArray[np.int64], weights: NDArray[Any] | None = None
) -> NDArray[np.int64]:
    """Return, for each candidate, the number or the weight of the rows whose score exceeds it."""
    sums = np.bincount(n_exceeded, weights, minlength=len(CANDIDATES) + 1)
    return sums[:0:-1].cumsum()[::-1]


def count_candidates(
    y_true: Labels, y_score: Scores, weights: NDArray[Any] | None = None
) -> tuple[Counts, NDArray[Any]]:
    """Count the labels at each candidate for all thresholds, in one pass over the scores.

    Args:
        y_true: Labels of shape (n, n_labels).
        y_score: Probabilities of the same shape.
        weights: Weights of the cells, or True where they are known; None if all count once.

    Returns:
        Counts of shape (n_labels, n_candidates), and of shape (n_labels, 1) the number of all cells
        of a label; with weights, sums of weights.
    """
    n_bins, n_labels = len(CANDIDATES) + 1, y_true.shape[1]
    is_float = weights is not None and weights.dtype.kind == "f"
    sums = np.zeros((2, n_labels, n_bins), np.float64 if is_float else np.int64)
    for rows in row_blocks(*y_true.shape):
        bins = np.searchsorted(CANDIDATES, y_score[rows]) + n_bins * np.arange(n_labels)
        is_true = y_true[rows] == 1
        for number, is_counted in enumerate((np.ones_like(is_true), is_true)):
            if weights is not None:
                is_counted = is_counted & (weights[rows] > 0)
            values = weights[rows][is_counted] if is_float and weights is not None else None
            part = np.bincount(bins[is_counted], values, minlength=n_labels * n_bins)
            sums[number] += part.reshape(n_labels, n_bins)
    above = sums[:, :, :0:-1].cumsum(axis=2)[:, :, ::-1]
    total, true = sums.sum(axis=2, keepdims=True)
    return Counts(above[1], np.broadcast_to(true, above[1].shape), above[0]), total


def best_candidates(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the best candidate of each row of values; among equals, the nearest to 0.5."""
    values = np.where(np.isnan(values), -np.inf, values)
    nearest_first = np.argsort(np.abs(CANDIDATES - 0.5), kind="stable")
    ordered = values[:, nearest_first]
    is_best = ordered >= ordered.max(axis=1, keepdims=True) - 1e-12  # allows for rounding
    best: NDArray[np.float64] = CANDIDATES[nearest_first[is_best.argmax(axis=1)]]
    return best
