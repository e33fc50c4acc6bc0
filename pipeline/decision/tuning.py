"""Tune thresholds and temperatures on inner folds."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize.elementwise import find_root
from scipy.special import expit

from pipeline.config import ScoringConfig
from pipeline.decision.rule import DecisionRule, apply_temperature, log_odds
from pipeline.scoring import Counts, Labels, Metric, Scores, find_metric, lower_is_better

CANDIDATES = np.arange(1, 100) / 100
SWEEPS = 3  # over all labels, for metrics in which they depend on each other


def learn_thresholds(config: ScoringConfig, y_true: Labels, y_score: Scores) -> NDArray[np.float64]:
    """Return the threshold of each label, of shape (n_labels,).

    Of equally good hundredths the one nearest to 0.5 is taken. Labels whose parts of the metric
    are independent, as in a macro mean, are tuned one by one; in any other metric each label in
    turn, the others held fixed, starting from the best global threshold.

    Args:
        config: Which thresholds, and the metric they are best for.
        y_true: Labels of shape (n, n_labels).
        y_score: Probabilities of the same shape.
    """
    n_labels = y_true.shape[1]
    if isinstance(config.threshold, float):
        return np.full(n_labels, config.threshold)
    if config.threshold == "cardinality":
        return np.full(n_labels, match_cardinality(y_true, y_score))
    metric = find_metric(config.threshold_metric, config.zero_division)
    sign = -1.0 if lower_is_better(config.threshold_metric) else 1.0
    if config.threshold == "per_label":
        by_label = _label_values(config, y_true, y_score)
        if by_label is not None:
            return _best(by_label)
    best = _best_global(metric, sign, y_true, y_score)
    if config.threshold == "global":
        return best
    return _each_in_turn(metric, sign, y_true, y_score, best)


def match_cardinality(y_true: Labels, y_score: Scores) -> float:
    """Return the threshold under which as many labels are predicted in all as are true.

    It lies halfway between the last score that is predicted and the first that is not.
    """
    ordered = np.sort(y_score, axis=None)[::-1].astype(np.float64)
    n_true = int(y_true.sum())
    last = ordered[n_true - 1] if n_true else 1.0
    following = ordered[n_true] if n_true < len(ordered) else 0.0
    return float((last + following) / 2)


def _best_global(
    metric: Metric, sign: float, y_true: Labels, y_score: Scores
) -> NDArray[np.float64]:
    values = [
        sign * metric(y_true, y_score, (y_score > candidate).astype(np.int8))
        for candidate in CANDIDATES
    ]
    return np.repeat(_best(np.array([values])), y_true.shape[1])


def _each_in_turn(
    metric: Metric, sign: float, y_true: Labels, y_score: Scores, start: NDArray[np.float64]
) -> NDArray[np.float64]:
    thresholds = start.copy()
    y_pred = (y_score > thresholds).astype(np.int8)
    for _ in range(SWEEPS):
        before = thresholds.copy()
        for label in range(len(thresholds)):
            values = []
            for candidate in CANDIDATES:
                y_pred[:, label] = y_score[:, label] > candidate
                values.append(sign * metric(y_true, y_score, y_pred))
            thresholds[label] = _best(np.array([values]))[0]
            y_pred[:, label] = y_score[:, label] > thresholds[label]
        if (thresholds == before).all():
            break
    return thresholds


def _label_values(
    config: ScoringConfig, y_true: Labels, y_score: Scores
) -> NDArray[np.float64] | None:
    """Return each label's own part of the metric by candidate, or None if it has none.

    Returns:
        Values of shape (n_labels, n_candidates), higher ones better.
    """
    family, _, average = config.threshold_metric.rpartition("_")
    if config.threshold_metric != "hamming_loss" and average not in ("macro", "weighted"):
        return None
    if family not in ("hamming", "f1", "jaccard", "precision", "recall"):
        return None
    values = []
    for candidate in CANDIDATES:
        y_pred = (y_score > candidate).astype(np.int8)
        if family == "hamming":
            values.append((y_true == y_pred).mean(axis=0))
        else:
            counts = Counts.of(y_true, y_pred, "macro")
            values.append(getattr(counts, family)(config.zero_division))
    return np.stack(values, axis=1)


def _best(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the best candidate of each row of values, the one nearest to 0.5 among equals."""
    values = np.where(np.isnan(values), -np.inf, values)
    nearest_first = np.argsort(np.abs(CANDIDATES - 0.5), kind="stable")
    ordered = values[:, nearest_first]
    # Equal but for rounding counts as equal.
    good = ordered >= ordered.max(axis=1, keepdims=True) - 1e-12
    best: NDArray[np.float64] = CANDIDATES[nearest_first[good.argmax(axis=1)]]
    return best


HOTTEST = 20.0  # and 1 / HOTTEST the coldest


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
    z, y = log_odds(y_score[:, both]), y_true[:, both]

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
    threshold = learn_thresholds(config, y_true, apply_temperature(y_score, temperature))
    return DecisionRule(temperature, threshold)
