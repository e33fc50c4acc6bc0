"""Metrics of predicted labels and of probabilities."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Literal, ParamSpec

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int8]
Scores = NDArray[np.float32]
Metric = Callable[[Labels, Scores, Labels], float]
"""Function of y_true, y_score and y_pred, each of shape (n_samples, n_labels); NaN if undefined."""
Average = Literal["samples", "micro", "macro", "weighted"]
P = ParamSpec("P")


def mean_metric(
    function: Callable[P, NDArray[np.float64] | NDArray[np.bool_]],
) -> Callable[P, float]:
    """Turn a function that returns a value for each row, or each cell, into the metric: their mean.

    The function itself stays available as `inspect.unwrap(metric)`.
    """

    @wraps(function)
    def metric(*args: P.args, **kwargs: P.kwargs) -> float:
        return float(function(*args, **kwargs).mean())

    return metric


@dataclass(frozen=True, eq=False)
class Counts:
    """Numbers of true, predicted and correctly predicted labels, per label, per row or in total.

    Attributes:
        true_positive: Labels that are both true and predicted.
        true: Labels that are true.
        predicted: Labels that are predicted.
    """

    true_positive: NDArray[np.int64]
    true: NDArray[np.int64]
    predicted: NDArray[np.int64]

    @classmethod
    def of(cls, y_true: Labels, y_pred: Labels, average: Average) -> "Counts":
        """Return the counts whose scores `average` takes the mean of."""
        axis = {"micro": None, "samples": 1}.get(average, 0)
        tables = (y_true & y_pred, y_true, y_pred)
        return cls(*(np.atleast_1d(table.sum(axis=axis, dtype=np.int64)) for table in tables))

    def precision(self, zero_division: float) -> NDArray[np.float64]:
        """Return the fraction of the predicted labels that are true."""
        return _divide(self.true_positive, self.predicted, zero_division)

    def recall(self, zero_division: float) -> NDArray[np.float64]:
        """Return the fraction of the true labels that are predicted."""
        return _divide(self.true_positive, self.true, zero_division)

    def f1(self, zero_division: float) -> NDArray[np.float64]:
        """Return the harmonic mean of precision and recall; macro is the mean of the labels' F1."""
        return _divide(2 * self.true_positive, self.true + self.predicted, zero_division)

    def jaccard(self, zero_division: float) -> NDArray[np.float64]:
        """Return intersection over union of true and predicted labels."""
        return _divide(
            self.true_positive, self.true + self.predicted - self.true_positive, zero_division
        )

    def mean(self, values: NDArray[np.float64], average: Average) -> float:
        """Return the mean, weighted by the number of true labels if `average` is weighted."""
        weights = self.true if average == "weighted" and self.true.any() else None
        return float(np.average(values, weights=weights))


@mean_metric
def accuracy(y_true: Labels, y_score: Scores, y_pred: Labels) -> NDArray[np.bool_]:
    """Return the fraction of rows with every label correct: subset accuracy, or exact match."""
    is_correct: NDArray[np.bool_] = (y_true == y_pred).all(axis=1)
    return is_correct


@mean_metric
def hamming_loss(y_true: Labels, y_score: Scores, y_pred: Labels) -> NDArray[np.bool_]:
    """Return the fraction of single labels that are predicted wrong."""
    is_wrong: NDArray[np.bool_] = y_true != y_pred
    return is_wrong


def mean_ratio(
    ratio: Callable[[Counts, float], NDArray[np.float64]],
    y_true: Labels,
    y_score: Scores,
    y_pred: Labels,
    *,
    average: Average,
    zero_division: float,
) -> float:
    """Return the mean of a ratio of counts, such as `Counts.f1`."""
    counts = Counts.of(y_true, y_pred, average)
    return counts.mean(ratio(counts, zero_division), average)


def _divide(
    numerator: NDArray[np.int64], denominator: NDArray[np.int64], zero_division: float
) -> NDArray[np.float64]:
    undefined = np.full(denominator.shape, zero_division, dtype=np.float64)
    return np.divide(numerator, denominator, out=undefined, where=denominator > 0)


N_BINS = 15
EPSILON = float(np.finfo(np.float32).eps)  # float32 probabilities are no closer to 1 than this


@mean_metric
def log_loss(y_true: Labels, y_score: Scores, y_pred: Labels) -> NDArray[np.float64]:
    """Return the mean binary cross-entropy: scikit-learn's log loss of each label, averaged."""
    y_score = np.clip(y_score, EPSILON, 1 - EPSILON)
    return np.asarray(-np.log(np.where(y_true, y_score, 1 - y_score), dtype=np.float64))


@mean_metric
def brier_score(y_true: Labels, y_score: Scores, y_pred: Labels) -> NDArray[np.float64]:
    """Return the mean squared error of the probabilities; 0 is best.

    References:
        Brier, Verification of Forecasts Expressed in Terms of Probability, Monthly Weather
        Review 78, 1950.
    """
    return np.asarray(np.square(y_score - y_true, dtype=np.float64))


def expected_calibration_error(y_true: Labels, y_score: Scores, y_pred: Labels) -> float:
    """Return the mean distance of probabilities from frequencies, in 15 bins of equal width.

    The distance of a bin is that of its mean probability from the fraction of its labels that are
    true; bins are weighted by their number of labels. With few labels it is biased upwards: even a
    perfectly calibrated model does not reach 0.

    References:
        Naeini, Cooper and Hauskrecht, Obtaining Well Calibrated Probabilities Using Bayesian
        Binning, AAAI 2015; Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    return float(np.abs(bin_differences(y_true, y_score).sum(axis=0)).sum() / y_score.size)


def bin_differences(y_true: Labels, y_score: Scores) -> NDArray[np.float64]:
    """Return probabilities minus labels, summed by row and bin, of shape (n_samples, 15)."""
    scores = y_score.astype(np.float64)
    bins = np.maximum(np.ceil(scores * N_BINS).astype(np.int64) - 1, 0)  # the first bin has 0
    cells = bins + N_BINS * np.arange(len(scores))[:, None]
    size = N_BINS * len(scores)
    sums = np.bincount(cells.ravel(), weights=(scores - y_true).ravel(), minlength=size)
    return sums.astype(np.float64).reshape(-1, N_BINS)
