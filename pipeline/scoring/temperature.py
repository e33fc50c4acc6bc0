"""Temperatures: one number per label that makes its probabilities more or less sure."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize.elementwise import find_root
from scipy.special import expit, logit

from pipeline.scoring.arrays import Labels, Scores
from pipeline.scoring.probabilities import EPSILON

HOTTEST = 20.0  # and 1 / HOTTEST the coldest


def tempered(y_score: Scores, temperature: NDArray[np.float64]) -> Scores:
    """Return probabilities whose log-odds are divided by each label's temperature."""
    if (temperature == 1).all():
        return y_score
    calibrated: Scores = expit(_log_odds(y_score) / temperature).astype(np.float32)
    return calibrated


def fit_temperatures(y_true: Labels, y_score: Scores) -> NDArray[np.float64]:
    """Return the temperature of each label under which its log loss is least.

    The log loss is convex in 1 / temperature, so its derivative has one root. A label that all
    rows have, or none, keeps the temperature 1: they cannot say how sure to be.

    Args:
        y_true: Labels of shape (n, n_labels).
        y_score: Probabilities of the same shape.

    References:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    temperature = np.ones(y_true.shape[1])
    both = np.flatnonzero(y_true.any(axis=0) & ~y_true.all(axis=0))
    z, y = _log_odds(y_score[:, both]), y_true[:, both]

    def slope(log_sharpness: NDArray[np.float64], label: NDArray[np.int64]) -> NDArray[np.float64]:
        own = z[:, label]
        excess = expit(np.exp(log_sharpness) * own) - y[:, label]
        return np.asarray((excess * own).mean(axis=0))

    labels = np.arange(len(both))
    widest = np.full(len(both), np.log(HOTTEST))
    low, high = slope(-widest, labels), slope(widest, labels)
    inside = np.flatnonzero((low < 0) & (high > 0))
    log_sharpness = np.where(low >= 0, -widest, widest)
    if len(inside):
        found = find_root(slope, (-widest[inside], widest[inside]), args=(inside,))
        log_sharpness[inside] = found.x
    temperature[both] = np.exp(-log_sharpness)
    return temperature


def _log_odds(y_score: Scores) -> NDArray[np.float64]:
    odds: NDArray[np.float64] = logit(np.clip(y_score.astype(np.float64), EPSILON, 1 - EPSILON))
    return odds
