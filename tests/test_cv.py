"""Invariants of the splitters, over many shapes; real tables where they are at hand."""

import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import arff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, PredefinedSplit, RepeatedKFold, ShuffleSplit

from pipeline.config.schema_data import (
    CvConfig,
    GroupKFoldConfig,
    MultilabelStratifiedConfig,
    PredefinedConfig,
    RepeatedKFoldConfig,
    ShuffleSplitConfig,
    StratifiedGroupKFoldConfig,
)
from pipeline.cv.diagnostics import check_splits
from pipeline.cv.splitters import Split, digest, make_splits
from pipeline.dataset.dataset import Dataset
from pipeline.errors import UserError

SHARED = Path(os.environ.get("MANYFOLD_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
BY_ROWS = (RepeatedKFoldConfig, MultilabelStratifiedConfig)
BY_GROUPS = (GroupKFoldConfig, StratifiedGroupKFoldConfig)
KINDS = {
    RepeatedKFoldConfig: "repeated_kfold",
    MultilabelStratifiedConfig: "multilabel_stratified",
    GroupKFoldConfig: "group_kfold",
    StratifiedGroupKFoldConfig: "stratified_group_kfold",
}


def kfold(kind: type, n_splits: int = 5, n_repeats: int = 1, random_state: int = 1) -> CvConfig:
    return kind(kind=KINDS[kind], n_splits=n_splits, n_repeats=n_repeats, random_state=random_state)


def table(
    y: NDArray[np.int8],
    groups: NDArray[np.int64] | None = None,
    fold: NDArray[np.int64] | None = None,
    X: NDArray[np.float64] | None = None,
) -> Dataset:
    return Dataset(
        name="table",
        X=np.zeros((len(y), 1)) if X is None else X,
        y=y,
        feature_names=("x",),
        label_names=tuple(f"y{label}" for label in range(y.shape[1])),
        groups=groups,
        fold=fold,
    )


def random_table(seed: int, n_samples: int = 120, n_labels: int = 6, n_groups: int = 30) -> Dataset:
    """Labels from rare to frequent, groups of uneven size."""
    generator = np.random.default_rng(seed)
    shares = np.linspace(0.02, 0.6, n_labels)
    y = (generator.uniform(size=(n_samples, n_labels)) < shares).astype(np.int8)
    groups = (n_groups * generator.uniform(size=n_samples) ** 2).astype(np.int64)
    return table(y, groups)


def rows_equal(one: list[Split], other: list[Split]) -> bool:
    return digest(one) == digest(other)


def proportions_apart(splits: list[Split], y: NDArray[np.int8]) -> float:
    """Mean absolute deviation of the label proportions of test folds from those of all rows."""
    return float(np.mean([np.abs(y[split.test].mean(axis=0) - y.mean(axis=0)) for split in splits]))


def n_without_positive(splits: list[Split], y: NDArray[np.int8]) -> int:
    return int(sum((y[split.test].sum(axis=0) == 0).sum() for split in splits))


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


@pytest.mark.parametrize("kind", KINDS)
@given(case=cases())
@settings(deadline=None, max_examples=60)
def test_every_row_is_tested_once_per_repeat(
    kind: type, case: tuple[Dataset, int, int, int]
) -> None:
    dataset, n_splits, n_repeats, random_state = case
    splits = make_splits(kfold(kind, n_splits, n_repeats, random_state), dataset)

    places = [(split.repeat, split.fold) for split in splits]
    assert places == [(repeat, fold) for repeat in range(n_repeats) for fold in range(n_splits)]
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
@settings(deadline=None, max_examples=30)
def test_folds_of_rows_differ_by_one_row_at_most(
    kind: type, case: tuple[Dataset, int, int, int]
) -> None:
    dataset, *arguments = case
    sizes = [len(split.test) for split in make_splits(kfold(kind, *arguments), dataset)]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_splits_depend_on_labels_groups_and_seed_alone(kind: type) -> None:
    dataset = random_table(0)
    elsewhere = table(dataset.y, dataset.groups, X=np.random.default_rng(1).normal(size=(120, 1)))
    once = make_splits(kfold(kind, n_repeats=3), dataset)
    assert rows_equal(once, make_splits(kfold(kind, n_repeats=3), elsewhere))
    assert not rows_equal(once, make_splits(kfold(kind, n_repeats=3, random_state=2), dataset))
    # More repeats add to those before and leave them as they were.
    assert rows_equal(once, make_splits(kfold(kind, n_repeats=4), dataset)[: len(once)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(5))
def test_repeats_differ(kind: type, seed: int) -> None:
    splits = make_splits(kfold(kind, n_repeats=3, random_state=seed), random_table(seed))
    partitions = {
        frozenset(frozenset(split.test) for split in splits if split.repeat == repeat)
        for repeat in range(3)
    }
    assert len(partitions) == 3


@given(st.integers(4, 80), st.integers(2, 4), st.integers(1, 4), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_repeated_kfold_is_scikit_learns(
    n_samples: int, n_splits: int, n_repeats: int, random_state: int
) -> None:
    ours = make_splits(
        kfold(RepeatedKFoldConfig, n_splits, n_repeats, random_state),
        table(np.ones((n_samples, 1), dtype=np.int8)),
    )
    theirs = RepeatedKFold(n_splits=n_splits, n_repeats=n_repeats, random_state=random_state)
    for split, (train, test) in zip(ours, theirs.split(np.empty(n_samples)), strict=True):
        np.testing.assert_array_equal(split.train, train)
        np.testing.assert_array_equal(split.test, test)


def test_shuffle_split_is_scikit_learns() -> None:
    config = ShuffleSplitConfig(kind="shuffle_split", n_splits=7, test_size=0.15, random_state=3)
    ours = make_splits(config, random_table(0))
    theirs = ShuffleSplit(n_splits=7, test_size=0.15, random_state=3)
    assert [(split.repeat, split.fold) for split in ours] == [(0, fold) for fold in range(7)]
    for split, (train, test) in zip(ours, theirs.split(np.empty(120)), strict=True):
        np.testing.assert_array_equal(split.train, train)
        np.testing.assert_array_equal(split.test, test)


@pytest.mark.parametrize("fold", [[1, 2, 3, 1, 2, 3], [-1, -1, -1, 0, 0, 0], [7, -1, 7, 4, 4, -1]])
def test_predefined_is_scikit_learns(fold: list[int]) -> None:
    dataset = table(np.ones((6, 1), dtype=np.int8), fold=np.array(fold))
    ours = make_splits(PredefinedConfig(kind="predefined"), dataset)
    assert [split.fold for split in ours] == list(range(len(ours)))
    for split, (train, test) in zip(ours, PredefinedSplit(fold).split(), strict=True):
        np.testing.assert_array_equal(split.train, train)
        np.testing.assert_array_equal(split.test, test)


@pytest.mark.parametrize("seed", range(10))
def test_folds_of_groups_are_as_even_as_scikit_learns(seed: int) -> None:
    dataset = random_table(seed, n_samples=600, n_groups=60)

    def apart(folds: list[NDArray[np.int64]]) -> int:
        sizes = [len(test) for test in folds]
        return max(sizes) - min(sizes)

    ours = make_splits(kfold(GroupKFoldConfig), dataset)
    shuffled = GroupKFold(5, shuffle=True, random_state=seed).split(dataset.y, None, dataset.groups)
    assert apart([split.test for split in ours]) <= apart([test for _, test in shuffled])
    assert apart([split.test for split in ours]) <= 0.05 * 600  # scikit-learn's own tolerance


def test_stratification_is_exact_where_that_is_possible() -> None:
    y = np.repeat(np.eye(4, dtype=np.int8), 10, axis=0)  # ten rows of each of four labels
    for split in make_splits(kfold(MultilabelStratifiedConfig, n_repeats=3), table(y)):
        np.testing.assert_array_equal(y[split.test].sum(axis=0), [2, 2, 2, 2])


@given(case=cases())
@settings(deadline=None, max_examples=60)
def test_the_rarest_label_is_in_as_many_folds_as_it_has_rows(
    case: tuple[Dataset, int, int, int],
) -> None:
    dataset, *arguments = case
    counts = dataset.y.sum(axis=0)
    present = np.flatnonzero(counts)
    if not len(present) or (counts == counts[present].min()).sum() > 1:
        return
    rarest = present[counts[present].argmin()]
    splits = make_splits(kfold(MultilabelStratifiedConfig, *arguments), dataset)
    n_splits = arguments[0]
    for repeat in range(arguments[1]):
        held = [dataset.y[s.test, rarest].sum() for s in splits if s.repeat == repeat]
        assert np.count_nonzero(held) >= min(n_splits, counts[rarest])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("plain", "stratified"),
    [
        (RepeatedKFoldConfig, MultilabelStratifiedConfig),
        (GroupKFoldConfig, StratifiedGroupKFoldConfig),
    ],
)
def test_stratified_folds_keep_the_proportions(plain: type, stratified: type, seed: int) -> None:
    dataset = random_table(seed, n_samples=400, n_groups=80)
    before = make_splits(kfold(plain, n_repeats=3), dataset)
    after = make_splits(kfold(stratified, n_repeats=3), dataset)
    assert proportions_apart(after, dataset.y) < 0.6 * proportions_apart(before, dataset.y)
    assert n_without_positive(after, dataset.y) <= n_without_positive(before, dataset.y)


@pytest.mark.parametrize("name", ["birds", "medical"])
def test_stratified_folds_of_real_labels(name: str) -> None:
    y = real_labels(name)
    plain = make_splits(kfold(RepeatedKFoldConfig, 10, 3), table(y))
    stratified = make_splits(kfold(MultilabelStratifiedConfig, 10, 3), table(y))
    assert proportions_apart(stratified, y) < 0.5 * proportions_apart(plain, y)
    unavoidable = 3 * int(np.maximum(0, 10 - y.sum(axis=0)).sum())
    assert n_without_positive(stratified, y) == unavoidable
    assert n_without_positive(plain, y) > unavoidable + 50

    groups = np.random.default_rng(0).integers(0, len(y) // 6, len(y))
    plain = make_splits(kfold(GroupKFoldConfig, 10, 3), table(y, groups))
    stratified = make_splits(kfold(StratifiedGroupKFoldConfig, 10, 3), table(y, groups))
    assert proportions_apart(stratified, y) < 0.65 * proportions_apart(plain, y)
    assert n_without_positive(stratified, y) < n_without_positive(plain, y) - 30


def real_labels(name: str) -> NDArray[np.int8]:
    path = SHARED / f"{name}.arff"
    if not path.is_file():
        pytest.skip(f"no {path}: set MANYFOLD_SHARED_DATA to a folder with MULAN's files")
    root = ElementTree.parse(path.with_suffix(".xml")).getroot()
    names = {element.get("name", "").replace("\\'", "'") for element in root}
    text = path.read_text()
    sparse = "{" in text[text.lower().index("@data") :]
    data = arff.loads(text, return_type=arff.LOD if sparse else arff.DENSE)
    columns = [
        place
        for place, (attribute, _) in enumerate(data["attributes"])
        if attribute.replace("\\'", "'") in names
    ]
    assert len(columns) == len(names)
    if sparse:
        rows = [[row.get(column, "0") for column in columns] for row in data["data"]]
    else:
        rows = [[row[column] for column in columns] for row in data["data"]]
    return np.array(rows).astype(np.int8)


@pytest.mark.parametrize(
    ("config", "dataset", "words"),
    [
        (kfold(RepeatedKFoldConfig, 7), random_table(0, 6), "number of rows, 6. Received: 7"),
        (kfold(MultilabelStratifiedConfig, 7), random_table(0, 6), "number of rows, 6"),
        (
            kfold(GroupKFoldConfig, 4),
            table(np.ones((9, 1), dtype=np.int8), np.repeat([4, 5, 6], 3)),
            "number of groups, 3. Received: 4",
        ),
        (
            kfold(StratifiedGroupKFoldConfig, 4),
            table(np.ones((9, 1), dtype=np.int8), np.repeat([4, 5, 6], 3)),
            "number of groups, 3. Received: 4",
        ),
        (
            kfold(GroupKFoldConfig),
            table(np.ones((9, 1), dtype=np.int8)),
            "cv=group_kfold: expected data with the group of each row",
        ),
        (
            ShuffleSplitConfig(kind="shuffle_split", n_splits=2, test_size=0.95, random_state=0),
            table(np.ones((9, 1), dtype=np.int8)),
            "cv.test_size: expected a share that leaves rows to train on. Received: 0.95 of 9 rows",
        ),
        (
            PredefinedConfig(kind="predefined"),
            table(np.ones((9, 1), dtype=np.int8)),
            "Name a column with the fold of each row",
        ),
        (
            PredefinedConfig(kind="predefined"),
            table(np.ones((9, 1), dtype=np.int8), fold=np.zeros(9, dtype=np.int64)),
            "whose folds test all rows at once",
        ),
        (
            PredefinedConfig(kind="predefined"),
            table(np.ones((9, 1), dtype=np.int8), fold=np.full(9, -1)),
            "whose folds test no row",
        ),
    ],
)
def test_the_impossible_is_refused(config: CvConfig, dataset: Dataset, words: str) -> None:
    with pytest.raises(UserError) as refused:
        make_splits(config, dataset)
    assert words in str(refused.value)


def test_troubles_name_labels_folds_and_counsel() -> None:
    y = np.zeros((20, 4), dtype=np.int8)
    y[:, 0] = 1  # everywhere
    y[:10, 1] = 1  # enough for ten folds, but all in the first half
    y[0, 2] = 1  # once; the fourth never
    dataset = table(y, fold=np.repeat([0, 1], 10))
    config = PredefinedConfig(kind="predefined")
    training, test = check_splits(config, dataset, make_splits(config, dataset))
    assert (training.what, training.labels) == ("No training row has", (("y1", 1), ("y2", 1)))
    assert (test.what, test.labels) == ("No test row has", (("y1", 1), ("y2", 1)))
    assert (test.n_folds, test.n_splits) == (1, 2)
    assert test.hint == (
        "try cv=multilabel_stratified; a label of fewer than 2 rows cannot be in all folds; "
        "leaving the rarest out would help."
    )


def test_stratification_is_not_counselled_where_it_is_used() -> None:
    y = np.zeros((20, 1), dtype=np.int8)
    y[:4] = 1
    config = kfold(MultilabelStratifiedConfig, 5)
    (trouble,) = check_splits(config, table(y), make_splits(config, table(y)))
    assert trouble.labels == (("y0", 1),)
    assert trouble.hint == (
        "a label of fewer than 5 rows cannot be in all folds; cv.n_splits=4 would help."
    )
    config = kfold(MultilabelStratifiedConfig, 4)
    assert check_splits(config, table(y), make_splits(config, table(y))) == []


def test_groups_on_both_sides_are_a_trouble() -> None:
    dataset = table(np.ones((20, 1), dtype=np.int8), np.arange(20) // 2)
    config = kfold(RepeatedKFoldConfig)
    (trouble,) = check_splits(config, dataset, make_splits(config, dataset))
    assert trouble.what == "Rows of one group both train and test"
    config = kfold(GroupKFoldConfig)
    assert check_splits(config, dataset, make_splits(config, dataset)) == []


@pytest.mark.parametrize(("n_repeats", "n_folds"), [(1, None), (3, 6)])
def test_repeats_that_cannot_differ_are_a_trouble(n_repeats: int, n_folds: int | None) -> None:
    dataset = table(np.ones((6, 1), dtype=np.int8), np.repeat([0, 1, 2], 2))
    config = kfold(GroupKFoldConfig, 3, n_repeats)
    split_warnings = check_splits(config, dataset, make_splits(config, dataset))
    assert [trouble.n_folds for trouble in split_warnings] == ([n_folds] if n_folds else [])
    if split_warnings:
        assert "cv.n_repeats=1" in split_warnings[0].hint
