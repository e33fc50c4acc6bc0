"""Whole groups into folds: rows, and labels where asked for, as even as the groups allow."""

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray


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
