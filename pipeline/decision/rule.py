"""Calibrate probabilities and predict labels from them.

Logged models carry this file, so it imports nothing of Manyfold.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EDGE = float(np.finfo(np.float32).eps)  # probabilities are clipped to [EDGE, 1 - EDGE]
MAX_CELLS = 2**20  # probabilities that are calibrated at once


@dataclass(frozen=True, eq=False)
class DecisionRule:
    """Temperatures that calibrate probabilities, and thresholds that predict labels.

    Attributes:
        temperature: Temperature of each label, of shape (n_labels,); 1 changes nothing.
        threshold: Threshold of each label, of shape (n_labels,); higher probabilities predict 1.
    """

    temperature: NDArray[np.float64]
    threshold: NDArray[np.float64]

    def calibrate(self, y_score: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the calibrated probabilities of a model."""
        return apply_temperature(y_score, self.temperature)

    def decide(self, y_score: NDArray[np.float32]) -> NDArray[np.int8]:
        """Return 1 where the calibrated probability exceeds the threshold, else 0."""
        return (y_score > self.threshold).astype(np.int8)


def apply_temperature(
    y_score: NDArray[np.float32], temperature: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Divide the log-odds of probabilities by the temperature of each label."""
    if (temperature == 1).all():
        return y_score
    calibrated = np.empty(y_score.shape, dtype=np.float32)
    n_rows = max(1, MAX_CELLS // len(temperature))
    for first in range(0, len(y_score), n_rows):
        rows = slice(first, first + n_rows)
        calibrated[rows] = 1 / (1 + np.exp(-log_odds(y_score[rows]) / temperature))
    return calibrated


def log_odds(y_score: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the log-odds of probabilities, clipped to [EDGE, 1 - EDGE]."""
    inside = np.clip(y_score.astype(np.float64), EDGE, 1 - EDGE)
    odds: NDArray[np.float64] = np.log(inside) - np.log1p(-inside)
    return odds
