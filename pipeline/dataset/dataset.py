"""The `Dataset` record and its checks."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.config import format_setting
from pipeline.errors import UserError, locate
from pipeline.matrix_blocks import row_blocks
from pipeline.preprocessing import TableSchema

Times: TypeAlias = (
    NDArray[np.datetime64] | NDArray[np.timedelta64] | NDArray[np.int64] | NDArray[np.float64]
)
TRAIN, TEST = -1, 0
MAX_SHOWN = 5


@dataclass(frozen=True, eq=False)
class Dataset:
    """A multi-label table.

    Attributes:
        name: Short name, for titles and run names.
        X: Features of shape (n_samples, n_features), as `schema.encode` returns them: numbers less
            their offset, category codes, NaN where missing; never infinite.
        y: Indicator matrix of shape (n_samples, n_labels), int8, values {0, 1}; 0 where the label
            is not known.
        schema: Unique names, kinds and categories of the columns of `X`.
        label_names: Unique names, in the order of the columns of `y`.
        groups: Group of each row, of shape (n_samples,), or None.
        fold: Number of the fold that tests each row, -1 if it always trains, of shape (n_samples,),
            or None.
        ids: Unique id of each row, of shape (n_samples,), or None.
        label_mask: True where the label is known, of shape (n_samples, n_labels); None if all are.
        sample_weight: Weight of each row, of shape (n_samples,), or None.
        times: Time of each row, of shape (n_samples,), or None: dates as datetime64, durations as
            timedelta64, both in microseconds, or numbers as int64 or float64; none is missing.
        source: Origin of the data, such as a path, for messages.
        warnings: Properties of the data that may be mistakes, such as a constant label.
        notes: How columns were read where the file itself does not say it.
        exact: Values that float32 cannot hold, by column: dates and times in seconds, float64; and
            texts, "" where missing.
        digest: First 32 hexadecimal characters of the SHA-256 of all values and names.
    """

    name: str
    X: NDArray[np.float32]
    y: NDArray[np.int8]
    schema: TableSchema
    label_names: tuple[str, ...]
    groups: NDArray[np.int64] | None = None
    fold: NDArray[np.int64] | None = None
    ids: NDArray[np.str_] | None = None
    label_mask: NDArray[np.bool_] | None = None
    sample_weight: NDArray[np.float32] | None = None
    times: Times | None = None
    source: str = ""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    exact: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        """Check the values and names, add warnings of constant labels, and compute the digest."""
        self._check_not_empty()
        self._check_unique_names()
        if np.isinf([np.fmax.reduce(self.X, axis=None), np.fmin.reduce(self.X, axis=None)]).any():
            self._check_values(np.isinf, "finite features", "Correct them or drop the rows.")
        self._check_not_all_missing()
        self._check_weights()
        if self.label_mask is not None:
            is_complete = bool(self.label_mask.all())
            object.__setattr__(self, "label_mask", None if is_complete else self.label_mask)
            object.__setattr__(self, "y", self.y if is_complete else self.y * self.label_mask)
        new_warnings = [text for text in constant_labels(self) if text not in self.warnings]
        object.__setattr__(self, "warnings", (*self.warnings, *new_warnings))
        object.__setattr__(self, "digest", self._digest())

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the columns of `X`."""
        return self.schema.names

    @property
    def categories(self) -> tuple[tuple[str, ...] | None, ...]:
        """Categories of each feature, None if it is numeric; empty if all are numeric."""
        return self.schema.categories

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return len(self.X)

    @property
    def n_features(self) -> int:
        """Number of columns of `X`."""
        return int(self.X.shape[1])

    @property
    def n_labels(self) -> int:
        """Number of columns of `y`."""
        return int(self.y.shape[1])

    @property
    def label_rates(self) -> NDArray[np.float64]:
        """Fraction of the rows with each label, of those that know it."""
        if self.label_mask is None:
            return np.asarray(self.y.mean(axis=0, dtype=np.float64))
        n_rows = self.label_mask.sum(axis=0)
        return np.asarray(self.y.sum(axis=0, dtype=np.float64) / np.maximum(n_rows, 1))

    @property
    def strata(self) -> NDArray[np.int8]:
        """Quantities to balance between folds: labels, and their absence where that is not all."""
        if self.label_mask is None:
            return self.y
        return np.hstack([self.y, (self.label_mask & (self.y == 0)).astype(np.int8)])

    def value(self, row: int, feature: int) -> str:
        """Format one value: a number, a category, or ? where it is missing."""
        value, column = self.X[row, feature], self.schema.columns[feature]
        if np.isnan(value):
            return "?"
        if column.kind == "category":
            return column.categories[int(value)]
        if column.kind == "text":
            return str(self.exact[column.name][row])
        if column.kind == "datetime":
            has_exact = column.name in self.exact
            seconds = self.exact[column.name][row] if has_exact else value + column.offset
            text = str(np.datetime64(round(float(seconds)), "s"))
            return text.replace("T00:00:00", "").replace("T", " ")
        return f"{value + column.offset:.4g}"

    def label_value(self, row: int, label: int) -> str:
        """Format one label: 0, 1, or ? where it is not known."""
        is_given = self.label_mask is None or self.label_mask[row, label]
        return str(self.y[row, label]) if is_given else "?"

    @property
    def _where(self) -> str:
        return self.source or self.name

    def check_complete(self) -> None:
        """Raise UserError if a number is missing, because nothing imputes it."""
        numeric = self.schema.is_numeric
        if np.isnan(self.X.max()):
            hint = "Fill it in, drop the row, or choose preprocessing.imputation=median."
            self._check_values(lambda X: np.isnan(X) & numeric, "no missing value", hint)

    def check_predict_rows(self, rows: Sequence[Sequence[float | str | None]]) -> None:
        """Raise UserError if rows to predict do not suit the columns of the features.

        Args:
            rows: Numbers and texts of each row, None where missing.
        """
        for row in rows:
            if len(row) != self.n_features:
                raise UserError(
                    f"dataset.predict_rows: expected rows of {self.n_features} features. "
                    f"Received: a row of {len(row)}. dataset.predict_rows=[] predicts none."
                )
        if rows:
            frame = pd.DataFrame(rows, columns=list(self.feature_names), dtype=object)
            try:
                self.schema.encode(frame)
            except ValueError as error:
                raise locate("dataset.predict_rows", error) from error

    def _check_values(
        self,
        find_invalid: Callable[[NDArray[np.float32]], NDArray[np.bool_]],
        expected: str,
        hint: str,
    ) -> None:
        """Raise UserError with the first invalid value and the number of them, if there is one."""
        first, n_values, n_rows = None, 0, 0
        for rows in row_blocks(*self.X.shape):
            invalid = find_invalid(self.X[rows])
            if first is None and invalid.any():
                first = np.argwhere(invalid)[0] + (rows.start, 0)
            n_values += int(invalid.sum())
            n_rows += int(invalid.any(axis=1).sum())
        if first is not None:
            row, column = first
            raise UserError(
                f"{self._where}: expected {expected}. Received: {self.X[row, column]} in row "
                f"{row}, feature {self.feature_names[column]!r} ({n_values} such values in "
                f"{n_rows} rows; the first row is 0). {hint}"
            )

    def _check_not_empty(self) -> None:
        if not (len(self.X) and self.feature_names and self.label_names):
            raise UserError(
                f"{self._where}: expected at least one row, one feature and one label. Received: "
                f"{len(self.X)} rows, {len(self.feature_names)} features, "
                f"{len(self.label_names)} labels."
            )

    def _check_unique_names(self) -> None:
        counts = Counter((*self.feature_names, *self.label_names))
        duplicates = [repr(name) for name, n in counts.items() if n > 1]
        if duplicates:
            raise UserError(
                f"{self._where}: expected names that occur once among the features and labels. "
                f"Received: {', '.join(duplicates[:MAX_SHOWN])} more than once."
            )

    def _check_not_all_missing(self) -> None:
        missing = np.flatnonzero(np.isnan(self.X[0]))  # columns without a value so far
        for rows in row_blocks(*self.X.shape):
            missing = missing[np.isnan(self.X[rows][:, missing]).all(axis=0)]
            if not len(missing):
                return
        name = self.feature_names[missing[0]]
        is_workbook = self.source.endswith((".xlsx", ".xlsm"))
        formula = " If it has formulas, open and save the workbook in Excel first."
        raise UserError(
            f"{self._where}: expected a value in each feature. Received: none in any of "
            f"{len(self.X)} rows of feature {name!r}. Drop the column: "
            f"{format_setting('dataset.drop', [name])}{formula * is_workbook}"
        )

    def _check_weights(self) -> None:
        weights = self.sample_weight
        if weights is None:
            return
        invalid = ~np.isfinite(weights) | (weights < 0)
        if invalid.any():
            row = int(invalid.argmax())
            raise UserError(
                f"{self._where}: expected a weight of at least 0 for each row. Received: "
                f"{weights[row]:g} in row {row} ({invalid.sum()} such rows; the first is 0). "
                "Correct it, or drop the row."
            )
        if not weights.any():
            raise UserError(
                f"{self._where}: expected a weight above 0 for at least one row. Received: 0 for "
                f"all {len(weights)} rows."
            )

    def _digest(self) -> str:
        sha = hashlib.sha256()
        for array in (self.X, self.y, self.groups, self.fold, self.label_mask, self.sample_weight):
            if array is not None:
                sha.update(f"{array.dtype}{array.shape}".encode())
                sha.update(np.ascontiguousarray(array).data)
        if self.times is not None:
            sha.update(f"times {self.times.dtype}".encode())
            sha.update(np.ascontiguousarray(self.times).view(np.uint8).data)
        names = (self.feature_names, self.label_names, self.categories)
        sha.update(repr(names).encode())
        if self.schema.offsets.any():
            sha.update(repr(self.schema.offsets.tolist()).encode())
        for name in self.schema.texts:
            sha.update("\0".join(self.exact[name]).encode())
        if self.ids is not None:
            sha.update(repr(self.ids.tolist()).encode())
        return sha.hexdigest()[:32]


def constant_labels(dataset: Dataset) -> list[str]:
    """Return warnings of labels that have the same value in every row."""
    counts = dataset.y.sum(axis=0)
    mask = dataset.label_mask
    n_rows = np.full(len(counts), len(dataset.y)) if mask is None else mask.sum(axis=0)
    rows = "row" if mask is None else "row in which it is known"
    return [
        f"label {name!r} is {'0' if count == 0 else '1'} in every {rows}: metrics that compare "
        "its rows with and without it are undefined"
        for name, count, n in zip(dataset.label_names, counts, n_rows, strict=True)
        if count in (0, n)
    ]
