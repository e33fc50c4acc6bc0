"""Label proportions of stratified folds, on random and real labels."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from unittest.mock import patch

import arff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold

from pipeline.cv.splitters import Split, make_splits
from pipeline.cv.stratification import iterative_folds
from pipeline.dataset.dataset import Dataset
from tests.test_splitters import cases, kfold, random_table, table


def proportion_error(splits: list[Split], y: NDArray[np.int8]) -> float:
    """Mean absolute deviation of the label proportions of test folds from those of all rows."""
    return float(np.mean([np.abs(y[split.test].mean(axis=0) - y.mean(axis=0)) for split in splits]))


def n_without_positive(splits: list[Split], y: NDArray[np.int8]) -> int:
    return int(sum((y[split.test].sum(axis=0) == 0).sum() for split in splits))


@pytest.mark.parametrize("seed", range(10))
def test_folds_of_groups_are_as_even_as_scikit_learns(seed: int) -> None:
    dataset = random_table(seed, n_samples=600, n_groups=60)

    def difference(folds: list[NDArray[np.int64]]) -> int:
        sizes = [len(test) for test in folds]
        return max(sizes) - min(sizes)

    ours = make_splits(kfold("group_kfold"), dataset)
    shuffled = GroupKFold(5, shuffle=True, random_state=seed).split(dataset.y, None, dataset.groups)
    assert difference([split.test for split in ours]) <= difference([test for _, test in shuffled])
    assert difference([split.test for split in ours]) <= 0.05 * 600  # scikit-learn's own tolerance


def test_stratification_is_exact_where_that_is_possible() -> None:
    y = np.repeat(np.eye(4, dtype=np.int8), 10, axis=0)  # ten rows of each of four labels
    for split in make_splits(kfold("multilabel_stratified", n_repeats=3), table(y)):
        np.testing.assert_array_equal(y[split.test].sum(axis=0), [2, 2, 2, 2])


@given(case=cases())
@settings(max_examples=60)
def test_the_rarest_label_is_in_as_many_folds_as_possible(
    case: tuple[Dataset, int, int, int],
) -> None:
    dataset, *arguments = case
    counts = dataset.y.sum(axis=0)
    present = np.flatnonzero(counts)
    if not len(present) or (counts == counts[present].min()).sum() > 1:
        return
    rarest = present[counts[present].argmin()]
    splits = make_splits(kfold("multilabel_stratified", *arguments), dataset)
    n_splits = arguments[0]
    for repeat in range(arguments[1]):
        n_positives = [dataset.y[s.test, rarest].sum() for s in splits if s.repeat == repeat]
        assert np.count_nonzero(n_positives) >= min(n_splits, counts[rarest])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("plain", "stratified"),
    [
        ("repeated_kfold", "multilabel_stratified"),
        ("group_kfold", "stratified_group_kfold"),
    ],
)
def test_stratified_folds_keep_the_proportions(plain: str, stratified: str, seed: int) -> None:
    dataset = random_table(seed, n_samples=400, n_groups=80)
    before = make_splits(kfold(plain, n_repeats=3), dataset)
    after = make_splits(kfold(stratified, n_repeats=3), dataset)
    assert proportion_error(after, dataset.y) < 0.6 * proportion_error(before, dataset.y)
    assert n_without_positive(after, dataset.y) <= n_without_positive(before, dataset.y)


@pytest.mark.parametrize("name", ["birds", "medical"])
def test_stratified_folds_of_real_labels(name: str, shared_data: Path) -> None:
    y = real_labels(shared_data / f"{name}.arff")
    plain = make_splits(kfold("repeated_kfold", 10, 3), table(y))
    stratified = make_splits(kfold("multilabel_stratified", 10, 3), table(y))
    assert proportion_error(stratified, y) < 0.5 * proportion_error(plain, y)
    unavoidable = 3 * int(np.maximum(0, 10 - y.sum(axis=0)).sum())
    assert n_without_positive(stratified, y) == unavoidable
    assert n_without_positive(plain, y) > unavoidable + 50

    groups = np.random.default_rng(0).integers(0, len(y) // 6, len(y))
    plain = make_splits(kfold("group_kfold", 10, 3), table(y, groups))
    stratified = make_splits(kfold("stratified_group_kfold", 10, 3), table(y, groups))
    assert proportion_error(stratified, y) < 0.65 * proportion_error(plain, y)
    assert n_without_positive(stratified, y) < n_without_positive(plain, y) - 30


def real_labels(path: Path) -> NDArray[np.int8]:
    root = ElementTree.parse(path.with_suffix(".xml")).getroot()
    names = {element.get("name", "").replace("\\'", "'") for element in root}
    text = path.read_text()
    sparse = "{" in text[text.lower().index("@data") :]
    data = arff.loads(text, return_type=arff.LOD if sparse else arff.DENSE)
    columns = [
        column
        for column, (attribute, _) in enumerate(data["attributes"])
        if attribute.replace("\\'", "'") in names
    ]
    assert len(columns) == len(names)
    if sparse:
        rows = [[row.get(column, "0") for column in columns] for row in data["data"]]
    else:
        rows = [[row[column] for column in columns] for row in data["data"]]
    return np.array(rows).astype(np.int8)


def one_by_one(
    y: NDArray[np.int8], n_splits: int, generator: np.random.RandomState
) -> NDArray[np.int64]:
    """Return the folds of iterative stratification, row by row."""
    row_order = generator.permutation(len(y))
    shuffled = y[row_order]
    remaining = shuffled.sum(axis=0, dtype=np.int64)
    lacking = np.outer(np.full(n_splits, 1 / n_splits), remaining)
    room = generator.permutation(np.bincount(np.arange(len(y)) % n_splits, minlength=n_splits))
    folds = np.full(len(y), -1)
    while remaining.any():
        rarest = generator.choice(np.flatnonzero(remaining == remaining[remaining > 0].min()))
        for row in np.flatnonzero((shuffled[:, rarest] == 1) & (folds == -1)):
            lacks = np.where(room > 0, lacking[:, rarest], -np.inf)
            best = np.flatnonzero(lacks == lacks.max())
            best = best[room[best] == room[best].max()]
            fold = best[0] if len(best) == 1 else generator.choice(best)
            folds[row] = fold
            lacking[fold] -= shuffled[row]
            remaining -= shuffled[row]
            room[fold] -= 1
    folds[folds == -1] = np.repeat(np.arange(n_splits), room)
    result = np.empty_like(folds)
    result[row_order] = folds
    return result


@given(st.integers(0, 2**32 - 1), st.integers(2, 300), st.integers(1, 8), st.data())
@settings(max_examples=200)
def test_rows_at_once_get_the_folds_of_rows_one_by_one(
    seed: int, n_samples: int, n_labels: int, data: st.DataObject
) -> None:
    n_splits = data.draw(st.integers(2, min(n_samples, 12)))
    rng = np.random.default_rng(seed)
    rates = rng.random(n_labels) * rng.random()
    y = (rng.random((n_samples, n_labels)) < rates).astype(np.int8)
    if data.draw(st.booleans()):
        y[:, -1] = 1
    ours, expected = (np.random.RandomState(seed) for _ in range(2))
    np.testing.assert_array_equal(
        iterative_folds(y, n_splits, ours), one_by_one(y, n_splits, expected)
    )
    assert ours.randint(2**31) == expected.randint(2**31)  # both have drawn as much


def test_many_rounds_are_those_of_rows_one_by_one() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random((4000, 4)) < [0.02, 0.2, 0.5, 0.9]).astype(np.int8)
    with patch("pipeline.cv.stratification.MAX_ROUNDS", 50):
        folds = iterative_folds(y, 7, np.random.RandomState(1))
    np.testing.assert_array_equal(folds, one_by_one(y, 7, np.random.RandomState(1)))
    np.testing.assert_array_equal(folds, iterative_folds(y, 7, np.random.RandomState(1)))
