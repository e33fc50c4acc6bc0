"""Features without their zeros, against the dense ones."""

import numpy as np
import pytest

from pipeline.training import sparse_rows
from pipeline.training.sparse_rows import SparseRows, to_device
from tests.keras_reference import N_SAMPLES, make_fits, train, training_config

RNG = np.random.default_rng(0)
N_WIDE = 48
WIDE = np.where(RNG.random((N_SAMPLES, N_WIDE)) < 0.06, RNG.normal(size=(N_SAMPLES, N_WIDE)), 0)
WIDE = WIDE.astype(np.float32)


@pytest.fixture
def every_table_counts_as_large(monkeypatch):
    monkeypatch.setattr(sparse_rows, "MIN_SPARSE_CELLS", 0)
    monkeypatch.setattr(sparse_rows, "_ROWS_AT_ONCE", 7)
    monkeypatch.setattr(sparse_rows, "MAX_FILLED", 1 / 4)


def test_training_on_sparse_rows_equals_training_on_dense_ones(every_table_counts_as_large):
    fits = make_fits((40, 33), scaling="standard", X=WIDE)
    config = training_config(epochs=2)
    assert isinstance(to_device(WIDE), SparseRows)
    sparse = train(fits, config, X=WIDE)
    sparse_rows.MAX_FILLED = 0  # undone by the fixture
    assert not isinstance(to_device(WIDE), SparseRows)
    for result, dense in zip(sparse, train(fits, config, X=WIDE), strict=True):
        np.testing.assert_allclose(result.y_score, dense.y_score, rtol=0, atol=1e-6)
        np.testing.assert_allclose(result.loss, dense.loss, rtol=1e-6)


def test_sparse_rows_hold_every_value(every_table_counts_as_large):
    X = WIDE.copy()
    X[3], X[4, 5] = 0, np.nan  # a row without values, a missing one
    sparse = to_device(X)
    dense = np.zeros_like(X)
    rows = np.repeat(np.arange(len(X)), sparse.columns.shape[1])
    np.add.at(dense, (rows, sparse.columns.numpy().ravel()), sparse.values.numpy().ravel())
    np.testing.assert_array_equal(dense, X)


def test_small_and_full_tables_stay_dense():
    assert not isinstance(to_device(WIDE), SparseRows)
