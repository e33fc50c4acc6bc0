"""Initial weights are those of a model that is built with a seed, whatever else draws numbers."""

import random
from functools import partial
from threading import Event, Thread

import keras
import numpy as np
import pytest

from pipeline.model.keras_models import mlp
from pipeline.model.tabular_networks import resnet, tabm
from pipeline.training.initial_weights import WeightInitializer
from tests.keras_reference import N_LABELS, make_fits, train, training_config
from tests.test_keras_trainer import assert_equal_weights

MODELS = {
    "perceptron": {},
    "dropout and batch normalization": {
        "hidden_units": (8, 4),
        "dropout": 0.3,
        "batch_normalization": True,
    },
    "orthogonal": {"kernel_initializer": "orthogonal"},
    "logistic regression": {"hidden_units": ()},
}
RESNET = {
    "n_blocks": 1,
    "units": 16,
    "hidden_units": 32,
    "hidden_dropout": 0.2,
    "residual_dropout": 0.1,
}


def custom_model():
    """Return a model with embedded randomness: a fixed seed, a shared layer, a normal bias."""
    inputs = keras.Input((5,))
    shared = keras.layers.Dense(
        5, kernel_initializer="orthogonal", bias_initializer="random_normal"
    )
    x = keras.layers.GaussianNoise(0.1)(shared(shared(inputs)))
    fixed = keras.initializers.GlorotUniform(seed=3)
    return keras.Model(inputs, keras.layers.Dense(2, "sigmoid", kernel_initializer=fixed)(x))


class NumpyInitializer(keras.initializers.GlorotUniform):
    """An initializer that cannot be part of a graph."""

    def __call__(self, shape, dtype=None):
        return np.random.default_rng(self.seed).normal(size=shape).astype(np.float32)


def model_with_own_initializer():
    inputs = keras.Input((5,))
    return keras.Model(inputs, keras.layers.Dense(2, kernel_initializer=NumpyInitializer())(inputs))


def numpy_model():
    """Return a model with weights of NumPy's global generator."""
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2, "sigmoid")])
    model.layers[0].kernel.assign(np.random.normal(size=(5, 2)))
    return model


def weights_after_seeding(build, seed):
    keras.utils.set_random_seed(seed)
    model = build()
    variables = (*model.trainable_variables, *model.non_trainable_variables)
    return [variable.numpy() for variable in variables]


@pytest.mark.parametrize(
    ("build", "is_explicit", "is_traced"),
    [
        *((partial(mlp, 5, 2, **options), True, True) for options in MODELS.values()),
        (custom_model, True, True),
        (model_with_own_initializer, True, False),
        (numpy_model, False, False),
    ],
    ids=[*MODELS, "custom", "own initializer", "numpy"],
)
def test_weights_are_those_of_a_model_built_with_the_seed(build, is_explicit, is_traced):
    initializer = WeightInitializer(build)
    assert initializer.is_explicit is is_explicit
    assert not is_explicit or (initializer._traced is not None) is is_traced
    for seed in (0, 7, 2**32 - 1):
        trainable, non_trainable = initializer(seed)
        for actual, expected in zip(
            [*trainable, *non_trainable], weights_after_seeding(build, seed), strict=True
        ):
            assert actual.dtype == expected.dtype
            np.testing.assert_array_equal(actual, expected)


def test_orthogonal_kernels_of_one_value_are_not_taken_for_constants():
    build = partial(mlp, 1, 1, hidden_units=(1,) * 4, kernel_initializer="orthogonal")
    initializer = WeightInitializer(build, "a model of Manyfold")
    for seed in range(10):
        assert initializer(seed)[0] == weights_after_seeding(build, seed)  # each of one value


def test_other_threads_that_draw_random_numbers_change_nothing():
    config = training_config(epochs=2)
    expected = train(make_fits(), config)
    stop = Event()

    def disturb():
        while not stop.wait(1e-4):
            random.seed(random.random())
            np.random.seed(random.randrange(2**32))

    thread = Thread(target=disturb)
    thread.start()
    try:
        disturbed = train(make_fits(), config)
    finally:
        stop.set()
        thread.join()
    for result, other in zip(disturbed, expected, strict=True):
        assert_equal_weights(result, other)


@pytest.mark.parametrize(
    ("build", "sizes"),
    [
        (partial(mlp, n_labels=N_LABELS, hidden_units=(256, 128)), (1, 2, 5)),
        (lambda n: resnet(n, N_LABELS, **RESNET), (2, 5)),
        (lambda n: tabm(n, N_LABELS, hidden_units=(16,), dropout=0.1, n_submodels=4), (2, 5)),
    ],
    ids=["mlp", "resnet", "tabm"],
)
def test_the_size_of_a_stack_changes_no_bit(build, sizes):
    fits = make_fits((40,) * 5)
    results = [
        train(fits, training_config(fits_per_program=size, batch_size=32, epochs=2), build)
        for size in sizes
    ]
    for first, *others in zip(*results, strict=True):
        for other in others:
            np.testing.assert_array_equal(first.y_score, other.y_score)
            assert_equal_weights(first, other)


def test_equal_settings_agree_in_every_bit():
    fits, config = make_fits((40, 40)), training_config(fits_per_program=2)
    for result, again in zip(train(fits, config), train(fits, config), strict=True):
        assert_equal_weights(result, again)
        np.testing.assert_array_equal(result.y_score, again.y_score)
