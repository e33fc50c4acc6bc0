"""From the kind that `conf/cv/` names to its splits; what is impossible is refused."""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from pipeline.config import (
    CvConfig,
    GroupKFoldConfig,
    MultilabelStratifiedConfig,
    PredefinedConfig,
    RepeatedKFoldConfig,
    ShuffleSplitConfig,
    StratifiedGroupKFoldConfig,
)
from pipeline.cv.grouped import grouped_folds
from pipeline.cv.iterative import iterative_folds
from pipeline.cv.split import Split, splits_of
from pipeline.dataset import Dataset
from pipeline.errors import UserError

Repeated = MultilabelStratifiedConfig | GroupKFoldConfig | StratifiedGroupKFoldConfig


def make_splits(config: CvConfig, dataset: Dataset) -> list[Split]:
    """Return the splits by repeat and fold; they depend on labels, groups and seed alone.

    Raises:
        UserError: If the data do not allow them: fewer rows or groups than folds, no groups, no
            folds of their own.
    """
    if dataset.fold is not None and not isinstance(config, PredefinedConfig):
        raise UserError(
            f"cv: expected cv=predefined, as {dataset.name} says which rows test (dataset.fold or "
            f"dataset.test_path). Received: cv={config.kind}, which would not heed it."
        )
    match config:
        case RepeatedKFoldConfig():
            return _repeated_kfold(config, dataset.n_samples)
        case MultilabelStratifiedConfig():
            _refuse_too_many(config.n_splits, dataset.n_samples, "rows")
            return _repeat(config, partial(iterative_folds, dataset.y))
        case GroupKFoldConfig():
            groups = _groups(config, dataset)
            return _repeat(config, partial(grouped_folds, groups, dataset.y[:, :0]))
        case StratifiedGroupKFoldConfig():
            groups = _groups(config, dataset)
            return _repeat(config, partial(grouped_folds, groups, dataset.y))
        case ShuffleSplitConfig():
            return _shuffle_split(config, dataset.n_samples)
        case PredefinedConfig():
            return _predefined(dataset)


def _repeated_kfold(config: RepeatedKFoldConfig, n_samples: int) -> list[Split]:
    _refuse_too_many(config.n_splits, n_samples, "rows")
    from sklearn.model_selection import RepeatedKFold

    splitter = RepeatedKFold(
        n_splits=config.n_splits, n_repeats=config.n_repeats, random_state=config.random_state
    )
    return [
        Split(*divmod(place, config.n_splits), train, test)
        for place, (train, test) in enumerate(splitter.split(np.empty(n_samples)))
    ]


def _repeat(
    config: Repeated, folds: Callable[[int, RandomState], NDArray[np.int64]]
) -> list[Split]:
    # RandomState: its streams are frozen, those of numpy.random.Generator may change.
    return [
        split
        for repeat in range(config.n_repeats)
        for split in splits_of(
            folds(config.n_splits, RandomState([config.random_state, repeat])), repeat
        )
    ]


def _shuffle_split(config: ShuffleSplitConfig, n_samples: int) -> list[Split]:
    n_test = int(np.ceil(config.test_size * n_samples))
    if n_test >= n_samples:
        raise UserError(
            f"cv.test_size: expected a share that leaves rows to train on. Received: "
            f"{config.test_size} of {n_samples} rows, rounded up to {n_test}."
        )
    from sklearn.model_selection import ShuffleSplit

    splitter = ShuffleSplit(
        n_splits=config.n_splits, test_size=config.test_size, random_state=config.random_state
    )
    return [
        Split(0, fold, train, test)
        for fold, (train, test) in enumerate(splitter.split(np.empty(n_samples)))
    ]


def _predefined(dataset: Dataset) -> list[Split]:
    if dataset.fold is None:
        raise UserError(
            f"cv=predefined: expected data that say which rows test. Received: {dataset.name}, "
            "which does not. Name a column with the fold of each row, or with the words train and "
            "test, in dataset.fold, or a file of test rows in dataset.test_path; or choose another "
            "cv, such as cv=multilabel_stratified."
        )
    splits = splits_of(dataset.fold, repeat=0)
    if not splits or not all(len(split.train) for split in splits):
        tested = "no row" if not splits else "all rows at once"
        raise UserError(
            f"cv=predefined: expected rows that test and others that train. Received: "
            f"{dataset.name}, whose folds test {tested}."
        )
    return splits


def _groups(
    config: GroupKFoldConfig | StratifiedGroupKFoldConfig, dataset: Dataset
) -> NDArray[np.int64]:
    if dataset.groups is None:
        raise UserError(
            f"cv={config.kind}: expected data with the group of each row. Received: "
            f"{dataset.name}, which has none. Name the column that holds them "
            "(dataset.group=... of a table), or choose cv=repeated_kfold if rows are independent."
        )
    _refuse_too_many(config.n_splits, len(np.unique(dataset.groups)), "groups")
    return dataset.groups


def _refuse_too_many(n_splits: int, available: int, what: str) -> None:
    if n_splits > available:
        raise UserError(
            f"cv.n_splits: expected at most the number of {what}, {available}. Received: {n_splits}"
        )
