"""Metrics of predicted labels and of probabilities."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline import matrix_blocks

Labels = NDArray[np.int8]
Scores = NDArray[np.float32]
Mask = NDArray[np.bool_] | None
Weights = NDArray[np.floating[Any]] | None
Metric = Callable[..., float]
"""Function of y_true, y_score and y_pred, each of shape (n_samples, n_labels); NaN if undefined.

Further arguments are `mask` of that shape, True where a label is known (None if all are; y_true is
0 elsewhere), and `sample_weight` of shape (n_samples,).
"""
Average = Literal["samples", "micro", "macro", "weighted"]
MAX_CELLS = 2**20  # labels of rows that are scored at once


def mean_metric(function: Callable[..., NDArray[Any]]) -> Metric:
    """Turn a function that returns a value for each row, or each cell, into the metric: their mean.

    Rows and cells that do not count are masked in the array that it returns. The function itself
    stays available as `inspect.unwrap(metric)`.
    """

    @wraps(function)
    def metric(
        y_true: Labels,
        y_score: Scores,
        y_pred: Labels,
        mask: Mask = None,
        sample_weight: Weights = None,
        **options: Any,
    ) -> float:
        total, n_counted = 0.0, 0.0
        for rows in row_blocks(*y_true.shape):
            given = None if mask is None else mask[rows]
            values = function(y_true[rows], y_score[rows], y_pred[rows], given, **options)
            if mask is None and sample_weight is None:
                total += values.sum(dtype=np.float64)
                n_counted += values.size
                continue
            counts: NDArray[Any] = ~np.ma.getmaskarray(values)
            if sample_weight is not None:
                counts = counts * sample_weight[rows].reshape(-1, *(1,) * (values.ndim - 1))
            total += (np.ma.getdata(values) * counts).sum(dtype=np.float64)
            n_counted += counts.sum(dtype=np.float64)
        return float(total / n_counted) if n_counted else np.nan

    return metric


def row_blocks(n_rows: int, n_labels: int) -> list[slice]:
    """Return slices of rows with at most about `MAX_CELLS` cells each, at least one slice."""
    return list(matrix_blocks.row_blocks(max(1, n_rows), n_labels, MAX_CELLS))


def weighted_mean(values: NDArray[Any], weights: NDArray[Any]) -> float:
    """Return the weighted mean, NaN if all weights are 0."""
    total = weights.sum(dtype=np.float64)
    return float((values * weights).sum(dtype=np.float64) / total) if total else np.nan


def mask_cells(values: NDArray[Any], mask: Mask) -> NDArray[Any]:
    """Mask the values of labels that are not known, of shape (n_samples, n_labels)."""
    return values if mask is None else np.ma.array(values, mask=~mask)


def mask_rows(values: NDArray[Any], mask: Mask) -> NDArray[Any]:
    """Mask the values of rows of which no label is known, of shape (n_samples,)."""
    return values if mask is None else np.ma.array(values, mask=~mask.any(axis=1))


def weigh_cells(mask: Mask, sample_weight: Weights, shape: tuple[int, int]) -> NDArray[Any] | None:
    """Return the weight of each cell, 0 where it is not known; None if all weigh the same."""
    if sample_weight is None:
        return mask
    weights = np.broadcast_to(sample_weight.astype(np.float64)[:, None], shape)
    return weights if mask is None else weights * mask


@dataclass(frozen=True, eq=False)
class Counts:
    """Numbers of true, predicted and correctly predicted labels, per label, per row or in total.

    With weights, they are sums of weights.

    Attributes:
        true_positive: Labels that are both true and predicted.
        true: Labels that are true.
        predicted: Labels that are predicted.
    """

    true_positive: NDArray[Any]
    true: NDArray[Any]
    predicted: NDArray[Any]

    @classmethod
    def of(
        cls, y_true: Labels, y_pred: Labels, average: Average, weights: NDArray[Any] | None = None
    ) -> "Counts":
        """Return the counts whose scores `average` takes the mean of.

        Args:
            y_true: Indicator matrix of shape (n_samples, n_labels).
            y_pred: Predicted labels of the same shape.
            average: The mean: over rows, over labels, or of all cells.
            weights: Weights of the cells, or True where they are known; None if all count once.
        """
        axis = {"micro": None, "samples": 1}.get(average, 0)
        tables: Iterable[NDArray[Any]] = (y_true & y_pred, y_true, y_pred)
        if weights is not None:  # one after another, to bound memory
            tables = (table * weights for table in tables)
        kind = np.float64 if weights is not None and weights.dtype.kind == "f" else np.int64
        return cls(*(np.atleast_1d(table.sum(axis=axis, dtype=kind)) for table in tables))

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

    def mean_of_counted(
        self, values: NDArray[np.float64], average: Average, mask: Mask, sample_weight: Weights
    ) -> float:
        """Return the mean over the rows or labels that have a weight and a cell that is known."""
        if average == "weighted" and self.true.any():
            return weighted_mean(values, self.true)
        weights = np.ones(1) if sample_weight is None else sample_weight
        cells = np.ones((1, len(values)), dtype=bool) if mask is None else mask
        if average == "samples":
            has_any = np.ones(1) if mask is None else mask.any(axis=1)
            return weighted_mean(values, np.broadcast_to(weights * has_any, values.shape))
        counts = (cells & (weights > 0)[:, None]).any(axis=0)
        if average == "micro":
            return weighted_mean(values, np.atleast_1d(counts.any()))
        return weighted_mean(values, np.asarray(counts))


@mean_metric
def accuracy(
    y_true: Labels, y_score: Scores, y_pred: Labels, mask: Mask = None
) -> NDArray[np.bool_]:
    """Return the fraction of rows with every label correct: subset accuracy, or exact match.

    Rows of which a label is not known do not count.
    """
    is_correct: NDArray[np.bool_] = (y_true == y_pred).all(axis=1)
    return is_correct if mask is None else np.ma.array(is_correct, mask=~mask.all(axis=1))


@mean_metric
def hamming_loss(
    y_true: Labels, y_score: Scores, y_pred: Labels, mask: Mask = None
) -> NDArray[np.bool_]:
    """Return the fraction of single labels that are predicted wrong."""
    return mask_cells(y_true != y_pred, mask)


def mean_ratio(
    ratio: Callable[[Counts, float], NDArray[np.float64]],
    y_true: Labels,
    y_score: Scores,
    y_pred: Labels,
    mask: Mask = None,
    sample_weight: Weights = None,
    *,
    average: Average,
    zero_division: float,
) -> float:
    """Return the mean of a ratio of counts, such as `Counts.f1`."""
    if mask is None and sample_weight is None:
        counts = Counts.of(y_true, y_pred, average)
        return counts.mean(ratio(counts, zero_division), average)
    weights = weigh_cells(mask, None if average == "samples" else sample_weight, y_true.shape)
    counts = Counts.of(y_true, y_pred, average, weights)
    return counts.mean_of_counted(ratio(counts, zero_division), average, mask, sample_weight)


def _divide(
    numerator: NDArray[Any], denominator: NDArray[Any], zero_division: float
) -> NDArray[np.float64]:
    undefined = np.full(denominator.shape, zero_division, dtype=np.float64)
    np.divide(numerator, denominator, out=undefined, where=denominator > 0)
    return undefined


N_BINS = 15
EPSILON = float(np.finfo(np.float32).eps)  # float32 probabilities are no closer to 1 than this


@mean_metric
def log_loss(
    y_true: Labels, y_score: Scores, y_pred: Labels, mask: Mask = None
) -> NDArray[np.float64]:
    """Return the mean binary cross-entropy: scikit-learn's log loss of each label, averaged."""
    y_score = np.clip(y_score, EPSILON, 1 - EPSILON)
    losses = np.asarray(-np.log(np.where(y_true, y_score, 1 - y_score), dtype=np.float64))
    return mask_cells(losses, mask)


