"""From a model's probabilities to decisions, by what was learnt from training rows alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.config import ScoringConfig
from pipeline.scoring.arrays import Labels, Scores
from pipeline.scoring.temperature import fit_temperatures, tempered
from pipeline.scoring.thresholds import learn_thresholds


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
        return tempered(y_score, self.temperature)

    def decide(self, y_score: Scores) -> Labels:
        """Return 1 where the calibrated probability is above the threshold, else 0.

        At 0.5 that is what rounding gives.
        """
        return (y_score > self.threshold).astype(np.int8)


def needs_inner(config: ScoringConfig) -> bool:
    """Return whether the rule has to be learnt."""
    return isinstance(config.threshold, str) or config.calibration is not None


def fixed_rule(config: ScoringConfig, n_labels: int) -> DecisionRule:
    """Return the rule of a configuration that leaves nothing to learn."""
    return DecisionRule(np.ones(n_labels), np.full(n_labels, float(config.threshold)))


def learn_rule(config: ScoringConfig, y_true: Labels, y_score: Scores) -> DecisionRule:
    """Return the rule learnt from inner probabilities of a training fold.

    Args:
        config: What is learnt, and what for.
        y_true: Labels of rows of the training fold, of shape (n, n_labels).
        y_score: Their probabilities, each by a model that was trained without the row.
    """
    temperature = np.ones(y_true.shape[1])
    if config.calibration is not None:
        temperature = fit_temperatures(y_true, y_score)
    threshold = learn_thresholds(config, y_true, tempered(y_score, temperature))
    return DecisionRule(temperature, threshold)
