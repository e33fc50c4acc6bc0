"""Count the values of new rows by the bins and categories of a model's training rows."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.model.loaded_model import LoadedModel
from pipeline.model.training_profile import count_values
from pipeline.preprocessing import Column, encode_texts

MAX_UNSEEN = 1000  # categories of a column that are counted each
MAX_EXAMPLES = 3
MAX_TEXT = 60  # characters of an example


@dataclass(eq=False)
class ColumnCounts:
    """Counts of a feature in new rows.

    Attributes:
        column: The feature.
        profile: Its training rows, as of `describe_training`.
        counts: Number of values in each bin or category of the training rows.
        n_missing: Number of missing values.
        n_below: Number of values below the training rows' minimum.
        n_above: Number of values above their maximum.
        n_unseen: Number of values whose category is unknown to the model.
        unseen: Their number by category, of the first `MAX_UNSEEN` categories.
        examples: Some values out of range, as texts of the file.
        total: Sum of the numbers.
    """

    column: Column
    profile: dict[str, Any]
    counts: NDArray[np.int64]
    n_missing: int = 0
    n_below: int = 0
    n_above: int = 0
    n_unseen: int = 0
    unseen: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    total: float = 0.0

    @property
    def n_present(self) -> int:
        """Number of values that are not missing."""
        return int(self.counts.sum()) + self.n_unseen


class RowCounts:
    """Counts of new rows; their memory does not depend on the number of rows.

    Attributes:
        n_rows: Number of rows.
        n_predicted: Number of rows that the model could predict.
        columns: Counts of each feature that is not ignored.
        positives: Number of predictions of each label, of shape (n_labels,).
    """

    def __init__(
        self, model: LoadedModel, training: dict[str, Any], ignored: frozenset[str] = frozenset()
    ) -> None:
        """Start with no row.

        Args:
            model: The model.
            training: As of `describe_training`.
            ignored: Features that are not counted.
        """
        self.n_rows = self.n_predicted = 0
        self.positives = np.zeros(len(model.label_names), np.int64)
        self._model = model
        self._index = [
            j
            for j, column in enumerate(model.schema.columns)
            if column.name not in ignored and column.kind != "text"
        ]
        self.columns = [
            _start(model.schema.columns[j], training["columns"][model.schema.names[j]])
            for j in self._index
        ]

    def add(self, X: NDArray[np.float32], table: pa.Table, thresholds: NDArray[np.float64]) -> None:
        """Count some rows, and the labels that the model predicts for them.

        Args:
            X: Encoded rows of shape (n, n_features).
            table: The same rows as in the file.
            thresholds: Threshold of each label, of shape (n_labels,).
        """
        self.n_rows += len(X)
        for j, counts in zip(self._index, self.columns, strict=True):
            if len(X):
                _add(counts, X[:, j], table.column(counts.column.name), self._is_missing)
        predictable = X[self._model.is_predictable(X)]
        self.n_predicted += len(predictable)
        self.positives += (self._model.predict_proba(predictable) > thresholds).sum(axis=0)

    def _is_missing(self, text: str) -> bool:
        return not text.strip() or self._model.schema.is_missing(text)


def _start(column: Column, profile: dict[str, Any]) -> ColumnCounts:
    return ColumnCounts(column, profile, np.zeros(len(profile.get("counts", [0])), np.int64))


def _add(
    counts: ColumnCounts,
    x: NDArray[np.float32],
    raw: pa.ChunkedArray,
    is_missing: Callable[[str], bool],
) -> None:
    """Count the values of a column, encoded and as in the file."""
    is_nan = np.isnan(x)
    if counts.column.kind == "category":
        counts.counts += np.bincount(x[~is_nan].astype(np.int64), minlength=len(counts.counts))
        n_missing = int(is_nan.sum())
        if n_missing:
            raw = raw.filter(pa.array(is_nan))
            if pa.types.is_floating(raw.type):
                raw = pc.if_else(pc.is_nan(raw), pa.scalar(None, raw.type), raw)
            codes, texts = encode_texts(raw)
            by_code = np.bincount(codes[codes >= 0], minlength=len(texts))
            for text, n in zip(texts, by_code.tolist(), strict=True):
                if n and not is_missing(text):
                    counts.n_unseen += n
                    n_missing -= n
                    if text in counts.unseen or len(counts.unseen) < MAX_UNSEEN:
                        counts.unseen[text] += n
        counts.n_missing += n_missing
        return
    numbers = x[~is_nan].astype(np.float64) + counts.column.offset
    counts.n_missing += len(x) - len(numbers)
    counts.total += float(numbers.sum())
    if "edges" not in counts.profile:  # without a value in the training rows
        counts.counts += len(numbers)
        return
    counts.counts += count_values(np.array(counts.profile["edges"]), numbers)
    below, above = numbers < counts.profile["min"], numbers > counts.profile["max"]
    counts.n_below += int(below.sum())
    counts.n_above += int(above.sum())
    if (below | above).any() and len(counts.examples) < MAX_EXAMPLES:
        _, first = np.unique(numbers[below | above], return_index=True)
        rows = np.flatnonzero(~is_nan)[below | above][np.sort(first)]
        for row in rows[: 2 * MAX_EXAMPLES].tolist():
            text = str(raw[row].as_py())[:MAX_TEXT]
            if text not in counts.examples and len(counts.examples) < MAX_EXAMPLES:
                counts.examples.append(text)
