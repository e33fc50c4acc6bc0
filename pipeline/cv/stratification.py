"""Multi-label stratification, of rows and of groups."""

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


def grouped_folds(
    groups: NDArray[np.int64], y: NDArray[np.int8], n_splits: int, generator: RandomState
) -> NDArray[np.int64]:
    """Return the fold of each row, of shape (n_samples,); rows of a group share one.

    Groups that hold much of the rows or of any label come first, and each goes where it makes the
    folds least uneven, as in scikit-learn's `StratifiedGroupKFold`, with every label a share to
    spread and the rows one more. Each fold gets a group: an empty one costs nothing to fill.

    Args:
        groups: Group of each row, of shape (n_samples,), at least `n_splits` of them.
        y: Labels to spread, of shape (n_samples, n_labels); no columns to balance rows alone.
        n_splits: Number of folds.
        generator: Varies the order in which groups are placed, by up to half their weight, so that
            repeats differ.
    """
    _, group = np.unique(groups, return_inverse=True)
    counted = np.column_stack([y, np.ones(len(y))])
    totals = np.zeros((group.max() + 1, counted.shape[1]))
    np.add.at(totals, group, counted)
    shares = totals / np.maximum(totals.sum(axis=0), 1)  # of each label, and of the rows

    weights = np.linalg.norm(shares, axis=1) * generator.uniform(0.5, 1, size=len(shares))
    held = np.zeros((n_splits, shares.shape[1]))
    folds = np.empty(len(shares), dtype=np.int64)
    for place in np.argsort(-weights, kind="stable"):
        # The sum of squares over folds grows by 2 held @ share + share @ share.
        folds[place] = fold = (held @ shares[place]).argmin()
        held[fold] += shares[place]
    numbers = generator.permutation(n_splits)  # else the heaviest group is always in fold 0
    result: NDArray[np.int64] = numbers[folds[group]]
    return result
