"""Metrics on many weighted samples of the same held-out rows at once, as a bootstrap needs them."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from pipeline.scoring.classification_metrics import (
    Average,
    Counts,
    Labels,
    Mask,
    Metric,
    Scores,
    Weights,
    bin_differences,
    expected_calibration_error,
    mask_rows,
    mean_ratio,
)
from pipeline.scoring.ranking_metrics import average_precision, roc_auc
from pipeline.scoring.scorer import find_metric

CHUNK = 4_000_000  # weights that metrics of curves handle at a time

Values = NDArray[np.float64]
Integers = NDArray[np.int64]
Ratio = Callable[[Counts, float], Values]


@dataclass(frozen=True, eq=False)
class HeldOutPredictions:
    """The held-out predictions of one configuration.

    A row of the table has an entry for each time that it was held out: one for each repeat.

    Attributes:
        y_true: Indicator matrix of shape (n_entries, n_labels).
        y_score: Probabilities of the same shape.
        y_pred: Predicted labels of the same shape.
        row: Row of each entry, from 0 to n_rows - 1, of shape (n_entries,).
        unit: Unit of each row, from 0 to n_units - 1, of shape (n_rows,): what samples take or
            leave whole, such as the row itself or its group.
        mask: True where a label is known, of shape (n_entries, n_labels); None if all are.
        weight: Weight of each row in metrics, of shape (n_rows,), or None.
    """

    y_true: Labels
    y_score: Scores
    y_pred: Labels
    row: Integers
    unit: Integers
    mask: Mask = None
    weight: Weights = None

    @property
    def row_mask(self) -> Mask:
        """True where a label is known, of shape (n_rows, n_labels), or None."""
        return None if self.mask is None else self.mask[np.unique(self.row, return_index=True)[1]]

    def average(self, values: NDArray[Any]) -> Values:
        """Average the values of the entries of each row: (n_entries, k) to (n_rows, k)."""
        entries, n_times = np.arange(len(self.row)), np.bincount(self.row)
        if len(n_times) == len(entries):  # once each
            return values.reshape(len(entries), -1)[np.argsort(self.row)].astype(np.float64)
        cells = (1 / n_times[self.row], (self.row, entries))
        matrix = csr_array(cells, shape=(len(n_times), len(entries)))
        return np.asarray(matrix @ values.reshape(len(entries), -1).astype(np.float64))

    def sum_units(self, values: Values) -> Values:
        """Sum the weighted values of the rows of each unit: (n_rows, k) to (n_units, k)."""
        rows = np.arange(len(self.unit))
        if self.weight is not None:
            values = values * self.weight[:, None]
        return np.asarray(csr_array((np.ones(len(rows)), (self.unit, rows))) @ values)


def weighted_scores(
    name: str, zero_division: float, predictions: HeldOutPredictions, weights: Values
) -> Values:
    """Score weighted samples of held-out rows.

    With whole numbers as weights, a score is that of the metric on rows repeated so many times.
    What a row contributes is averaged over its repeats: its value for metrics that are means over
    rows, its counts for precision, recall, F1 and Jaccard, its probabilities for ROC AUC and
    average precision. The user's own metrics receive all repeats as if they were rows.

    Args:
        name: Name of a metric, or the dotted path of the user's own.
        zero_division: Value of a metric that is 0 / 0.
        predictions: The held-out predictions.
        weights: Weights of the units in each sample, of shape (n_samples, n_units).

    Returns:
        Scores of shape (n_samples,); NaN where undefined.
    """
    metric = find_metric(name, zero_division)
    if "." in name:
        return np.array([_own_score(metric, predictions, sample) for sample in weights])
    function, arguments, options = _unwrap(metric)
    if function is mean_ratio and options["average"] != "samples":
        return _ratio_means(arguments[0], predictions, weights, **options)
    if function in (roc_auc, average_precision):
        area = _weighted_roc_auc if function is roc_auc else _weighted_average_precision
        return _mean_areas(area, predictions, weights, options["average"] == "micro")
    y_true, y_score, y_pred = predictions.y_true, predictions.y_score, predictions.y_pred
    mask = counted = predictions.mask
    if function is expected_calibration_error:
        values = predictions.average(bin_differences(y_true, y_score, mask))
        sums = np.abs(weights @ predictions.sum_units(values)).sum(axis=1)
        sums = sums / y_true.shape[1] if mask is None else sums
    else:
        if function is mean_ratio:
            counts = Counts.of(y_true, y_pred, "samples", mask)
            values = mask_rows(arguments[0](counts, options["zero_division"]), mask)
        else:
            unwrapped = inspect.unwrap(function)
            values = unwrapped(y_true, y_score, y_pred, mask, *arguments, **options)
        values = values.reshape(len(y_true), -1)
        if mask is not None:  # of cells, or of rows
            counted, values = ~np.ma.getmaskarray(values), np.ma.getdata(values)
            values = np.where(counted, values, 0) * values.shape[1]
        by_row = predictions.average(values.mean(axis=1))
        sums = (weights @ predictions.sum_units(by_row))[:, 0]
    n_counted = weights @ np.bincount(predictions.unit, predictions.weight)
    if counted is not None:
        n_counted = (weights @ predictions.sum_units(predictions.average(counted.sum(axis=1))))[
            :, 0
        ]
    with np.errstate(invalid="ignore"):  # samples without a row
        return np.asarray(sums / n_counted)


def _unwrap(metric: Metric) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """Return the function of a metric with the arguments and keywords that are bound to it."""
    function: Any = metric
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = {}
    while isinstance(function, partial):
        arguments, options = (*function.args, *arguments), {**function.keywords, **options}
        function = function.func
    return function, arguments, options


def _own_score(metric: Metric, predictions: HeldOutPredictions, sample: Values) -> float:
    """Call the user's own metric with the entries of a sample, repeated by their weights."""
    n_times = sample[predictions.unit[predictions.row]].astype(np.int64)
    entries = np.repeat(np.arange(len(n_times)), n_times)
    if not len(entries):
        return np.nan
    tables = (predictions.y_true, predictions.y_score, predictions.y_pred)
    weight = predictions.weight
    return metric(
        *(table[entries] for table in tables),
        None if predictions.mask is None else predictions.mask[entries],
        None if weight is None else weight[predictions.row[entries]],
    )


