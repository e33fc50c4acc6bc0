"""Tune thresholds and temperatures on inner folds."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.config import DecisionConfig, ScoringConfig
from pipeline.decision.candidates import (
    CANDIDATES,
    best_candidates,
    global_values,
    label_values,
)
from pipeline.decision.coordinate_descent import (
    AnyMetric,
    MeanOfRows,
    MicroAverage,
    coordinate_descent,
)
from pipeline.decision.rule import DecisionRule, apply_temperature
from pipeline.decision.temperatures import fit_temperatures
from pipeline.errors import UserError, suggest
from pipeline.scoring import (
    DECISION_METRICS,
    Labels,
    Mask,
    Scores,
    Weights,
    check_directions,
    find_metric,
    lower_is_better,
)


def tune_thresholds(
    config: DecisionConfig,
    y_true: Labels,
    y_score: Scores,
    scoring: ScoringConfig,
    mask: Mask = None,
    sample_weight: Weights = None,
) -> NDArray[np.float64]:
    """Return the threshold of each label, of shape (n_labels,).

    Candidates are the hundredths; of equally good ones, the nearest to 0.5 wins. If the metric is
    a mean over labels, each label has its own best threshold. For other metrics, coordinate descent
    starts from the best global threshold and changes that of one label at a time. It counts each
    label once for accuracy and for micro and samples averages; the user's own metric is computed
    anew for each candidate.

    Args:
        config: The kind of threshold and the metric to optimize.
        y_true: Labels of shape (n, n_labels).
        y_score: Probabilities of the same shape.
        scoring: The direction of own metrics, and the value of 0 / 0.
        mask: True where a label is known, of the same shape; None if all are.
        sample_weight: Weight of each row in the metric, of shape (n,), or None.
    """
    n_labels = y_true.shape[1]
    if isinstance(config.threshold, float):
        return np.full(n_labels, config.threshold)
    if config.threshold == "cardinality":
        return np.full(n_labels, match_cardinality(y_true, y_score, mask))
    name, zero_division = config.threshold_metric, scoring.zero_division
    if config.threshold == "per_label":
        by_label = label_values(name, y_true, y_score, zero_division, mask, sample_weight)
        if by_label is not None:
            return best_candidates(by_label)
    own = None
    if name not in DECISION_METRICS:
        own = _own_metric(name, scoring, y_true, y_score, mask, sample_weight)
        values = np.array([own((y_score > it).astype(np.int8)) for it in CANDIDATES])
    else:
        values = global_values(name, y_true, y_score, zero_division, mask, sample_weight)
    start = best_candidates(values[None])[0]
    best = np.full(n_labels, start)
    if config.threshold == "global":
        return best
    if own:
        return coordinate_descent(AnyMetric(own, y_score, start), best)
    kind = MicroAverage if name.endswith("_micro") else MeanOfRows
    counted = kind(name, zero_division, y_true, y_score, start, mask, sample_weight)
    return coordinate_descent(counted, best)


def _own_metric(
    name: str,
    scoring: ScoringConfig,
    y_true: Labels,
    y_score: Scores,
    mask: Mask,
    sample_weight: Weights,
) -> Callable[[Labels], float]:
    """Return the user's own metric as a function of predicted labels; higher is better."""
    metric = find_metric(name, scoring.zero_division)
    sign = -1.0 if lower_is_better(name, scoring.greater_is_better) else 1.0
    return lambda y_pred: sign * metric(y_true, y_score, y_pred, mask, sample_weight)


def match_cardinality(y_true: Labels, y_score: Scores, mask: Mask = None) -> float:
    """Return the threshold that predicts as many labels in total as are true.

    It lies halfway between the lowest score that is predicted and the highest that is not.
    """
    scores = y_score.ravel() if mask is None else y_score[mask]
    n_others = len(scores) - int(y_true.sum())
    bounds = [it for it in (n_others - 1, n_others) if 0 <= it < len(scores)]
    ordered = np.partition(scores, bounds)
    lowest_predicted = float(ordered[n_others]) if n_others < len(scores) else 1.0
    highest_other = float(ordered[n_others - 1]) if n_others else 0.0
    return (lowest_predicted + highest_other) / 2


def check_threshold_metric(config: DecisionConfig, scoring: ScoringConfig) -> None:
    """Raise UserError if thresholds are to be tuned for a metric that does not depend on them."""
    key, name = "decision.threshold_metric", config.threshold_metric
    find_metric(name, scoring.zero_division, key)
    check_directions(scoring.greater_is_better, [*scoring.metrics, name])
    if (
        name not in DECISION_METRICS
        and "." not in name
        and config.threshold in ("global", "per_label")
    ):
        raise UserError(
            f"{key}: expected a metric of predicted labels, which depends on thresholds. Received: "
            f"{name!r}, a metric of probabilities. {suggest(name, DECISION_METRICS)}"
        )


def needs_inner(config: DecisionConfig) -> bool:
    """Return whether the decision rule needs inner folds to learn from."""
    return isinstance(config.threshold, str) or config.calibration is not None


def fixed_rule(config: DecisionConfig, n_labels: int) -> DecisionRule:
    """Return the decision rule of a fixed threshold without calibration."""
    return DecisionRule(np.ones(n_labels), np.full(n_labels, float(config.threshold)))


def learn_rule(
    config: DecisionConfig,
    y_true: Labels,
    y_score: Scores,
    scoring: ScoringConfig,
    mask: Mask = None,
    sample_weight: Weights = None,
) -> DecisionRule:
    """Learn temperatures and thresholds from the inner folds of a training fold.

    Args:
        config: The kind of threshold, the metric to optimize and the calibration.
        y_true: Labels of rows of the training fold, of shape (n, n_labels).
        y_score: Probabilities of the same shape; each row was held out from its model.
        scoring: The direction of own metrics, and the value of 0 / 0.
        mask: True where a label is known, of the same shape; None if all are.
        sample_weight: Weight of each row, of shape (n,), or None; `cardinality` counts rows once.
    """
    temperature = np.ones(y_true.shape[1])
    if config.calibration is not None:
        temperature = fit_temperatures(y_true, y_score, mask, sample_weight)
    calibrated = apply_temperature(y_score, temperature)
    threshold = tune_thresholds(config, y_true, calibrated, scoring, mask, sample_weight)
    return DecisionRule(temperature, threshold)
