"""Known labels and weights of rows in the loss, against plain loops of Keras and repeated rows."""

from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pytest

from pipeline.training.base import NO_ROWS
from pipeline.training.batches import epoch_order
from pipeline.training.optimization import make_optimizer
from pipeline.training.stack import monitored_test_rows
from tests.keras_reference import (
    LOGISTIC_REGRESSION,
    N_SAMPLES,
    NETWORK,
    NO_EARLY_STOPPING,
    X,
    Y,
    assert_equal_to_model_fit,
    make_fits,
    train,
    training_config,
)

RNG = np.random.default_rng(5)
MASK = RNG.random(Y.shape) < 0.4
MASK[::7] = False
WEIGHT = RNG.choice([0, 0.5, 1, 3], size=N_SAMPLES).astype(np.float32)
PENALISED = partial(NETWORK, l2=0.01)


def test_weights_of_rows_are_sample_weight_of_keras():
    fits = make_fits((3, 33, 41, N_SAMPLES), scaling="standard")
    config = training_config(epochs=2)
    assert_equal_to_model_fit(fits, config, PENALISED, atol=2e-6, sample_weight=WEIGHT)


def masked_loss(y, p, known, row_weight, absent, present):
    """Return the loss of a batch: its mean over known cells."""
    losses = -(present * y * keras.ops.log(p) + absent * (1 - y) * keras.ops.log(1 - p))
    return keras.ops.sum(losses * row_weight[:, None] * known) / known.sum()


def balanced(y, known, row_weight):
    """Return balanced class weights of the known cells."""
    n = (known * row_weight[:, None]).sum(axis=0)
    n_present = (y * known * row_weight[:, None]).sum(axis=0)
    return n / (2 * (n - n_present)), n / (2 * n_present)


def plain_loop(fit, config, build, row_weight):
    """Train one fit with a plain loop over its batches, without those that know no label."""
    keras.utils.set_random_seed(fit.seed)
    model = build(fit.preprocessor.n_columns)
    x, known = fit.preprocessor.transform(X), MASK.astype(np.float32)
    classes = np.ones((2, Y.shape[1]), np.float32)
    if config.class_weight:
        classes = np.array(balanced(Y[fit.train], known[fit.train], row_weight[fit.train]), "f4")

    def loss_of_batch(y, p):
        return masked_loss(y, p, known[rows], row_weight[rows], *classes)

    model.compile(make_optimizer(config, 1), loss=loss_of_batch, run_eagerly=True)
    losses, n_skipped = [], 0
    for epoch in range(config.epochs):
        order, total = epoch_order(fit.seed, epoch, fit.train), 0.0
        for start in range(0, len(order), config.batch_size):
            rows = order[start : start + config.batch_size]
            if known[rows].any():
                total += model.train_on_batch(x[rows], Y[rows]) * known[rows].sum()
            else:
                n_skipped += 1
        losses.append(total / known[fit.train].sum())
    rows = monitored_test_rows(fit)
    weights = [v.numpy() for v in (*model.trainable_variables, *model.non_trainable_variables)]
    return weights, losses, model.test_on_batch(x[rows], Y[rows]), n_skipped


@pytest.mark.parametrize(
    ("batch_size", "class_weight", "sample_weight"),
    [(16, None, None), (2, "balanced", None), (16, "balanced", WEIGHT)],
)
def test_known_labels_alone_train_as_in_a_plain_loop(batch_size, class_weight, sample_weight):
    config = training_config(batch_size=batch_size, class_weight=class_weight, epochs=2)
    fits = make_fits((41, 40, 33))
    results = train(fits, config, PENALISED, label_mask=MASK, sample_weight=sample_weight)
    row_weight = np.ones(N_SAMPLES, np.float32) if sample_weight is None else sample_weight
    for fit, result in zip(fits, results, strict=True):
        weights, losses, test_loss, n_skipped = plain_loop(fit, config, PENALISED, row_weight)
        for actual, expected in zip(result.weights, weights, strict=True):
            np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)
        np.testing.assert_allclose(result.loss, losses, rtol=1e-5)
        assert result.test_loss[-1] == pytest.approx(test_loss, rel=1e-5)
        assert n_skipped or batch_size > 2