@mean_metric
def brier_score(
    y_true: Labels, y_score: Scores, y_pred: Labels, mask: Mask = None
) -> NDArray[np.float64]:
    """Return the mean squared error of the probabilities; 0 is best.

    References:
        Brier, Verification of Forecasts Expressed in Terms of Probability, Monthly Weather
        Review 78, 1950.
    """
    return mask_cells(np.asarray(np.square(y_score - y_true, dtype=np.float64)), mask)


def expected_calibration_error(
    y_true: Labels,
    y_score: Scores,
    y_pred: Labels,
    mask: Mask = None,
    sample_weight: Weights = None,
) -> float:
    """Return the mean distance of probabilities from frequencies, in 15 bins of equal width.

    The distance of a bin is that of its mean probability from the fraction of its labels that are
    true; bins are weighted by their number of labels. With few labels it is biased upwards: even a
    perfectly calibrated model does not reach 0.

    References:
        Naeini, Cooper and Hauskrecht, Obtaining Well Calibrated Probabilities Using Bayesian
        Binning, AAAI 2015; Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    differences = bin_differences(y_true, y_score, mask)
    weights = weigh_cells(mask, sample_weight, y_score.shape)
    if sample_weight is not None:
        differences *= sample_weight[:, None]
    n_cells = y_score.size if weights is None else weights.sum()
    return float(np.abs(differences.sum(axis=0)).sum() / n_cells) if n_cells else np.nan


def bin_differences(y_true: Labels, y_score: Scores, mask: Mask = None) -> NDArray[np.float64]:
    """Return probabilities minus labels, summed by row and bin, of shape (n_samples, 15)."""
    sums = np.empty((len(y_score), N_BINS))
    for rows in row_blocks(*y_score.shape):
        scores = y_score[rows].astype(np.float64)
        bins = np.maximum(np.ceil(scores * N_BINS).astype(np.int64) - 1, 0)  # the first bin has 0
        cells = bins + N_BINS * np.arange(len(scores))[:, None]
        differences = scores - y_true[rows]
        if mask is not None:
            differences *= mask[rows]
        size = N_BINS * len(scores)
        counts = np.bincount(cells.ravel(), weights=differences.ravel(), minlength=size)
        sums[rows] = counts.reshape(-1, N_BINS)
    return sums
