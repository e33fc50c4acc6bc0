"""`PreprocessingLayer` computes what `Preprocessor.transform` computes."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.preprocessing.column import Column
from pipeline.preprocessing.layer import PreprocessingLayer, weights_of
from pipeline.preprocessing.preprocessor import NO_COLUMN, Preprocessor
from pipeline.preprocessing.table_schema import TableSchema
from tests.test_preprocessor import OPTIONS, SCHEMA, fit_preprocessor, mixed_table, preprocessing


def layer_of(preprocessor: Preprocessor) -> PreprocessingLayer:
    """Return a layer with the statistics of a preprocessor."""
    layer = PreprocessingLayer(preprocessor.layout)
    layer.build((None, len(preprocessor.numeric) + len(preprocessor.categorical)))
    layer.set_weights(weights_of(preprocessor))
    return layer


def assert_equal_outputs(model, preprocessor, X):
    expected = preprocessor.transform(X)
    assert expected.dtype == np.float32
    np.testing.assert_allclose(np.asarray(model(X)), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_layer_equals_transform_for_all_options(options):
    X = mixed_table()
    preprocessor = fit_preprocessor(preprocessing(**options), X, SCHEMA, np.arange(30))
    assert_equal_outputs(layer_of(preprocessor), preprocessor, X)


KINDS = st.lists(st.sampled_from(["number", "flag", "few", "many"]), min_size=1, max_size=5)
CATEGORIES = {
    "number": (),
    "flag": ("0", "1"),
    "few": ("a", "b", "c"),
    "many": tuple(f"c{i:02}" for i in range(40)),
}


@given(
    kinds=KINDS,
    options=st.sampled_from(OPTIONS),
    seed=st.integers(0, 1000),
    missing=st.sampled_from([0, 0.2, 0.9]),
    n_train=st.integers(1, 30),
)
@example(kinds=["few"], options=OPTIONS[0], seed=0, missing=0.2, n_train=20)  # no number
@example(kinds=["number"], options=OPTIONS[0], seed=0, missing=0, n_train=20)  # no category
@example(kinds=["few", "number"], options=OPTIONS[2], seed=0, missing=0.9, n_train=1)
@settings(max_examples=60)
def test_the_layer_equals_transform_for_any_table(kinds, options, seed, missing, n_train):
    rng = np.random.default_rng(seed)
    columns, values = [], []
    for j, kind in enumerate(kinds):
        kind_of_column = "number" if kind == "number" else "category"
        columns.append(Column(f"x{j}", kind_of_column, CATEGORIES[kind]))
        numbers = rng.normal(rng.normal() * 100, 10 ** rng.uniform(-3, 3), size=40)
        codes = rng.integers(0, len(CATEGORIES[kind]) or 1, size=40)
        values.append(codes if CATEGORIES[kind] else numbers)
    X = np.column_stack(values).astype(np.float32)
    X[rng.random(X.shape) < missing] = np.nan
    train = rng.permutation(40)[:n_train]  # other rows have categories that these lack
    preprocessor = fit_preprocessor(
        preprocessing(**options), X, TableSchema(tuple(columns)), train, is_final=True
    )
    assert_equal_outputs(layer_of(preprocessor), preprocessor, X)


def test_fits_of_a_stack_share_one_layer():
    X = mixed_table(60)
    config = preprocessing(add_indicator=True, min_frequency=4)
    trains = [np.arange(60), np.arange(5, 60), np.arange(55)]
    preprocessors = [fit_preprocessor(config, X, SCHEMA, train) for train in trains]
    (layout,) = {preprocessor.layout for preprocessor in preprocessors}
    layer = PreprocessingLayer(layout)
    layer.build(X.shape)
    stacked = [np.stack(arrays) for arrays in zip(*map(weights_of, preprocessors), strict=True)]

    @tf.function(jit_compile=True)
    def transform_all(stacked):
        x = tf.constant(X)
        return tf.vectorized_map(lambda weights: layer.stateless_call([], weights, x)[0], stacked)

    outputs = transform_all([tf.constant(arrays) for arrays in stacked])
    for ours, preprocessor in zip(outputs.numpy(), preprocessors, strict=True):
        np.testing.assert_allclose(ours, preprocessor.transform(X), rtol=1e-6, atol=1e-6)
    assert len({preprocessor.center.tobytes() for preprocessor in preprocessors}) == 3


def test_spare_indicators_are_zero():
    X = np.array([[np.nan, 1.0], [2.0, np.nan], [3.0, 4.0]], dtype=np.float32)
    preprocessor = fit_preprocessor(
        preprocessing(add_indicator=True), X, TableSchema.of_numbers("ab"), np.arange(3)
    )
    preprocessor.indicators = np.array([1, NO_COLUMN, 0])
    expected = [[0, 0, 1], [1, 0, 0], [0, 0, 0]]
    assert preprocessor.transform(X)[:, 2:].tolist() == expected
    assert layer_of(preprocessor)(X).numpy()[:, 2:].tolist() == expected


def test_without_imputation_a_missing_number_stays_missing():
    X = np.array([[1.0], [np.nan]], dtype=np.float32)
    config = preprocessing(scaling="none", imputation="none")
    preprocessor = fit_preprocessor(config, X, TableSchema.of_numbers("a"), np.array([0]))
    for output in (preprocessor.transform(X), layer_of(preprocessor)(X).numpy()):
        np.testing.assert_array_equal(output, X)


@pytest.mark.parametrize("options", OPTIONS[::11], ids=str)
def test_a_saved_layer_is_loaded(options, tmp_path):
    X = mixed_table()
    preprocessor = fit_preprocessor(preprocessing(**options), X, SCHEMA, np.arange(30))
    layer = layer_of(preprocessor)
    inputs = keras.Input((5,))
    model = keras.Model(inputs, layer(inputs))
    assert model.output_shape == (None, preprocessor.n_columns)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.layers[-1].layout == preprocessor.layout
    assert_equal_outputs(loaded, preprocessor, X)
    np.testing.assert_array_equal(loaded(X), model(X))
    assert not loaded.trainable_variables


def test_building_the_layer_draws_no_random_number():
    preprocessor = fit_preprocessor(preprocessing(), mixed_table(), SCHEMA, np.arange(30))

    def draw():
        return random.random(), np.random.random(), keras.layers.Dense(3)(np.ones((1, 2))).numpy()

    keras.utils.set_random_seed(5)
    state = random.getstate(), np.random.get_state()[1].tolist()
    layer_of(preprocessor)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == state
    after = draw()
    keras.utils.set_random_seed(5)
    for one, other in zip(after, draw(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_half_precision_does_not_reach_the_layer():
    X = mixed_table()
    preprocessor = fit_preprocessor(preprocessing(), X, SCHEMA, np.arange(30))
    keras.config.set_dtype_policy("mixed_float16")
    try:
        layer = layer_of(preprocessor)
        assert_equal_outputs(layer, preprocessor, X)
    finally:
        keras.config.set_dtype_policy("float32")
