"""Early stopping of each fit against `keras.callbacks.EarlyStopping`."""

from dataclasses import replace
from functools import cache, partial
from unittest.mock import patch

import keras
import numpy as np
import pytest

from pipeline.config.schema import EarlyStoppingConfig
from pipeline.training import stack_plan, stack_training
from pipeline.training.batches import epoch_order
from pipeline.training.keras_trainer import KerasTrainer
from tests.keras_reference import N_SAMPLES, NETWORK, X, Y, make_fits, train, training_config
from tests.test_keras_trainer import assert_equal_weights

EPOCHS = 40
BATCH_NORMALIZATION = partial(NETWORK, batch_normalization=True)


def stopping_config(**changes):
    defaults = {
        "patience": 2,
        "min_delta": 0.0,
        "restore_best_weights": True,
        "validation_fraction": 0.2,
    }
    early_stopping = EarlyStoppingConfig(**{**defaults, **changes})
    return training_config(epochs=EPOCHS, learning_rate=0.1, early_stopping=early_stopping)


def make_monitored_fits(train_sizes=(30, 30, 28)):
    """Return fits with ten validation rows each."""
    fits = make_fits(tuple(size + 10 for size in train_sizes))
    return [replace(fit, train=fit.train[:-10], valid=fit.train[-10:]) for fit in fits]


FITS = make_monitored_fits()


@pytest.fixture(scope="module")
def train_all_epochs():
    """Return a cached function, for all stopping rules apply to the same trainings."""
    yield cache(_train_all_epochs)
    _compiled_model.cache_clear()


@cache
def _compiled_model(build):
    """Return a model, compiled once for all fits, and the initial state of its optimizer."""
    model = build(X.shape[1])
    optimizer = keras.optimizers.Adam(stopping_config().learning_rate)
    model.compile(optimizer, "binary_crossentropy", jit_compile=False)
    optimizer.build(model.trainable_variables)
    return model, [variable.numpy() for variable in optimizer.variables]


def _train_all_epochs(fit_index, build):
    """Train a fit with Keras for all epochs, whatever the validation loss.

    Returns:
        The model, and after each epoch its validation loss and its weights.
    """
    fit, config = FITS[fit_index], stopping_config()
    model, optimizer_state = _compiled_model(build)
    keras.utils.set_random_seed(fit.seed)
    model.set_weights(build(X.shape[1]).get_weights())
    for variable, value in zip(model.optimizer.variables, optimizer_state, strict=True):
        variable.assign(value)
    epochs = []
    for epoch in range(EPOCHS):
        rows = epoch_order(fit.seed, epoch, fit.train)
        for start in range(0, len(rows), config.batch_size):
            batch = rows[start : start + config.batch_size]
            model.train_on_batch(X[batch], Y[batch])
        epochs.append((model.test_on_batch(X[fit.valid], Y[fit.valid]), model.get_weights()))
    return model, epochs