def test_labels_that_are_not_known_have_no_influence():
    fits, config = make_fits((41, 40, 33)), training_config(class_weight="balanced", epochs=2)
    results = train(fits, config, PENALISED, label_mask=MASK)
    Y[~MASK] = 1 - Y[~MASK]
    try:
        changed = train(fits, config, PENALISED, label_mask=MASK)
    finally:
        Y[~MASK] = 1 - Y[~MASK]
    for result, other in zip(results, changed, strict=True):
        np.testing.assert_array_equal(result.y_score, other.y_score)
        np.testing.assert_array_equal(result.test_loss, other.test_loss)


def test_a_complete_mask_and_weights_of_1_change_nothing():
    fits, config = make_fits((41, 40, 33)), training_config(epochs=2)
    complete = {
        "label_mask": np.ones(Y.shape, dtype=bool),
        "sample_weight": np.ones(N_SAMPLES, dtype=np.float32),
    }
    for result, other in zip(train(fits, config), train(fits, config, **complete), strict=True):
        for name in ("y_score", "loss", "test_loss"):
            np.testing.assert_allclose(getattr(result, name), getattr(other, name), rtol=1e-5)


def test_weights_of_rows_are_repeated_rows():
    # Five fits on ten rows each, whose weights sum to 20: the loss, and so the gradient, is twice
    # that of the mean over repeated rows.
    weight = np.concatenate([RNG.multinomial(20, [0.1] * 10) for _ in range(5)])
    (fit,) = make_fits((N_SAMPLES,))
    rows = np.arange(N_SAMPLES).reshape(5, 10)
    fits = [replace(fit, seed=i, train=rows[i], test=NO_ROWS) for i in range(5)]
    repeated = [replace(it, train=np.repeat(it.train, weight[it.train])) for it in fits]
    config = training_config(
        optimizer="sgd", optimizer_params={"momentum": 0.9}, learning_rate=0.1, batch_size=64
    )
    results = train(fits, config, LOGISTIC_REGRESSION, sample_weight=weight.astype(np.float32))
    config = replace(config, learning_rate=0.2)
    for result, other in zip(results, train(repeated, config, LOGISTIC_REGRESSION), strict=True):
        for actual, expected in zip(result.weights, other.weights, strict=True):
            np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)
        np.testing.assert_allclose(result.loss, 2 * other.loss, rtol=1e-5)


def test_early_stopping_monitors_known_labels_with_the_weights_of_their_rows():
    stopping = replace(NO_EARLY_STOPPING, patience=9, restore_best_weights=False)
    config = training_config(early_stopping=stopping)
    fits = [replace(fit, valid=fit.test) for fit in make_fits((40, 33))]
    for fit, result in zip(
        fits, train(fits, config, label_mask=MASK, sample_weight=WEIGHT), strict=True
    ):
        rows, p = fit.test, result.y_score.astype(np.float64)
        losses = -np.log(np.where(Y[rows] == 1, p, 1 - p)) * WEIGHT[rows][:, None]
        assert result.val_loss[-1] == pytest.approx(losses[MASK[rows]].mean(), rel=1e-5)
        monitored = MASK[rows] & np.isin(rows, monitored_test_rows(fit))[:, None]
        assert result.test_loss[-1] == pytest.approx(losses[monitored].mean(), rel=1e-5)


def test_test_rows_without_a_known_label_have_no_loss():
    mask = np.ones(Y.shape, dtype=bool)
    (fit,) = make_fits((40,))
    mask[fit.test] = False
    (result,) = train([fit], training_config(), label_mask=mask)
    assert len(result.test_loss) == 0
    assert len(result.y_score) == len(fit.test)
    assert np.isfinite(result.y_score).all()
