"""The record of one fold, and what identifies a list of them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Split:
    """One fold of one repeat.

    Attributes:
        repeat: Which repeat, from 0.
        fold: Which fold of it, from 0.
        train: Row numbers to train on, of shape (n_train,).
        test: Row numbers to score on, of shape (n_test,); disjoint from `train`.
    """

    repeat: int
    fold: int
    train: NDArray[np.int64]
    test: NDArray[np.int64]


def splits_of(folds: NDArray[np.int64], repeat: int) -> list[Split]:
    """Return one split per fold, rows in ascending order.

    Args:
        folds: In which fold each row is tested, of shape (n_samples,); -1 trains in all of them.
        repeat: Which repeat, from 0.
    """
    names = np.unique(folds[folds >= 0])
    return [
        Split(repeat, place, np.flatnonzero(folds != name), np.flatnonzero(folds == name))
        for place, name in enumerate(names)
    ]


def digest(splits: Sequence[Split]) -> str:
    """Return 32 hexadecimal characters that two lists share exactly if their folds pair up."""
    sha = hashlib.sha256()
    for split in splits:
        sha.update(np.array([split.repeat, split.fold, len(split.train)]).tobytes())
        sha.update(split.train.astype(np.int64).tobytes())
        sha.update(split.test.astype(np.int64).tobytes())
    return sha.hexdigest()[:32]
