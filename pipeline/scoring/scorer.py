"""Look up metrics by name and score a fold."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from pipeline.config import ScoringConfig
from pipeline.errors import UserError, suggest
from pipeline.scoring import classification_metrics, ranking_metrics
from pipeline.scoring.classification_metrics import (
    Counts,
    Labels,
    Mask,
    Metric,
    Scores,
    Weights,
    mean_ratio,
    weigh_cells,
)
from pipeline.scoring.label_ranking import label_ranking_scores
from pipeline.scoring.own_metrics import CONFIG_KEY, DIRECTION_KEY, call_own
from pipeline.scoring.statistics import MetricSummary, format_summary
from pipeline.user_code import import_callable

SUFFIXES = ("score", "loss", "error")  # of names that show whether higher or lower is better
ABBREVIATIONS = {"roc": "ROC", "auc": "AUC", "ndcg": "nDCG"}


BASIC_METRICS: Mapping[str, Metric] = {
    function.__name__: function
    for function in (
        classification_metrics.accuracy,
        classification_metrics.hamming_loss,
        ranking_metrics.one_error,
        ranking_metrics.coverage_error,
        ranking_metrics.label_ranking_loss,
        ranking_metrics.label_ranking_average_precision,
        classification_metrics.log_loss,
        classification_metrics.brier_score,
        classification_metrics.expected_calibration_error,
    )
}
"""Metrics without a parameter."""
RATIO_METRICS: Mapping[str, Callable[..., float]] = {
    f"{ratio.__name__}_{average}": partial(mean_ratio, ratio, average=average)
    for ratio in (Counts.precision, Counts.recall, Counts.f1, Counts.jaccard)
    for average in get_args(classification_metrics.Average)
}
"""Metrics that can be 0 / 0; they take `zero_division`."""
DECISION_METRICS = ("accuracy", "hamming_loss", *RATIO_METRICS)
"""Metrics of predicted labels; all others are metrics of probabilities."""
CURVE_METRICS: Mapping[str, Metric] = {
    f"{function.__name__}_{average}": partial(function, average=average)
    for function in (ranking_metrics.roc_auc, ranking_metrics.average_precision)
    for average in ("micro", "macro")
}
TOP_K_METRICS: Mapping[str, Callable[..., float]] = {
    "precision_at": ranking_metrics.precision_at,
    "ndcg_at": ranking_metrics.ndcg_at,
}
"""Metrics of a row's top k labels; k is part of the name, as in `precision_at_3`."""
UNBOUNDED_METRICS = ("coverage_error", "log_loss")
"""Metrics that range from 0 to infinity; all others range from 0 to 1."""


def find_metric(name: str, zero_division: float, key: str = CONFIG_KEY) -> Metric:
    """Return the metric of that name.

    Args:
        name: Name of a metric, or the dotted path of the user's own.
        zero_division: Value of a metric that is 0 / 0.
        key: Configuration key of the name, for the error message.

    Raises:
        UserError: If the metric is unknown or cannot be imported.
    """
    if "." in name:
        return partial(call_own, import_callable(key, name), name)
    if name in RATIO_METRICS:
        return partial(RATIO_METRICS[name], zero_division=zero_division)
    if first := re.fullmatch(r"(\w+)_([1-9]\d*)", name):
        family, k = first.groups()
        if family in TOP_K_METRICS:
            return partial(TOP_K_METRICS[family], k=int(k))
    try:
        return {**BASIC_METRICS, **CURVE_METRICS}[name]
    except KeyError:
        raise UserError(f"{key}: unknown name {name!r}. {_hint(name)}") from None


def short_name(name: str) -> str:
    """Return the name of a metric in tables and in MLflow: the last part of a dotted path."""
    return name.rpartition(".")[2]


def metric_title(name: str) -> str:
    """Return the title of a metric: `Hamming loss` for `hamming_loss`."""
    title = " ".join(ABBREVIATIONS.get(part, part) for part in name.split("_"))
    return title[:1].upper() + title[1:] if title.split(" ")[0].islower() else title


