"""Look up metrics by name and score a fold."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from numbers import Real
from traceback import extract_tb
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from pipeline.config import ScoringConfig
from pipeline.errors import UserError, suggest
from pipeline.runtime import import_callable
from pipeline.scoring import classification_metrics, ranking_metrics
from pipeline.scoring.classification_metrics import Counts, Labels, Metric, Scores
from pipeline.scoring.ranking_metrics import label_average_precision, label_roc_auc

KEY = "scoring.metrics"
ABBREVIATIONS = {"roc": "ROC", "auc": "AUC", "ndcg": "nDCG"}


def _names(functions: Iterable[Metric]) -> dict[str, Metric]:
    return {function.__name__: function for function in functions}


PLAIN: Mapping[str, Metric] = _names(
    (
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
)
"""Metrics that need no more to be said."""
QUOTIENTS: Mapping[str, Callable[..., float]] = {
    f"{function.__name__}_{average}": partial(function, average=average)
    for function in (
        classification_metrics.precision,
        classification_metrics.recall,
        classification_metrics.f1,
        classification_metrics.jaccard,
    )
    for average in get_args(classification_metrics.Average)
}
"""Metrics that may be 0 / 0; they take `zero_division`."""
DECIDED = ("accuracy", "hamming_loss", *QUOTIENTS)
"""Metrics that depend on decisions; all others rank or weigh probabilities."""
AREAS: Mapping[str, Metric] = {
    f"{function.__name__}_{average}": partial(function, average=average)
    for function in (ranking_metrics.roc_auc, ranking_metrics.average_precision)
    for average in ("micro", "macro")
}
FIRST: Mapping[str, Callable[..., float]] = {
    "precision_at": ranking_metrics.precision_at,
    "ndcg_at": ranking_metrics.ndcg_at,
}
"""Metrics of a row's first k labels; k is in the name, as in `precision_at_3`."""


def find_metric(name: str, zero_division: float, key: str = KEY) -> Metric:
    """Return the metric of that name.

    Args:
        name: One of Manyfold's, or the dotted path of the user's own.
        zero_division: What 0 / 0 counts.
        key: The configuration key that names it, for the message.

    Raises:
        UserError: If there is none.
    """
    if "." in name:
        return partial(_call_own, name, import_callable(key, name))
    if name in QUOTIENTS:
        return partial(QUOTIENTS[name], zero_division=zero_division)
    if first := re.fullmatch(r"(\w+)_([1-9]\d*)", name):
        family, k = first.groups()
        if family in FIRST:
            return partial(FIRST[family], k=int(k))
    try:
        return {**PLAIN, **AREAS}[name]
    except KeyError:
        raise UserError(f"{key}: unknown name {name!r}. {_hint(name)}") from None


def short_name(name: str) -> str:
    """Return what a metric is called in tables and in MLflow: the last part of a dotted path."""
    return name.rpartition(".")[2]


def metric_title(name: str) -> str:
    """Return a metric's name as words: `hamming_loss` is `Hamming loss`."""
    words = " ".join(ABBREVIATIONS.get(word, word) for word in name.split("_"))
    return words[:1].upper() + words[1:] if words.split(" ")[0].islower() else words


def lower_is_better(name: str) -> bool:
    """Return whether less of a metric is better, as its name tells.

    scikit-learn's rule, which a user's own metric can follow, too: what ends in `loss` or `error`
    is to be minimised, all else maximised. The Brier score is older than the rule.
    """
    shorten = short_name(name)
    return shorten.split("_")[-1] in {"loss", "error"} or shorten == "brier_score"


def explain_metric(name: str) -> str:
    """Return what a metric is, in a line: the first of its function's docstring, if it has one."""
    function: object = find_metric(name, zero_division=0.0)
    while isinstance(function, partial):
        function = function.args[1] if function.func is _call_own else function.func
    line = (getattr(function, "__doc__", None) or "").strip().partition("\n")[0]
    line = line.removeprefix("Return ").strip()
    return line[:1].upper() + line[1:]


def check_metrics(config: ScoringConfig) -> None:
    """Raise UserError if a metric of the configuration does not exist or comes twice."""
    names = [short_name(name) for name in config.metrics]
    _check_threshold_metric(config)
    for i, name in enumerate(config.metrics):
        find_metric(name, config.zero_division)
        if names[i] in names[:i]:
            raise UserError(f"{KEY}: expected each name once. Received: {names[i]!r} twice.")


def _check_threshold_metric(config: ScoringConfig) -> None:
    """Raise UserError if thresholds are to be tuned for what does not depend on decisions."""
    key, name = "scoring.threshold_metric", config.threshold_metric
    find_metric(name, config.zero_division, key)
    if name not in DECIDED and "." not in name and config.threshold in ("global", "per_label"):
        raise UserError(
            f"{key}: expected a metric of decisions, which a threshold can change. Received: "
            f"{name!r}, of probabilities. {suggest(name, DECIDED)}"
        )


