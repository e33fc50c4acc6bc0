"""Tune thresholds and temperatures on inner folds."""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import DecisionConfig, ScoringConfig
from pipeline.decision.coordinate_descent import (
    CANDIDATES,
    RowCounts,
    best_candidates,
    coordinate_descent,
    count_candidates,
)
from pipeline.decision.rule import DecisionRule, apply_temperature
from pipeline.decision.temperatures import fit_temperatures
from pipeline.errors import UserError, suggest
from pipeline.scoring import (
    DECISION_METRICS,
    RATIO_METRICS,
    Labels,
    Mask,
    Metric,
    Scores,
    Weights,
    check_directions,
    find_metric,
    lower_is_better,
)
from pipeline.scoring.classification_metrics import weigh_cells


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
    starts from the best global threshold and changes that of one label at a time. It is fast for
    accuracy and for micro and samples averages; any other metric is computed anew each time.

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
    metric = partial(find_metric(name, zero_division), mask=mask, sample_weight=sample_weight)
    sign = -1.0 if lower_is_better(name, scoring.greater_is_better) else 1.0
    if config.threshold == "per_label":
        weights = weigh_cells(mask, sample_weight, y_true.shape)
        by_label = _label_values(name, y_true, y_score, zero_division, weights)
        if by_label is not None:
            return best_candidates(by_label)
    best = _best_global(metric, sign, y_true, y_score)
    if config.threshold == "global":
        return best
    if name in ("accuracy", *RATIO_METRICS):
        counts = RowCounts(name, zero_division, y_true, y_score, best[0], mask, sample_weight)
        return coordinate_descent(counts.values, counts.move, best)
    y_pred = (y_score > best).astype(np.int8)

    def move(label: int, threshold: float) -> None:
        y_pred[:, label] = y_score[:, label] > threshold

    def values(label: int) -> list[float]:
        values = []
        for candidate in CANDIDATES:
            move(label, candidate)
            values.append(sign * metric(y_true, y_score, y_pred))
        return values

    return coordinate_descent(values, move, best)


def match_cardinality(y_true: Labels, y_score: Scores, mask: Mask = None) -> float:
    """Return the threshold that predicts as many labels in total as are true.

    It lies halfway between the lowest score that is predicted and the highest that is not.
    """
    y_score = y_score if mask is None else y_score[mask]
    descending = np.sort(y_score, axis=None)[::-1].astype(np.float64)
    n_true = int(y_true.sum())
    lowest_predicted = descending[n_true - 1] if n_true else 1.0
    highest_other = descending[n_true] if n_true < len(descending) else 0.0
    return float((lowest_predicted + highest_other) / 2)


def _best_global(
    metric: Metric, sign: float, y_true: Labels, y_score: Scores
) -> NDArray[np.float64]:
    values = [
        sign * metric(y_true, y_score, (y_score > candidate).astype(np.int8))
        for candidate in CANDIDATES
    ]
    return np.repeat(best_candidates(np.array([values])), y_true.shape[1])


def _label_values(
    metric: str,
    y_true: Labels,
    y_score: Scores,
    zero_division: float,
    weights: NDArray[Any] | None = None,
) -> NDArray[np.float64] | None:
    """Return the metric of each label at each candidate; None if it is no mean over labels.

    Returns:
        Values of shape (n_labels, n_candidates); higher ones are better.
    """
    family, _, average = metric.rpartition("_")
    if metric != "hamming_loss" and average not in ("macro", "weighted"):
        return None
    if family not in ("hamming", "f1", "jaccard", "precision", "recall"):
        return None
    counts, total = count_candidates(y_true, y_score, weights)
    if family != "hamming":
        return np.asarray(getattr(counts, family)(zero_division))
    correct = total - counts.true - counts.predicted + 2 * counts.true_positive
    return np.asarray(correct / np.where(total > 0, total, 1))


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
