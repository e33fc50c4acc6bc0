"""Tune the threshold of one label at a time."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.decision.candidates import (
    CANDIDATES,
    best_candidates,
    count_by_label,
    count_exceeded,
    row_values,
    sum_above,
    weigh_rows,
)
from pipeline.scoring import Counts, Labels, Mask, Scores, Weights
from pipeline.scoring.classification_metrics import row_blocks

MAX_ROUNDS = 3  # of coordinate descent over all labels


class Objective(Protocol):
    """A metric as a function of the threshold of one label."""

    def values(self, label: int) -> ArrayLike:
        """Return the metric, plus any constant, with each candidate; higher ones are better."""

    def move(self, label: int, threshold: float) -> None:
        """Change the threshold of a label for the next call of `values`."""


def coordinate_descent(objective: Objective, start: NDArray[np.float64]) -> NDArray[np.float64]:
    """Change the threshold of one label at a time to its best candidate.

    Args:
        objective: The metric.
        start: Thresholds to start from, of shape (n_labels,).
    """
    thresholds = start.copy()
    for _ in range(MAX_ROUNDS):
        before = thresholds.copy()
        for label in range(len(thresholds)):
            best = best_candidates(np.array([objective.values(label)]))[0]
            if best != thresholds[label]:
                thresholds[label] = best
                objective.move(label, best)
        if (thresholds == before).all():
            break
    return thresholds


class MicroAverage:
    """A micro average from the counts of all labels at all candidates."""

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
        """Count the labels at each candidate; all thresholds are `start`, a candidate."""
        self._family, self._zero_division = metric.removesuffix("_micro"), zero_division
        counts, _ = count_by_label(y_true, y_score, mask, sample_weight)
        self._above = np.stack([counts.true_positive, counts.predicted])
        self._n_true = counts.true[:, 0].sum()
        self._chosen = np.full(y_true.shape[1], np.searchsorted(CANDIDATES, start))
        self._total = self._above[:, :, self._chosen[0]].sum(axis=1)

    def values(self, label: int) -> NDArray[np.float64]:
        """Return the metric with each candidate for the threshold of a label."""
        above = self._above[:, label]
        true_positive, predicted = above + (self._total - above[:, self._chosen[label]])[:, None]
        counts = Counts(true_positive, np.full_like(predicted, self._n_true), predicted)
        return np.asarray(getattr(counts, self._family)(self._zero_division))

    def move(self, label: int, threshold: float) -> None:
        """Change the threshold of a label to another candidate."""
        chosen = np.searchsorted(CANDIDATES, threshold)
        above = self._above[:, label]
        self._total += above[:, chosen] - above[:, self._chosen[label]]
        self._chosen[label] = chosen


class MeanOfRows:
    """Accuracy or a samples average from the counts of each row.

    The threshold of a label changes them by at most 1, and only in rows whose probability exceeds
    a candidate.
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
        """Count the labels of each row; all thresholds are `start`, a candidate."""
        self._metric, self._zero_division = metric, zero_division
        self._weights = weigh_rows(metric, mask, sample_weight)
        self._n_rows = len(y_true) if self._weights is None else self._weights.sum()
        counts = Counts.of(y_true, (y_score > start).astype(np.int8), "samples", mask)
        self._true_positive, self._true = counts.true_positive, counts.true
        self._predicted = counts.predicted
        self._chosen = np.full(y_true.shape[1], np.searchsorted(CANDIDATES, start))
        # Label by label: each is read as a whole.
        self._is_true = np.ascontiguousarray(y_true.T == 1)
        self._n_exceeded = np.zeros(y_true.T.shape, np.uint8)  # 0 where the label is not known
        for rows in row_blocks(*y_true.shape):
            n_exceeded = count_exceeded(y_score[rows])
            self._n_exceeded[:, rows] = (n_exceeded if mask is None else n_exceeded * mask[rows]).T

    def values(self, label: int) -> NDArray[np.float64]:
        """Return the metric with each candidate for a label, less that without the label."""
        rows, n_exceeded, is_true, is_predicted = self._rows_of(label)
        true, n_others = self._true[rows], self._predicted[rows] - is_predicted
        true_positive = self._true_positive[rows] - (is_true & is_predicted)
        without = Counts(true_positive, true, n_others)
        with_it = Counts(true_positive + is_true, true, n_others + 1)
        gain = self._values(with_it) - self._values(without)
        if self._weights is not None:
            gain *= self._weights[rows]
        with np.errstate(invalid="ignore"):  # no row counts
            return np.asarray(sum_above(n_exceeded, gain)[0] / self._n_rows)

    def move(self, label: int, threshold: float) -> None:
        """Change the threshold of a label to another candidate."""
        rows, n_exceeded, is_true, is_predicted = self._rows_of(label)
        self._chosen[label] = np.searchsorted(CANDIDATES, threshold)
        change = (n_exceeded > self._chosen[label]) - is_predicted.astype(np.int64)
        self._true_positive[rows] += change * is_true
        self._predicted[rows] += change

    def _rows_of(self, label: int) -> tuple[NDArray[Any], ...]:
        """Return the rows that a candidate can predict, and their values of the label.

        These are the number of candidates that are exceeded, and whether the label is true and is
        predicted.
        """
        rows = np.flatnonzero(self._n_exceeded[label])
        n_exceeded = self._n_exceeded[label, rows]
        return rows, n_exceeded, self._is_true[label, rows], n_exceeded > self._chosen[label]

    def _values(self, counts: Counts) -> NDArray[np.float64]:
        return row_values(self._metric, counts, self._zero_division)


class AnyMetric:
    """A metric of the user's own, computed from all predictions each time."""

    def __init__(self, metric: Callable[[Labels], float], y_score: Scores, start: float) -> None:
        """Predict with the threshold `start`.

        Args:
            metric: Returns the metric of predicted labels; higher is better.
            y_score: Probabilities of shape (n, n_labels).
            start: Threshold of all labels.
        """
        self._metric, self._y_score = metric, y_score
        self._y_pred = (y_score > start).astype(np.int8)

    def values(self, label: int) -> list[float]:
        """Return the metric with each candidate for the threshold of a label."""
        before, values = self._y_pred[:, label].copy(), []
        for candidate in CANDIDATES:
            self.move(label, candidate)
            values.append(self._metric(self._y_pred))
        self._y_pred[:, label] = before
        return values

    def move(self, label: int, threshold: float) -> None:
        """Change the threshold of a label."""
        self._y_pred[:, label] = self._y_score[:, label] > threshold
