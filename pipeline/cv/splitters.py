"""Cross-validation splitters, with multi-label stratification of rows and of groups."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn.model_selection import RepeatedKFold, ShuffleSplit

from pipeline.config import CvConfig, KFoldConfig, PredefinedConfig, ShuffleSplitConfig
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
    """

    repeat: int
    fold: int
    train: NDArray[np.int64]
    test: NDArray[np.int64]


def _make_fold_splits(folds: NDArray[np.int64], repeat: int) -> list[Split]:
    """Return one split per fold, given the fold that tests each row; -1 always trains."""
    numbers = np.unique(folds[folds >= 0])
    return [
        Split(repeat, fold, np.flatnonzero(folds != number), np.flatnonzero(folds == number))
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
    """Make the splits, ordered by repeat and fold; they depend on labels, groups and seed alone.

    Raises:
        UserError: If the data do not allow them: fewer rows or groups than folds, no groups, or
            no predefined folds.
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
        case KFoldConfig(kind="repeated_kfold"):
            _check_n_splits(config.n_splits, dataset.n_samples, "rows")
            return _split_rows(RepeatedKFold, config, dataset, n_repeats=config.n_repeats)
        case KFoldConfig(kind="multilabel_stratified"):
            _check_n_splits(config.n_splits, dataset.n_samples, "rows")
            return _repeat(config, partial(iterative_folds, dataset.y))
        case KFoldConfig():
            y = dataset.y[:, :0] if config.kind == "group_kfold" else dataset.y
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
        Split(*divmod(i, n_splits), train, test)
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


InnerSplit = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Row numbers to train on, and row numbers to validate on."""


def inner_splits(
    dataset: Dataset, train: NDArray[np.int64], n_splits: int, fraction: float, seed: int
) -> list[InnerSplit]:
    """Split training rows into k folds, stratified by labels, without dividing groups.

    With `n_splits=1`, there is a single `validation_part` instead; `fraction` is for that alone.

    Raises:
        UserError: If there are fewer rows or groups than folds.
    """
    if n_splits == 1:
        return [validation_part(dataset, train, fraction, seed)]
    folds = _folds(dataset, train, n_splits, seed)
    return [(train[folds != fold], train[folds == fold]) for fold in range(n_splits)]


def validation_part(
    dataset: Dataset, train: NDArray[np.int64], fraction: float, seed: int
) -> InnerSplit:
    """Split training rows into rows to train on and a validation part.

    Args:
        dataset: Labels and groups of all rows.
        train: Row numbers to split; no other row is used.
        fraction: Fraction of the rows in the validation part, in (0, 0.5]; rounded to the nearest
            1 / k.
        seed: Seed of the tie-breaking.

    Raises:
        UserError: If there are too few rows or groups.
    """
    folds = _folds(dataset, train, round(1 / fraction), seed)
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
            f"training fold, to divide it into {n_splits} parts (decision.inner_cv, "
            f"training.early_stopping.validation_fraction). Received: {n_units}."
        )
    if groups is not None:
        return grouped_folds(groups, y, n_splits, generator)
    return iterative_folds(y, n_splits, generator)


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
