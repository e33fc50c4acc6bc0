"""Read the times of rows: dates, durations or numbers, which order the rows."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.dataset.column_roles import ColumnRoles
from pipeline.dataset.dataset import Times
from pipeline.dataset.schema_inference import infer_column
from pipeline.errors import UserError
from pipeline.preprocessing import TableSchema, encode_texts
from pipeline.preprocessing.column_values import Kind

_EXACT_FLOAT64 = 2**53


def read_times(
    source: str, roles: ColumnRoles, name: str, values: pa.ChunkedArray
) -> tuple[Times, str]:
    """Return the time of each row, and an example of the format of texts, empty if plain.

    Args:
        source: Origin of the values, for messages.
        roles: Spelling of missing values, numbers and dates.
        name: Name of the column.
        values: Its values: dates, times, durations, numbers, or texts of them.

    Raises:
        UserError: If a value is missing, or no time.
    """
    if pa.types.is_integer(values.type):  # also nanoseconds, which float64 would round
        _check_present(source, name, values.is_null().to_numpy())
        return values.cast(pa.int64()).to_numpy(), ""
    spelling = TableSchema((), roles.na_values, roles.decimal)
    column = infer_column(source, replace(roles, typed=False), spelling, name, values)
    if column.kind == "category":
        codes, texts = encode_texts(values)
        _check_present(source, name, codes < 0)
        raise UserError(
            f"{source}: expected dates or numbers in the column of dataset.time_column. Received: "
            f"{texts[codes[0]][:60]!r} in column {name!r}, row 0 (the first is 0)."
        )
    numbers = spelling.encode_column(column, values)
    return to_times(source, name, column.kind, numbers), column.format


def to_times(source: str, name: str, kind: Kind, numbers: NDArray[np.float64]) -> Times:
    """Return seconds of dates and durations, or numbers, as times.

    Raises:
        UserError: If one is missing.
    """
    _check_present(source, name, np.isnan(numbers))
    if kind == "number":
        is_integer = (numbers == np.round(numbers)).all() and np.abs(numbers).max() < _EXACT_FLOAT64
        return numbers.astype(np.int64) if is_integer else numbers
    unit = "datetime64[us]" if kind == "datetime" else "timedelta64[us]"
    return np.round(numbers * 1e6).astype(np.int64).view(unit)


def array_to_times(source: str, values: NDArray[Any]) -> Times:
    """Return an array of dates, durations, numbers or texts of them as times.

    Raises:
        UserError: If a value is missing, or no time.
    """
    if values.dtype.kind in "mM":
        array = pa.array(values.astype(f"{values.dtype.kind}8[us]"))
    else:
        array = pa.array(values.tolist(), from_pandas=True)
    roles = ColumnRoles(features=(), labels=())
    return read_times(source, roles, "times", pa.chunked_array([array]))[0]


def _check_present(source: str, name: str, is_missing: NDArray[np.bool_]) -> None:
    if is_missing.any():
        raise UserError(
            f"{source}: expected a value in every row of the column of dataset.time_column. "
            f"Received: a missing value in column {name!r}, row {int(is_missing.argmax())} (the "
            "first is 0)."
        )
