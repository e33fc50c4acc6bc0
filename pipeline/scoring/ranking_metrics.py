"""Ranking metrics."""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.scoring.classification_metrics import Labels, Scores

Places = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Ranked:
    """Each row's entries, highest score first; entries of equal score share their places.

    A row may be a sample (its labels compete), a label (the samples compete) or the whole table.

    Attributes:
        relevant: 1 where true, 0 elsewhere.
        above: How many entries of the row have a higher score.
        through: How many have that score or a higher one.
        relevant_above: How many of `above` are true.
        relevant_through: How many of `through` are true.
        n_relevant: How many of the row's entries are true; one number for each row.
    """

    relevant: Places
    above: Places
    through: Places
    relevant_above: Places
    relevant_through: Places
    n_relevant: Places

    @classmethod
    def of(cls, y_true: Labels, y_score: Scores) -> Self:
        """Return the rows, each in its own order."""
        order = np.argsort(-y_score, axis=1)
        scores = np.take_along_axis(y_score, order, axis=1)
        relevant = np.take_along_axis(y_true, order, axis=1).astype(np.int64)
        n_rows, n = scores.shape
        differs = scores[:, 1:] != scores[:, :-1]
        edge = np.ones((n_rows, 1), dtype=bool)
        starts = np.where(np.hstack([edge, differs]), np.arange(n), 0)
        ends = np.where(np.hstack([differs, edge]), np.arange(1, n + 1), n)
        above = np.maximum.accumulate(starts, axis=1)
        through = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
        found = np.zeros((n_rows, n + 1), dtype=np.int64)
        np.cumsum(relevant, axis=1, out=found[:, 1:])
        return cls(
            relevant,
            above,
            through,
            np.take_along_axis(found, above, axis=1),
            np.take_along_axis(found, through, axis=1),
            found[:, -1],
        )


Values = NDArray[np.float64]


def one_error(y_true: Labels, y_score: Scores, y_pred: Labels) -> float:
    """Return the share of rows whose first label is not true; rows without labels are errors."""
    first = np.where(np.arange(y_true.shape[1]) < 1, 1.0, 0.0)
    return float((1.0 - _gain(Ranked.of(y_true, y_score), first)).mean())


def coverage_error(y_true: Labels, y_score: Scores, y_pred: Labels) -> float:
    """Return how far down the ranking all true labels are covered, as a mean number of labels.

    scikit-learn's convention: the best is the number of labels per row (Schapire and Singer count
    one less); a row without labels counts 0.
    """
    lowest = np.where(y_true == 1, y_score, np.inf).min(axis=1, keepdims=True)
    return float((y_score >= lowest).sum(axis=1).mean())


def label_ranking_loss(y_true: Labels, y_score: Scores, y_pred: Labels) -> float:
    """Return the share of a row's pairs (true label, other label) that are not in that order.

    Pairs of equal scores are wrong; a row with no such pair counts 0.
    """
    ranked = Ranked.of(y_true, y_score)
    n_others = y_true.shape[1] - ranked.n_relevant
    wrong = (ranked.relevant * (ranked.through - ranked.relevant_through)).sum(axis=1)
    return float((wrong / np.maximum(ranked.n_relevant * n_others, 1)).mean())


def label_ranking_average_precision(y_true: Labels, y_score: Scores, y_pred: Labels) -> float:
    """Return the mean precision of a row's ranking at each of its true labels.

    1 is best; a row without labels counts 1, as in scikit-learn.
    """
    found = _average_precision(Ranked.of(y_true, y_score))
    return float(np.where(np.isnan(found), 1.0, found).mean())


def precision_at(y_true: Labels, y_score: Scores, y_pred: Labels, *, k: int) -> float:
    """Return how many of a row's first k labels are true; of all labels where there are fewer.

    A row without labels counts 0.

    References:
        Prabhu and Varma, FastXML, KDD 2014.
    """
    n_first = min(k, y_true.shape[1])
    weights = np.where(np.arange(y_true.shape[1]) < k, 1 / n_first, 0.0)
    return float(_gain(Ranked.of(y_true, y_score), weights).mean())


