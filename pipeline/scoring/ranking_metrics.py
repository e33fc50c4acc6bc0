"""Metrics of the ranking of labels or rows by their scores."""

from typing import Literal

import numpy as np

from pipeline.scoring.classification_metrics import (
    Labels,
    Mask,
    Scores,
    Weights,
    mask_rows,
    mean_metric,
)
from pipeline.scoring.label_ranking import (
    Ranked,
    Values,
    average_precision_of,
    hide_unknown,
    label_average_precision,
    label_roc_auc,
)


@mean_metric
def one_error(y_true: Labels, y_score: Scores, y_pred: Labels, mask: Mask = None) -> Values:
    """Return the fraction of rows whose top label is not true; rows without labels are errors."""
    first = np.where(np.arange(y_true.shape[1]) < 1, 1.0, 0.0)
    return mask_rows(1.0 - _gain(_rank_labels(y_true, y_score, mask), first), mask)


@mean_metric
def coverage_error(y_true: Labels, y_score: Scores, y_pred: Labels, mask: Mask = None) -> Values:
    """Return the mean number of top labels that include all true labels.

    As in scikit-learn, the best value is the mean number of labels per row (Schapire and Singer
    count one less), and a row without labels counts 0.
    """
    lowest = np.where(y_true == 1, y_score, np.inf).min(axis=1, keepdims=True)
    if mask is not None:
        y_score = hide_unknown(y_score, mask)
    return mask_rows(np.asarray((y_score >= lowest).sum(axis=1), dtype=np.float64), mask)


@mean_metric
def label_ranking_loss(
    y_true: Labels, y_score: Scores, y_pred: Labels, mask: Mask = None
) -> Values:
    """Return the fraction of a row's pairs (true label, other label) in the wrong order.

    Pairs of equal scores are wrong; a row without such pairs counts 0.
    """
    ranked = _rank_labels(y_true, y_score, mask)
    n_others = (y_true.shape[1] if mask is None else mask.sum(axis=1)) - ranked.n_relevant
    wrong = (ranked.relevant * (ranked.n_at_or_above - ranked.n_relevant_at_or_above)).sum(axis=1)
    losses: Values = wrong / np.maximum(ranked.n_relevant * n_others, 1)
    return mask_rows(losses, mask)


@mean_metric
def label_ranking_average_precision(
    y_true: Labels, y_score: Scores, y_pred: Labels, mask: Mask = None
) -> Values:
    """Return the mean precision of a row's ranking at each of its true labels.

    1 is best; a row without labels counts 1, as in scikit-learn.
    """
    precisions = average_precision_of(_rank_labels(y_true, y_score, mask))
    return mask_rows(np.where(np.isnan(precisions), 1.0, precisions), mask)


@mean_metric
def precision_at(
    y_true: Labels, y_score: Scores, y_pred: Labels, mask: Mask = None, *, k: int
) -> Values:
    """Return the fraction of a row's top k labels that are true.

    With fewer than k labels, all count as top labels. A row without true labels counts 0.

    References:
        Prabhu and Varma, FastXML, KDD 2014.
    """
    n_first = min(k, y_true.shape[1])
    weights = np.where(np.arange(y_true.shape[1]) < k, 1 / n_first, 0.0)
    precisions = _gain(_rank_labels(y_true, y_score, mask), weights)
    if mask is not None:
        precisions *= n_first / np.clip(mask.sum(axis=1), 1, k)
    return mask_rows(precisions, mask)


@mean_metric
def ndcg_at(
    y_true: Labels, y_score: Scores, y_pred: Labels, mask: Mask = None, *, k: int
) -> Values:
    """Return the normalised discounted cumulative gain of a row's top k labels.

    The gain of a true label at rank i is 1 / log2(i + 1); the sum is divided by that of the best
    ranking. A row without true labels counts 0, as in scikit-learn.

    References:
        Jaervelin and Kekaelaeinen, Cumulated Gain-based Evaluation, TOIS 20, 2002.
    """
    index = np.arange(y_true.shape[1])
    weights = np.where(index < k, 1 / np.log2(index + 2), 0.0)
    ranked = _rank_labels(y_true, y_score, mask)
    best = np.concatenate([[1.0], weights.cumsum()])[ranked.n_relevant]  # 0 / 1 without labels
    gains: Values = _gain(ranked, weights) / best
    return mask_rows(gains, mask)


def roc_auc(
    y_true: Labels,
    y_score: Scores,
    y_pred: Labels,
    mask: Mask = None,
    sample_weight: Weights = None,
    *,
    average: Literal["micro", "macro"],
) -> float:
    """Return the fraction of pairs in which the true entry scores higher; equal scores count half.

    Macro is the mean over labels, without those that are always or never present; micro ranks all
    entries of the table together.

    References:
        Fawcett, An Introduction to ROC Analysis, Pattern Recognition Letters 27, 2006.
    """
    cells = (y_true, y_score, mask, sample_weight)
    return mean_of_defined(label_roc_auc(*(_to_column(*cells) if average == "micro" else cells)))


def average_precision(
    y_true: Labels,
    y_score: Scores,
    y_pred: Labels,
    mask: Mask = None,
    sample_weight: Weights = None,
    *,
    average: Literal["micro", "macro"],
) -> float:
    """Return the area under the precision-recall curve as a sum of steps, without interpolation.

    Macro is the mean over labels, without those that are never present (for which scikit-learn
    returns 0); micro ranks all entries of the table together.

    References:
        Davis and Goadrich, The Relationship Between Precision-Recall and ROC Curves, ICML 2006.
    """
    cells = (y_true, y_score, mask, sample_weight)
    return mean_of_defined(
        label_average_precision(*(_to_column(*cells) if average == "micro" else cells))
    )


def _to_column(
    y_true: Labels, y_score: Scores, mask: Mask, sample_weight: Weights
) -> tuple[Labels, Scores, Mask, Weights]:
    """Return the cells of a table as the rows of a single label."""
    if sample_weight is not None:
        sample_weight = np.repeat(sample_weight, y_true.shape[1])
    mask = None if mask is None else mask.reshape(-1, 1)
    return y_true.reshape(-1, 1), y_score.reshape(-1, 1), mask, sample_weight


def _rank_labels(y_true: Labels, y_score: Scores, mask: Mask) -> Ranked:
    """Rank the labels of each row; those that are not known are last, and not true."""
    return Ranked.of(y_true, y_score if mask is None else hide_unknown(y_score, mask))


def mean_of_defined(values: Values) -> float:
    """Return the mean of the values that are not NaN, or NaN if there are none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else np.nan


def _gain(ranked: Ranked, weights: Values) -> Values:
    """Sum the weights of the ranks of each row's true entries; ties get their mean weight."""
    sums = np.concatenate([[0.0], weights.cumsum()])
    mean_weights = (sums[ranked.n_at_or_above] - sums[ranked.n_above]) / (
        ranked.n_at_or_above - ranked.n_above
    )
    gain: Values = (ranked.relevant * mean_weights).sum(axis=1)
    return gain
