"""Columns of the matrix by their treatment: numbers, categories and counts of terms."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.preprocessing.derived_columns import DateParts
from pipeline.preprocessing.table_schema import TableSchema
from pipeline.preprocessing.text_columns import TextCounts


class InputColumns(NamedTuple):
    """Columns of the matrix that are inputs of a model.

    Attributes:
        numeric: Indices of numbers and parts of dates, of shape (n_numeric,).
        categorical: Indices of categories, of shape (n_categorical,).
        texts: Indices of the counts of terms, for each column of texts.
        offsets: Offset of each number, of shape (n_numeric,).
        is_date: True for each number that becomes days since the first training row.
        is_repeated: True for each number that is missing where a previous one is, as both are
            parts of one date.
    """

    numeric: NDArray[np.int64]
    categorical: NDArray[np.int64]
    texts: tuple[NDArray[np.int64], ...]
    offsets: NDArray[np.float64]
    is_date: NDArray[np.bool_]
    is_repeated: NDArray[np.bool_]


def find_input_columns(schema: TableSchema) -> InputColumns:
    """Return the columns of a matrix of `TableSchema.encode`."""
    parts = [(columns, it) for columns, it in _derived_columns(schema) if isinstance(it, DateParts)]
    replaced = {it.source for _, it in parts if it.replaces_source}
    dates = {it.source for _, it in parts} - replaced
    names = schema.names
    is_input = np.array([name not in replaced for name in names], dtype=bool)
    of_table = np.flatnonzero(schema.is_numeric & is_input)
    of_dates = [index for columns, _ in parts for index in columns]
    n_parts = len(of_dates)
    is_repeated = [
        bool(number) or not it.replaces_source
        for columns, it in parts
        for number in range(len(columns))
    ]
    return InputColumns(
        np.append(of_table, np.array(of_dates, dtype=np.int64)),
        np.flatnonzero(schema.is_categorical),
        tuple(
            np.array(columns)
            for columns, it in _derived_columns(schema)
            if isinstance(it, TextCounts)
        ),
        np.append(schema.offsets[of_table], np.zeros(n_parts)),
        np.array([names[j] in dates for j in of_table] + [False] * n_parts, dtype=bool),
        np.array([False] * len(of_table) + is_repeated, dtype=bool),
    )


def _derived_columns(schema: TableSchema) -> Iterator[tuple[range, DateParts | TextCounts]]:
    """Yield the columns of the matrix of each derivation."""
    first = len(schema.columns)
    for derived in schema.derived:
        yield range(first, first + derived.n_columns), derived
        first += derived.n_columns
