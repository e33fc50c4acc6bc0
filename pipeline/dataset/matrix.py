"""Encode a matrix of numbers and category codes in float32, less an offset of each column."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError, locate
from pipeline.matrix_blocks import row_blocks
from pipeline.preprocessing import Column, TableSchema
from pipeline.preprocessing.column_values import LARGEST, check_size
from pipeline.preprocessing.table_schema import empty_matrix

EXACT_FLOAT64 = 2**53
_N_SAMPLED_ROWS = 1000  # to choose offsets
_MAX_DENSE = 2**21  # numbers of a sparse matrix that are in float64 at once
_REMEDY = "Correct it or drop the row."
_MAX_RATIO = 4  # of a median to the spread; a larger one costs float32 more than two of 24 bits


def encode_matrix(
    source: str,
    columns: Sequence[Column],
    X: NDArray[Any],
    na_values: tuple[str, ...] = (),
    decimal: str = ".",
) -> tuple[NDArray[np.float32], TableSchema]:
    """Return the features of a matrix of numbers and category codes, and their schema.

    Args:
        source: Origin of the matrix, for messages.
        columns: Its columns, without offsets.
        X: Numbers and category codes of shape (n_samples, n_features), NaN where missing.
        na_values: Texts that mean a missing value in rows to predict.
        decimal: Decimal mark of numbers in texts of rows to predict.

    Raises:
        UserError: If a number is infinite, or out of the range of float32.
    """
    may_be_inexact = X.dtype.kind in "iu" and X.dtype.itemsize == 8 and X.size
    if may_be_inexact and (X.max() > EXACT_FLOAT64 or X.min() < -EXACT_FLOAT64):
        raise UserError(
            f"{source}: expected whole numbers up to 2**53 in X. Received: {X.min()} to {X.max()}."
        )
    if X.size:
        low, high = np.fmin.reduce(X, axis=0), np.fmax.reduce(X, axis=0)
        columns = with_offsets(source, columns, X[sample_rows(len(X))], low, high)
    schema = TableSchema(tuple(columns), na_values, decimal)
    try:
        return schema.encode(X), schema
    except ValueError as error:
        raise locate(source, error, _REMEDY) from error


def encode_sparse_matrix(
    source: str, columns: Sequence[Column], X: Any
) -> tuple[NDArray[np.float32], TableSchema]:
    """Return the features of a CSR matrix of numbers, as `encode_matrix` does, and their schema.

    Raises:
        UserError: As `encode_matrix`.
    """
    if 0 in X.shape:
        return encode_matrix(source, columns, X.toarray())
    low, high = X.nanmin(axis=0).toarray()[0], X.nanmax(axis=0).toarray()[0]
    sample = X[sample_rows(X.shape[0])].toarray()
    schema = TableSchema(tuple(with_offsets(source, columns, sample, low, high)))
    invalid = X.indices[np.abs(X.data) > LARGEST]
    try:
        if len(invalid):
            first = invalid.min()
            check_size(columns[first].name, X[:, [first]].toarray()[:, 0])
    except ValueError as error:
        raise locate(source, error, _REMEDY) from error
    n_samples, n_features = X.shape
    encoded = empty_matrix(n_samples, n_features)
    for rows in row_blocks(n_samples, n_features, _MAX_DENSE):
        encoded[rows] = schema.encode(X[rows].toarray())
    return encoded, schema


def sample_rows(n_rows: int) -> slice:
    """Return up to 1,000 evenly spaced rows: an offset is a unit, not a statistic."""
    return slice(None, None, -(-n_rows // _N_SAMPLED_ROWS))


def with_offsets(
    source: str,
    columns: Sequence[Column],
    sample: NDArray[np.floating],
    low: NDArray[np.floating],
    high: NDArray[np.floating],
) -> list[Column]:
    """Return the columns of a matrix with the offsets of those that are numbers.

    Args:
        source: Origin of the matrix, for messages.
        columns: Its columns, without offsets.
        sample: Some of its rows, of shape (n_sampled, n_columns), NaN where missing.
        low: Smallest value of each column, of shape (n_columns,).
        high: Largest value of each column, of shape (n_columns,).

    Raises:
        UserError: If all numbers of a column are too small for float32.
    """
    largest = np.maximum(np.abs(high), np.abs(low))
    for column, size in zip(columns, largest, strict=True):
        if 0 < size < 1 / LARGEST:
            raise UserError(
                f"{source}: expected features of at least {1 / LARGEST:g} in size. Received: at "
                f"most {size:g} in feature {column.name!r}. Multiply it by a constant, or take its "
                "logarithm."
            )
    is_numeric = TableSchema(tuple(columns)).is_numeric
    offsets = np.where(is_numeric, _infer_offsets(sample, low, high), 0.0)
    pairs = zip(columns, offsets, strict=True)
    return [replace(column, offset=float(offset)) for column, offset in pairs]


def _infer_offsets(
    sample: NDArray[np.floating], lowest: NDArray[np.floating], highest: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return the value to subtract from each column of numbers, so that float32 suffices.

    It is the median where that is large against the interquartile range (or the range, if that is
    0), else 0.
    """
    offsets = np.zeros(sample.shape[1])
    # Where less than half of the rows have the same sign, the median is not large.
    same_sign = np.maximum((sample > 0).sum(axis=0), (sample < 0).sum(axis=0))
    n_present = len(sample) - np.isnan(sample).sum(axis=0)
    for column in np.flatnonzero(2 * same_sign > n_present):
        present = sample[~np.isnan(sample[:, column]), column].astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):  # infinity is refused later
            low, median, high = np.quantile(present, [0.25, 0.5, 0.75])
            spread = high - low
            if spread == 0:
                spread = np.float64(highest[column]) - np.float64(lowest[column])
        if spread > 0 and abs(median) > _MAX_RATIO * spread:
            offsets[column] = np.float32(median)
    return offsets
