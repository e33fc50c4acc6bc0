"""Read the held-out predictions that a run stored."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.scoring.resampled import HeldOutPredictions

PREDICTIONS = "predictions.parquet"
OUTER_FOLDS = "outer_folds.json"  # table of the outer folds of nested cross-validation
INNER = "inner_"  # prefix of its columns with scores on folds of the training rows
TRUE, SCORE, PREDICTED = "true_", "score_", "pred_"  # prefixes of columns, before the label's name
MAX_UNITS = 20_000  # rows or groups; larger tables are sampled in random blocks of rows
SEED = 0  # of these blocks
MAX_CELLS = 2**20  # predictions that are handled at once


@dataclass(frozen=True, eq=False)
class StoredPredictions:
    """Held-out predictions as a run stored them, an entry per fold and test row.

    Attributes:
        label_names: Names of the labels.
        fold: Repeat and fold of each entry, of shape (n_entries, 2).
        row: Row of the table of each entry, of shape (n_entries,).
        ids: Id of each entry, or None.
        group: Group of each entry, or None.
        y_true: Indicator matrix of shape (n_entries, n_labels).
        y_score: Probabilities of the same shape; NaN if the training diverged.
        y_pred: Predicted labels of the same shape.
        mask: True where a label is known, of the same shape; None if all are.
        weight: Weight of each entry in metrics, or None.
    """

    label_names: tuple[str, ...]
    fold: NDArray[np.int64]
    row: NDArray[np.int64]
    ids: NDArray[np.object_] | None
    group: NDArray[np.int64] | None
    y_true: NDArray[np.int8]
    y_score: NDArray[np.float32]
    y_pred: NDArray[np.int8]
    mask: NDArray[np.bool_] | None = None
    weight: NDArray[np.float32] | None = None

    def to_units(self) -> HeldOutPredictions:
        """Number the rows, and the units that a bootstrap samples whole: rows, or their groups."""
        rows, first, row = np.unique(self.row, return_index=True, return_inverse=True)
        units = np.arange(len(rows))
        if self.group is not None:
            _, units = np.unique(self.group[first], return_inverse=True)
        if (n_units := int(units.max(initial=-1)) + 1) > MAX_UNITS:
            units = np.random.default_rng(SEED).permutation(n_units)[units] % MAX_UNITS
        weight = None if self.weight is None else self.weight[first]
        cells = (self.y_true, self.y_score, self.y_pred)
        return HeldOutPredictions(*cells, row, units, self.mask, weight)

    def blocks(self) -> Iterator["StoredPredictions"]:
        """Yield all entries of some rows at a time, to bound memory, in the order of the rows."""
        order = np.argsort(self.row, kind="stable")
        starts = np.flatnonzero(np.diff(self.row[order], prepend=-1))
        n_rows = max(1, MAX_CELLS * len(starts) // max(1, self.y_true.size))
        for entries in np.split(order, starts[n_rows::n_rows]):
            yield self.take(entries)

    def take(self, entries: NDArray[np.int64]) -> "StoredPredictions":
        """Return some of the entries."""

        def taken(name: str) -> Any:
            values = getattr(self, name)
            return None if values is None else values[entries]

        return StoredPredictions(self.label_names, *map(taken, _of_entries()))

    def targets(
        self, entries: NDArray[np.bool_]
    ) -> tuple[NDArray[np.bool_] | None, NDArray[np.float32] | None]:
        """Return the mask and the weights of some entries, for metrics."""
        mask = None if self.mask is None else self.mask[entries]
        return mask, None if self.weight is None else self.weight[entries]


def read_predictions(path: Path) -> StoredPredictions:
    """Read `predictions.parquet` of a run."""
    table = pq.read_table(path)
    names = table.column_names
    labels = [name.removeprefix(TRUE) for name in names if name.startswith(TRUE)]

    def matrix(prefix: str, dtype: type[np.generic]) -> NDArray[Any]:
        columns = [table[f"{prefix}{label}"] for label in labels]
        columns = [it.fill_null(0) if prefix == TRUE and it.null_count else it for it in columns]
        return np.column_stack([column.to_numpy() for column in columns]).astype(dtype)

    def optional(name: str) -> pa.ChunkedArray | None:
        return table[name] if name in names[: names.index(f"{TRUE}{labels[0]}")] else None

    given = [table[f"{TRUE}{label}"] for label in labels]
    mask = None
    if any(column.null_count for column in given):
        mask = np.column_stack([column.is_valid().to_numpy() for column in given])
    ids, group, weight = optional("id"), optional("group"), optional("weight")
    return StoredPredictions(
        label_names=tuple(labels),
        fold=np.column_stack([table["repeat"].to_numpy(), table["fold"].to_numpy()]),
        row=table["row"].to_numpy(),
        ids=None if ids is None else np.asarray(ids.to_pylist(), dtype=object),
        group=None if group is None else group.to_numpy(),
        y_true=matrix(TRUE, np.int8),
        y_score=matrix(SCORE, np.float32),
        y_pred=matrix(PREDICTED, np.int8),
        mask=mask,
        weight=None if weight is None else weight.to_numpy().astype(np.float32),
    )


def join(parts: Sequence[StoredPredictions]) -> StoredPredictions:
    """Join predictions of the same rows and labels."""

    def concatenate(name: str) -> Any:
        arrays = [getattr(part, name) for part in parts]
        return None if any(array is None for array in arrays) else np.concatenate(arrays)

    return StoredPredictions(parts[0].label_names, *map(concatenate, _of_entries()))


def _of_entries() -> list[str]:
    """Return the names of the attributes that have a value for each entry."""
    return [field.name for field in fields(StoredPredictions) if field.name != "label_names"]