def _call_own(
    name: str, function: Callable[..., object], y_true: Labels, y_score: Scores, y_pred: Labels
) -> float:
    """Call the user's own metric on tables that it cannot change, and check what it returns."""
    tables = [table.view() for table in (y_true, y_score, y_pred)]
    for table in tables:
        table.flags.writeable = False
    expected = f"{KEY}: expected {name}(y_true, y_score, y_pred) to return a number"
    try:
        value = function(*tables)
    except Exception as error:
        place = extract_tb(error.__traceback__)[-1]
        raise UserError(
            f"{expected}. Received: {type(error).__name__}: {error} "
            f"({place.filename}, line {place.lineno})."
        ) from error
    if not isinstance(value, Real) or isinstance(value, bool):
        of_shape = f" of shape {value.shape}" if isinstance(value, np.ndarray) else ""
        raise UserError(f"{expected}. Received: {type(value).__name__}{of_shape}.")
    return float(value)


def _hint(name: str) -> str:
    """Return the nearest names there are, and all of them by family."""
    number = re.search(r"\d+$", name)
    k = max(int(number[0]), 1) if number else 1
    known = [*PLAIN, *QUOTIENTS, *AREAS, *(f"{family}_{k}" for family in FIRST)]
    families: dict[str, list[str]] = {}
    for metric in (*QUOTIENTS, *AREAS):
        family, _, average = metric.rpartition("_")
        families.setdefault(family, []).append(average)
    listed = [*PLAIN, *(f"{family}_<k>" for family in FIRST)]
    listed += [f"{family}_{'|'.join(averages)}" for family, averages in families.items()]
    own = " Or the dotted path of your own: my_module.my_metric(y_true, y_score, y_pred)."
    return suggest(name, known, listed) + own


@dataclass(frozen=True)
class FoldScores:
    """What the metrics say of one fold.

    Attributes:
        values: Each metric by name; NaN where undefined.
        n_undefined_labels: Labels that a macro metric skips as undefined, by metric name.
    """

    values: dict[str, float]
    n_undefined_labels: dict[str, int]


def score(config: ScoringConfig, y_true: Labels, y_score: Scores, y_pred: Labels) -> FoldScores:
    """Return each metric of the configuration for one fold.

    Args:
        config: Metrics, and what 0 / 0 counts.
        y_true: Indicator matrix of shape (n_test, n_labels).
        y_score: Probabilities of the same shape.
        y_pred: Decisions of the same shape, values {0, 1}.

    Raises:
        UserError: If a metric of the user's own raises or returns what is not a number.
        ValueError: If the shapes differ.
    """
    shapes = {y_true.shape, y_score.shape, y_pred.shape}
    if len(shapes) > 1:
        raise ValueError(f"Expected equal shapes. Received: {', '.join(map(str, shapes))}")
    values = {
        short_name(name): find_metric(name, config.zero_division)(y_true, y_score, y_pred)
        for name in config.metrics
    }
    defined = {name for name, value in values.items() if np.isfinite(value)}
    n_undefined_labels = {
        name: n for name, n in _n_undefined(y_true).items() if n and name in defined
    }
    return FoldScores(values, n_undefined_labels)


def label_scores(
    config: ScoringConfig, y_true: Labels, y_score: Scores, y_pred: Labels
) -> dict[str, NDArray[np.float64]]:
    """Return the scores of each label alone, by name; each array is of shape (n_labels,).

    ROC-AUC is NaN for a label that is always or never present, average precision for one that is
    never present; precision, recall and F1 count `zero_division` for 0 / 0.
    """
    counts = Counts.of(y_true, y_pred, "macro")
    return {
        "support": counts.true.astype(np.float64),
        "precision": counts.precision(config.zero_division),
        "recall": counts.recall(config.zero_division),
        "f1": counts.f1(config.zero_division),
        "roc_auc": label_roc_auc(y_true, y_score),
        "average_precision": label_average_precision(y_true, y_score),
    }


def check_finite(y_score: Scores) -> None:
    """Raise UserError if probabilities are not numbers."""
    broken = ~np.isfinite(y_score).all(axis=1)
    if broken.any():
        raise UserError(
            f"Expected probabilities. Received: NaN for {broken.sum()} of {len(y_score)} held-out "
            "rows: the training of a fold diverged. Lower training.learning_rate, put features on "
            "one scale (preparation=standard), or limit the gradients "
            "('training.optimizer_options={clipnorm: 1.0}')."
        )


def _n_undefined(y_true: Labels) -> dict[str, int]:
    never, always = ~y_true.any(axis=0), y_true.all(axis=0)
    return {
        "roc_auc_macro": int((never | always).sum()),
        "average_precision_macro": int(never.sum()),
    }
