"""Folds of equal label frequencies: of rows, and of groups."""

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray


def iterative_folds(
    y: NDArray[np.int8], n_splits: int, generator: RandomState
) -> NDArray[np.int64]:
    """Return the fold of each row, of shape (n_samples,).

    The rows of the rarest remaining label are assigned first, each to the fold that lacks this
    label most, because frequent labels can still be balanced later. Unlike in the paper, folds
    differ by one row at most: folds of one size are trained in one program, and the label
    proportions are as good.

    Args:
        y: Indicator matrix of shape (n_samples, n_labels), values {0, 1}.
        n_splits: Number of folds, at most the number of rows.
        generator: Source of the order of rows and of the tie-breaking.

    References:
        Sechidis, Tsoumakas and Vlahavas, On the Stratification of Multi-Label Data,
        ECML PKDD 2011.
    """
    row_order = generator.permutation(len(y))
    shuffled = y[row_order]
    remaining = shuffled.sum(axis=0, dtype=np.int64)  # rows of each label without a fold
    lacking = np.outer(np.full(n_splits, 1 / n_splits), remaining)  # rows of each label, by fold
    room = generator.permutation(np.bincount(np.arange(len(y)) % n_splits, minlength=n_splits))
    folds = np.full(len(y), -1)
    while remaining.any():
        rarest = generator.choice(np.flatnonzero(remaining == remaining[remaining > 0].min()))
        for row in np.flatnonzero((shuffled[:, rarest] == 1) & (folds == -1)):
            fold = _choose_fold(lacking[:, rarest], room, generator)
            folds[row] = fold
            lacking[fold] -= shuffled[row]
            remaining -= shuffled[row]
            room[fold] -= 1
    folds[folds == -1] = np.repeat(np.arange(n_splits), room)  # rows without a label, shuffled
    result = np.empty_like(folds)
    result[row_order] = folds
    return result


def _choose_fold(
    lacking: NDArray[np.float64], room: NDArray[np.int64], generator: RandomState
) -> np.int64:
    """Return the fold that lacks most rows of the label; of equal ones, one with most room."""
    lacking = np.where(room > 0, lacking, -np.inf)
    best = np.flatnonzero(lacking == lacking.max())
    best = best[room[best] == room[best].max()]
    chosen: np.int64 = best[0] if len(best) == 1 else generator.choice(best)
    return chosen


def grouped_folds(
    groups: NDArray[np.int64], y: NDArray[np.int8], n_splits: int, generator: RandomState
) -> NDArray[np.int64]:
    """Return the fold of each row, of shape (n_samples,); rows of a group share one.

    Groups with a large fraction of the rows or of a label are assigned first, each to the fold that
    keeps the folds most even, as in scikit-learn's `StratifiedGroupKFold`, but with every label
    and the number of rows as a quantity to balance. Each fold gets at least one group.

    Args:
        groups: Group of each row, of shape (n_samples,), at least `n_splits` of them.
        y: Labels to balance, of shape (n_samples, n_labels); no columns balance rows alone.
        n_splits: Number of folds.
        generator: Source of random factors in [0.5, 1) for the weights that order the groups, so
            that repeats differ.
    """
    _, group = np.unique(groups, return_inverse=True)
    quantities = np.column_stack([y, np.ones(len(y))])
    totals = np.zeros((group.max() + 1, quantities.shape[1]))
    np.add.at(totals, group, quantities)
    fractions = totals / np.maximum(totals.sum(axis=0), 1)  # of each label, and of the rows

    weights = np.linalg.norm(fractions, axis=1) * generator.uniform(0.5, 1, size=len(fractions))
    fold_sums = np.zeros((n_splits, fractions.shape[1]))
    folds = np.empty(len(fractions), dtype=np.int64)
    for i in np.argsort(-weights, kind="stable"):
        # The sum of squares over folds grows by 2 fold_sum @ fraction + fraction @ fraction.
        folds[i] = fold = (fold_sums @ fractions[i]).argmin()
        fold_sums[fold] += fractions[i]
    numbers = generator.permutation(n_splits)  # else the heaviest group is always in fold 0
    result: NDArray[np.int64] = numbers[folds[group]]
    return result