def _ratio_means(
    ratio: Ratio,
    predictions: HeldOutPredictions,
    weights: Values,
    *,
    average: Average,
    zero_division: float,
) -> Values:
    """Compute the mean of a ratio over labels (macro, weighted) or of all cells (micro)."""
    y_true, y_pred = predictions.y_true, predictions.y_pred
    tables: tuple[NDArray[Any], ...] = (y_true & y_pred, y_true, y_pred)
    mask = predictions.row_mask
    if predictions.mask is not None:
        tables = tuple(table & predictions.mask for table in tables)
    sums = [weights @ predictions.sum_units(predictions.average(table)) for table in tables]
    if average == "micro":
        sums = [table.sum(axis=1, keepdims=True) for table in sums]
    counts: Any = sums  # not whole numbers, if repeats differ
    values = ratio(Counts(*counts), zero_division)
    if average != "weighted" and mask is None and predictions.weight is None:
        return np.asarray(values.mean(axis=1))
    by_label: NDArray[Any] = np.ones((1, 1))
    if mask is not None or predictions.weight is not None:
        cells = np.ones((len(predictions.unit), 1)) if mask is None else mask.astype(np.float64)
        by_label = 1.0 * (weights @ predictions.sum_units(cells) > 0)
        if average == "micro":
            by_label = np.asarray(by_label.any(axis=1, keepdims=True))
    if average == "weighted":
        by_label = np.where(sums[1].any(axis=1, keepdims=True), sums[1], by_label)
    by_label = np.broadcast_to(by_label, values.shape)
    with np.errstate(invalid="ignore"):  # samples without a cell that is known
        return np.asarray((values * by_label).sum(axis=1) / by_label.sum(axis=1))


