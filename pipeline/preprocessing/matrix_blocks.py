"""Divide a large matrix, so that a computation copies only a part of it at a time."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

MAX_CELLS = 2**24  # of the rows, or of the columns, that are copied at once


def row_blocks(n_rows: int, n_columns: int) -> Iterator[slice]:
    """Yield the rows of a matrix of this shape, some at a time."""
    step = max(1, MAX_CELLS // max(1, n_columns))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def read_columns(
    X: NDArray[np.floating], rows: NDArray[np.integer], features: NDArray[np.int64]
) -> Iterator[NDArray[np.floating]]:
    """Yield columns of a matrix, each of shape (n_rows,).

    A column is not contiguous: to read it alone takes as long as to read many.

    Args:
        X: Matrix of shape (n_samples, n_features).
        rows: Row numbers.
        features: Column indices.
    """
    step = max(1, MAX_CELLS // max(1, len(rows)))
    for start in range(0, len(features), step):
        yield from X[np.ix_(rows, features[start : start + step])].T
