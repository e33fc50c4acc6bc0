"""Invariants of the splitters, and agreement with scikit-learn."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.model_selection import PredefinedSplit, RepeatedKFold, ShuffleSplit

from pipeline.config.schema_data import (
    CvConfig,
    KFoldConfig,
    PredefinedConfig,
    ShuffleSplitConfig,
)
from pipeline.cv.splitters import Split, make_splits, split_digest
from pipeline.dataset.dataset import Dataset
from pipeline.errors import UserError
from pipeline.preprocessing.table_schema import TableSchema

BY_ROWS = ("repeated_kfold", "multilabel_stratified")
BY_GROUPS = ("group_kfold", "stratified_group_kfold")


def kfold(kind: Any, n_splits: int = 5, n_repeats: int = 1, random_state: int = 1) -> CvConfig:
    return KFoldConfig(
        kind=kind,
        n_splits=n_splits,
        n_repeats=n_repeats,
        random_state=random_state,
        outer_splits=None,
        outer_repeats=1,
    )


def table(
    y: NDArray[np.int8],
    groups: NDArray[np.int64] | None = None,
    fold: NDArray[np.int64] | None = None,
    X: NDArray[np.float32] | None = None,
) -> Dataset:
    return Dataset(
        name="table",
        X=np.zeros((len(y), 1), np.float32) if X is None else X,
        y=y,
        schema=TableSchema.of_numbers(["x"]),
        label_names=tuple(f"y{label}" for label in range(y.shape[1])),
        groups=groups,
        fold=fold,
    )


def random_table(seed: int, n_samples: int = 120, n_labels: int = 6, n_groups: int = 30) -> Dataset:
    """Labels from rare to frequent, groups of uneven size."""
    generator = np.random.default_rng(seed)
    fractions = np.linspace(0.02, 0.6, n_labels)
    y = (generator.uniform(size=(n_samples, n_labels)) < fractions).astype(np.int8)
    groups = (n_groups * generator.uniform(size=n_samples) ** 2).astype(np.int64)
    return table(y, groups)


def equal_splits(one: list[Split], other: list[Split]) -> bool:
    return split_digest(one) == split_digest(other)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Dataset, int, int, int]:
    """A table with groups, and n_splits, n_repeats and random_state that it allows."""
    n_groups = draw(st.integers(2, 12))
    n_samples = draw(st.integers(n_groups, 60))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    y = generator.integers(0, 2, size=(n_samples, draw(st.integers(1, 5))), dtype=np.int8)
    y[:, 0] &= generator.uniform(size=n_samples) < 0.2
    if draw(st.booleans()):
        y[:, -1] = draw(st.integers(0, 1))
    groups = np.append(np.arange(n_groups), generator.integers(0, n_groups, n_samples - n_groups))
    n_splits = draw(st.integers(2, n_groups))
    return table(y, groups - 3), n_splits, draw(st.integers(1, 3)), draw(st.integers(0, 2**32 - 1))


@pytest.mark.parametrize("kind", [*BY_ROWS, *BY_GROUPS])
@given(case=cases())
@settings(max_examples=60)
def test_every_row_is_tested_once_per_repeat(
    kind: str, case: tuple[Dataset, int, int, int]
) -> None:
    dataset, n_splits, n_repeats, random_state = case
    splits = make_splits(kfold(kind, n_splits, n_repeats, random_state), dataset)

    fold_ids = [(split.repeat, split.fold) for split in splits]
    assert fold_ids == [(repeat, fold) for repeat in range(n_repeats) for fold in range(n_splits)]
    for repeat in range(n_repeats):
        tested = np.concatenate([split.test for split in splits if split.repeat == repeat])
        np.testing.assert_array_equal(np.sort(tested), np.arange(dataset.n_samples))
    for split in splits:
        both = np.sort(np.concatenate([split.train, split.test]))
        np.testing.assert_array_equal(both, np.arange(dataset.n_samples))
        assert len(split.train)
        assert len(split.test)
        if kind in BY_GROUPS:
            assert not set(dataset.groups[split.train]) & set(dataset.groups[split.test])


@pytest.mark.parametrize("kind", BY_ROWS)
@given(case=cases())
@settings(max_examples=30)
def test_folds_of_rows_differ_by_one_row_at_most(
    kind: str, case: tuple[Dataset, int, int, int]
) -> None:
    dataset, *arguments = case
    sizes = [len(split.test) for split in make_splits(kfold(kind, *arguments), dataset)]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("kind", [*BY_ROWS, *BY_GROUPS])
def test_splits_depend_on_labels_groups_and_seed_alone(kind: str) -> None:
    dataset = random_table(0)
    X = np.random.default_rng(1).normal(size=(120, 1)).astype(np.float32)
    elsewhere = table(dataset.y, dataset.groups, X=X)
    once = make_splits(kfold(kind, n_repeats=3), dataset)
    assert equal_splits(once, make_splits(kfold(kind, n_repeats=3), elsewhere))
    assert not equal_splits(once, make_splits(kfold(kind, n_repeats=3, random_state=2), dataset))
    # More repeats add to those before and leave them as they were.
    assert equal_splits(once, make_splits(kfold(kind, n_repeats=4), dataset)[: len(once)])


@pytest.mark.parametrize("kind", [*BY_ROWS, *BY_GROUPS])
@pytest.mark.parametrize("seed", range(5))
def test_repeats_differ(kind: str, seed: int) -> None:
    splits = make_splits(kfold(kind, n_repeats=3, random_state=seed), random_table(seed))
    partitions = {
        frozenset(frozenset(split.test) for split in splits if split.repeat == repeat)
        for repeat in range(3)
    }
    assert len(partitions) == 3


@given(st.integers(4, 80), st.integers(2, 4), st.integers(1, 4), st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_repeated_kfold_is_scikit_learns(
    n_samples: int, n_splits: int, n_repeats: int, random_state: int
) -> None:
    ours = make_splits(
        kfold("repeated_kfold", n_splits, n_repeats, random_state),
        table(np.ones((n_samples, 1), dtype=np.int8)),
    )
    theirs = RepeatedKFold(n_splits=n_splits, n_repeats=n_repeats, random_state=random_state)
    for split, (train, test) in zip(ours, theirs.split(np.empty(n_samples)), strict=True):
        np.testing.assert_array_equal(split.train, train)
        np.testing.assert_array_equal(split.test, test)


def test_shuffle_split_is_scikit_learns() -> None:
    config = ShuffleSplitConfig(
        kind="shuffle_split", n_splits=7, test_size=0.15, random_state=3, outer_splits=None
    )
    ours = make_splits(config, random_table(0))
    theirs = ShuffleSplit(n_splits=7, test_size=0.15, random_state=3)
    assert [(split.repeat, split.fold) for split in ours] == [(0, fold) for fold in range(7)]
    for split, (train, test) in zip(ours, theirs.split(np.empty(120)), strict=True):
        np.testing.assert_array_equal(split.train, train)
        np.testing.assert_array_equal(split.test, test)


@pytest.mark.parametrize("fold", [[1, 2, 3, 1, 2, 3], [-1, -1, -1, 0, 0, 0], [7, -1, 7, 4, 4, -1]])
def test_predefined_is_scikit_learns(fold: list[int]) -> None:
    dataset = table(np.ones((6, 1), dtype=np.int8), fold=np.array(fold))
    ours = make_splits(PredefinedConfig(kind="predefined", outer_splits=None), dataset)
    assert [split.fold for split in ours] == list(range(len(ours)))
    for split, (train, test) in zip(ours, PredefinedSplit(fold).split(), strict=True):
        np.testing.assert_array_equal(split.train, train)
        np.testing.assert_array_equal(split.test, test)


@pytest.mark.parametrize(
    ("config", "dataset", "message"),
    [
        (kfold("repeated_kfold", 7), random_table(0, 6), "number of rows, 6. Received: 7"),
        (kfold("multilabel_stratified", 7), random_table(0, 6), "number of rows, 6"),
        (
            kfold("group_kfold", 4),
            table(np.ones((9, 1), dtype=np.int8), np.repeat([4, 5, 6], 3)),
            "number of groups, 3. Received: 4",
        ),
        (
            kfold("stratified_group_kfold", 4),
            table(np.ones((9, 1), dtype=np.int8), np.repeat([4, 5, 6], 3)),
            "number of groups, 3. Received: 4",
        ),
        (
            kfold("group_kfold"),
            table(np.ones((9, 1), dtype=np.int8)),
            "cv=group_kfold: expected data with the group of each row",
        ),
        (
            ShuffleSplitConfig(
                kind="shuffle_split", n_splits=2, test_size=0.95, random_state=0, outer_splits=None
            ),
            table(np.ones((9, 1), dtype=np.int8)),
            "cv.test_size: expected a fraction that leaves rows to train on. Received: 0.95 of 9",
        ),
        (
            PredefinedConfig(kind="predefined", outer_splits=None),
            table(np.ones((9, 1), dtype=np.int8)),
            "Name a column with the fold of each row",
        ),
        (
            PredefinedConfig(kind="predefined", outer_splits=None),
            table(np.ones((9, 1), dtype=np.int8), fold=np.zeros(9, dtype=np.int64)),
            "whose folds test all rows at once",
        ),
        (
            PredefinedConfig(kind="predefined", outer_splits=None),
            table(np.ones((9, 1), dtype=np.int8), fold=np.full(9, -1)),
            "whose folds test no row",
        ),
    ],
)
def test_impossible_splits_are_errors(config: CvConfig, dataset: Dataset, message: str) -> None:
    with pytest.raises(UserError) as error:
        make_splits(config, dataset)
    assert message in str(error.value)
