"""Statistics of all folds at once equal those of each fold, whatever the other rows hold."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.model_selection import KFold, ShuffleSplit

from pipeline.preprocessing import fitting
from pipeline.preprocessing.fitting import fit_preprocessors
from tests.test_preprocessor import (
    CATEGORICAL,
    NUMERIC,
    OPTIONS,
    SCHEMA,
    mixed_table,
    numeric_schema,
    preprocessing,
)

N_ROWS = 60
ALL_ROWS = np.arange(N_ROWS)


def folds(n_splits=5):
    return [train for train, _ in KFold(n_splits, shuffle=True, random_state=1).split(ALL_ROWS)]


def folds_beside_always_training_rows():
    """The first 20 rows always train, the others are tested in one of four folds."""
    return [
        np.append(ALL_ROWS[:20], ALL_ROWS[20:][train]) for train, _ in KFold(4).split(ALL_ROWS[20:])
    ]


def shuffle_splits():
    return [train for train, _ in ShuffleSplit(6, random_state=3).split(ALL_ROWS)]


def folds_without_validation_rows():
    """Of each training fold every sixth row is kept for early stopping."""
    return [np.delete(train, np.arange(fold, len(train), 6)) for fold, train in enumerate(folds())]


TRAIN_SETS = {
    "folds": folds,
    "two folds": lambda: folds(2),
    "always training": folds_beside_always_training_rows,
    "shuffle split": shuffle_splits,
    "validation parts": folds_without_validation_rows,
    "one set": lambda: [ALL_ROWS[::2]],
    "equal sets": lambda: [ALL_ROWS[5:], ALL_ROWS[5:]],
}


def direct_statistics(X, train):
    """Return count, mean, sum of squares, extremes and missing values of each number."""
    columns = [X[train, feature].astype(np.float64) for feature in NUMERIC]
    present = [column[~np.isnan(column)] for column in columns]
    return [
        (len(it), it.mean(), len(it) * it.var(), it.min(), it.max(), len(column) - len(it))
        for it, column in zip(present, columns, strict=True)
    ]


@pytest.mark.parametrize("make", TRAIN_SETS.values(), ids=TRAIN_SETS)
@pytest.mark.parametrize("offset", [0, 1000])
def test_merged_statistics_equal_those_of_the_training_rows(make, offset):
    X, train_sets = mixed_table(N_ROWS), make()
    X[:, NUMERIC] += offset
    for train, ours in zip(train_sets, fitting._statistics(X, SCHEMA, train_sets), strict=True):
        merged = zip(ours.n, ours.mean, ours.m2, ours.low, ours.high, ours.n_missing, strict=True)
        np.testing.assert_allclose(list(merged), direct_statistics(X, train), rtol=1e-12)
        for feature, counts in zip(CATEGORICAL, ours.category_counts, strict=True):
            codes = X[train, feature]
            assert counts.tolist() == [
                (codes == code).sum() for code in range(len(SCHEMA.columns[feature].categories))
            ]


def arrays_of(preprocessor):
    """Return all that is learnt but `fill`, which depends on where any row misses a value."""
    indicators = preprocessor.indicators
    return [preprocessor.center, preprocessor.scale, indicators, *preprocessor.columns]


@pytest.mark.parametrize("make", TRAIN_SETS.values(), ids=TRAIN_SETS)
@pytest.mark.parametrize("options", OPTIONS[::7], ids=str)
def test_all_folds_at_once_equal_fits_of_single_folds(make, options):
    X, train_sets, config = mixed_table(N_ROWS), make(), preprocessing(**options)
    together = fit_preprocessors(config, X, SCHEMA, train_sets)
    for train, ours in zip(train_sets, together, strict=True):
        (alone,) = fit_preprocessors(config, X, SCHEMA, [train])
        for one, other in zip(arrays_of(ours), arrays_of(alone), strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-7)  # a last bit of float32
        np.testing.assert_allclose(ours.fill, alone.fill, rtol=2e-7)
        assert ours.layout == alone.layout


def poison(X, held_out):
    """Yield tables whose held-out rows are huge, of one category, missing or alternating."""
    huge, missing = X.copy(), X.copy()
    huge[np.ix_(held_out, NUMERIC)] = 1e30
    huge[np.ix_(held_out, CATEGORICAL)] = 0
    missing[held_out] = np.nan
    alternating = huge.copy()
    alternating[held_out[::2]] = np.nan
    yield from (huge, missing, alternating)


@pytest.mark.parametrize("make", TRAIN_SETS.values(), ids=TRAIN_SETS)
@pytest.mark.parametrize("options", OPTIONS[::7], ids=str)
def test_held_out_rows_do_not_change_a_bit(make, options):
    X, train_sets, config = mixed_table(N_ROWS), make(), preprocessing(**options)
    expected = fit_preprocessors(config, X, SCHEMA, train_sets)
    for fold, train in enumerate(train_sets):
        for poisoned in poison(X, np.setdiff1d(ALL_ROWS, train)):
            ours = fit_preprocessors(config, poisoned, SCHEMA, train_sets)[fold]
            for one, other in zip(arrays_of(ours), arrays_of(expected[fold]), strict=True):
                np.testing.assert_array_equal(one, other)
            np.testing.assert_array_equal(
                ours.transform(X[train]), expected[fold].transform(X[train])
            )


def test_other_folds_see_the_poison():
    X, train_sets = mixed_table(N_ROWS), folds()
    held_out = np.setdiff1d(ALL_ROWS, train_sets[0])
    expected = fit_preprocessors(preprocessing(), X, SCHEMA, train_sets)
    for poisoned in poison(X, held_out):
        _, *others = fit_preprocessors(preprocessing(), poisoned, SCHEMA, train_sets)
        for one, other in zip(others, expected[1:], strict=True):
            assert (one.center != other.center).all()


VALUES = st.one_of(st.just(np.nan), st.sampled_from([0.0, 1.0]), st.floats(-1e6, 1e6, width=32))


@given(arrays(np.float32, (12, 2), elements=VALUES), st.integers(2, 4), st.permutations(range(12)))
@settings(max_examples=60)
def test_any_folds_of_any_numbers_equal_single_fits(X, n_splits, order):
    train_sets = [np.array(order)[train] for train, _ in KFold(n_splits).split(X)]
    together = fit_preprocessors(preprocessing(), X, numeric_schema(X), train_sets)
    for train, ours in zip(train_sets, together, strict=True):
        (alone,) = fit_preprocessors(preprocessing(), X, numeric_schema(X), [train])
        np.testing.assert_allclose(
            ours.transform(X[train]), alone.transform(X[train]), rtol=1e-5, atol=1e-5
        )


@given(
    values=arrays(np.float32, st.integers(1, 9), elements=st.floats(width=32, allow_infinity=False))
)
def test_a_median_is_that_of_numpy(values):
    if not np.isnan(values).all():
        assert fitting._median(values) == np.nanmedian(values.astype(np.float64))


def test_without_missing_values_medians_are_learnt_for_the_final_model_alone():
    X, schema = np.arange(8, dtype=np.float32)[:, None] ** 2, numeric_schema(np.empty((1, 1)))
    rows = np.arange(8)
    (of_fold,) = fit_preprocessors(preprocessing(), X, schema, [rows])
    (final,) = fit_preprocessors(preprocessing(), X, schema, [rows], is_final=True)
    assert (of_fold.fill[0], final.fill[0]) == (0, np.median(X))
    np.testing.assert_array_equal(of_fold.center, final.center)
    np.testing.assert_array_equal(of_fold.scale, final.scale)


def test_blocks_of_test_rows_are_read_once(monkeypatch):
    X, read = mixed_table(N_ROWS), []
    of_rows = fitting.ColumnStatistics.of_rows

    def counting(X, schema, rows):
        read.append(sorted(rows))
        return of_rows(X, schema, rows)

    monkeypatch.setattr(fitting.ColumnStatistics, "of_rows", counting)
    fit_preprocessors(preprocessing(), X, SCHEMA, folds(10))
    assert len(read) == 10
    assert sorted(row for rows in read for row in rows) == ALL_ROWS.tolist()
    assert all(one != other for one, other in pairwise(read))


def test_no_training_set_gives_no_preprocessor():
    assert fit_preprocessors(preprocessing(), mixed_table(), SCHEMA, []) == []
