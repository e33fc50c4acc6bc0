"""Fit the temperatures that calibrate probabilities."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize.elementwise import find_root
from scipy.special import expit

from pipeline.decision.rule import log_odds
from pipeline.scoring import Labels, Mask, Scores, Weights
from pipeline.scoring.classification_metrics import weigh_cells

MAX_TEMPERATURE = 20.0  # the lowest is 1 / MAX_TEMPERATURE


def fit_temperatures(
    y_true: Labels, y_score: Scores, mask: Mask = None, sample_weight: Weights = None
) -> NDArray[np.float64]:
    """Return the temperature of each label that minimizes its log loss.

    The log loss is convex in 1 / temperature, so its derivative has one root. A label that all
    rows have that know it, or none, keeps the temperature 1.

    Args:
        y_true: Labels of shape (n, n_labels).
        y_score: Probabilities of the same shape.
        mask: True where a label is known, of the same shape; None if all are.
        sample_weight: Weight of each row, of shape (n,), or None.

    References:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    temperature = np.ones(y_true.shape[1])
    weights = weigh_cells(mask, sample_weight, y_true.shape)
    if weights is None:
        varying = np.flatnonzero(y_true.any(axis=0) & ~y_true.all(axis=0))
    else:
        is_true = y_true == 1
        varying = np.flatnonzero((weights * is_true).any(axis=0) & (weights * ~is_true).any(axis=0))
        weights = weights[:, varying]
    z, y = log_odds(y_score[:, varying]), y_true[:, varying]

    # The search is over the logarithm of 1 / temperature.
    def slope(log_inverse: NDArray[np.float64], label: NDArray[np.int64]) -> NDArray[np.float64]:
        label_z = z[:, label]
        error = expit(np.exp(log_inverse) * label_z) - y[:, label]
        slopes = error * label_z
        return np.asarray((slopes if weights is None else slopes * weights[:, label]).mean(axis=0))

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
