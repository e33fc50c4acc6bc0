"""Fit the temperatures that calibrate probabilities."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize.elementwise import find_root
from scipy.special import expit

from pipeline.decision.rule import MAX_CELLS, log_odds
from pipeline.scoring import Labels, Mask, Scores, Weights
from pipeline.scoring.classification_metrics import weigh_cells

MAX_TEMPERATURE = 20.0  # the lowest is 1 / MAX_TEMPERATURE


def fit_temperatures(
    y_true: Labels, y_score: Scores, mask: Mask = None, sample_weight: Weights = None
) -> NDArray[np.float64]:
    """Return the temperature of each label that minimizes its log loss.

    The log loss is convex in 1 / temperature, so its derivative has one root. A label that all
    rows have that know it, or none, keeps the temperature 1. Some labels at a time are fitted, to
    bound memory.

    Args:
        y_true: Labels of shape (n, n_labels).
        y_score: Probabilities of the same shape.
        mask: True where a label is known, of the same shape; None if all are.
        sample_weight: Weight of each row, of shape (n,), or None.

    References:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    n_rows, n_labels = y_true.shape
    temperature = np.ones(n_labels)
    n_at_once = max(1, MAX_CELLS // max(1, n_rows))
    for first in range(0, n_labels, n_at_once):
        labels = slice(first, first + n_at_once)
        part_mask = None if mask is None else mask[:, labels]
        temperature[labels] = _fit_part(
            y_true[:, labels], y_score[:, labels], part_mask, sample_weight
        )
    return temperature


def _fit_part(
    y_true: Labels, y_score: Scores, mask: Mask, sample_weight: Weights
) -> NDArray[np.float64]:
    """Return the temperatures of some labels."""
    temperature = np.ones(y_true.shape[1])
    weights = weigh_cells(mask, sample_weight, y_true.shape)
    is_true = y_true == 1
    has_weight = np.True_ if weights is None else weights > 0
    varying = np.flatnonzero((has_weight & is_true).any(0) & (has_weight & ~is_true).any(0))
    # Label by label, as whole rows.
    z, y = log_odds(y_score[:, varying].T), is_true[:, varying].T
    if weights is not None:
        weights = np.ascontiguousarray(weights[:, varying].T)

    # The search is over the logarithm of 1 / temperature.
    def slope(log_inverse: NDArray[np.float64], label: NDArray[np.int64]) -> NDArray[np.float64]:
        label_z = z[label]
        slopes = expit(np.exp(log_inverse)[:, None] * label_z)
        slopes -= y[label]
        slopes *= label_z if weights is None else label_z * weights[label]
        return np.asarray(slopes.mean(axis=1))

    labels = np.arange(len(varying))
    limit = np.full(len(varying), np.log(MAX_TEMPERATURE))
    low, high = slope(-limit, labels), slope(limit, labels)
    has_root = np.flatnonzero((low < 0) & (high > 0))
    log_inverse = np.where(low >= 0, -limit, limit)
    if len(has_root):
        result = find_root(slope, (-limit[has_root], limit[has_root]), args=(has_root,))
        log_inverse[has_root] = result.x
    temperature[varying] = np.exp(-log_inverse)
    return temperature
