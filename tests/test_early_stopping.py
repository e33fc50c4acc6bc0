"""Each fold stops by its own curve, as `keras.callbacks.EarlyStopping` would stop it alone."""

from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pytest

from pipeline.config.schema import EarlyStoppingConfig
from pipeline.model.keras_models import mlp
from pipeline.training.keras_trainer import KerasTrainer
from pipeline.training.stack import epoch_order
from tests.test_training import PLAIN, L, N, X, Y, make_fits, training

EPOCHS = 40


def stopping(**changes):
    settings = {"patience": 2, "min_delta": 0.0, "restore_best_weights": True, "validation_fraction": 0.2}
    early = EarlyStoppingConfig(**{**settings, **changes})
    return training(epochs=EPOCHS, learning_rate=0.1, early_stopping=early)


def watched_fits(sizes=(30, 30, 28)):
    """Folds with a part of their own to watch."""
    fits = make_fits(tuple(size + 10 for size in sizes))
    return [replace(fit, train=fit.train[:-10], valid=fit.train[-10:]) for fit in fits]


def keras_alone(fit, config, build=PLAIN):
    """Train one fold with Keras's own callback, given the same start and order of rows."""
    keras.utils.set_random_seed(fit.seed)
    model = build(X.shape[1])
    model.compile(keras.optimizers.Adam(config.learning_rate), "binary_crossentropy")
    early = config.early_stopping
    callback = keras.callbacks.EarlyStopping(
        patience=early.patience,
        min_delta=early.min_delta,
        restore_best_weights=early.restore_best_weights,
    )
    callback.set_model(model)
    callback.on_train_begin()
    val_loss = []
    for epoch in range(config.epochs):
        order = epoch_order(fit.seed, epoch, fit.train)
        logs = model.fit(
            X[order],
            Y[order],
            batch_size=config.batch_size,
            shuffle=False,
            verbose=0,
            validation_data=(X[fit.valid], Y[fit.valid]),
        ).history
        val_loss += logs["val_loss"]
        callback.on_epoch_end(epoch, {"val_loss": val_loss[-1]})
        if model.stop_training:
            break
    callback.on_train_end()
    weights = [v.numpy() for v in (*model.trainable_variables, *model.non_trainable_variables)]
    return val_loss, weights, model.predict(X[fit.test], verbose=0)


@pytest.mark.parametrize(
    "changes",
    [{}, {"restore_best_weights": False}, {"min_delta": 0.01, "patience": 3}, {"patience": 0}],
    ids=str,
)
def test_equals_keras_on_each_fold(changes):
    config, fits = stopping(**changes), watched_fits()
    fitted = list(KerasTrainer(PLAIN, config, X, Y, fits).train())
    for fit, ours in zip(fits, fitted, strict=True):
        expected, weights, y_score = keras_alone(fit, config)
        assert len(ours.val_loss) == len(ours.loss) == len(expected)
        np.testing.assert_allclose(ours.val_loss, expected, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(ours.y_score, y_score, rtol=1e-2, atol=1e-4)
        for a, b in zip(ours.weights, weights, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-4)
    lengths = {len(ours.loss) for ours in fitted}
    assert len(lengths) > 1, "each fold was meant to stop at an epoch of its own"
    assert max(lengths) < EPOCHS


def test_with_batch_statistics_the_best_ones_are_kept_too():
    build = partial(mlp, n_labels=L, hidden_units=(8,), batch_normalization=True)
    config, fits = stopping(), watched_fits((30, 30))
    for fit, ours in zip(fits, KerasTrainer(build, config, X, Y, fits).train(), strict=True):
        expected, weights, _ = keras_alone(fit, config, build)
        assert len(ours.val_loss) == len(expected)
        for a, b in zip(ours.weights, weights, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-2, atol=2e-3)


def test_a_fold_stops_the_same_whatever_its_company():
    fits, done = watched_fits(), []
    together = list(KerasTrainer(PLAIN, stopping(), X, Y, fits).train(done.append))
    assert sum(done) == EPOCHS * len(fits)
    for fit, ours in zip(fits, together, strict=True):
        (alone,) = KerasTrainer(PLAIN, stopping(), X, Y, [fit]).train()
        np.testing.assert_allclose(ours.val_loss, alone.val_loss, atol=1e-6)
        np.testing.assert_allclose(ours.y_score, alone.y_score, atol=1e-6)


def test_a_loss_that_is_no_number_stops_the_fold():
    wild = replace(stopping(), optimizer="sgd", learning_rate=1e30)
    (fitted,) = KerasTrainer(PLAIN, wild, X, Y, watched_fits()[:1]).train()
    assert len(fitted.loss) == 3
    assert np.isnan(fitted.val_loss).all()


def test_test_rows_do_not_decide_when_to_stop():
    fit = watched_fits()[0]
    poisoned, flipped = X.copy(), Y.copy()
    poisoned[fit.test] = 1e6
    flipped[fit.test] = 1 - flipped[fit.test]
    (clean,) = KerasTrainer(PLAIN, stopping(), X, Y, [fit]).train()
    (other,) = KerasTrainer(PLAIN, stopping(), poisoned, flipped, [fit]).train()
    for a, b in zip(clean.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(fit.train) + len(fit.valid) + len(fit.test) == N
