"""Encode raw rows as a matrix of numbers and category codes, for training and for serving alike.

Logged models carry this file, so it imports nothing of Manyfold.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.preprocessing.column import Column, Spelling
from pipeline.preprocessing.column_values import (
    LARGEST,
    canonical,
    check_size,
    encode_texts,
    from_seconds,
    is_text,
    to_arrow,
    to_numbers,
    to_seconds,
    to_texts,
)
from pipeline.preprocessing.derived_columns import Derived, derived_from_dict

FORMAT = 1  # of the schema's JSON; models of another format are refused
FORMAT_OF_DERIVED = 2  # with columns that are derived from others
MAX_SHOWN = 5
ALIGNMENT = 64  # bytes of the addresses of matrices, which XLA then reads without a copy

Rows: TypeAlias = pa.Table | pd.DataFrame | NDArray[Any]


@dataclass(frozen=True)
class TableSchema(Spelling):
    """The feature columns of a table, and the spelling of their values.

    Attributes:
        columns: Feature columns, in the order of the matrix.
        na_values: Texts that mean a missing value; those that are numbers also match numbers.
        decimal: Decimal mark of numbers in texts.
        derived: Columns of the matrix behind those of `columns`, computed from their values.
    """

    columns: tuple[Column, ...]
    na_values: tuple[str, ...] = ()
    decimal: str = "."
    derived: tuple[Derived, ...] = ()

    @classmethod
    def of_numbers(cls, names: Iterable[str]) -> "TableSchema":
        """Return the schema of a table whose features are all numbers, without offsets."""
        return cls(tuple(Column(name) for name in names))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TableSchema":
        """Return the schema of `as_dict`.

        Raises:
            ValueError: If another version of Manyfold wrote it in another format.
        """
        if values.get("format") not in (FORMAT, FORMAT_OF_DERIVED):
            raise ValueError(
                f"Expected a schema of format {FORMAT} or {FORMAT_OF_DERIVED}. Received: "
                f"format {values.get('format')}, of a model that another version of Manyfold "
                "logged. Load it with that version, or train it again."
            )
        columns = [
            {**column, "categories": tuple(column["categories"])} for column in values["columns"]
        ]
        return cls(
            tuple(Column(**column) for column in columns),
            tuple(values["na_values"]),
            values["decimal"],
            tuple(map(derived_from_dict, values.get("derived", ()))),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the schema as JSON types."""
        values = {"format": FORMAT_OF_DERIVED if self.derived else FORMAT, **asdict(self)}
        if not self.derived:
            del values["derived"]
        return values

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def formats(self) -> dict[str, str]:
        """Format of each column that has one, by name."""
        return {column.name: column.format for column in self.columns if column.format}

    @property
    def categories(self) -> tuple[tuple[str, ...] | None, ...]:
        """Categories of each column, None if it is numeric; empty if all are numeric."""
        by_column = [
            column.categories if column.kind == "category" else None for column in self.columns
        ]
        return tuple(by_column) if any(names is not None for names in by_column) else ()

    @property
    def is_categorical(self) -> NDArray[np.bool_]:
        """True for each categorical column, of shape (n_columns,)."""
        return np.array([column.kind == "category" for column in self.columns], dtype=bool)

    @property
    def is_numeric(self) -> NDArray[np.bool_]:
        """True for each column of numbers, dates, times or durations, of shape (n_columns,)."""
        return np.array([it.kind not in ("category", "text") for it in self.columns], dtype=bool)

    @property
    def texts(self) -> tuple[str, ...]:
        """Names of the columns of texts."""
        return tuple(it.name for it in self.columns if it.kind == "text")

    @property
    def exact_names(self) -> tuple[str, ...]:
        """Names of the columns of dates, times and texts, whose values float32 cannot hold."""
        return tuple(it.name for it in self.columns if it.kind in ("datetime", "time", "text"))

    @property
    def n_encoded(self) -> int:
        """Number of columns of the matrix, with those that are derived."""
        return len(self.columns) + sum(it.n_columns for it in self.derived)

    @property
    def offsets(self) -> NDArray[np.float64]:
        """Offset of each column, of shape (n_columns,)."""
        return np.array([column.offset for column in self.columns], dtype=np.float64)

    def encode(self, rows: Rows) -> NDArray[np.float32]:
        """Return numbers less their offset and category codes, NaN where missing.

        Args:
            rows: Named columns in any order, others are ignored; or an array of numbers and
                category codes in the order of `columns`.

        Returns:
            Matrix of shape (n_rows, n_encoded). An unknown category counts as missing.

        Raises:
            ValueError: If a column is missing, or a value does not suit its column; the message
                names column, row and value.
        """
        X, exact = self.encode_with_exact(rows, {it.source for it in self.derived})
        return self.append_derived(X, exact)

    def append_derived(
        self, X: NDArray[np.float32], exact: Mapping[str, NDArray[Any]]
    ) -> NDArray[np.float32]:
        """Return the matrix with the derived columns; `exact` has the values of their sources."""
        if not self.derived:
            return X
        return np.column_stack([X, *(it.transform(exact[it.source]) for it in self.derived)])

    def encode_with_exact(
        self, rows: Rows, names: Collection[str]
    ) -> tuple[NDArray[np.float32], dict[str, NDArray[Any]]]:
        """Return the matrix without derived columns, and the exact values of some columns by name.

        float32 cannot hold dates to the second: their exact values are seconds in float64. Those of
        texts are the texts, "" where missing; the matrix has a code of each different text.
        """
        if isinstance(rows, np.ndarray):
            X = self._encode_array(rows)
            indices = [j for j, name in enumerate(self.names) if name in names]
            return X, {self.names[j]: rows[:, j].astype(np.float64) for j in indices}
        available = rows.column_names if isinstance(rows, pa.Table) else map(str, rows.columns)
        position = {name: index for index, name in enumerate(available)}
        absent = [name for name in self.names if name not in position]
        if absent:
            raise ValueError(
                f"Expected the columns of the features. Received: none named "
                f"{_first(absent)}, but {_first(list(position))}."
            )
        series = [] if isinstance(rows, pa.Table) else [values for _, values in rows.items()]
        X = empty_matrix(len(rows), len(self.columns))
        exact = {}
        for j, column in enumerate(self.columns):
            if isinstance(rows, pa.Table):
                array = rows.column(position[column.name])
            else:
                array = to_arrow(series[position[column.name]], self.decimal)
            values = self.encode_column(column, array)
            if column.name in names:
                is_text_column = column.kind == "text"
                exact[column.name] = to_texts(array, values) if is_text_column else values
            X[:, j] = values - column.offset if column.offset else values
        return X, exact

    def decode(
        self, X: NDArray[np.float32], exact: Mapping[str, NDArray[Any]] | None = None
    ) -> pd.DataFrame:
        """Return rows that `encode` turns into `X`: numbers, dates and texts of categories.

        Texts are those of `exact`, as `X` has none.
        """
        frame = {}
        for column, values in zip(self.columns, X.T[: len(self.columns)], strict=True):
            if column.kind == "category":
                texts = [
                    None if np.isnan(code) else column.categories[int(code)] for code in values
                ]
                frame[column.name] = pd.Series(texts, dtype=object)
            elif column.kind == "text":
                given = (exact or {}).get(column.name, np.array(["a text"] * len(X), object))
                pairs = zip(given, np.isnan(values), strict=True)
                texts = [None if is_missing else text for text, is_missing in pairs]
                frame[column.name] = pd.Series(texts, dtype=object)
            else:
                numbers = values.astype(np.float64) + column.offset
                frame[column.name] = pd.Series(from_seconds(column.kind, numbers))
        return pd.DataFrame(frame)

    def encode_column(self, column: Column, values: pa.ChunkedArray) -> NDArray[np.float64]:
        """Return a column as numbers with their offset, or as category codes; NaN where missing."""
        if column.kind == "category":
            return self._to_codes(column, values)
        if column.kind == "text":
            codes, texts = encode_texts(values)
            missing = [not text.strip() or self.is_missing(text) for text in texts]
            return np.where(np.array([*missing, True])[codes], np.nan, codes)
        if is_text(values.type):
            numbers = self.parse_texts(column, values)
        elif column.kind == "number":
            numbers = to_numbers(column.name, values)
        else:
            numbers = to_seconds(column.name, column.kind, values)
        if self.na_numbers:
            numbers = np.where(np.isin(numbers, self.na_numbers), np.nan, numbers)
        check_size(column.name, numbers)
        return numbers

    @cached_property
    def _codes(self) -> dict[str, dict[str, int]]:
        """Code of each category's text and, where unambiguous, of its canonical spelling."""
        codes = {}
        for column in self.columns:
            spellings = [canonical(text, self.decimal) for text in column.categories]
            counts = Counter(spellings)
            codes[column.name] = {
                text: code for code, text in enumerate(spellings) if counts[text] == 1
            } | {text: code for code, text in enumerate(column.categories)}
        return codes

    def _encode_array(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        if rows.ndim != 2 or rows.shape[1] != len(self.columns):
            raise ValueError(
                f"Expected rows of {len(self.columns)} features. Received: an array of shape "
                f"{rows.shape}."
            )
        X = rows
        if rows.dtype != np.float32 or not rows.flags.c_contiguous:
            X = empty_matrix(*rows.shape)
            with np.errstate(over="ignore", under="ignore"):
                X[:] = rows
        shifted = np.flatnonzero(self.offsets)
        if len(shifted):
            X = X.copy() if X is rows else X
            X[:, shifted] = rows[:, shifted].astype(np.float64) - self.offsets[shifted]
        if X.size and max(np.fmax.reduce(X, axis=None), -np.fmin.reduce(X, axis=None)) > LARGEST:
            for name, values in zip(self.names, rows.T, strict=True):
                check_size(name, values)
        return X

    def _to_codes(self, column: Column, values: pa.ChunkedArray) -> NDArray[np.float64]:
        codes, texts = encode_texts(values)
        codes_by_spelling, code_of_text = self._codes[column.name], []
        for text in texts:
            code = codes_by_spelling.get(text)  # even of "?": in ARFF, a quoted one is a category
            if code is None and not self.is_missing(text):
                code = codes_by_spelling.get(canonical(text, self.decimal))
            code_of_text.append(np.nan if code is None else code)
        return np.array([*code_of_text, np.nan])[codes]


def empty_matrix(n_rows: int, n_columns: int) -> NDArray[np.float32]:
    """Return an aligned matrix without values."""
    n_spare = ALIGNMENT // 4
    values = np.empty(n_rows * n_columns + n_spare, dtype=np.float32)
    first = -(values.ctypes.data // 4) % n_spare
    return values[first : first + n_rows * n_columns].reshape(n_rows, n_columns)


def _first(names: list[str]) -> str:
    """Return the first names of a list, and the number of the others."""
    shown = ", ".join(map(repr, names[:MAX_SHOWN]))
    return f"{shown} and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else shown