def _mean_areas(
    area: Callable[["RankedColumn", NDArray[np.float32]], Values],
    predictions: HeldOutPredictions,
    weights: Values,
    is_micro: bool,
) -> Values:
    """Compute the mean over labels of the area under a curve, without undefined labels."""
    y_true, y_score = (
        predictions.average(table) for table in (predictions.y_true, predictions.y_score)
    )
    unit, weight, mask = predictions.unit, predictions.weight, predictions.row_mask
    if weight is not None:  # rows of a unit have weights of their own
        weights, unit = weights[:, unit] * weight, np.arange(len(unit))
    if is_micro:
        unit = np.repeat(unit, y_true.shape[1])
        y_true, y_score = y_true.reshape(-1, 1), y_score.reshape(-1, 1)
        mask = None if mask is None else mask.reshape(-1, 1)
    columns = [
        RankedColumn.of(y_true[rows, j], y_score[rows, j], unit[rows])
        for j in range(y_true.shape[1])
        for rows in [slice(None) if mask is None else mask[:, j]]
    ]
    scores = []
    for chunk in _chunks(weights, len(unit)):
        areas = np.stack([area(column, chunk) for column in columns])
        n_defined = np.isfinite(areas).sum(axis=0)
        with np.errstate(invalid="ignore"):
            scores.append(np.nansum(areas, axis=0) / n_defined)
    return np.concatenate(scores)


def _chunks(weights: Values, n_entries: int) -> Iterator[NDArray[np.float32]]:
    """Yield the weights of some samples at a time, of shape (n_units, n_some)."""
    n_samples = max(1, CHUNK // n_entries)
    for start in range(0, len(weights), n_samples):
        part = weights[start : start + n_samples]
        yield np.ascontiguousarray(part.T, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class RankedColumn:
    """True and other entries of a label, each ordered by descending score.

    Attributes:
        true: Units of the true entries, of shape (n_true,).
        others: Units of the other entries, of shape (n_others,).
        n_true_up_to: Number of true entries with an equal or higher score, for each true entry.
        n_others_above: Number of other entries with a higher score, for each true entry.
        n_others_up_to: Number of other entries with an equal or higher score, for each true entry.
    """

    true: Integers
    others: Integers
    n_true_up_to: Integers
    n_others_above: Integers
    n_others_up_to: Integers

    @classmethod
    def of(cls, y_true: Values, y_score: Values, unit: Integers) -> "RankedColumn":
        """Rank the entries of a label."""
        order = np.argsort(-y_score, kind="stable")
        is_true = y_true[order] > 0
        descending, units = -y_score[order], unit[order]
        true, others = descending[is_true], descending[~is_true]
        return cls(
            units[is_true],
            units[~is_true],
            np.searchsorted(true, true, side="right"),
            np.searchsorted(others, true, side="left"),
            np.searchsorted(others, true, side="right"),
        )


def _cumulate(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sums of the first 0, 1, ..., n rows, of shape (n + 1, n_samples).

    Whole numbers stay exact in float32 up to 2**24.
    """
    sums = np.zeros((len(weights) + 1, weights.shape[1]), dtype=np.float32)
    np.cumsum(weights, axis=0, out=sums[1:])
    return sums


def _weighted_roc_auc(column: RankedColumn, weights: NDArray[np.float32]) -> Values:
    true, above = weights[column.true], _cumulate(weights[column.others])
    wrong = above[column.n_others_above]
    wrong += above[column.n_others_up_to]  # ties count half
    total = true.sum(axis=0, dtype=np.float64) * above[-1]
    n_wrong = np.einsum("ij,ij->j", true, wrong, dtype=np.float64) / 2
    with np.errstate(invalid="ignore"):
        return np.asarray(1.0 - n_wrong / total)


def _weighted_average_precision(column: RankedColumn, weights: NDArray[np.float32]) -> Values:
    true = weights[column.true]
    n_true = _cumulate(true)[column.n_true_up_to]
    n_all = _cumulate(weights[column.others])[column.n_others_up_to]
    n_all += n_true
    np.divide(n_true, n_all, out=n_true, where=n_all > 0)
    total = np.einsum("ij,ij->j", true, n_true, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return np.asarray(total / true.sum(axis=0, dtype=np.float64))
