"""Iterative stratification: rows into folds of equal size, each label evenly over them.

Written here, for lack of a library to lean on: `iterative-stratification` 0.1.9 (2024) imports
private names of scikit-learn, puts a top-level package `tests` beside the packages of its users
and leaves folds unequal; `scikit-multilearn` was last released in 2018.
"""

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray


def iterative_folds(
    y: NDArray[np.int8], n_splits: int, generator: RandomState
) -> NDArray[np.int64]:
    """Return the fold of each row, of shape (n_samples,).

    The rarest label that is left deals its rows out first, each to the fold that lacks it most;
    so the labels that random folds would miss are placed while there is still a choice. Other than
    in the paper no fold takes more rows than its even share: folds of one size are trained in one
    program, and the proportions come out no worse.

    Args:
        y: Indicator matrix of shape (n_samples, n_labels), values {0, 1}.
        n_splits: Number of folds, at most the number of rows.
        generator: Breaks the ties: the order of rows, labels and folds.

    References:
        Sechidis, Tsoumakas and Vlahavas, On the Stratification of Multi-Label Data,
        ECML PKDD 2011.
    """
    order = generator.permutation(len(y))
    shuffled = y[order]
    left = shuffled.sum(axis=0, dtype=np.int64)  # rows of each label without a fold
    lacking = np.outer(np.full(n_splits, 1 / n_splits), left)  # rows of each label, by fold
    room = generator.permutation(np.bincount(np.arange(len(y)) % n_splits, minlength=n_splits))
    folds = np.full(len(y), -1)
    while left.any():
        rarest = generator.choice(np.flatnonzero(left == left[left > 0].min()))
        for row in np.flatnonzero((shuffled[:, rarest] == 1) & (folds == -1)):
            fold = _neediest(lacking[:, rarest], room, generator)
            folds[row] = fold
            lacking[fold] -= shuffled[row]
            left -= shuffled[row]
            room[fold] -= 1
    folds[folds == -1] = np.repeat(np.arange(n_splits), room)  # rows without a label, shuffled
    result = np.empty_like(folds)
    result[order] = folds
    return result


def _neediest(
    lacking: NDArray[np.float64], room: NDArray[np.int64], generator: RandomState
) -> np.int64:
    """Return the fold that lacks most of the label; among equals the one with most room."""
    lacking = np.where(room > 0, lacking, -np.inf)
    best = np.flatnonzero(lacking == lacking.max())
    best = best[room[best] == room[best].max()]
    chosen: np.int64 = best[0] if len(best) == 1 else generator.choice(best)
    return chosen
