"""Calibrate probabilities and predict labels from them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from pipeline.scoring import EPSILON, Labels, Scores


def apply_temperature(y_score: Scores, temperature: NDArray[np.float64]) -> Scores:
    """Divide the log-odds of probabilities by the temperature of each label."""
    if (temperature == 1).all():
        return y_score
    calibrated: Scores = expit(log_odds(y_score) / temperature).astype(np.float32)
    return calibrated


@dataclass(frozen=True, eq=False)
class DecisionRule:
    """Temperatures that calibrate probabilities, and thresholds that predict labels.

    Attributes:
        temperature: Temperature of each label, of shape (n_labels,); 1 changes nothing.
        threshold: Threshold of each label, of shape (n_labels,); higher probabilities predict 1.
    """

    temperature: NDArray[np.float64]
    threshold: NDArray[np.float64]

    def calibrate(self, y_score: Scores) -> Scores:
        """Return the calibrated probabilities of a model."""
        return apply_temperature(y_score, self.temperature)

    def decide(self, y_score: Scores) -> Labels:
        """Return 1 where the calibrated probability exceeds the threshold, else 0."""
        return (y_score > self.threshold).astype(np.int8)


def log_odds(y_score: Scores) -> NDArray[np.float64]:
    """Return the log-odds of probabilities, clipped to [EPSILON, 1 - EPSILON]."""
    odds: NDArray[np.float64] = logit(np.clip(y_score.astype(np.float64), EPSILON, 1 - EPSILON))
    return odds
