"""Calibrate probabilities and turn them into 0/1 predictions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from pipeline.scoring import EPSILON, Labels, Scores


def apply_temperature(y_score: Scores, temperature: NDArray[np.float64]) -> Scores:
    """Return probabilities whose log-odds are divided by each label's temperature."""
    if (temperature == 1).all():
        return y_score
    calibrated: Scores = expit(log_odds(y_score) / temperature).astype(np.float32)
    return calibrated


@dataclass(frozen=True, eq=False)
class DecisionRule:
    """Calibrates and decides.

    Attributes:
        temperature: Of each label, of shape (n_labels,); 1 leaves its probabilities as they are.
        threshold: Of each label, of shape (n_labels,); one is decided above it.
    """

    temperature: NDArray[np.float64]
    threshold: NDArray[np.float64]

    def calibrate(self, y_score: Scores) -> Scores:
        """Return calibrated probabilities for those of a model."""
        return apply_temperature(y_score, self.temperature)

    def decide(self, y_score: Scores) -> Labels:
        """Return 1 where the calibrated probability is above the threshold, else 0.

        At 0.5 that is what rounding gives.
        """
        return (y_score > self.threshold).astype(np.int8)


def log_odds(y_score: Scores) -> NDArray[np.float64]:
    """Return log-odds, with probabilities clipped to [EPSILON, 1 - EPSILON]."""
    odds: NDArray[np.float64] = logit(np.clip(y_score.astype(np.float64), EPSILON, 1 - EPSILON))
    return odds
