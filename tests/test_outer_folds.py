"""Outer folds and the folds inside them, against scikit-learn and against tables of their own."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.model_selection import RepeatedKFold, ShuffleSplit

from pipeline.config import CvConfig, PredefinedConfig, ShuffleSplitConfig
from pipeline.cv import OUTER, Split, inner_prefix, make_nested_splits
from pipeline.cv.splitters import make_splits
from pipeline.dataset.dataset import Dataset
from pipeline.errors import UserError
from tests.test_splitters import BY_GROUPS, BY_ROWS, equal_splits, kfold, random_table, table
from tests.test_time_series import windows

SHUFFLED = ShuffleSplitConfig(
    kind="shuffle_split", n_splits=3, test_size=0.2, random_state=1, outer_splits=4
)
PREDEFINED = PredefinedConfig(kind="predefined", outer_splits=5)


def nested(kind: str) -> CvConfig:
    if kind == "shuffle_split":
        return SHUFFLED
    if kind == "predefined":
        return PREDEFINED
    if kind == "time_series":
        return windows(2, outer_splits=3)
    return replace(kfold(kind, n_splits=3, n_repeats=2), outer_splits=4, outer_repeats=2)


def make_table(kind: str) -> Dataset:
    dataset = random_table(0)
    fold = np.arange(120) % 5 if kind == "predefined" else None
    times = (
        np.random.default_rng(0).permutation(np.arange(120.0)) if kind == "time_series" else None
    )
    return replace(table(dataset.y, dataset.groups, fold), times=times)


def divide(splits: list[Split]) -> tuple[list[Split], list[list[Split]]]:
    """Return the outer folds, and the folds of the training rows of each."""
    outer = [split for split in splits if split.prefix == OUTER]
    inner = [[it for it in splits if it.prefix == inner_prefix(one)] for one in outer]
    assert len(outer) + sum(map(len, inner)) == len(splits)
    assert len({split.key for split in splits}) == len(splits)
    return outer, inner


@pytest.mark.parametrize(
    "kind", [*BY_ROWS, *BY_GROUPS, "shuffle_split", "predefined", "time_series"]
)
def test_inside_an_outer_fold_all_is_as_if_its_training_rows_were_all_rows(kind: str) -> None:
    config, dataset = nested(kind), make_table(kind)
    outer, inner = divide(make_nested_splits(config, dataset))
    assert len(outer) == {"shuffle_split": 4, "predefined": 5, "time_series": 3}.get(kind, 8)
    for one, splits in zip(outer, inner, strict=True):
        train = one.train
        assert not set(train) & set(one.test)
        own = table(
            dataset.y[train],
            None if dataset.groups is None else dataset.groups[train],
            None if dataset.fold is None else dataset.fold[train],
        )
        if dataset.times is not None:
            own = replace(own, times=dataset.times[train])
            assert dataset.times[train].max() < dataset.times[one.test].min()
        expected = [
            replace(split, train=train[split.train], test=train[split.test])
            for split in make_splits(config, own)
        ]
        assert equal_splits(splits, expected)
        if kind in BY_GROUPS:
            assert dataset.groups is not None
            for split in (one, *splits):
                assert not set(dataset.groups[split.train]) & set(dataset.groups[split.test])


@pytest.mark.parametrize("kind", [*BY_ROWS, *BY_GROUPS, "shuffle_split"])
def test_outer_folds_are_not_the_ordinary_ones(kind: str) -> None:
    config, dataset = nested(kind), make_table(kind)
    outer, _ = divide(make_nested_splits(replace(config, outer_splits=3), dataset))
    ordinary = {tuple(np.sort(split.test)) for split in make_splits(config, dataset)}
    assert not ordinary & {tuple(np.sort(split.test)) for split in outer}


def test_outer_folds_are_scikit_learns() -> None:
    dataset = make_table("repeated_kfold")
    outer, inner = divide(make_nested_splits(nested("repeated_kfold"), dataset))
    splitter = RepeatedKFold(n_splits=4, n_repeats=2, random_state=1 + 2**31)
    own = RepeatedKFold(n_splits=3, n_repeats=2, random_state=1)
    _check_against(splitter, own, outer, inner, dataset.n_samples)
    outer, inner = divide(make_nested_splits(SHUFFLED, dataset))
    splitter = ShuffleSplit(4, test_size=0.2, random_state=1 + 2**31)
    own = ShuffleSplit(3, test_size=0.2, random_state=1)
    _check_against(splitter, own, outer, inner, dataset.n_samples)


def _check_against(splitter, own, outer, inner, n_samples) -> None:
    pairs = zip(outer, inner, splitter.split(np.zeros(n_samples)), strict=True)
    for one, splits, (train, test) in pairs:
        np.testing.assert_array_equal(one.train, train)
        np.testing.assert_array_equal(one.test, test)
        for split, (own_train, own_test) in zip(splits, own.split(train), strict=True):
            np.testing.assert_array_equal(split.train, train[own_train])
            np.testing.assert_array_equal(split.test, train[own_test])


def test_without_outer_splits_there_are_none() -> None:
    assert make_nested_splits(kfold("repeated_kfold"), random_table(0)) == []


@pytest.mark.parametrize(
    ("config", "n_samples", "message"),
    [
        (
            replace(kfold("repeated_kfold"), outer_splits=9),
            8,
            r"cv\.outer_splits: .* rows, 8\. .*9",
        ),
        (
            replace(kfold("repeated_kfold"), outer_splits=2),
            8,
            r"outer repeat 0, fold 0, with 4 training rows\. cv\.n_splits: .* 4\. Received: 5",
        ),
        (PREDEFINED, 8, r"cv\.outer_splits: expected 2, the number of the predefined folds"),
        (replace(PREDEFINED, outer_splits=2), 8, "with 4 training rows.*tests? all rows at once"),
    ],
)
def test_impossible_outer_folds_are_errors(config: CvConfig, n_samples: int, message: str) -> None:
    fold = np.arange(n_samples) % 2 if isinstance(config, PredefinedConfig) else None
    dataset = table(np.ones((n_samples, 2), np.int8), fold=fold)
    with pytest.raises(UserError, match=message):
        make_nested_splits(config, dataset)
