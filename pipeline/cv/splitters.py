"""Cross-validation splitters, and inner splits of training rows."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn.model_selection import RepeatedKFold, ShuffleSplit

from pipeline.config import (
    CvConfig,
    KFoldConfig,
    PredefinedConfig,
    ShuffleSplitConfig,
    TimeSeriesConfig,
)
from pipeline.cv.stratification import grouped_folds, iterative_folds
from pipeline.cv.time_series import forward_splits, latest_part, time_series_splits
from pipeline.dataset import Dataset
from pipeline.errors import UserError


@dataclass(frozen=True, eq=False)
class Split:
    """One fold of one repeat.

    Attributes:
        repeat: Number of the repeat, from 0.
        fold: Number of the fold in its repeat, from 0.
        train: Row numbers to train on, of shape (n_train,).
        test: Row numbers to score on, of shape (n_test,); disjoint from `train`.
        prefix: Start of its name in nested cross-validation; empty for a fold of all rows.
    """

    repeat: int
    fold: int
    train: NDArray[np.int32]
    test: NDArray[np.int32]
    prefix: str = ""

    @property
    def name(self) -> str:
        """Name for messages: `repeat 0, fold 2`."""
        return f"{self.prefix}repeat {self.repeat}, fold {self.fold}"

    @property
    def key(self) -> tuple[str, int, int]:
        """Key by which the folds of a run are found and sorted, those of all rows first."""
        return self.prefix, self.repeat, self.fold


def _make_fold_splits(folds: NDArray[np.int64], repeat: int) -> list[Split]:
    """Return one split per fold, given the fold that tests each row; -1 always trains."""
    numbers, rows = np.unique(folds[folds >= 0]), np.arange(len(folds), dtype=np.int32)
    return [
        Split(repeat, fold, rows[folds != number], rows[folds == number])
        for fold, number in enumerate(numbers)
    ]


def split_digest(splits: Sequence[Split]) -> str:
    """Return 32 hexadecimal characters that are equal for equal lists of splits only."""
    sha = hashlib.sha256()
    for split in splits:
        sha.update(np.array([split.repeat, split.fold, len(split.train)]).tobytes())
        sha.update(split.train.astype(np.int64).tobytes())
        sha.update(split.test.astype(np.int64).tobytes())
    return sha.hexdigest()[:32]


def make_splits(config: CvConfig, dataset: Dataset) -> list[Split]:
    """Make the splits, ordered by repeat and fold.

    They depend on labels, groups, times and seed alone.

    Raises:
        UserError: If the data do not allow them: fewer rows or groups than folds, no groups, no
            times, or no predefined folds.
    """
    if dataset.fold is not None and not isinstance(config, PredefinedConfig):
        raise UserError(
            f"cv: expected cv=predefined, because {dataset.name} has predefined folds "
            f"(dataset.fold_column or dataset.test_path). Received: cv={config.kind}, which would "
            "ignore them."
        )
    match config:
        case ShuffleSplitConfig():
            _check_test_size(config.test_size, dataset.n_samples)
            return _split_rows(ShuffleSplit, config, dataset, test_size=config.test_size)
        case PredefinedConfig():
            return _predefined(dataset)
        case TimeSeriesConfig():
            windows = time_series_splits(config, dataset)
            return [Split(0, fold, *window) for fold, window in enumerate(windows)]
        case KFoldConfig(kind="repeated_kfold"):
            _check_n_splits(config.n_splits, dataset.n_samples, "rows")
            return _split_rows(RepeatedKFold, config, dataset, n_repeats=config.n_repeats)
        case KFoldConfig(kind="multilabel_stratified"):
            _check_n_splits(config.n_splits, dataset.n_samples, "rows")
            return _repeat(config, partial(iterative_folds, dataset.strata))
        case KFoldConfig():
            y = dataset.y[:, :0] if config.kind == "group_kfold" else dataset.strata
            return _repeat(config, partial(grouped_folds, _groups(config, dataset), y))


def _split_rows(
    splitter_class: type,
    config: KFoldConfig | ShuffleSplitConfig,
    dataset: Dataset,
    **params: float,
) -> list[Split]:
    """Split with scikit-learn, which numbers the folds of all repeats consecutively."""
    n_splits, random_state = config.n_splits, config.random_state
    splitter = splitter_class(n_splits=n_splits, random_state=random_state, **params)
    return [
        Split(*divmod(i, n_splits), train.astype(np.int32), test.astype(np.int32))
        for i, (train, test) in enumerate(splitter.split(dataset.y))
    ]


def _repeat(
    config: KFoldConfig, folds: Callable[[int, RandomState], NDArray[np.int64]]
) -> list[Split]:
    # RandomState, because its streams never change; those of numpy.random.Generator may.
    return [
        split
        for repeat in range(config.n_repeats)
        for split in _make_fold_splits(
            folds(config.n_splits, RandomState([config.random_state, repeat])), repeat
        )
    ]


def _check_test_size(test_size: float, n_samples: int) -> None:
    n_test = int(np.ceil(test_size * n_samples))
    if n_test >= n_samples:
        raise UserError(
            f"cv.test_size: expected a fraction that leaves rows to train on. Received: "
            f"{test_size} of {n_samples} rows, rounded up to {n_test}."
        )


def _predefined(dataset: Dataset) -> list[Split]:
    if dataset.fold is None:
        raise UserError(
            f"cv=predefined: expected data with predefined folds. Received: {dataset.name}, "
            "which has none. Name a column with the fold of each row, or with the words train and "
            "test, in dataset.fold_column, or a file of test rows in dataset.test_path; or choose "
            "another cv, such as cv=multilabel_stratified."
        )
    splits = _make_fold_splits(dataset.fold, repeat=0)
    if not splits or not all(len(split.train) for split in splits):
        tested = "no row" if not splits else "all rows at once"
        raise UserError(
            f"cv=predefined: expected rows that test and others that train. Received: "
            f"{dataset.name}, whose folds test {tested}."
        )
    return splits


def _groups(config: KFoldConfig, dataset: Dataset) -> NDArray[np.int64]:
    if dataset.groups is None:
        raise UserError(
            f"cv={config.kind}: expected data with the group of each row. Received: "
            f"{dataset.name}, which has none. Name their column (dataset.group_column=... of a "
            "table), or choose cv=repeated_kfold if rows are independent."
        )
    _check_n_splits(config.n_splits, len(np.unique(dataset.groups)), "groups")
    return dataset.groups


def _check_n_splits(n_splits: int, available: int, unit: str) -> None:
    if n_splits > available:
        raise UserError(
            f"cv.n_splits: expected at most the number of {unit}, {available}. Received: {n_splits}"
        )


InnerSplit = tuple[NDArray[np.int32], NDArray[np.int32]]
"""Row numbers to train on, and row numbers to validate on."""


def inner_splits(
    dataset: Dataset,
    train: NDArray[np.int32],
    n_splits: int,
    fraction: float,
    seed: int,
    cv: CvConfig | None = None,
) -> list[InnerSplit]:
    """Split training rows into k folds, stratified by labels, without dividing groups.

    With `n_splits=1`, there is a single `validation_part` instead; `fraction` is for that alone.

    Args:
        dataset: Labels, groups and times of all rows.
        train: Row numbers to split; no other row is used.
        n_splits: Number of folds.
        fraction: Fraction of the rows in a validation part.
        seed: Seed of the tie-breaking.
        cv: The splitter of all rows: within one of time series, later rows validate, too.

    Raises:
        UserError: If there are fewer rows, moments or groups than folds.
    """
    if n_splits == 1:
        return [validation_part(dataset, train, fraction, seed, cv)]
    if isinstance(cv, TimeSeriesConfig):
        return forward_splits(cv, dataset, train, n_splits)
    folds = _folds(dataset, train, n_splits, seed)
    return [(train[folds != fold], train[folds == fold]) for fold in range(n_splits)]


def validation_part(
    dataset: Dataset,
    train: NDArray[np.int32],
    fraction: float,
    seed: int,
    cv: CvConfig | None = None,
) -> InnerSplit:
    """Split training rows into rows to train on and a validation part.

    Args:
        dataset: Labels, groups and times of all rows.
        train: Row numbers to split; no other row is used.
        fraction: Fraction of the rows in the validation part, in (0, 0.5]; rounded to the nearest
            1 / k.
        seed: Seed of the tie-breaking.
        cv: The splitter of all rows: within one of time series, the latest rows validate.

    Raises:
        UserError: If there are too few rows, moments or groups.
    """
    if isinstance(cv, TimeSeriesConfig):
        return latest_part(cv, dataset, train, fraction)
    folds = _folds(dataset, train, round(1 / fraction), seed)
    return train[folds != 0], train[folds == 0]


def _folds(
    dataset: Dataset, train: NDArray[np.int32], n_splits: int, seed: int
) -> NDArray[np.int64]:
    generator = RandomState(seed)
    y = dataset.strata[train]
    groups = None if dataset.groups is None else dataset.groups[train]
    n_units = len(train) if groups is None else len(np.unique(groups))
    if n_splits > n_units:
        raise UserError(
            f"Expected at least {n_splits} {'rows' if groups is None else 'groups'} in each "
            f"training fold, to divide it into {n_splits} parts (decision.inner_cv, "
            f"training.early_stopping.validation_fraction). Received: {n_units}."
        )
    if groups is not None:
        return grouped_folds(groups, y, n_splits, generator)
    return iterative_folds(y, n_splits, generator)
