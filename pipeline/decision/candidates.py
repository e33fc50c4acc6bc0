"""Score candidates of thresholds from counts, in one pass over the probabilities."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.scoring import Counts, Labels, Mask, Scores, Weights
from pipeline.scoring.classification_metrics import row_blocks

CANDIDATES = np.arange(1, 100) / 100
N_BINS = len(CANDIDATES) + 1


def best_candidates(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the best candidate of each row of values; among equals, the nearest to 0.5."""
    values = np.where(np.isnan(values), -np.inf, values)
    nearest_first = np.argsort(np.abs(CANDIDATES - 0.5), kind="stable")
    ordered = values[:, nearest_first]
    is_best = ordered >= ordered.max(axis=1, keepdims=True) - 1e-12  # allows for rounding
    best: NDArray[np.float64] = CANDIDATES[nearest_first[is_best.argmax(axis=1)]]
    return best


def count_exceeded(y_score: Scores) -> NDArray[np.uint8]:
    """Return the number of candidates that each probability exceeds."""
    return np.searchsorted(CANDIDATES, y_score).astype(np.uint8)


def sum_above(
    n_exceeded: NDArray[np.integer[Any]], weights: NDArray[Any] | None = None, n_groups: int = 1
) -> NDArray[Any]:
    """Return, for each candidate, the number or the weight of the entries that exceed it.

    Args:
        n_exceeded: Number of candidates that an entry exceeds, plus `N_BINS` times its group.
        weights: Weights of the entries; None to count them.
        n_groups: Number of groups.

    Returns:
        Array of shape (n_groups, n_candidates).
    """
    sums = np.bincount(n_exceeded, weights, minlength=N_BINS * n_groups).reshape(-1, N_BINS)
    return sums[:, :0:-1].cumsum(axis=1)[:, ::-1]


def count_by_label(
    y_true: Labels, y_score: Scores, mask: Mask = None, sample_weight: Weights = None
) -> tuple[Counts, NDArray[Any]]:
    """Count the labels at each candidate for all thresholds.

    Args:
        y_true: Labels of shape (n, n_labels).
        y_score: Probabilities of the same shape.
        mask: True where a label is known, of the same shape; None if all are.
        sample_weight: Weight of each row, of shape (n,), or None.

    Returns:
        Counts of shape (n_labels, n_candidates), and of shape (n_labels, 1) the number of all cells
        of a label; with weights, sums of weights.
    """
    n_labels = y_true.shape[1]
    sums = np.zeros((2, n_labels * N_BINS), np.int64 if sample_weight is None else np.float64)
    for rows in row_blocks(*y_true.shape):
        bins = count_exceeded(y_score[rows]) + N_BINS * np.arange(n_labels)
        is_true = y_true[rows] == 1
        is_given = np.ones_like(is_true) if mask is None else mask[rows]
        for number, is_counted in enumerate((is_given, is_given & is_true)):
            weights = None
            if sample_weight is not None:
                weights = np.repeat(sample_weight[rows], is_counted.sum(axis=1))
            sums[number] += np.bincount(bins[is_counted], weights, minlength=n_labels * N_BINS)
    by_bin = sums.reshape(2, n_labels, N_BINS)
    above = by_bin[:, :, :0:-1].cumsum(axis=2)[:, :, ::-1]
    total, true = by_bin.sum(axis=2, keepdims=True)
    return Counts(above[1], np.broadcast_to(true, above[1].shape), above[0]), total


def label_values(
    metric: str,
    y_true: Labels,
    y_score: Scores,
    zero_division: float,
    mask: Mask = None,
    sample_weight: Weights = None,
) -> NDArray[np.float64] | None:
    """Return the metric of each label at each candidate; None if it is no mean over labels.

    Returns:
        Values of shape (n_labels, n_candidates); higher ones are better.
    """
    family, _, average = metric.rpartition("_")
    if metric != "hamming_loss" and average not in ("macro", "weighted"):
        return None
    if family not in ("hamming", "f1", "jaccard", "precision", "recall"):
        return None
    counts, total = count_by_label(y_true, y_score, mask, sample_weight)
    if family != "hamming":
        return np.asarray(getattr(counts, family)(zero_division))
    correct = total - counts.true - counts.predicted + 2 * counts.true_positive
    return np.asarray(correct / np.where(total > 0, total, 1))


