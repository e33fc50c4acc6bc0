"""Tune thresholds and temperatures on inner folds."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize.elementwise import find_root
from scipy.special import expit

from pipeline.config import DecisionConfig, ScoringConfig
from pipeline.decision.rule import DecisionRule, apply_temperature, log_odds
from pipeline.errors import UserError, suggest
from pipeline.scoring import (
    DECISION_METRICS,
    RATIO_METRICS,
    Counts,
    Labels,
    Metric,
    Scores,
    check_directions,
    find_metric,
    lower_is_better,
)

CANDIDATES = np.arange(1, 100) / 100
MAX_ROUNDS = 3  # of coordinate descent over all labels


def tune_thresholds(
    config: DecisionConfig, y_true: Labels, y_score: Scores, scoring: ScoringConfig
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
    """
    n_labels = y_true.shape[1]
    if isinstance(config.threshold, float):
        return np.full(n_labels, config.threshold)
    if config.threshold == "cardinality":
        return np.full(n_labels, match_cardinality(y_true, y_score))
    name, zero_division = config.threshold_metric, scoring.zero_division
    metric = find_metric(name, zero_division)
    sign = -1.0 if lower_is_better(name, scoring.greater_is_better) else 1.0
    if config.threshold == "per_label":
        by_label = _label_values(name, y_true, y_score, zero_division)
        if by_label is not None:
            return _best(by_label)
    best = _best_global(metric, sign, y_true, y_score)
    if config.threshold == "global":
        return best
    if name in ("accuracy", *RATIO_METRICS):
        counts = _RowCounts(name, zero_division, y_true, y_score, best[0])
        return _coordinate_descent(counts.values, counts.move, best)
    y_pred = (y_score > best).astype(np.int8)

    def move(label: int, threshold: float) -> None:
        y_pred[:, label] = y_score[:, label] > threshold

    def values(label: int) -> list[float]:
        values = []
        for candidate in CANDIDATES:
            move(label, candidate)
            values.append(sign * metric(y_true, y_score, y_pred))
        return values

    return _coordinate_descent(values, move, best)


def match_cardinality(y_true: Labels, y_score: Scores) -> float:
    """Return the threshold that predicts as many labels in total as are true.

    It lies halfway between the lowest score that is predicted and the highest that is not.
    """
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
    return np.repeat(_best(np.array([values])), y_true.shape[1])


