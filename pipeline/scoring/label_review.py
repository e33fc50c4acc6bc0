"""Find likely wrong labels and hard rows from held-out predictions alone.

A cell is one label of one row. A model that never saw the row in training predicts it with a
probability, averaged over repeats. Cells whose given value is the least probable are likely wrong;
their number is estimated by confident learning: that of the cells whose other value is at least as
probable as it is, on average, for the cells that are given it.

References:
    Northcutt, Jiang and Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels,
    Journal of Artificial Intelligence Research 70, 2021.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.dataset.label_coverage import count_pairs, most_frequent
from pipeline.scoring.classification_metrics import EPSILON
from pipeline.scoring.held_out import StoredPredictions
from pipeline.scoring.wrong_cells import LIKELY, Block, find_wrong_cells, largest

if TYPE_CHECKING:
    from pipeline.dataset import Dataset

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


def _average(predictions: StoredPredictions) -> Iterator[Block]:
    """Yield the rows of the predictions, some at a time."""
    for part in predictions.blocks():
        held_out = part.to_units()
        probability = held_out.average(part.y_score)
        np.clip(probability, EPSILON, 1 - EPSILON, out=probability)
        yield Block(held_out.average(part.y_true) > 0.5, probability, held_out.row_mask)


def review_labels(predictions: StoredPredictions, max_cells: int | None = None) -> Review:
    """Review the labels of the rows that were held out.

    Args:
        predictions: The held-out predictions.
        max_cells: Number of likely wrong cells to list; None for all.
    """
    rows, names = np.unique(predictions.row), np.array(predictions.label_names, dtype=object)
    parts = [
        (block.y_true, block.of_given > LIKELY, block.mean_losses(), block.looks_labelled)
        for block in _average(predictions)
    ]
    y_true, y_pred, losses, looks_labelled = map(np.concatenate, zip(*parts, strict=True))

    def describe(index: int) -> HardRow:
        given, predicted = names[y_true[index]], names[y_pred[index]]
        return HardRow(int(rows[index]), float(losses[index]), tuple(given), tuple(predicted))

    of_unlabelled, n_unlabelled = np.where(looks_labelled, losses, -np.inf), looks_labelled.sum()
    cells, probability, n_cells = find_wrong_cells(partial(_average, predictions), max_cells)
    n_listed = len(rows) if max_cells is None else MAX_LISTED
    return Review(
        cells=tuple(
            Cell(int(rows[i]), str(names[j]), int(y_true[i, j]), float(value))
            for (i, j), value in zip(cells, probability, strict=True)
        ),
        n_cells=n_cells,
        rows=tuple(describe(i) for i in largest(losses, MAX_LISTED).tolist()),
        pairs=tuple(_confused_pairs(y_true, y_pred, names)),
        unlabelled=tuple(
            describe(i) for i in largest(of_unlabelled, min(n_unlabelled, n_listed)).tolist()
        ),
        n_unlabelled=int(n_unlabelled),
    )


def _confused_pairs(
    y_true: NDArray[np.bool_], y_pred: NDArray[np.bool_], names: NDArray[np.object_]
) -> list[ConfusedPair]:
    """Return the most confused pairs; of very many labels, among those most often confused."""
    missed, wrong = y_true & ~y_pred, y_pred & ~y_true
    true, predicted = (most_frequent(it.sum(axis=0)) for it in (missed, wrong))
    counts = count_pairs(missed[:, true], wrong[:, predicted])
    first, second = np.unravel_index(largest(counts.ravel(), MAX_LISTED), counts.shape)
    return [
        ConfusedPair(str(names[true[i]]), str(names[predicted[j]]), int(counts[i, j]))
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
