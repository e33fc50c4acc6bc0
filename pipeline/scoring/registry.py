"""Every metric by its name in the configuration: scikit-learn's where it has one."""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from numbers import Real
from traceback import extract_tb
from typing import get_args

import numpy as np

from pipeline.callables import import_callable
from pipeline.config import ScoringConfig
from pipeline.errors import UserError, choices
from pipeline.scoring import decisions, probabilities, ranking
from pipeline.scoring.arrays import Labels, Metric, Scores

KEY = "scoring.metrics"
ABBREVIATIONS = {"roc": "ROC", "auc": "AUC", "ndcg": "nDCG"}


def _names(functions: Iterable[Metric]) -> dict[str, Metric]:
    return {function.__name__: function for function in functions}


PLAIN: Mapping[str, Metric] = _names(
    (
        decisions.accuracy,
        decisions.hamming_loss,
        ranking.one_error,
        ranking.coverage_error,
        ranking.label_ranking_loss,
        ranking.label_ranking_average_precision,
        probabilities.log_loss,
        probabilities.brier_score,
        probabilities.expected_calibration_error,
    )
)
"""Metrics that need no more to be said."""

QUOTIENTS: Mapping[str, Callable[..., float]] = {
    f"{function.__name__}_{average}": partial(function, average=average)
    for function in (decisions.precision, decisions.recall, decisions.f1, decisions.jaccard)
    for average in get_args(decisions.Average)
}
"""Metrics that may be 0 / 0; they take `zero_division`."""

DECIDED = ("accuracy", "hamming_loss", *QUOTIENTS)
"""Metrics that depend on decisions; all others rank or weigh probabilities."""

AREAS: Mapping[str, Metric] = {
    f"{function.__name__}_{average}": partial(function, average=average)
    for function in (ranking.roc_auc, ranking.average_precision)
    for average in ("micro", "macro")
}

FIRST: Mapping[str, Callable[..., float]] = {
    "precision_at": ranking.precision_at,
    "ndcg_at": ranking.ndcg_at,
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
        raise UserError(f"{key}: unknown name {name!r}. {_counsel(name)}") from None


def short_name(name: str) -> str:
    """Return what a metric is called in tables and in MLflow: the last part of a dotted path."""
    return name.rpartition(".")[2]


def in_words(name: str) -> str:
    """Return a metric's name as words: `hamming_loss` is `Hamming loss`."""
    words = " ".join(ABBREVIATIONS.get(word, word) for word in name.split("_"))
    return words[:1].upper() + words[1:] if words.split(" ")[0].islower() else words


def lower_is_better(name: str) -> bool:
    """Return whether less of a metric is better, as its name tells.

    scikit-learn's rule, which a user's own metric can follow, too: what ends in `loss` or `error`
    is to be minimised, all else maximised. The Brier score is older than the rule.
    """
    short = short_name(name)
    return short.split("_")[-1] in {"loss", "error"} or short == "brier_score"


def explain(name: str) -> str:
    """Return what a metric is, in a line: the first of its function's docstring, if it has one."""
    function: object = find_metric(name, zero_division=0.0)
    while isinstance(function, partial):
        function = function.args[1] if function.func is _call_own else function.func
    line = (getattr(function, "__doc__", None) or "").strip().partition("\n")[0]
    line = line.removeprefix("Return ").strip()
    return line[:1].upper() + line[1:]


def refuse_unknown_metrics(config: ScoringConfig) -> None:
    """Raise UserError if a metric of the configuration does not exist or comes twice."""
    names = [short_name(name) for name in config.metrics]
    _refuse_undecided(config)
    for i, name in enumerate(config.metrics):
        find_metric(name, config.zero_division)
        if names[i] in names[:i]:
            raise UserError(f"{KEY}: expected each name once. Received: {names[i]!r} twice.")


def _refuse_undecided(config: ScoringConfig) -> None:
    """Raise UserError if thresholds are to be tuned for what does not depend on decisions."""
    key, name = "scoring.threshold_metric", config.threshold_metric
    find_metric(name, config.zero_division, key)
    if name not in DECIDED and "." not in name and config.threshold in ("global", "per_label"):
        raise UserError(
            f"{key}: expected a metric of decisions, which a threshold can change. Received: "
            f"{name!r}, of probabilities. {choices(name, DECIDED)}"
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


def _counsel(name: str) -> str:
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
    return choices(name, known, listed) + own
