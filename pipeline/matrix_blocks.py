"""Divide a large matrix, so that a computation copies only a part of it at a time."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

MAX_CELLS = 2**24  # of the rows, or of the columns, that are copied at once
MAX_COLUMNS = 128  # that are copied at once, so that they stay in the processor's cache
MAX_PASSES = 32  # over a matrix of which columns are read; each reads all pages of its file


def row_blocks(n_rows: int, n_columns: int, max_cells: int | None = None) -> Iterator[slice]:
    """Yield the rows of a matrix of this shape, some at a time, by default `MAX_CELLS` cells."""
    step = max(1, (max_cells or MAX_CELLS) // max(1, n_columns))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def column_blocks(n_rows: int, n_columns: int) -> Iterator[slice]:
    """Yield the columns of a matrix of this shape, some at a time.

    A column is not contiguous: to read it alone takes as long as to read many.
    """
    step = max(1, min(MAX_COLUMNS, MAX_CELLS // max(1, n_rows)), -(-n_columns // MAX_PASSES))
    for start in range(0, n_columns, step):
        yield slice(start, min(start + step, n_columns))


def read_columns(
    X: NDArray[np.floating], rows: NDArray[np.integer], features: NDArray[np.int64]
) -> Iterator[NDArray[np.floating]]:
    """Yield columns of a matrix, contiguous and each of shape (n_rows,).

    Args:
        X: Matrix of shape (n_samples, n_features).
        rows: Row numbers.
        features: Column indices.
    """
    for part in column_blocks(len(rows), len(features)):
        columns = features[part]
        is_range = (np.diff(columns) == 1).all()  # whose slice takes half the time
        block = X[rows, columns[0] : columns[-1] + 1] if is_range else X[np.ix_(rows, columns)]
        yield from np.ascontiguousarray(block.T)
