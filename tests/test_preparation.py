import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.preprocessing import StandardScaler

from pipeline.config import PreparationConfig
from pipeline.preparation import fit_preparation

VALUES = st.floats(-1e6, 1e6, width=32)


@given(arrays(np.float64, (12, 3), elements=VALUES), st.permutations(range(12)))
def test_standard_is_scikit_learns_standard_scaler(X, order):
    train = np.array(order[:8])
    ours = fit_preparation(PreparationConfig(kind="standard"), X, train)
    theirs = StandardScaler().fit(X[train])
    np.testing.assert_allclose(ours.mean, theirs.mean_, rtol=1e-9, atol=1e-9)
    constant = X[train].max(axis=0) == X[train].min(axis=0)
    spread = X[train].std(axis=0) > 1e-6 * (1 + np.abs(X[train]).max(axis=0))
    np.testing.assert_allclose(ours.scale[spread], theirs.scale_[spread], rtol=1e-6)
    assert (ours.scale[constant] == 1).all()


def test_test_rows_do_not_matter():
    X = np.random.default_rng(0).normal(size=(10, 3))
    train = np.arange(6)
    before = fit_preparation(PreparationConfig(kind="standard"), X, train)
    X[6:] = np.nan
    after = fit_preparation(PreparationConfig(kind="standard"), X, train)
    np.testing.assert_array_equal(before.mean, after.mean)
    np.testing.assert_array_equal(before.scale, after.scale)


def test_none_changes_nothing():
    X = np.random.default_rng(0).normal(size=(10, 3))
    preparation = fit_preparation(PreparationConfig(kind="none"), X, np.arange(6))
    np.testing.assert_array_equal((X - preparation.mean) / preparation.scale, X)
