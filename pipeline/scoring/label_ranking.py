"""Rank entries by their scores, and score the ranking of the rows of each label."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.scoring.classification_metrics import Labels, Mask, Scores, Weights, weigh_cells

Values = NDArray[np.float64]
MAX_RANKED = 2**20  # cells that are ranked at once
MAX_INT32 = 2**30  # cells, of which twice the number is an int32


@dataclass(frozen=True, eq=False)
class Ranked:
    """The entries of each row, ordered by descending score.

    A row is a sample whose labels are ranked, a label whose samples are ranked, or the whole table.
    Entries of equal score have equal numbers. With weights, numbers of entries are sums of weights.

    Attributes:
        relevant: 1 for true entries, 0 for others, of shape (n_rows, n_entries).
        n_above: Number of entries with a higher score, of the same shape.
        n_at_or_above: Number of entries with an equal or higher score.
        n_relevant_above: Number of true entries with a higher score.
        n_relevant_at_or_above: Number of true entries with an equal or higher score.
        n_relevant: Number of true entries of each row, of shape (n_rows,).
    """

    relevant: NDArray[Any]
    n_above: NDArray[Any]
    n_at_or_above: NDArray[Any]
    n_relevant_above: NDArray[Any]
    n_relevant_at_or_above: NDArray[Any]
    n_relevant: NDArray[Any]

    @classmethod
    def of(cls, y_true: Labels, y_score: Scores, weights: Weights = None) -> Self:
        """Rank the entries of each row, which may have positive weights."""
        integer = np.int32 if y_true.size < MAX_INT32 else np.int64  # half of the memory
        order = np.argsort(-y_score, axis=1)
        scores = np.take_along_axis(y_score, order, axis=1)
        relevant: NDArray[Any] = np.take_along_axis(y_true, order, axis=1).astype(integer)
        n_rows, n = scores.shape
        differs = scores[:, 1:] != scores[:, :-1]
        edge = np.ones((n_rows, 1), dtype=bool)  # the first and the last entry end a group of ties
        starts = np.where(np.hstack([edge, differs]), np.arange(n, dtype=integer), integer(0))
        positions = np.arange(1, n + 1, dtype=integer)
        ends = np.where(np.hstack([differs, edge]), positions, integer(n))
        n_above = np.maximum.accumulate(starts, axis=1)
        n_at_or_above = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
        n_up_to: NDArray[Any] = n_at_or_above
        n_before: NDArray[Any] = n_above
        if weights is not None:
            weights = np.take_along_axis(weights, order, axis=1)
            sums = np.zeros((n_rows, n + 1))
            np.cumsum(weights, axis=1, out=sums[:, 1:])
            n_before, n_up_to = (np.take_along_axis(sums, it, 1) for it in (n_above, n_at_or_above))
            relevant = relevant * weights
        cumulative = np.zeros((n_rows, n + 1), dtype=relevant.dtype)  # true among the first ones
        np.cumsum(relevant, axis=1, out=cumulative[:, 1:])
        return cls(
            relevant,
            n_before,
            n_up_to,
            np.take_along_axis(cumulative, n_above, axis=1),
            np.take_along_axis(cumulative, n_at_or_above, axis=1),
            cumulative[:, -1] if weights is not None else cumulative[:, -1].astype(np.int64),
        )


def label_roc_auc(
    y_true: Labels, y_score: Scores, mask: Mask = None, sample_weight: Weights = None
) -> Values:
    """Return the ROC-AUC of each label, NaN for those that are always or never present."""
    if sample_weight is None:
        columns = range(y_true.shape[1])
        masks = [None if mask is None else mask[:, j] for j in columns]
        return np.array([_column_auc(y_true[:, j], y_score[:, j], masks[j]) for j in columns])
    area: Values = label_ranking_scores(y_true, y_score, mask, sample_weight)[0]
    return area


def _column_auc(y_true: Labels, y_score: Scores, mask: Mask) -> float:
    """Return the ROC-AUC of one label; two sorts are faster than the order of all its rows."""
    is_other = y_true == 0 if mask is None else (y_true == 0) & mask
    true, others = np.sort(y_score[y_true == 1]), np.sort(y_score[is_other])
    n_below, n_at_or_below = (
        np.searchsorted(others, true, side).sum() for side in ("left", "right")
    )
    n_pairs = len(true) * len(others)
    return float(1.0 - (2 * n_pairs - n_below - n_at_or_below) / 2 / n_pairs) if n_pairs else np.nan


def label_average_precision(
    y_true: Labels, y_score: Scores, mask: Mask = None, sample_weight: Weights = None
) -> Values:
    """Return the average precision of each label, NaN for those that are never present."""
    precision: Values = label_ranking_scores(y_true, y_score, mask, sample_weight)[1]
    return precision


def label_ranking_scores(
    y_true: Labels, y_score: Scores, mask: Mask = None, sample_weight: Weights = None
) -> Values:
    """Return the ROC-AUC and the average precision of each label, of shape (2, n_labels).

    The rows are ranked once for both, those of some labels at a time, to bound memory.
    """
    parts = ranked_parts(y_true, y_score, mask, sample_weight)
    return np.concatenate([ranking_scores(ranked, others) for _, ranked, others in parts], axis=1)


def ranked_parts(
    y_true: Labels, y_score: Scores, mask: Mask = None, sample_weight: Weights = None
) -> Iterator[tuple[slice, Ranked, NDArray[Any]]]:
    """Yield parts of the labels, their ranked rows, and the number of rows without each label."""
    n_rows, n_labels = y_true.shape
    n_parts = max(1, min(n_labels, n_rows * n_labels // MAX_RANKED))
    edges = np.linspace(0, n_labels, n_parts + 1).astype(int)
    for first, last in itertools.pairwise(edges):
        part = slice(int(first), int(last))
        part_mask = None if mask is None else mask[:, part]
        yield part, *_rank_rows(y_true[:, part], y_score[:, part], part_mask, sample_weight)


def ranking_scores(ranked: Ranked, n_others: NDArray[Any]) -> Values:
    """Return the ROC-AUC and the average precision of ranked rows."""
    # Others with a higher score count twice and ties once, hence the division by 2.
    n_above = (
        ranked.n_at_or_above
        + ranked.n_above
        - ranked.n_relevant_at_or_above
        - ranked.n_relevant_above
    )
    wrong = (ranked.relevant * n_above).sum(axis=1) / 2
    area = 1.0 - _divide(wrong, ranked.n_relevant * n_others)
    return np.stack([area, average_precision_of(ranked)])


def hide_unknown(y_score: Scores, mask: NDArray[np.bool_]) -> Scores:
    """Return the scores with those of labels that are not known below all others."""
    return np.where(mask, y_score, -np.inf)


def _rank_rows(
    y_true: Labels, y_score: Scores, mask: Mask, sample_weight: Weights
) -> tuple[Ranked, NDArray[Any]]:
    """Rank the rows of each label, and return the number of those without it, too."""
    if sample_weight is not None:
        has_weight = sample_weight > 0
        y_true, y_score = y_true[has_weight], y_score[has_weight]
        sample_weight = sample_weight[has_weight]
        mask = None if mask is None else mask[has_weight]
    if mask is not None:
        y_score = hide_unknown(y_score, mask)
    weights = weigh_cells(mask, sample_weight, y_true.shape)
    if sample_weight is not None:
        entry_weights = np.broadcast_to(sample_weight.astype(np.float64), y_true.T.shape)
        others = (weights * (y_true == 0)).sum(axis=0)
        return Ranked.of(y_true.T, y_score.T, entry_weights), others
    ranked = Ranked.of(y_true.T, y_score.T)
    n_rows = len(y_true) if weights is None else weights.sum(axis=0)
    return ranked, n_rows - ranked.n_relevant


def average_precision_of(ranked: Ranked) -> Values:
    """Return the mean precision at each row's true entries, NaN for rows that have none."""
    total = (ranked.relevant * ranked.n_relevant_at_or_above / ranked.n_at_or_above).sum(axis=1)
    return _divide(total, ranked.n_relevant)


def _divide(numerator: Values, denominator: NDArray[Any]) -> Values:
    quotient: Values = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient
