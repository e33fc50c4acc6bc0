"""`KerasTrainer` against `model.fit`, and against itself with other stacks, rows and threads."""

import gc
import os
import weakref
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.dataset.matrix import encode_matrix
from pipeline.errors import UserError
from pipeline.model.keras_models import mlp
from pipeline.training import batches, cached_programs, memory_plan, program_cache, stack_plan
from pipeline.training.base import FitSpec, Stopped, fit_seed
from pipeline.training.keras_trainer import KerasTrainer
from pipeline.training.loss_weights import loss_weights
from tests.keras_reference import (
    LOGISTIC_REGRESSION,
    N_FEATURES,
    N_LABELS,
    N_SAMPLES,
    NETWORK,
    NO_EARLY_STOPPING,
    X,
    Y,
    assert_equal_to_model_fit,
    make_fits,
    model_fit,
    train,
    training_config,
)
from tests.test_preprocessor import (
    CATEGORICAL,
    NUMERIC,
    OPTIONS,
    SCHEMA,
    fit_preprocessor,
    mixed_table,
    numeric_schema,
    preprocessing,
)


def assert_equal_weights(result, other, atol=0.0):
    for weight, expected in zip(result.weights, other.weights, strict=True):
        np.testing.assert_allclose(weight, expected, rtol=0, atol=atol)


def test_fits_of_unequal_size_on_standardised_features_equal_model_fit():
    sizes = (3, 33, 41, 49, N_SAMPLES)  # less than a batch, and no test rows
    assert_equal_to_model_fit(make_fits(sizes, scaling="standard"), training_config(), atol=2e-6)


@pytest.mark.parametrize("batch_size", [1, 40])
def test_single_rows_and_all_rows_as_batches_equal_model_fit(batch_size):
    config = training_config(
        optimizer="sgd", optimizer_params={"momentum": 0.9}, batch_size=batch_size, epochs=2
    )
    assert_equal_to_model_fit(make_fits((40, 39)), config, LOGISTIC_REGRESSION)


def test_batch_normalization_equals_model_fit_also_with_fewer_rows_than_a_batch():
    build, config = partial(NETWORK, batch_normalization=True), training_config(optimizer="sgd")
    fits = make_fits((41, 41, 12))  # the first two train in one stack
    assert_equal_to_model_fit(fits, config, build, rtol=1e-4, atol=1e-5)


def custom_model(n_features, n_labels=N_LABELS):
    """Build a model with layers and a penalty that `mlp` does not have."""
    inputs = keras.Input((n_features,))
    x = keras.layers.Dense(8, activation="gelu", kernel_regularizer=keras.regularizers.L2(0.01))(
        inputs
    )
    x = keras.layers.LayerNormalization()(x)
    x = keras.layers.Add()([x, keras.layers.Dense(8)(x)])
    return keras.Model(inputs, keras.layers.Dense(n_labels, activation="sigmoid")(x))


def test_a_custom_model_with_penalty_and_balanced_focal_loss_equals_model_fit():
    config = training_config(optimizer="adamw", loss="focal", class_weight="balanced")

    def make_loss(fit):
        absent, present = loss_weights(config, Y, fit.train)

        def weighted_focal(y, y_score):
            focal = keras.losses.binary_focal_crossentropy(y[..., None], y_score[..., None])
            return keras.ops.mean(focal * (y * present + (1 - y) * absent), axis=-1)

        return weighted_focal

    fits = make_fits((40, 33))
    assert_equal_to_model_fit(fits, config, custom_model, rtol=1e-4, make_loss=make_loss)


def test_asymmetric_loss_with_weights_of_labels_equals_model_fit():
    config = training_config(
        **{"loss": "asymmetric", "asymmetric_gamma_pos": 1.0, "label_weights": (1, 3, 0.5)},
        class_weight="effective_number",
    )

    def make_loss(fit):
        absent, present = loss_weights(config, Y, fit.train)

        def loss(y, p):
            shifted = keras.ops.maximum(p - 0.05, 0)
            of_present = -present * y * (1 - p) * keras.ops.log(p)
            of_absent = -absent * (1 - y) * shifted**4 * keras.ops.log(1 - shifted)
            return keras.ops.mean(of_present + of_absent, axis=-1)

        return loss

    assert_equal_to_model_fit(make_fits((40, 33)), config, rtol=1e-5, make_loss=make_loss)


def test_each_fit_has_a_schedule_as_long_as_its_training():
    config = training_config(
        **{"optimizer": "sgd", "optimizer_params": {"global_clipnorm": 0.1}},
        lr_schedule="cosine_decay",
    )
    assert_equal_to_model_fit(make_fits((40, 20)), config, LOGISTIC_REGRESSION)


def test_categories_and_missing_values_equal_model_fit():
    orders = [np.random.default_rng(fold + 10).permutation(N_SAMPLES) for fold in range(2)]
    X = mixed_table(N_SAMPLES)
    X[X[:, 1] == 3, 1] = 0
    X[orders[1][30:32], 1] = 3  # a category that only the first fold sees in training
    fits = []
    for fold, rows in enumerate(orders):
        preprocessor = fit_preprocessor(preprocessing(add_indicator=True), X, SCHEMA, rows[:30])
        fits.append(FitSpec(fit_seed(7, (0, fold)), rows[:30], rows[30:], preprocessor))
    assert fits[0].preprocessor.n_columns != fits[1].preprocessor.n_columns
    config = training_config(optimizer="sgd")
    assert_equal_to_model_fit(fits, config, LOGISTIC_REGRESSION, X, atol=2e-6)


def test_a_fit_does_not_depend_on_its_stack_or_on_threads():
    build = partial(NETWORK, dropout=0.5)
    fits = make_fits((40, 40, 40, 39))
    config = training_config(optimizer="sgd", learning_rate=0.1)
    alone = train(fits, replace(config, fits_per_program=1, n_threads=1), build)
    stacked = train(fits, replace(config, fits_per_program=3, n_threads=2), build)
    for result, other in zip(alone, stacked, strict=True):
        np.testing.assert_allclose(result.y_score, other.y_score, atol=1e-6)
        assert_equal_weights(result, other, atol=1e-6)


def test_results_are_the_same_to_the_last_bit_on_any_number_of_cores(monkeypatch):
    fits, config = make_fits((40, 38) * 6), training_config(fits_per_program=None)
    results = {}
    for n in (1, 2, 64):
        monkeypatch.setattr(memory_plan, "n_cores", lambda n=n: n)
        results[n] = train(fits, config)
    for one, two, many in zip(*results.values(), strict=True):
        np.testing.assert_array_equal(one.y_score, two.y_score)
        np.testing.assert_array_equal(one.y_score, many.y_score)
        assert_equal_weights(one, many, atol=0)


def test_the_seed_of_a_fit_decides_its_dropout_masks():
    # Equal weights, and all rows in one batch: only the masks can set these fits apart.
    def build(n_columns):
        model = mlp(n_columns, N_LABELS, hidden_units=(8,), kernel_initializer="ones", dropout=0.5)
        model.layers[-1].kernel.assign(np.ones((8, N_LABELS)))
        return model

    rows = np.arange(N_SAMPLES)
    preprocessor = fit_preprocessor(preprocessing(scaling="none"), X, numeric_schema(X), rows)
    fits = [FitSpec(seed, rows, rows[:0], preprocessor) for seed in (1, 2, 1)]
    losses = [
        result.loss[0] for result in train(fits, training_config(batch_size=64, epochs=1), build)
    ]
    assert losses[0] == losses[2]
    assert abs(losses[0] - losses[1]) > 1e-3
    weights = []
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        weights.append(build(X.shape[1]).get_weights())
    assert all((one == other).all() for one, other in zip(*weights, strict=True))


def fits_with_every_preprocessing(X):
    """Return a fit for each combination of preprocessing options, and their test rows."""
    rows = np.random.default_rng(3).permutation(N_SAMPLES)
    train, test = rows[:35], rows[35:]
    fits = [
        FitSpec(7, train, test, fit_preprocessor(preprocessing(**options), X, SCHEMA, train))
        for options in OPTIONS
    ]
    return fits, test


def test_values_of_test_rows_do_not_change_training_with_any_preprocessing():
    X = mixed_table(N_SAMPLES)
    fits, test = fits_with_every_preprocessing(X)
    config = training_config(optimizer="sgd", epochs=1)
    expected = train(fits, config, LOGISTIC_REGRESSION, X)
    extreme, missing = X.copy(), X.copy()
    extreme[np.ix_(test, NUMERIC)] = 1e20
    extreme[np.ix_(test, CATEGORICAL)] = 0
    missing[test] = np.nan
    for changed in (extreme, missing):
        fits, _ = fits_with_every_preprocessing(changed)
        for one, other in zip(
            expected, train(fits, config, LOGISTIC_REGRESSION, changed), strict=True
        ):
            assert_equal_weights(one, other)
            assert not np.allclose(one.y_score, other.y_score)


def test_deleted_test_rows_do_not_change_training():
    X = mixed_table(N_SAMPLES)
    fits, test = fits_with_every_preprocessing(X)
    fit, same_layout = fits[0], fits[4]
    kept = np.setdiff1d(np.arange(N_SAMPLES), test[5:])
    new_number = {row: number for number, row in enumerate(kept)}
    train_rows = np.array([new_number[row] for row in fit.train])
    test_rows = np.array([new_number[row] for row in test[:5]])
    preprocessor = fit_preprocessor(preprocessing(**OPTIONS[0]), X[kept], SCHEMA, train_rows)
    smaller = FitSpec(7, train_rows, test_rows, preprocessor)
    config = training_config(optimizer="sgd", epochs=2)
    complete, *_ = train([fit, same_layout], config, LOGISTIC_REGRESSION, X)
    (reduced,) = KerasTrainer(LOGISTIC_REGRESSION, config, X[kept], Y[kept], [smaller]).train()
    assert_equal_weights(complete, reduced)
    np.testing.assert_allclose(complete.y_score[:5], reduced.y_score, atol=1e-6)


def test_numbers_far_from_zero_train_like_the_same_numbers_near_it():
    config = training_config(optimizer="sgd", learning_rate=0.1)
    far = X.astype(np.float64)
    far[:, 0] += 1.7e9  # like seconds since 1970; float32 resolves 128 of them
    encoded, schema = encode_matrix("t", numeric_schema(X).columns, far)
    assert schema.offsets.astype(bool).tolist() == [True] + [False] * (N_FEATURES - 1)
    results = [
        train(make_fits(scaling="standard", X=table), config, LOGISTIC_REGRESSION, table)
        for table in (X, encoded)
    ]
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one.y_score, other.y_score, atol=1e-6)


def test_the_final_model_scores_like_its_fit_and_an_ensemble_like_the_mean_of_its_fits():
    fit, *_ = make_fits(scaling="standard")
    fits = [fit, replace(fit, seed=99)]
    trainer = KerasTrainer(NETWORK, training_config(), X, Y, fits, repr(NETWORK))
    results = list(trainer.train())
    rows = X[fit.test]
    for result in results:
        y_score = trainer.final_model([result], fit)(rows)
        np.testing.assert_allclose(y_score, result.y_score, atol=1e-5)
    mean = (results[0].y_score + results[1].y_score) / 2
    np.testing.assert_allclose(trainer.final_model(results, fit)(rows), mean, atol=1e-6)
    assert np.abs(results[0].y_score - results[1].y_score).max() > 0.01


def test_results_come_in_order_and_progress_counts_every_epoch():
    n_epochs = []
    fits = make_fits((40, 41, 42, 43, 44))
    config = training_config(n_threads=2, epochs=11)
    trainer = KerasTrainer(NETWORK, config, X, Y, fits, repr(NETWORK))
    results = list(trainer.train(n_epochs.append))
    assert [len(result.y_score) for result in results] == [len(fit.test) for fit in fits]
    assert sum(n_epochs) == 11 * len(fits)
    assert all(result.loss.shape == result.test_loss.shape == (11,) for result in results)


def test_stop_ends_the_training(monkeypatch):
    monkeypatch.setattr(stack_plan, "MAX_CALL_STEPS", 1)  # one epoch a call
    config = training_config(epochs=10)
    trainer = KerasTrainer(NETWORK, config, X, Y, make_fits(), repr(NETWORK))
    with pytest.raises(Stopped):
        list(trainer.train(lambda n: trainer.stop()))


@pytest.mark.parametrize(
    ("kind", "message", "expected"),
    [
        ("ResourceExhaustedError", "cache/own/a.pb; No space left", "MANYFOLD_CACHE_DIR: expected"),
        ("NotFoundError", "cache/own/a.pb; No such file", "MANYFOLD_CACHE_DIR: expected"),
        ("ResourceExhaustedError", "Out of memory", "model: expected folds that fit into memory"),
        ("InvalidArgumentError", "Unsupported op", "model: expected layers that XLA can compile"),
    ],
)
def test_a_compilation_that_fails_says_why(monkeypatch, kind, message, expected):
    monkeypatch.setitem(program_cache._own, os.getpid(), Path("cache/own"))
    trainer = KerasTrainer(NETWORK, training_config(), X, Y, make_fits())
    error = getattr(tf.errors, kind)(None, None, message)
    compilation = Mock(side_effect=error)
    monkeypatch.setattr(trainer, "_trace", lambda group: [compilation])
    with pytest.raises(UserError, match=f"^{expected}.*Received: {message}"):
        trainer.compile()


@pytest.mark.parametrize(("patience", "n_epochs"), [(None, 20), (3, 2)])
def test_compilation_draws_the_orders_of_the_rows(patience, n_epochs):
    """All of them, but only those of the first call if fits may stop early."""
    stopping = replace(NO_EARLY_STOPPING, patience=patience)
    config = training_config(early_stopping=stopping, epochs=20)
    fits = [replace(fit, valid=fit.test) for fit in make_fits()]
    trainer = KerasTrainer(NETWORK, config, X, Y, fits)
    batches._permutation.cache_clear()
    trainer.compile()
    assert batches._permutation.cache_info().misses == 3 * n_epochs
    list(trainer.train())
    if patience is None:
        assert batches._permutation.cache_info().misses == 3 * n_epochs


def test_no_more_orders_are_drawn_than_are_kept(monkeypatch):
    monkeypatch.setattr(batches, "MAX_KEPT_ORDERS", 10)
    batches._permutation.cache_clear()
    batches.draw_orders([(1, 5), (2, 5), (3, batches.MAX_KEPT_ROWS + 1)], 100)
    assert batches._permutation.cache_info().misses == 10


def test_a_diverged_training_goes_on():
    config = training_config(learning_rate=1e30, epochs=4)
    result, *_ = train(make_fits((40, 40)), config)
    assert len(result.loss) == 4
    assert not np.isfinite(result.loss).all()


def test_trainings_of_one_architecture_share_compiled_programs(monkeypatch):
    monkeypatch.setattr(cached_programs, "_cache", type(cached_programs._cache)())
    monkeypatch.setattr(stack_plan, "MAX_CALL_STEPS", 1)  # one epoch a call
    built = []

    def build(n_columns):
        built.append(n_columns)
        return LOGISTIC_REGRESSION(n_columns)

    def make_trainer(architecture, **changes):
        config = training_config(**changes)
        return KerasTrainer(build, config, X, Y, make_fits(), architecture)

    first = make_trainer("a")
    list(first.train())
    n_built = len(built)
    second = make_trainer("a", learning_rate=0.001, epochs=4)
    shared = list(second.train())
    assert len(built) == n_built, "neither models nor initial weights are to be made again"
    (program,) = first._programs.values()
    assert program in second._programs.values()
    assert len(program.run.names) == 1, "the shapes are the same"
    config = training_config(learning_rate=0.001, epochs=4)
    for fit, result in zip(make_fits(), shared, strict=True):
        weights, *_ = model_fit(fit, config, LOGISTIC_REGRESSION)
        for actual, expected in zip(result.weights, weights, strict=True):
            np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)
    for other in (
        make_trainer("b"),
        make_trainer("a", class_weight="balanced"),
        make_trainer("a", optimizer="sgd"),
    ):
        assert program not in other._programs.values()


def test_cached_programs_keep_no_trainer_and_so_no_table():
    build = partial(mlp, n_labels=N_LABELS, hidden_units=[3])
    trainer = KerasTrainer(build, training_config(), X, Y, make_fits(), repr(build))
    assert cached_programs._cache
    reference = weakref.ref(trainer)
    del trainer
    gc.collect()
    assert reference() is None


def test_only_the_requested_fits_are_trained():
    fits = make_fits((40, 41, 42, 40))
    trainer = KerasTrainer(NETWORK, training_config(), X, Y, fits, repr(NETWORK))
    n_epochs = []
    some = [
        result for indices in ([1, 3], [0]) for result in trainer.train(n_epochs.append, indices)
    ]
    every = list(trainer.train())
    for fit_index, result in zip((1, 3, 0), some, strict=True):
        np.testing.assert_allclose(result.y_score, every[fit_index].y_score, atol=1e-6)
    assert sum(n_epochs) == 3 * 3


def test_threads_change_no_bit_of_a_large_layer():
    build = partial(mlp, n_labels=N_LABELS, hidden_units=(256,))
    fits = make_fits((40,) * 8)
    one_thread, *several_threads = (
        train(fits, training_config(n_threads=n, fits_per_program=None, epochs=2), build)
        for n in (1, 2, 8)
    )
    for results in several_threads:
        for result, other in zip(one_thread, results, strict=True):
            np.testing.assert_array_equal(result.y_score, other.y_score)


def test_every_fit_has_a_seed_of_its_own():
    fold_ids = ["final", *((repeat, fold) for repeat in range(20) for fold in range(50))]
    seeds = {fit_seed(seed, fold_id) for seed in (0, 1) for fold_id in fold_ids}
    assert len(seeds) == 2 * len(fold_ids)
