"""Row numbers of the batches of each epoch, and of the rows that are scored."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

PADDING = -1  # row number that stands for no row
MAX_SCORED_ROWS = 4096  # rows per slot that are scored at once, to bound memory
MAX_SCORED_CELLS = 2**22  # features of test rows that are scored at once
MAX_KEPT_ROWS = 2048  # of a fit whose order in each epoch is kept
MAX_KEPT_ORDERS = 8192  # 64 MB in all at most


def pad_rows(
    rows: Sequence[NDArray[np.int32]], n_rows: int, n_at_once: int = MAX_SCORED_ROWS
) -> tf.Tensor:
    """Pad the row numbers of each slot to `n_rows`, in shape (n_chunks, n_slots, chunk_size)."""
    chunk_size = max(1, min(n_rows, n_at_once))
    n_chunks = max(1, -(-n_rows // chunk_size))
    padded = np.full((len(rows), n_chunks * chunk_size), PADDING, dtype=np.int32)
    for slot, row_numbers in enumerate(rows):
        padded[slot, : len(row_numbers)] = row_numbers
    return tf.constant(padded.reshape(len(rows), n_chunks, chunk_size).transpose(1, 0, 2))


def epoch_order(seed: int, epoch: int, train: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the training rows in their order in one epoch."""
    if len(train) > MAX_KEPT_ROWS:
        return np.random.default_rng([seed, epoch]).permutation(train)
    return train[_permutation(seed, epoch, len(train))]


def draw_orders(fits: Sequence[tuple[int, int]], n_epochs: int) -> None:
    """Draw orders that are kept, before the threads need them, which would wait for each other.

    Args:
        fits: Seed and number of training rows of each fit.
        n_epochs: Epochs of each.
    """
    kept = [(seed, n_rows) for seed, n_rows in fits if n_rows <= MAX_KEPT_ROWS]
    for epoch in range(min(n_epochs, MAX_KEPT_ORDERS // max(1, len(kept)))):
        for seed, n_rows in kept:
            _permutation(seed, epoch, n_rows)


@lru_cache(MAX_KEPT_ORDERS)
def _permutation(seed: int, epoch: int, n_rows: int) -> NDArray[np.int32]:
    """Return the order of rows in an epoch; jobs of a sweep with equal folds share it."""
    return np.random.default_rng([seed, epoch]).permutation(n_rows).astype(np.int32)


def make_batches(
    orders: Sequence[Sequence[NDArray[np.int32]]],
    n_steps: int,
    batch_size: int,
    last_batch_size: int,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Divide the training rows of several epochs into batches.

    Args:
        orders: Row numbers by epoch, then by slot; idle slots have none.
        n_steps: Batches of full size per epoch.
        batch_size: Rows per batch.
        last_batch_size: Rows of a smaller last batch; 0 pads the last full batch instead.

    Returns:
        Row numbers of shape (n_epochs, n_steps, n_slots, batch_size), and those of the smaller
        batches, of shape (n_epochs, n_slots, last_batch_size), both filled up with `PADDING`.
    """
    n_epochs, n_slots, n_full = len(orders), len(orders[0]), n_steps * batch_size
    rows = np.full((n_epochs, n_slots, n_full + last_batch_size), PADDING, dtype=np.int32)
    for epoch, by_slot in enumerate(orders):
        for slot, order in enumerate(by_slot):
            rows[epoch, slot, : len(order)] = order
    batches = rows[:, :, :n_full].reshape(n_epochs, n_slots, n_steps, batch_size)
    return np.ascontiguousarray(batches.transpose(0, 2, 1, 3)), rows[:, :, n_full:]