def describe_metric(name: str, summary: MetricSummary) -> str:
    """Return a metric in a line: `Accuracy: 0.803 (0.037), 95% interval 0.774 to 0.832`."""
    formatted = format_summary(summary)
    title = "windows" if summary.windows else "95% interval"
    interval = f", {title} {formatted.interval}" if formatted.interval else ""
    return f"{metric_title(name)}: {formatted.headline}{interval}"


def lower_is_better(name: str, greater_is_better: Mapping[str, bool]) -> bool:
    """Return whether lower values of a metric are better.

    The setting decides for the user's own metrics, and else the name by scikit-learn's rule: names
    that end in `loss` or `error` are minimized, all others maximized, except the Brier score.

    Args:
        name: Name of the metric, or its dotted path.
        greater_is_better: The setting `scoring.greater_is_better`.
    """
    metric = short_name(name)
    if metric in greater_is_better:
        return not greater_is_better[metric]
    return metric.split("_")[-1] in {"loss", "error"} or metric == "brier_score"


def check_directions(greater_is_better: Mapping[str, bool], metrics: Iterable[str]) -> None:
    """Check that the direction of each of the user's own metrics is known, and of no other set.

    Args:
        greater_is_better: The setting `scoring.greater_is_better`.
        metrics: Names of all metrics that scores, thresholds or a search use.

    Raises:
        UserError: If a direction is missing, or is set for another metric.
    """
    own = {short_name(name): name for name in metrics if "." in name}
    for name in greater_is_better.keys() - own.keys():
        raise UserError(
            f"{DIRECTION_KEY}: expected names of your own metrics, without their module: "
            f"{', '.join(own) or 'there are none'}. Received: {name!r}. Others need no direction."
        )
    for name, path in own.items():
        if name not in greater_is_better and name.split("_")[-1] not in SUFFIXES:
            raise UserError(
                f"{DIRECTION_KEY}: missing for {path}, whose name ends neither in _score, nor in "
                f"_loss or _error. Add '{DIRECTION_KEY}={{{name}: true}}' if higher values are "
                f"better, '{DIRECTION_KEY}={{{name}: false}}' if lower ones are."
            )


def metric_range(name: str) -> tuple[float, float]:
    """Return the smallest and the largest possible value of a metric.

    The range of the user's own metrics, with a dotted path, is unknown, hence infinite.
    """
    if "." in name:
        return -np.inf, np.inf
    return 0.0, np.inf if name in UNBOUNDED_METRICS else 1.0


def explain_metric(name: str) -> str:
    """Return the first line of the docstring of a metric, or an empty text."""
    function: object = find_metric(name, zero_division=0.0)
    while isinstance(function, partial):
        is_wrapped = function.func in (call_own, mean_ratio)
        function = function.args[0] if is_wrapped else function.func
    line = (getattr(function, "__doc__", None) or "").strip().partition("\n")[0]
    line = line.removeprefix("Return ").strip()
    return line[:1].upper() + line[1:]


def check_metrics(config: ScoringConfig) -> None:
    """Raise UserError if a configured metric does not exist or appears twice."""
    names = [short_name(name) for name in config.metrics]
    for i, name in enumerate(config.metrics):
        find_metric(name, config.zero_division)
        if names[i] in names[:i]:
            raise UserError(f"{CONFIG_KEY}: expected each name once. Received: {names[i]!r} twice.")