def global_values(
    metric: str,
    y_true: Labels,
    y_score: Scores,
    zero_division: float,
    mask: Mask = None,
    sample_weight: Weights = None,
) -> NDArray[np.float64]:
    """Return the metric with each candidate as the threshold of all labels; higher is better.

    Args:
        metric: Accuracy, Hamming loss, or a mean of precision, recall, F1 or Jaccard.
        y_true: Labels of shape (n, n_labels).
        y_score: Probabilities of the same shape.
        zero_division: Value of 0 / 0.
        mask: True where a label is known, of the same shape; None if all are.
        sample_weight: Weight of each row, of shape (n,), or None.
    """
    family, _, average = metric.rpartition("_")
    if metric == "accuracy" or average == "samples":
        return _mean_of_rows(metric, y_true, y_score, zero_division, mask, sample_weight)
    counts, total = count_by_label(y_true, y_score, mask, sample_weight)
    true_positive, true, predicted = (
        table.sum(axis=0) for table in (counts.true_positive, counts.true, counts.predicted)
    )
    if metric == "hamming_loss":
        return np.asarray(2 * true_positive - true - predicted) / (total.sum() or 1)
    if average == "micro":
        micro = Counts(true_positive, true, predicted)
        return np.asarray(getattr(micro, family)(zero_division))
    values = np.ascontiguousarray(getattr(counts, family)(zero_division).T)
    counted = 1.0 * (total[:, 0] > 0)
    if average == "weighted" and true.any():
        counted = counts.true[:, 0]
    return np.asarray((values * counted).sum(axis=1) / (counted.sum() or 1))


def row_values(metric: str, counts: Counts, zero_division: float) -> NDArray[np.float64]:
    """Return accuracy, or the ratio of a samples average, of rows with such counts."""
    family, _, _ = metric.rpartition("_")
    if family:
        return np.asarray(getattr(counts, family)(zero_division))
    return np.asarray((counts.true + counts.predicted == 2 * counts.true_positive) * 1.0)


def weigh_rows(metric: str, mask: Mask, sample_weight: Weights) -> NDArray[Any] | None:
    """Return the weight of each row in accuracy or a samples average; None if all weigh 1."""
    if mask is None:
        return sample_weight
    is_counted = mask.all(axis=1) if metric == "accuracy" else mask.any(axis=1)
    return is_counted * np.asarray(1.0 if sample_weight is None else sample_weight)


def _mean_of_rows(
    metric: str,
    y_true: Labels,
    y_score: Scores,
    zero_division: float,
    mask: Mask,
    sample_weight: Weights,
) -> NDArray[np.float64]:
    n_rows, n_labels = y_true.shape
    weights = weigh_rows(metric, mask, sample_weight)
    weights = np.ones(n_rows) if weights is None else weights.astype(np.float64)
    total = np.zeros(len(CANDIDATES))
    for rows in row_blocks(n_rows, max(n_labels, N_BINS)):
        is_true = y_true[rows] == 1
        bins = count_exceeded(y_score[rows]) + N_BINS * np.arange(len(is_true))[:, None]
        given = bins.ravel() if mask is None else bins[mask[rows]]
        predicted = sum_above(given, n_groups=len(is_true))
        n_true = np.broadcast_to(is_true.sum(axis=1, keepdims=True), predicted.shape)
        counts = Counts(sum_above(bins[is_true], n_groups=len(is_true)), n_true, predicted)
        total += weights[rows] @ row_values(metric, counts, zero_division)
    return total / (weights.sum() or 1)