def ndcg_at(y_true: Labels, y_score: Scores, y_pred: Labels, *, k: int) -> float:
    """Return the normalised discounted cumulative gain of a row's first k labels.

    A true label at place i is worth 1 / log2(i + 1); the sum is divided by that of the best
    ranking. A row without labels counts 0, as in scikit-learn.

    References:
        Jaervelin and Kekaelaeinen, Cumulated Gain-based Evaluation, TOIS 20, 2002.
    """
    places = np.arange(y_true.shape[1])
    weights = np.where(places < k, 1 / np.log2(places + 2), 0.0)
    ranked = Ranked.of(y_true, y_score)
    best = np.concatenate([[1.0], weights.cumsum()])[ranked.n_relevant]  # 0 / 1 without labels
    return float((_gain(ranked, weights) / best).mean())


def roc_auc(
    y_true: Labels, y_score: Scores, y_pred: Labels, *, average: Literal["micro", "macro"]
) -> float:
    """Return how often a true entry scores higher than another one, equal scores counting half.

    Macro is the mean over labels, without those that are always or never present; micro ranks all
    entries of the table together.

    References:
        Fawcett, An Introduction to ROC Analysis, Pattern Recognition Letters 27, 2006.
    """
    if average == "micro":
        y_true, y_score = y_true.reshape(-1, 1), y_score.reshape(-1, 1)
    return mean_of_defined(label_roc_auc(y_true, y_score))


def average_precision(
    y_true: Labels, y_score: Scores, y_pred: Labels, *, average: Literal["micro", "macro"]
) -> float:
    """Return the area under the precision-recall curve, in steps: no interpolation flatters it.

    Macro is the mean over labels, without those that are never present (for which scikit-learn
    says 0); micro ranks all entries of the table together.

    References:
        Davis and Goadrich, The Relationship Between Precision-Recall and ROC Curves, ICML 2006.
    """
    if average == "micro":
        y_true, y_score = y_true.reshape(-1, 1), y_score.reshape(-1, 1)
    return mean_of_defined(label_average_precision(y_true, y_score))


def label_roc_auc(y_true: Labels, y_score: Scores) -> Values:
    """Return the ROC-AUC of each label, NaN for those that are always or never present."""
    ranked = Ranked.of(y_true.T, y_score.T)
    n_others = len(y_true) - ranked.n_relevant
    others = ranked.through + ranked.above - ranked.relevant_through - ranked.relevant_above
    wrong = (ranked.relevant * others).sum(axis=1) / 2
    n_pairs = ranked.n_relevant * n_others
    return 1.0 - _divide(wrong, n_pairs)


def label_average_precision(y_true: Labels, y_score: Scores) -> Values:
    """Return the average precision of each label, NaN for those that are never present."""
    return _average_precision(Ranked.of(y_true.T, y_score.T))


def mean_of_defined(values: Values) -> float:
    """Return the mean without NaNs, NaN if nothing remains."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else np.nan


def _average_precision(ranked: Ranked) -> Values:
    """Return the mean precision at each row's true entries, NaN for rows that have none."""
    total = (ranked.relevant * ranked.relevant_through / ranked.through).sum(axis=1)
    return _divide(total, ranked.n_relevant)


def _divide(part: Values, whole: Places) -> Values:
    quotient: Values = np.full(part.shape, np.nan)
    np.divide(part, whole, out=quotient, where=whole > 0)
    return quotient


def _gain(ranked: Ranked, weights: Values) -> Values:
    """Return each row's sum of the weights of its true entries' places.

    Entries of equal score share the mean of the weights of their places.
    """
    sums = np.concatenate([[0.0], weights.cumsum()])
    shared = (sums[ranked.through] - sums[ranked.above]) / (ranked.through - ranked.above)
    gain: Values = (ranked.relevant * shared).sum(axis=1)
    return gain
