"""Networks that skip features that are 0, against dense batches and NumPy."""

from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.model.keras_models import mlp
from pipeline.training import sparse_network, sparse_rows
from pipeline.training.base import NO_ROWS, FitSpec
from pipeline.training.keras_trainer import KerasTrainer
from pipeline.training.sparse_network import gathered_product
from pipeline.training.sparse_rows import to_device
from tests.keras_reference import (
    LOGISTIC_REGRESSION,
    N_LABELS,
    N_SAMPLES,
    NETWORK,
    Y,
    assert_equal_to_model_fit,
    make_fits,
    train,
    training_config,
)
from tests.test_preprocessor import fit_preprocessor, numeric_schema, preprocessing

RNG = np.random.default_rng(0)
N_WIDE = 48
WIDE = np.where(RNG.random((N_SAMPLES, N_WIDE)) < 0.1, RNG.normal(1, 1, (N_SAMPLES, N_WIDE)), 0)
WIDE = WIDE.astype(np.float32)
WIDE[3] = 0
NORMALIZED = partial(
    mlp, n_labels=N_LABELS, hidden_units=(8,), batch_normalization=True, dropout=0.5, l2=0.01
)


@pytest.fixture(autouse=True)
def every_table_counts_as_large_and_sparse(monkeypatch):
    monkeypatch.setattr(sparse_rows, "MIN_SPARSE_CELLS", 0)
    monkeypatch.setattr(sparse_rows, "MAX_FILLED", 1 / 2)
    monkeypatch.setattr(sparse_network, "MAX_GATHERED", 1 / 2)


def make_trainer(build, X=WIDE, scaling="standard", **settings) -> KerasTrainer:
    config = training_config(**{"fits_per_program": 1, **settings})
    return KerasTrainer(build, config, X, Y, make_fits(scaling=scaling, X=X))


def gathers(*args, **settings) -> bool:
    return make_trainer(*args, **settings)._inputs.X.is_gathered


def test_products_and_gradients_equal_those_of_numpy():
    X = WIDE.astype(np.float64)
    rows, kernel = to_device(WIDE), RNG.normal(size=(N_WIDE, 7))
    upstream = RNG.normal(size=(N_SAMPLES, 7))
    with tf.GradientTape() as tape:
        variable = tf.Variable(kernel, dtype=tf.float32)
        product = gathered_product(rows.columns, rows.values, variable)
    gradient = tape.gradient(product, variable, tf.constant(upstream, tf.float32))
    np.testing.assert_allclose(product, X @ kernel, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gradient, X.T @ upstream, rtol=1e-5, atol=1e-5)


def _skip_second(n_columns: int) -> keras.Model:
    inputs = keras.Input((n_columns,))
    hidden = keras.layers.Dense(8, activation="relu")(inputs)
    joined = keras.layers.Concatenate()([hidden, keras.layers.Dense(4)(hidden)])
    return keras.Model(inputs, keras.layers.Dense(N_LABELS, activation="sigmoid")(joined))


@pytest.mark.parametrize("build", [LOGISTIC_REGRESSION, NETWORK, _skip_second])
@pytest.mark.parametrize("scaling", ["none", "standard"])
def test_training_equals_model_fit_on_dense_rows(build, scaling):
    assert gathers(build, WIDE, scaling)
    fits = make_fits((40, 33), scaling=scaling, X=WIDE)
    assert_equal_to_model_fit(fits, training_config(fits_per_program=1), build, WIDE, atol=1e-5)


@pytest.mark.parametrize(
    ("build", "train_sizes"),
    [(NETWORK, (40, 33)), (NORMALIZED, (33, 33))],  # other sizes need other programs
)
def test_training_equals_that_on_dense_batches(build, train_sizes, monkeypatch):
    """Penalties, dropout, missing values and early stopping stay what they are."""
    X = WIDE.copy()
    X[RNG.random(X.shape) < 0.02] = np.nan
    assert gathers(build, X)
    fits, config = make_fits(train_sizes, "standard", X), training_config(fits_per_program=1)
    gathered = train(fits, config, build, X)
    monkeypatch.setattr(sparse_network, "MAX_GATHERED", 0)
    for result, dense in zip(gathered, train(fits, config, build, X), strict=True):
        for weight, expected in zip(result.weights, dense.weights, strict=True):
            np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(result.y_score, dense.y_score, rtol=0, atol=1e-5)
        np.testing.assert_allclose(result.loss, dense.loss, rtol=1e-5)
        np.testing.assert_allclose(result.test_loss, dense.test_loss, rtol=1e-5)


def _skip_first(n_columns: int) -> keras.Model:
    inputs = keras.Input((n_columns,))
    hidden = keras.layers.Dense(8, activation="relu")(inputs)
    joined = keras.layers.Concatenate()([inputs, hidden])
    return keras.Model(inputs, keras.layers.Dense(N_LABELS, activation="sigmoid")(joined))


def _dropout_first(n_columns: int) -> keras.Model:
    layers = [keras.layers.Dropout(0.1), keras.layers.Dense(N_LABELS, activation="sigmoid")]
    return keras.Sequential([keras.Input((n_columns,)), *layers])


def _penalised_first(n_columns: int) -> keras.Model:
    penalised = keras.layers.Dense(8, activity_regularizer="l2")
    layers = [penalised, keras.layers.Dense(N_LABELS, activation="sigmoid")]
    return keras.Sequential([keras.Input((n_columns,)), *layers])


@pytest.mark.parametrize("build", [_skip_first, _dropout_first, _penalised_first])
def test_other_networks_take_dense_batches(build):
    assert not gathers(build)
    assert len(list(make_trainer(build, epochs=1).train())) == 3


def test_indicators_of_missing_values_take_dense_batches():
    X, rows = WIDE.copy(), np.arange(N_SAMPLES, dtype=np.int32)
    X[0, 0] = np.nan
    preprocessor = fit_preprocessor(preprocessing(add_indicator=True), X, numeric_schema(X), rows)
    fit = FitSpec(0, rows, NO_ROWS, preprocessor)
    trainer = KerasTrainer(NETWORK, training_config(fits_per_program=1), X, Y, [fit])
    assert not trainer._inputs.X.is_gathered


def test_stacks_of_several_fits_take_dense_batches():
    assert not gathers(NETWORK, fits_per_program=2)


def test_fuller_rows_and_features_far_from_zero_take_dense_batches(monkeypatch):
    X = WIDE.copy()
    X[:, 0] = 2_000 + RNG.random(N_SAMPLES)  # such as a year
    assert gathers(NETWORK, X, "none")
    assert not gathers(NETWORK, X, "standard")
    monkeypatch.setattr(sparse_network, "MAX_GATHERED", 1 / 48)
    assert not gathers(NETWORK)
