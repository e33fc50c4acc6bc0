"""Which rows each fit sees at each step: a function of (seed, repeat, fold, epoch) alone."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

PADDING = -1


def fit_seed(
    seed: int, place: tuple[int, int] | Literal["final"], inner: int = 0, member: int = 0
) -> int:
    """Return the 32-bit seed of one fit.

    Args:
        seed: The configuration's seed.
        place: (repeat, fold), or "final" for the fit on all rows.
        inner: 0, or from 1 which of the fits within the training fold.
        member: Which member of an ensemble.
    """
    key = [1, 0, 0] if place == "final" else [0, *place]
    if inner or member:
        key += [inner, member]
    return int(np.random.SeedSequence([seed, *key]).generate_state(1)[0])


def epoch_order(seed: int, epoch: int, train: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the training rows in the order in which one epoch visits them."""
    return np.random.default_rng([seed, epoch]).permutation(train)


def cut(
    orders: Sequence[Sequence[NDArray[np.int64]]], n_steps: int, batch_size: int, rest: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Cut the orders of several epochs and fits into batches.

    Args:
        orders: Row numbers by epoch, then by fit; an idle slice of a stack has none.
        n_steps: Batches of full size per epoch.
        batch_size: Rows per batch.
        rest: Rows of a last, smaller batch of its own; 0 pads the last batch instead.

    Returns:
        Row numbers of shape (n_epochs, n_steps, n_fits, batch_size), and those of the smaller
        batches, of shape (n_epochs, n_fits, rest). Places without a row hold `PADDING`.
    """
    n_epochs, n_fits, full = len(orders), len(orders[0]), n_steps * batch_size
    rows = np.full((n_epochs, n_fits, full + rest), PADDING, dtype=np.int32)
    for epoch, by_fit in enumerate(orders):
        for fit, order in enumerate(by_fit):
            rows[epoch, fit, : len(order)] = order
    batches = rows[:, :, :full].reshape(n_epochs, n_fits, n_steps, batch_size)
    return np.ascontiguousarray(batches.transpose(0, 2, 1, 3)), rows[:, :, full:]
