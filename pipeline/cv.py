"""Which rows train and which rows test: index arrays, and nothing of models."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.config import CvConfig
from pipeline.errors import UserError


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


def make_splits(config: CvConfig, n_samples: int) -> list[Split]:
    """Return the splits of repeated k-fold, in the order of scikit-learn's `RepeatedKFold`.

    Raises:
        UserError: If there are more folds than rows.
    """
    if config.n_splits > n_samples:
        raise UserError(
            f"cv.n_splits: expected at most the number of rows, {n_samples}. "
            f"Received: {config.n_splits}"
        )
    from sklearn.model_selection import RepeatedKFold

    splitter = RepeatedKFold(
        n_splits=config.n_splits, n_repeats=config.n_repeats, random_state=config.random_state
    )
    return [
        Split(*divmod(i, config.n_splits), train, test)
        for i, (train, test) in enumerate(splitter.split(np.empty(n_samples)))
    ]


def digest(splits: list[Split]) -> str:
    """Return 32 hexadecimal characters that two lists share exactly if their folds pair up."""
    sha = hashlib.sha256()
    for split in splits:
        sha.update(np.array([split.repeat, split.fold, len(split.train)]).tobytes())
        sha.update(split.train.astype(np.int64).tobytes())
        sha.update(split.test.astype(np.int64).tobytes())
    return sha.hexdigest()[:32]
