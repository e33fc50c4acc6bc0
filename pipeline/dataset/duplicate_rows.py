"""Find rows with the features of a previous row."""

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset.dataset import Dataset
from pipeline.matrix_blocks import row_blocks

MAX_CELLS = 500_000  # features that are hashed at once


def first_rows(X: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the index of the first row with the same features, for each row."""
    hashes, rows = np.empty(len(X), dtype=np.uint64), np.arange(len(X))
    multipliers = np.random.default_rng(0).integers(2**64, size=X.shape[1], dtype=np.uint64)
    for part in row_blocks(len(X), X.shape[1], MAX_CELLS):
        hashes[part] = (_canonical_bits(X[part]) * multipliers).sum(axis=1)
    ordered = np.sort(hashes)
    if (ordered[1:] != ordered[:-1]).all():
        return rows
    _, index, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    first = np.asarray(index[inverse], dtype=np.int64)
    later = np.flatnonzero(first != rows)
    parts = row_blocks(len(later), X.shape[1], MAX_CELLS)
    if all(_are_equal(X, later[part], first[later[part]]) for part in parts):
        return first
    by_row: dict[bytes, int] = {}  # as different rows have equal hashes
    return np.array([by_row.setdefault(_canonical_bits(it).tobytes(), i) for i, it in enumerate(X)])


def _are_equal(X: NDArray[np.float32], rows: NDArray[np.int64], others: NDArray[np.int64]) -> bool:
    return bool((_canonical_bits(X[rows]) == _canonical_bits(X[others])).all())


def _canonical_bits(X: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Return the bits of numbers, equal for equal ones: of 0.0 and -0.0, and of any two NaN."""
    X = X + np.float32(0.0)
    X[np.isnan(X)] = np.nan
    return X.view(np.uint32)


def labels_differ(
    dataset: Dataset, rows: NDArray[np.int64], others: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return whether two rows differ in a label that both know, for each pair of rows."""
    differ = dataset.y[rows] != dataset.y[others]
    if dataset.label_mask is not None:
        differ &= dataset.label_mask[rows] & dataset.label_mask[others]
    return np.asarray(differ.any(axis=1))
