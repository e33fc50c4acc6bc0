"""Features of which most are 0, kept without the zeros until a batch needs them."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.preprocessing.table_schema import ALIGNMENT

MIN_SPARSE_CELLS = 2**22  # of a smaller table, the memory of the zeros does not matter
MAX_FILLED = 1 / 8  # of the cells of the fullest row: a sparse cell takes twice the memory
_ROWS_AT_ONCE = 1024


class SparseRows(NamedTuple):
    """The values of each row that are not 0; shorter rows are padded with 0 in column 0.

    XLA has no products of sparse matrices on a CPU. So a batch is made dense in the program, or a
    `SparseNetwork` takes it as it is.

    Attributes:
        columns: Column of each value, of shape (n_samples, n_values).
        values: Of the same shape.
        n_features: Number of columns of the table.
        is_gathered: Whether a `SparseNetwork` takes the rows.
    """

    columns: tf.Tensor
    values: tf.Tensor
    n_features: int
    is_gathered: bool = False


def is_gathered(X: tf.Tensor | SparseRows) -> bool:
    """Return whether a `SparseNetwork` takes the features."""
    return isinstance(X, SparseRows) and X.is_gathered


def to_device(X: NDArray[np.float32]) -> tf.Tensor | SparseRows:
    """Return features on the device, without the zeros of a large table that is mostly zeros.

    Args:
        X: Encoded features of shape (n_samples, n_features), which nobody changes later.
    """
    n_samples, n_features = X.shape
    if X.size < MIN_SPARSE_CELLS:
        return tf.constant(X)
    starts = range(0, n_samples, _ROWS_AT_ONCE)
    n_values = 1
    for start in starts:
        counts = np.count_nonzero(X[start : start + _ROWS_AT_ONCE], axis=1)
        n_values = max(n_values, int(counts.max()))
        if n_values > MAX_FILLED * n_features:
            return _to_tensor(X)
    columns = np.zeros((n_samples, n_values), np.int32)
    values = np.zeros((n_samples, n_values), np.float32)
    for start in starts:
        block = X[start : start + _ROWS_AT_ONCE]
        rows, filled = np.nonzero(block)
        firsts = np.searchsorted(rows, np.arange(len(block)))
        positions = np.arange(len(rows)) - firsts[rows]
        columns[start + rows, positions] = filled
        values[start + rows, positions] = block[rows, filled]
    return SparseRows(tf.constant(columns), tf.constant(values), n_features)


def _to_tensor(X: NDArray[np.float32]) -> tf.Tensor:
    """Return a matrix as a tensor, on a CPU without a copy if XLA can read it as it lies there."""
    has_gpu = bool(tf.config.list_logical_devices("GPU"))
    is_aligned = X.ctypes.data % ALIGNMENT == 0 and X.flags.c_contiguous
    if has_gpu or not is_aligned or not X.flags.writeable:  # NumPy exports no other arrays
        return tf.constant(X)
    return tf.experimental.dlpack.from_dlpack(X.__dlpack__())
