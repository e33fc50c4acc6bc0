"""Rank entries by their scores, and score the ranking of the rows of each label."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.scoring.classification_metrics import Labels, Mask, Scores, Weights

Values = NDArray[np.float64]
MAX_RANKED = 2**20  # cells that are ranked at once
MAX_INT32 = 2**30  # cells, of which twice the number is an int32


@dataclass(frozen=True, eq=False)
class Ranked:
    """The entries of each row, ordered by descending score.

    A row is a sample whose labels are ranked, a label whose samples are ranked, or the whole table.
    Entries of equal score have equal numbers.

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
    def of(cls, y_true: Labels, y_score: Scores) -> Self:
        """Rank the entries of each row."""
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
        cumulative = np.zeros((n_rows, n + 1), dtype=relevant.dtype)  # true among the first ones
        np.cumsum(relevant, axis=1, out=cumulative[:, 1:])
        return cls(
            relevant,
            n_above,
            n_at_or_above,
            np.take_along_axis(cumulative, n_above, axis=1),
            np.take_along_axis(cumulative, n_at_or_above, axis=1),
            cumulative[:, -1].astype(np.int64),
        )


def label_roc_auc(
    y_true: Labels, y_score: Scores, mask: Mask = None, sample_weight: Weights = None
) -> Values:
    """Return the ROC-AUC of each label, NaN for those that are always or never present."""
    area: Values = label_ranking_scores(y_true, y_score, mask, sample_weight)[0]
    return area


def label_average_precision(
    y_true: Labels, y_score: Scores, mask: Mask = None, sample_weight: Weights = None
) -> Values:
    """Return the average precision of each label, NaN for those that are never present."""
    precision: Values = label_ranking_scores(y_true, y_score, mask, sample_weight)[1]
    return precision


def label_ranking_scores(
    y_true: Labels, y_score: Scores, mask: Mask = None, sample_weight: Weights = None
) -> Values:
    """Return the ROC-AUC and the average precision of each label, of shape (2, n_labels)."""
    is_true, is_other = y_true == 1, y_true == 0
    if mask is not None:
        is_other &= mask
    if sample_weight is not None:
        is_true &= (sample_weight > 0)[:, None]
    scores = [
        _column_scores(
            *(_SortedScores.of(column[rows], sample_weight, rows) for rows in (true, other))
        )
        for true, other, column in zip(is_true.T, is_other.T, y_score.T, strict=True)
    ]
    return np.array(scores).reshape(-1, 2).T


class _SortedScores(NamedTuple):
    """Scores of some rows, ascending.

    Attributes:
        scores: The scores, of shape (n,).
        weights: Weights of the rows, or None.
        sums: Sums of the first 0, 1, ..., n weights, or None.
    """

    scores: Scores
    weights: NDArray[np.float64] | None
    sums: NDArray[np.float64] | None

    @classmethod
    def of(cls, scores: Scores, sample_weight: Weights, rows: NDArray[np.bool_]) -> Self:
        """Sort the scores of the rows, which is faster than to order all rows."""
        if sample_weight is None:
            return cls(np.sort(scores), None, None)
        order = np.argsort(scores)
        weights = sample_weight[rows].astype(np.float64)[order]
        return cls(scores[order], weights, np.append(0.0, weights.cumsum()))

    @property
    def total(self) -> float:
        """Number or weight of all rows."""
        return len(self.scores) if self.sums is None else self.sums[-1]

    def below(self, scores: Scores, side: Literal["left", "right"] = "left") -> NDArray[Any]:
        """Return the number or weight of the rows below each score, or at it with `right`."""
        n_below = np.searchsorted(self.scores, scores, side)
        return n_below if self.sums is None else self.sums[n_below]

    def sum(self, values: NDArray[Any]) -> Any:
        """Sum a value of each row."""
        return values.sum() if self.weights is None else (values * self.weights).sum()


def _column_scores(true: _SortedScores, others: _SortedScores) -> tuple[float, float]:
    """Return the ROC-AUC and the average precision from the rows with and without a label."""
    below, at_or_below = others.below(true.scores), others.below(true.scores, "right")
    n_pairs, area, precision = true.total * others.total, np.nan, np.nan
    if n_pairs:
        wrong = 2 * n_pairs - true.sum(below) - true.sum(at_or_below)  # ties count half
        area = 1.0 - wrong / 2 / n_pairs
    if true.total:
        n_true = true.total - true.below(true.scores)
        n_rows = n_true + others.total - below  # 0 if lost in the sum of far larger weights
        precisions = np.divide(n_true, n_rows, out=np.ones(len(n_true)), where=n_rows > 0)
        precision = true.sum(precisions) / true.total
    return area, precision


def ranked_scores(ranked: Ranked, row: Any, n_others: Any) -> tuple[float, float]:
    """Return what `label_ranking_scores` returns for a label, from its ranked rows.

    Args:
        ranked: Samples of some labels.
        row: The label, which some samples have.
        n_others: Number of samples without it.
    """
    is_true = ranked.relevant[row] == 1
    n_true, n_true_at_or_above = ranked.n_relevant[row], ranked.n_relevant_at_or_above[row, is_true]
    n_at_or_above, n_above = ranked.n_at_or_above[row, is_true], ranked.n_above[row, is_true]
    n_true_above = ranked.n_relevant_above[row, is_true]
    wrong = (n_at_or_above - n_true_at_or_above + n_above - n_true_above).sum()  # ties count half
    area = 1.0 - wrong / 2 / (n_true * n_others) if n_others else np.nan
    precisions = (n_true_at_or_above / n_at_or_above)[::-1].copy()  # sums have an order
    return area, precisions.sum() / n_true


def ranked_parts(
    y_true: Labels, y_score: Scores, mask: Mask = None
) -> Iterator[tuple[slice, Ranked, NDArray[Any]]]:
    """Yield parts of the labels, their ranked rows, and the number of rows without each label."""
    n_rows, n_labels = y_true.shape
    n_parts = max(1, min(n_labels, n_rows * n_labels // MAX_RANKED))
    edges = np.linspace(0, n_labels, n_parts + 1).astype(int)
    for first, last in itertools.pairwise(edges):
        part = slice(int(first), int(last))
        scores, n_given = y_score[:, part], n_rows
        if mask is not None:
            scores, n_given = hide_unknown(scores, mask[:, part]), mask[:, part].sum(axis=0)
        ranked = Ranked.of(y_true[:, part].T, scores.T)
        yield part, ranked, n_given - ranked.n_relevant


def hide_unknown(y_score: Scores, mask: NDArray[np.bool_]) -> Scores:
    """Return the scores with those of labels that are not known below all others."""
    return np.where(mask, y_score, -np.inf)


def average_precision_of(ranked: Ranked) -> Values:
    """Return the mean precision at each row's true entries, NaN for rows that have none."""
    total = (ranked.relevant * ranked.n_relevant_at_or_above / ranked.n_at_or_above).sum(axis=1)
    quotient: Values = np.full(total.shape, np.nan)
    np.divide(total, ranked.n_relevant, out=quotient, where=ranked.n_relevant > 0)
    return quotient
