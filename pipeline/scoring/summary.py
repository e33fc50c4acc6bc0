"""Thresholds and metrics: what out-of-fold probabilities are worth. Pure NumPy and scikit-learn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit
from sklearn import metrics as sk

from pipeline.config import ScoringConfig
from pipeline.errors import UserError, choices

Labels = NDArray[np.int8]
Scores = NDArray[np.float32]
Metric = Callable[[Labels, Scores, Labels], float]

CONFIDENCE = 0.95


def accuracy(y_true: Labels, y_score: Scores, y_pred: Labels) -> float:
    """Return the share of rows with every label right: subset accuracy, or exact match."""
    return float((y_true == y_pred).all(axis=1).mean())


def hamming_loss(y_true: Labels, y_score: Scores, y_pred: Labels) -> float:
    """Return the share of single labels that are predicted wrong."""
    return float((y_true != y_pred).mean())


def f1_micro(y_true: Labels, y_score: Scores, y_pred: Labels) -> float:
    """Return F1 over all single labels together; 0 where none is present nor predicted."""
    return float(sk.f1_score(y_true, y_pred, average="micro", zero_division=0.0))


def label_ranking_average_precision(y_true: Labels, y_score: Scores, y_pred: Labels) -> float:
    """Return how far up each row's true labels rank by probability; 1 is best."""
    return float(sk.label_ranking_average_precision_score(y_true, y_score))


METRICS: Mapping[str, Metric] = {
    metric.__name__: metric
    for metric in (accuracy, hamming_loss, f1_micro, label_ranking_average_precision)
}


@dataclass(frozen=True)
class Summary:
    """One metric over all folds.

    Attributes:
        mean: Mean over folds.
        std: Population standard deviation over folds.
        ci: Ends of the 95% interval of the corrected resampled t statistic; None for a single fold.
    """

    mean: float
    std: float
    ci: tuple[float, float] | None


def refuse_unknown_metrics(config: ScoringConfig) -> None:
    """Raise UserError if a metric of the configuration does not exist."""
    for name in config.metrics:
        if name not in METRICS:
            raise UserError(f"scoring.metrics: unknown name {name!r}. {choices(name, METRICS)}")


def apply_threshold(y_score: Scores, threshold: float) -> Labels:
    """Return 1 where the probability is above the threshold; at 0.5, what rounding gives."""
    return (y_score > threshold).astype(np.int8)


def score(config: ScoringConfig, y_true: Labels, y_score: Scores) -> dict[str, float]:
    """Return each metric of the configuration for one fold.

    Args:
        config: Threshold and metrics.
        y_true: Indicator matrix of shape (n_test, n_labels).
        y_score: Probabilities of the same shape.

    Raises:
        ValueError: If the shapes differ.
    """
    if y_true.shape != y_score.shape:
        raise ValueError(f"Expected equal shapes. Received: {y_true.shape} and {y_score.shape}")
    y_pred = apply_threshold(y_score, config.threshold)
    return {name: METRICS[name](y_true, y_score, y_pred) for name in config.metrics}


def summarise(values: Sequence[float], test_share: float) -> Summary:
    """Return mean, deviation and an interval that allows for overlapping training sets.

    Folds share most of their training rows, so their scores are correlated, and the usual squared
    error of the mean, variance / n, is far too small. Corrected, it is
    variance * (1 / n + n_test / n_train).

    Args:
        values: One score per fold.
        test_share: Mean of n_test / n_train over folds.

    References:
        Nadeau and Bengio, Inference for the Generalization Error, Machine Learning 52, 2003.
    """
    scores = np.asarray(values, dtype=np.float64)
    mean, std = float(scores.mean()), float(scores.std())
    n = len(scores)
    if n < 2:
        return Summary(mean, std, None)
    error = np.sqrt(scores.var(ddof=1) * (1 / n + test_share))
    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2) * error)
    return Summary(mean, std, (mean - half, mean + half))