def stop_with_keras(model, epochs, fit, early_stopping):
    """Apply Keras's callback; return validation losses, final weights and test probabilities."""
    callback = keras.callbacks.EarlyStopping(
        patience=early_stopping.patience,
        min_delta=early_stopping.min_delta,
        restore_best_weights=early_stopping.restore_best_weights,
    )
    callback.set_model(model)
    callback.on_train_begin()
    model.stop_training = False
    losses = []
    for epoch, (val_loss, weights) in enumerate(epochs):
        model.set_weights(weights)
        losses.append(val_loss)
        callback.on_epoch_end(epoch, {"val_loss": val_loss})
        if model.stop_training:
            break
    callback.on_train_end()
    weights = [v.numpy() for v in (*model.trainable_variables, *model.non_trainable_variables)]
    return losses, weights, model(X[fit.test]).numpy()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"restore_best_weights": False, "min_delta": 0.01, "patience": 3},
        {"patience": 0},
    ],
    ids=str,
)
def test_each_fit_stops_like_a_model_of_keras(train_all_epochs, changes):
    config = stopping_config(**changes)
    results = train(FITS, config)
    for fit_index, (fit, result) in enumerate(zip(FITS, results, strict=True)):
        val_loss, weights, y_score = stop_with_keras(
            *train_all_epochs(fit_index, NETWORK), fit, config.early_stopping
        )
        assert len(result.val_loss) == len(result.loss) == len(val_loss)
        np.testing.assert_allclose(result.val_loss, val_loss, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(result.y_score, y_score, rtol=1e-2, atol=1e-4)
        for actual, expected in zip(result.weights, weights, strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-2, atol=1e-4)
    n_epochs = {len(result.loss) for result in results}
    assert len(n_epochs) > 1, "the fits are meant to stop after different epochs"
    assert max(n_epochs) < EPOCHS


def test_the_best_statistics_of_batch_normalization_are_restored(train_all_epochs):
    config = stopping_config()
    for fit_index, result in enumerate(train(FITS[:2], config, BATCH_NORMALIZATION)):
        val_loss, weights, _ = stop_with_keras(
            *train_all_epochs(fit_index, BATCH_NORMALIZATION),
            FITS[fit_index],
            config.early_stopping,
        )
        assert len(result.val_loss) == len(val_loss)
        for actual, expected in zip(result.weights, weights, strict=True):
            np.testing.assert_allclose(actual, expected, rtol=2e-2, atol=2e-3)


def test_a_fit_stops_the_same_alone_and_in_a_stack():
    config, n_epochs = stopping_config(), []
    trainer = KerasTrainer(NETWORK, config, X, Y, FITS, repr(NETWORK))
    stacked = list(trainer.train(n_epochs.append))
    assert sum(n_epochs) == EPOCHS * len(FITS)
    for result, alone in zip(
        stacked, train(FITS, replace(config, fits_per_program=1)), strict=True
    ):
        np.testing.assert_allclose(result.val_loss, alone.val_loss, atol=1e-6)
        np.testing.assert_allclose(result.y_score, alone.y_score, atol=1e-6)


def train_watched(fits, config):
    """Return a trainer, the mock around its program's `run`, and the results of the fits."""
    trainer = KerasTrainer(NETWORK, config, X, Y, fits, repr(NETWORK))
    trainer.compile()
    (program,) = trainer._programs.values()
    with patch.object(program, "run", wraps=program.run) as run:
        results = list(trainer.train())
    return trainer, run, results


def test_waiting_fits_train_in_the_slots_of_those_that_have_stopped():
    fits = make_monitored_fits((30,) * 7)
    config = replace(stopping_config(), fits_per_program=2, n_threads=1)
    trainer, run, results = train_watched(fits, config)
    for result, alone in zip(
        results, train(fits, replace(config, fits_per_program=1)), strict=True
    ):
        np.testing.assert_allclose(result.val_loss, alone.val_loss, atol=1e-6)
        np.testing.assert_allclose(result.y_score, alone.y_score, atol=1e-6)
    # The next fit begins in whichever slot is free first.
    calls = [-(-len(result.loss) // trainer._plan.epochs_per_call) for result in results]
    ends = [0, 0]
    for n_calls in calls:
        ends[ends.index(min(ends))] += n_calls
    in_pairs = sum(max(calls[start : start + 2]) for start in range(0, len(calls), 2))
    assert run.call_count == max(ends) < in_pairs


@pytest.mark.parametrize("seconds", [0.0, 1e6], ids=["worth it", "not worth it"])
def test_a_stack_of_which_half_has_stopped_goes_on_in_a_smaller_program(monkeypatch, seconds):
    monkeypatch.setattr(stack_training, "COMPILE_SECONDS", seconds)
    monkeypatch.setattr(stack_plan, "MAX_CALL_STEPS", 1)  # one epoch a call
    fits = make_monitored_fits((30, 28, 26, 24, 22, 20, 18))
    config = replace(stopping_config(), fits_per_program=7, n_threads=1)
    _, run, results = train_watched(fits, config)
    for result, alone in zip(
        results, train(fits, replace(config, fits_per_program=1)), strict=True
    ):
        np.testing.assert_array_equal(result.val_loss, alone.val_loss)
        np.testing.assert_array_equal(result.test_loss, alone.test_loss)
        np.testing.assert_array_equal(result.y_score, alone.y_score)
        assert_equal_weights(result, alone, atol=0)
    # What a schedule by hand gives: after a call with that many idle slots, half of the slots.
    left = [len(result.loss) for result in results]
    n_slots, expected = 7, []
    while left:
        expected.append(n_slots)
        n_filled, left = len(left), [n_calls - 1 for n_calls in left if n_calls > 1]
        if seconds == 0 and n_filled <= n_slots // 2:
            while n_slots > 2 and len(left) <= n_slots // 2:
                n_slots = max(2, n_slots // 2)
    assert [call.args[2].n_epochs.shape[0] for call in run.call_args_list] == expected
    assert (len(set(expected)) > 1) == (seconds == 0)


def test_a_loss_that_is_not_a_number_stops_the_fit():
    config = replace(stopping_config(), learning_rate=1e30)
    (result,) = train(FITS[:1], config)
    assert len(result.loss) == 3
    assert np.isnan(result.val_loss).all()


def test_test_rows_do_not_influence_when_a_fit_stops():
    fit, *_ = FITS
    extreme, flipped = X.copy(), Y.copy()
    extreme[fit.test] = 1e6
    flipped[fit.test] = 1 - flipped[fit.test]
    (expected,) = train([fit], stopping_config())
    (result,) = KerasTrainer(
        NETWORK, stopping_config(), extreme, flipped, [fit], repr(NETWORK)
    ).train()
    for actual, weight in zip(result.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(actual, weight)
    assert len(fit.train) + len(fit.valid) + len(fit.test) == N_SAMPLES
