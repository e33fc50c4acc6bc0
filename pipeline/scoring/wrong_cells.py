"""Find cells, labels of rows, whose given value is improbable, by confident learning."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

LIKELY = 0.5  # probability from which on a row without a label looks labelled

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Block(NamedTuple):
    """Some rows: held-out probabilities and given labels, averaged over repeats.

    Attributes:
        y_true: Given labels of shape (n_rows, n_labels).
        probability: Held-out probabilities of the same shape.
        mask: True where a label is known, of the same shape; None if all are.
    """

    y_true: NDArray[np.bool_]
    probability: Floats
    mask: NDArray[np.bool_] | None = None

    @property
    def of_given(self) -> Floats:
        """Probabilities, 0 of labels that are not known."""
        return self.probability if self.mask is None else np.where(self.mask, self.probability, 0.0)

    @property
    def is_false(self) -> NDArray[np.bool_]:
        """True where a label is known not to apply."""
        return ~self.y_true if self.mask is None else ~self.y_true & self.mask

    @property
    def looks_labelled(self) -> NDArray[np.bool_]:
        """True for rows without a label for which one is probable, of shape (n_rows,)."""
        return np.asarray(self.is_false.all(axis=1) & (self.of_given.max(axis=1) > LIKELY))

    def mean_losses(self) -> Floats:
        """Return the mean binary cross-entropy of each row over its labels."""
        by_cell = np.where(self.y_true, self.probability, 1 - self.probability)
        np.negative(np.log(by_cell, out=by_cell), out=by_cell)
        if self.mask is None:
            return np.asarray(by_cell.mean(axis=1))
        n_labels = self.mask.sum(axis=1)
        return np.asarray((by_cell * self.mask).sum(axis=1) / np.maximum(n_labels, 1))


def find_wrong_cells(
    blocks: Callable[[], Iterable[Block]], max_cells: int | None = None
) -> tuple[Integers, Floats, int]:
    """Return row and column of the cells that are likely wrong, the most likely first.

    Args:
        blocks: Returns the rows, some at a time; called twice.
        max_cells: Number of cells to return; None for all.

    Returns:
        Rows and columns, of shape (n_cells, 2), their probabilities, and the number of all such
        cells.
    """
    sums = [
        (
            (block.probability * block.y_true).sum(axis=0),
            ((1 - block.probability) * block.is_false).sum(axis=0),
            block.y_true.sum(axis=0),
            block.is_false.sum(axis=0),
        )
        for block in blocks()
    ]
    true, false, n_true, n_false = (sum(it) for it in zip(*sums, strict=True))
    with np.errstate(invalid="ignore"):
        mean_true, mean_false = true / n_true, false / n_false
    n_wrong, first, candidates = 0, 0, []
    for block in blocks():
        of_false = np.where(block.is_false, block.probability, 0.0)
        of_other = np.where(block.y_true, 1 - block.probability, of_false)
        is_likely, needed = of_other > LIKELY, np.where(block.y_true, mean_false, mean_true)
        n_wrong += int((is_likely & (of_other >= needed)).sum())
        cells, values = np.argwhere(is_likely), of_other[is_likely]
        most = largest(values, len(values) if max_cells is None else min(len(values), max_cells))
        candidates.append(
            (cells[most] + [first, 0], values[most], block.probability[is_likely][most])
        )
        first += len(block.y_true)
    cells, values, probability = map(np.concatenate, zip(*candidates, strict=True))
    most = largest(values, n_wrong if max_cells is None else min(n_wrong, max_cells))
    return cells[most], probability[most], n_wrong


def largest(values: NDArray[np.number[Any]], n: int) -> Integers:
    """Return the indices of the n largest values, the largest first, NaN last."""
    if n == 0:
        return np.zeros(0, dtype=np.int64)
    if np.isnan(values).any():
        values = np.where(np.isnan(values), -np.inf, values)
    candidates = np.arange(len(values))
    if n < len(values):
        candidates = np.flatnonzero(values >= np.partition(values, -n)[-n])
    return candidates[np.argsort(-values[candidates], kind="stable")[:n]]
