"""Find likely wrong labels and hard rows from held-out predictions alone.

A cell is one label of one row. A model that never saw the row in training predicts it with a
probability, averaged over repeats. Cells whose given value is the least probable are likely wrong;
their number is estimated by confident learning: that of the cells whose other value is at least as
probable as it is, on average, for the cells that are given it.

References:
    Northcutt, Jiang and Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels,
    Journal of Artificial Intelligence Research 70, 2021.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.scoring.classification_metrics import EPSILON
from pipeline.scoring.held_out import StoredPredictions

if TYPE_CHECKING:
    from pipeline.dataset import Dataset

LIKELY = 0.5  # probability from which on a row without a label looks labelled
MAX_LISTED = 100  # rows, and pairs of labels

COLUMNS = pa.schema(
    {
        "kind": pa.string(),
        "row": pa.int64(),
        "id": pa.string(),
        "label": pa.string(),
        "given": pa.int8(),
        "probability": pa.float64(),
        "given_labels": pa.list_(pa.string()),
        "predicted_labels": pa.list_(pa.string()),
        "loss": pa.float64(),
        "n_rows": pa.int64(),
    }
)

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Cell:
    """A label of a row that is likely wrong.

    Attributes:
        row: Row of the table, from 0.
        label: Name of the label.
        given: 1 if the row is given the label, else 0.
        probability: Mean held-out probability of the label.
    """

    row: int
    label: str
    given: int
    probability: float


@dataclass(frozen=True)
class HardRow:
    """A row that is hard to predict.

    Attributes:
        row: Row of the table, from 0.
        loss: Mean binary cross-entropy over its labels.
        given: The labels that it is given.
        predicted: The labels with a probability above 0.5.
    """

    row: int
    loss: float
    given: tuple[str, ...]
    predicted: tuple[str, ...]


@dataclass(frozen=True)
class ConfusedPair:
    """Two labels of which one is predicted where the other is true.

    Attributes:
        true: Label that is missed.
        predicted: Label that is predicted instead, wrongly.
        n_rows: Number of such rows.
    """

    true: str
    predicted: str
    n_rows: int


@dataclass(frozen=True)
class Review:
    """Likely wrong labels, hard rows and confused labels of a table.

    Attributes:
        cells: Likely wrong cells, the most likely first; as many as were asked for.
        n_cells: Number of all likely wrong cells.
        rows: The hardest rows, the hardest first, at most `MAX_LISTED`.
        pairs: Confused pairs of labels, the most frequent first, at most `MAX_LISTED`.
        unlabelled: Rows without a label for which one is probable, the hardest first; all, or at
            most `MAX_LISTED` if not all cells were asked for.
        n_unlabelled: Number of all such rows.
    """

    cells: tuple[Cell, ...]
    n_cells: int
    rows: tuple[HardRow, ...]
    pairs: tuple[ConfusedPair, ...]
    unlabelled: tuple[HardRow, ...]
    n_unlabelled: int


def review_labels(predictions: StoredPredictions, max_cells: int | None = None) -> Review:
    """Review the labels of the rows that were held out.

    Args:
        predictions: The held-out predictions.
        max_cells: Number of likely wrong cells to list; None for all.
    """
    held_out = predictions.to_units()
    rows = np.unique(predictions.row)
    y_true = held_out.average(predictions.y_true) > 0.5
    probability = held_out.average(predictions.y_score)
    np.clip(probability, EPSILON, 1 - EPSILON, out=probability)
    mask = held_out.row_mask
    is_given = np.ones_like(y_true) if mask is None else mask
    of_given = probability if mask is None else np.where(mask, probability, 0.0)
    names = np.array(predictions.label_names, dtype=object)
    losses = _mean_losses(y_true, probability, mask)

    def describe(index: int) -> HardRow:
        given, predicted = names[y_true[index]], names[of_given[index] > LIKELY]
        return HardRow(int(rows[index]), float(losses[index]), tuple(given), tuple(predicted))

    is_empty = ~y_true.any(axis=1) & is_given.all(axis=1)
    looks_labelled = is_empty & (of_given.max(axis=1) > LIKELY)
    of_unlabelled, n_unlabelled = np.where(looks_labelled, losses, -np.inf), looks_labelled.sum()
    cells, n_cells = find_wrong_cells(y_true, probability, max_cells, mask)
    n_listed = len(rows) if max_cells is None else MAX_LISTED
    return Review(
        cells=tuple(
            Cell(int(rows[i]), str(names[j]), int(y_true[i, j]), float(probability[i, j]))
            for i, j in cells
        ),
        n_cells=n_cells,
        rows=tuple(describe(i) for i in _largest(losses, MAX_LISTED).tolist()),
        pairs=tuple(_confused_pairs(y_true, of_given > LIKELY, names)),
        unlabelled=tuple(
            describe(i) for i in _largest(of_unlabelled, min(n_unlabelled, n_listed)).tolist()
        ),
        n_unlabelled=int(n_unlabelled),
    )


def _mean_losses(
    y_true: NDArray[np.bool_], probability: Floats, mask: NDArray[np.bool_] | None
) -> Floats:
    """Return the mean binary cross-entropy of each row over its labels."""
    by_cell = np.where(y_true, probability, 1 - probability)
    np.negative(np.log(by_cell, out=by_cell), out=by_cell)
    if mask is None:
        return np.asarray(by_cell.mean(axis=1))
    return np.asarray((by_cell * mask).sum(axis=1) / np.maximum(mask.sum(axis=1), 1))


def find_wrong_cells(
    y_true: NDArray[np.bool_],
    probability: Floats,
    max_cells: int | None = None,
    mask: NDArray[np.bool_] | None = None,
) -> tuple[Integers, int]:
    """Return row and column of the cells that are likely wrong, the most likely first.

    Args:
        y_true: Given labels of shape (n_rows, n_labels).
        probability: Held-out probabilities of the same shape.
        max_cells: Number of cells to return; None for all.
        mask: True where a label is known, of the same shape; None if all are.

    Returns:
        Rows and columns, of shape (n_cells, 2), and the number of all such cells.
    """
    n_true = y_true.sum(axis=0)
    is_false = ~y_true if mask is None else ~y_true & mask
    with np.errstate(invalid="ignore"):
        mean_true = (probability * y_true).sum(axis=0) / n_true
        mean_false = ((1 - probability) * is_false).sum(axis=0) / is_false.sum(axis=0)
    of_other = np.where(y_true, 1 - probability, np.where(is_false, probability, 0.0))
    needed = np.where(y_true, mean_false, mean_true)
    with np.errstate(invalid="ignore"):
        n_wrong = int(((of_other >= needed) & (of_other > LIKELY)).sum())
    n = n_wrong if max_cells is None else min(n_wrong, max_cells)
    cells = np.unravel_index(_largest(of_other.ravel(), n), of_other.shape)
    return np.column_stack(cells), n_wrong


def _largest(values: NDArray[np.floating[Any]], n: int) -> Integers:
    """Return the indices of the n largest values, the largest first, NaN last."""
    if n == 0:
        return np.zeros(0, dtype=np.int64)
    if np.isnan(values).any():
        values = np.where(np.isnan(values), -np.inf, values)
    candidates = np.arange(len(values))
    if n < len(values):
        candidates = np.flatnonzero(values >= np.partition(values, -n)[-n])
    return candidates[np.argsort(-values[candidates], kind="stable")[:n]]


def _confused_pairs(
    y_true: NDArray[np.bool_], y_pred: NDArray[np.bool_], names: NDArray[np.object_]
) -> list[ConfusedPair]:
    missed, wrong = (y_true & ~y_pred).astype(np.float32), (y_pred & ~y_true).astype(np.float32)
    counts = missed.T @ wrong
    first, second = np.unravel_index(_largest(counts.ravel(), MAX_LISTED), counts.shape)
    return [
        ConfusedPair(str(names[i]), str(names[j]), int(counts[i, j]))
        for i, j in zip(first, second, strict=True)
        if counts[i, j]
    ]


def ids_by_row(predictions: StoredPredictions, review: Review) -> dict[int, str]:
    """Return the ids of the rows that a review lists, or their numbers from 0 without ids."""
    listed = {it.row for it in review.cells}
    listed |= {it.row for it in (*review.rows, *review.unlabelled)}
    if predictions.ids is None:
        return {row: str(row) for row in listed}
    entries = np.flatnonzero(np.isin(predictions.row, [*listed]))
    return {int(predictions.row[entry]): str(predictions.ids[entry]) for entry in entries}


def to_table(review: Review, predictions: StoredPredictions, dataset: "Dataset | None") -> pa.Table:
    """Return all that a review lists, with the ids and, if there is a data set, the features.

    The column `kind` says what a line is about: `wrong label`, `hard row`, `unlabelled row` or
    `confused labels`. Columns that do not apply to it are missing.

    Args:
        review: The review.
        predictions: The held-out predictions.
        dataset: The data set of the run; None if it is not available.
    """
    schema, ids = COLUMNS, ids_by_row(predictions, review)
    if predictions.ids is None:
        schema = schema.remove(schema.names.index("id"))
    of_rows: list[dict[str, Any]] = [
        vars(cell) | {"kind": "wrong label", "id": ids[cell.row]} for cell in review.cells
    ]
    for kind, rows in (("hard row", review.rows), ("unlabelled row", review.unlabelled)):
        of_rows += [
            {"kind": kind, "row": it.row, "id": ids[it.row], "loss": it.loss}
            | {"given_labels": it.given, "predicted_labels": it.predicted}
            for it in rows
        ]
    of_pairs = [
        {"kind": "confused labels", "given_labels": [it.true], "predicted_labels": [it.predicted]}
        | {"n_rows": it.n_rows}
        for it in review.pairs
    ]
    table = pa.Table.from_pylist(of_rows, schema)
    if dataset:
        features = dataset.schema.decode(dataset.X[[line["row"] for line in of_rows]])
        for column in dataset.schema.columns:
            name = column.name if column.name not in schema.names else f"feature {column.name}"
            is_exact = column.kind == "number" and not column.offset  # as stored
            values = pa.array(features[column.name], pa.float32() if is_exact else None)
            table = table.append_column(name, values)
    pairs = pa.Table.from_pylist(of_pairs, schema)
    return pa.concat_tables([table, pairs], promote_options="default")
