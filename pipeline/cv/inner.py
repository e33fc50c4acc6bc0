"""A training fold divided again, to learn what must not be learnt from its test rows."""

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from pipeline.cv.grouped import grouped_folds
from pipeline.cv.iterative import iterative_folds
from pipeline.dataset import Dataset
from pipeline.errors import UserError

Parts = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Row numbers to train on, and those held out."""


def inner_splits(
    dataset: Dataset, train: NDArray[np.int64], n_splits: int, share: float, seed: int
) -> list[Parts]:
    """Return the training rows divided into k folds, stratified by labels, groups kept whole.

    Args:
        dataset: Labels and groups of all rows.
        train: Row numbers of the training fold; no other row plays a part.
        n_splits: How many folds; 1 for a single validation part.
        share: Of the training rows that the single part has.
        seed: Breaks ties.

    Raises:
        UserError: If there are fewer rows or groups than folds.
    """
    if n_splits == 1:
        return [validation_part(dataset, train, share, seed)]
    folds = _folds(dataset, train, n_splits, seed)
    return [(train[folds != fold], train[folds == fold]) for fold in range(n_splits)]


def validation_part(dataset: Dataset, train: NDArray[np.int64], share: float, seed: int) -> Parts:
    """Return the training rows without a validation part, and that part.

    Args:
        dataset: Labels and groups of all rows.
        train: Row numbers of the training fold; no other row plays a part.
        share: Of the training rows, in (0, 0.5]; rounded to the nearest 1 / k.
        seed: Breaks ties.

    Raises:
        UserError: If the rows or groups are too few for such a part.
    """
    folds = _folds(dataset, train, round(1 / share), seed)
    return train[folds != 0], train[folds == 0]


def _folds(
    dataset: Dataset, train: NDArray[np.int64], n_splits: int, seed: int
) -> NDArray[np.int64]:
    generator = RandomState(seed)
    y = dataset.y[train]
    groups = None if dataset.groups is None else dataset.groups[train]
    n_units = len(train) if groups is None else len(np.unique(groups))
    if n_splits > n_units:
        raise UserError(
            f"Expected at least {n_splits} {'rows' if groups is None else 'groups'} in each "
            f"training fold, to divide it into {n_splits} parts (scoring.inner, "
            f"training.early_stopping.validation_share). Received: {n_units}."
        )
    if groups is not None:
        return grouped_folds(groups, y, n_splits, generator)
    return iterative_folds(y, n_splits, generator)