def _hint(name: str) -> str:
    """Return the most similar metric names, and all names with their averages and k."""
    number = re.search(r"\d+$", name)
    k = max(int(number[0]), 1) if number else 1
    names = [
        *BASIC_METRICS,
        *RATIO_METRICS,
        *CURVE_METRICS,
        *(f"{family}_{k}" for family in TOP_K_METRICS),
    ]
    families: dict[str, list[str]] = {}
    for metric in (*RATIO_METRICS, *CURVE_METRICS):
        family, _, average = metric.rpartition("_")
        families.setdefault(family, []).append(average)
    listed = [*BASIC_METRICS, *(f"{family}_<k>" for family in TOP_K_METRICS)]
    listed += [f"{family}_{'|'.join(averages)}" for family, averages in families.items()]
    own = " Or the dotted path of your own: my_module.my_metric(y_true, y_score, y_pred)."
    return suggest(name, names, listed) + own


@dataclass(frozen=True)
class FoldScores:
    """Scores of one fold.

    Attributes:
        values: Score by metric name; NaN where undefined.
        n_undefined_labels: Labels that a macro metric skips, as undefined or because no row of the
            fold knows them, by metric name.
    """

    values: dict[str, float]
    n_undefined_labels: dict[str, int]


def score(
    config: ScoringConfig,
    y_true: Labels,
    y_score: Scores,
    y_pred: Labels,
    mask: Mask = None,
    sample_weight: Weights = None,
) -> FoldScores:
    """Compute the configured metrics of one fold.

    Args:
        config: Names of the metrics and the value of 0 / 0.
        y_true: Indicator matrix of shape (n_test, n_labels).
        y_score: Probabilities of the same shape.
        y_pred: Predicted labels of the same shape, values {0, 1}.
        mask: True where a label is known, of the same shape; None if all are.
        sample_weight: Weight of each row, of shape (n_test,), or None.

    Raises:
        UserError: If the user's own metric raises or does not return a number.
        ValueError: If the shapes differ.
    """
    shapes = {y_true.shape, y_score.shape, y_pred.shape}
    if len(shapes) > 1:
        raise ValueError(f"Expected equal shapes. Received: {', '.join(map(str, shapes))}")
    values = {
        short_name(name): find_metric(name, config.zero_division)(
            y_true, y_score, y_pred, mask, sample_weight
        )
        for name in config.metrics
    }
    defined = {name for name, value in values.items() if np.isfinite(value)}
    counted = slice(None) if sample_weight is None else sample_weight > 0
    y_true, mask = y_true[counted], None if mask is None else mask[counted]
    never = ~y_true.any(axis=0)
    always = (y_true if mask is None else y_true | ~mask).all(axis=0)
    n_unknown = 0 if mask is None else int((~mask.any(axis=0)).sum())
    n_undefined = {
        **{name: n_unknown for name in RATIO_METRICS if name.endswith("_macro")},
        "roc_auc_macro": int((never | always).sum()),
        "average_precision_macro": int(never.sum()),
    }
    return FoldScores(values, {name: n for name, n in n_undefined.items() if n and name in defined})


def label_scores(
    zero_division: float,
    y_true: Labels,
    y_score: Scores,
    y_pred: Labels,
    mask: Mask = None,
    sample_weight: Weights = None,
) -> dict[str, NDArray[np.float64]]:
    """Compute the scores of each label by metric name; each array is of shape (n_labels,).

    ROC AUC is NaN for labels that are always or never present, average precision for labels that
    are never present; precision, recall and F1 are `zero_division` for 0 / 0, and NaN for labels
    that no row knows. `support` is not weighted.
    """
    counts = Counts.of(y_true, y_pred, "macro", weigh_cells(mask, sample_weight, y_true.shape))
    unknown = np.zeros(1, dtype=bool) if mask is None else ~mask.any(axis=0)
    ratios = {
        ratio.__name__: np.where(unknown, np.nan, ratio(counts, zero_division))
        for ratio in (Counts.precision, Counts.recall, Counts.f1)
    }
    roc_auc, average_precision = label_ranking_scores(y_true, y_score, mask, sample_weight)
    return {
        "support": y_true.sum(axis=0, dtype=np.float64),
        **ratios,
        "roc_auc": roc_auc,
        "average_precision": average_precision,
    }