def _coordinate_descent(
    values: Callable[[int], ArrayLike],
    move: Callable[[int, float], None],
    start: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Change the threshold of one label at a time to its best candidate.

    Args:
        values: Returns the metric with each candidate for a label; higher ones are better.
        move: Changes the threshold of a label for the next call of `values`.
        start: Thresholds to start from, of shape (n_labels,).
    """
    thresholds = start.copy()
    for _ in range(MAX_ROUNDS):
        before = thresholds.copy()
        for label in range(len(thresholds)):
            thresholds[label] = _best(np.array([values(label)]))[0]
            move(label, thresholds[label])
        if (thresholds == before).all():
            break
    return thresholds


class _RowCounts:
    """The counts of each row, which the threshold of one label changes by at most one.

    So accuracy and the micro and samples averages need no second look at the other labels.
    """

    def __init__(
        self, metric: str, zero_division: float, y_true: Labels, y_score: Scores, start: float
    ) -> None:
        self._family, _, self._average = metric.rpartition("_")
        self._zero_division = zero_division
        # Label by label: each is read as a whole.
        self._y_true, self._y_score = np.ascontiguousarray(y_true.T == 1), y_score.T.copy()
        self._y_pred = self._y_score > start
        self._counts = Counts.of(y_true, (y_score > start).astype(np.int8), "samples")

    def values(self, label: int) -> NDArray[np.float64]:
        y_true, others = self._y_true[label], self._without(label)
        n_exceeded = np.searchsorted(CANDIDATES, self._y_score[label])
        if self._average == "micro":
            true_positive = others.true_positive.sum() + _sums_above(n_exceeded[y_true])
            predicted = others.predicted.sum() + _sums_above(n_exceeded)
            true = np.full_like(predicted, others.true.sum())
            return self._row_values(Counts(true_positive, true, predicted))
        unset = self._row_values(others)
        gain = self._row_values(_add(others, y_true, np.True_)) - unset
        means: NDArray[np.float64] = (unset.sum() + _sums_above(n_exceeded, gain)) / len(unset)
        return means

    def move(self, label: int, threshold: float) -> None:
        y_pred = self._y_score[label] > threshold
        self._counts = _add(self._without(label), self._y_true[label], y_pred)
        self._y_pred[label] = y_pred

    def _without(self, label: int) -> Counts:
        """Return the counts as if the label were predicted for no row."""
        return _add(self._counts, self._y_true[label], self._y_pred[label], sign=-1)

    def _row_values(self, counts: Counts) -> NDArray[np.float64]:
        values: NDArray[np.float64]
        if self._family:
            values = getattr(counts, self._family)(self._zero_division)
        else:
            values = (counts.true + counts.predicted == 2 * counts.true_positive) * 1.0
        return values


def _add(
    counts: Counts, y_true: NDArray[np.bool_], y_pred: NDArray[np.bool_] | np.bool_, sign: int = 1
) -> Counts:
    """Add the predictions of one label to the counts of each row, or take them away."""
    true_positive = counts.true_positive + sign * (y_true & y_pred)
    return Counts(true_positive, counts.true, counts.predicted + sign * y_pred)


def _sums_above(
    n_exceeded: NDArray[np.int64], weights: NDArray[np.float64] | None = None
) -> NDArray[np.int64]:
    """Return, for each candidate, the number or the weight of the rows whose score exceeds it."""
    sums = np.bincount(n_exceeded, weights, minlength=len(CANDIDATES) + 1)
    return sums[:0:-1].cumsum()[::-1]


def _label_values(
    metric: str, y_true: Labels, y_score: Scores, zero_division: float
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
    values = []
    for candidate in CANDIDATES:
        y_pred = (y_score > candidate).astype(np.int8)
        if family == "hamming":
            values.append((y_true == y_pred).mean(axis=0))
        else:
            counts = Counts.of(y_true, y_pred, "macro")
            values.append(getattr(counts, family)(zero_division))
    return np.stack(values, axis=1)


def _best(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the best candidate of each row of values; among equals, the nearest to 0.5."""
    values = np.where(np.isnan(values), -np.inf, values)
    nearest_first = np.argsort(np.abs(CANDIDATES - 0.5), kind="stable")
    ordered = values[:, nearest_first]
    is_best = ordered >= ordered.max(axis=1, keepdims=True) - 1e-12  # allows for rounding
    best: NDArray[np.float64] = CANDIDATES[nearest_first[is_best.argmax(axis=1)]]
    return best


MAX_TEMPERATURE = 20.0  # the lowest is 1 / MAX_TEMPERATURE


def fit_temperatures(y_true: Labels, y_score: Scores) -> NDArray[np.float64]:
    """Return the temperature of each label that minimizes its log loss.

    The log loss is convex in 1 / temperature, so its derivative has one root. A label that all
    rows have, or none, keeps the temperature 1.

    Args:
        y_true: Labels of shape (n, n_labels).
        y_score: Probabilities of the same shape.

    References:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    temperature = np.ones(y_true.shape[1])
    varying = np.flatnonzero(y_true.any(axis=0) & ~y_true.all(axis=0))
    z, y = log_odds(y_score[:, varying]), y_true[:, varying]

    # The search is over the logarithm of 1 / temperature.
    def slope(log_inverse: NDArray[np.float64], label: NDArray[np.int64]) -> NDArray[np.float64]:
        label_z = z[:, label]
        error = expit(np.exp(log_inverse) * label_z) - y[:, label]
        return np.asarray((error * label_z).mean(axis=0))

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
    config: DecisionConfig, y_true: Labels, y_score: Scores, scoring: ScoringConfig
) -> DecisionRule:
    """Learn temperatures and thresholds from the inner folds of a training fold.

    Args:
        config: The kind of threshold, the metric to optimize and the calibration.
        y_true: Labels of rows of the training fold, of shape (n, n_labels).
        y_score: Probabilities of the same shape; each row was held out from its model.
        scoring: The direction of own metrics, and the value of 0 / 0.
    """
    temperature = np.ones(y_true.shape[1])
    if config.calibration is not None:
        temperature = fit_temperatures(y_true, y_score)
    calibrated = apply_temperature(y_score, temperature)
    threshold = tune_thresholds(config, y_true, calibrated, scoring)
    return DecisionRule(temperature, threshold)
