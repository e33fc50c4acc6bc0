"""Metrics of what is predicted: labels that are right, wrong, or found among the true ones.

Where nothing is true or nothing predicted, precision, recall, F1 and Jaccard can be 0 / 0; such a
quotient counts as `zero_division` (scikit-learn's word) before the mean over labels or rows.

References:
    Tsoumakas, Katakis and Vlahavas, Mining Multi-label Data, Data Mining and Knowledge Discovery
    Handbook, 2010.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.scoring.arrays import Labels, Scores

Average = Literal["samples", "micro", "macro", "weighted"]


@dataclass(frozen=True, eq=False)
class Counts:
    """How many single labels are true, predicted, and both: per label, per row, or in all."""

    both: NDArray[np.int64]
    true: NDArray[np.int64]
    predicted: NDArray[np.int64]

    @classmethod
    def of(cls, y_true: Labels, y_pred: Labels, average: Average) -> "Counts":
        """Return counts of what `average` takes the mean over."""
        axis = {"micro": None, "samples": 1}.get(average, 0)
        tables = (y_true & y_pred, y_true, y_pred)
        return cls(*(np.atleast_1d(table.sum(axis=axis, dtype=np.int64)) for table in tables))

    def precision(self, zero_division: float) -> NDArray[np.float64]:
        """Return the share of the predicted that are true."""
        return _divide(self.both, self.predicted, zero_division)

    def recall(self, zero_division: float) -> NDArray[np.float64]:
        """Return the share of the true that are predicted."""
        return _divide(self.both, self.true, zero_division)

    def f1(self, zero_division: float) -> NDArray[np.float64]:
        """Return the harmonic mean of precision and recall."""
        return _divide(2 * self.both, self.true + self.predicted, zero_division)

    def jaccard(self, zero_division: float) -> NDArray[np.float64]:
        """Return the share of those true or predicted that are both."""
        return _divide(self.both, self.true + self.predicted - self.both, zero_division)

    def mean(self, values: NDArray[np.float64], average: Average) -> float:
        """Return the mean, by the number of true ones if weighted and there are any."""
        weights = self.true if average == "weighted" and self.true.any() else None
        return float(np.average(values, weights=weights))


def accuracy(y_true: Labels, y_score: Scores, y_pred: Labels) -> float:
    """Return the share of rows with every label right: subset accuracy, or exact match."""
    return float((y_true == y_pred).all(axis=1).mean())


def hamming_loss(y_true: Labels, y_score: Scores, y_pred: Labels) -> float:
    """Return the share of single labels that are predicted wrong."""
    return float((y_true != y_pred).mean())


def precision(
    y_true: Labels, y_score: Scores, y_pred: Labels, *, average: Average, zero_division: float
) -> float:
    """Return how many of the predicted labels are true."""
    counts = Counts.of(y_true, y_pred, average)
    return counts.mean(counts.precision(zero_division), average)


def recall(
    y_true: Labels, y_score: Scores, y_pred: Labels, *, average: Average, zero_division: float
) -> float:
    """Return how many of the true labels are predicted."""
    counts = Counts.of(y_true, y_pred, average)
    return counts.mean(counts.recall(zero_division), average)


def f1(
    y_true: Labels, y_score: Scores, y_pred: Labels, *, average: Average, zero_division: float
) -> float:
    """Return the harmonic mean of precision and recall; macro is the mean of the labels' F1."""
    counts = Counts.of(y_true, y_pred, average)
    return counts.mean(counts.f1(zero_division), average)


def jaccard(
    y_true: Labels, y_score: Scores, y_pred: Labels, *, average: Average, zero_division: float
) -> float:
    """Return intersection over union of true and predicted labels."""
    counts = Counts.of(y_true, y_pred, average)
    return counts.mean(counts.jaccard(zero_division), average)


def _divide(
    part: NDArray[np.int64], whole: NDArray[np.int64], zero_division: float
) -> NDArray[np.float64]:
    undefined = np.full(whole.shape, zero_division, dtype=np.float64)
    return np.divide(part, whole, out=undefined, where=whole > 0)
