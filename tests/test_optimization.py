"""Optimizers, learning-rate schedules, and losses, against Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.errors import UserError
from pipeline.training.optimization import (
    _optimizers,
    apply_gradients,
    cell_losses,
    functional,
    make_optimizer,
)
from tests.keras_reference import training_config

N_FITS, N_STEPS = 2, 6
RNG = np.random.default_rng(0)
SHAPES = ((5, 3), (3,))
WEIGHTS = [RNG.normal(size=(N_FITS, *shape)).astype(np.float32) for shape in SHAPES]
GRADIENTS = [RNG.normal(size=(N_STEPS, N_FITS, *shape)).astype(np.float32) for shape in SHAPES]
SCHEDULES = {
    "cosine_decay": {"warmup_target": 0.05, "warmup_steps": 3},
    "cosine_decay_restarts": {"first_decay_steps": 4},
    "exponential_decay": {"decay_steps": 2, "decay_rate": 0.5},
    "inverse_time_decay": {"decay_rate": 0.9, "staircase": True},
    "piecewise_constant_decay": {"boundaries": [2, 5], "values": [0.05, 0.01, 0.001]},
    "polynomial_decay": {"power": 2.0},
}
SETTINGS = {
    **{name: {"optimizer": name} for name in _optimizers()},
    **{
        str(params): {"optimizer_params": params}
        for params in (
            *({"clipnorm": 0.1}, {"global_clipnorm": 0.1}, {"clipvalue": 0.02}),
            *({"weight_decay": 0.1}, {"amsgrad": True}),
        )
    },
    "momentum": {"optimizer": "sgd", "optimizer_params": {"momentum": 0.9, "nesterov": True}},
    **{
        name: {"optimizer": "sgd", "lr_schedule": name, "lr_schedule_params": params}
        for name, params in SCHEDULES.items()
    },
}


def make(setting):
    return make_optimizer(training_config(**SETTINGS[setting]), N_STEPS)


@pytest.fixture(scope="module")
def trained():
    """Weights of every fit after some steps with each setting.

    As in a program, the fits are slices that one compiled loop maps over; it holds all settings,
    for one compilation takes far less time than one for each.
    """
    optimizers = {setting: functional(make(setting)) for setting in SETTINGS}
    variables = [keras.Variable(weight[0]) for weight in WEIGHTS]
    for optimizer in optimizers.values():
        optimizer.build(variables)
    states = {
        setting: [np.stack([variable.numpy()] * N_FITS) for variable in optimizer.variables]
        for setting, optimizer in optimizers.items()
    }

    def step_of_fit(slices):
        weights, states, gradients, is_trained = slices
        updated = {
            setting: apply_gradients(
                *(optimizer, variables, weights[setting]), *(states[setting], gradients, is_trained)
            )
            for setting, optimizer in optimizers.items()
        }
        return (
            {setting: new for setting, (new, _) in updated.items()},
            {setting: new for setting, (_, new) in updated.items()},
        )

    @tf.function(jit_compile=True, autograph=False)
    def train(weights, states, gradients):
        def step(i, weights, states):
            gradients_now = [gradient[i] for gradient in gradients]
            # The last fit is not trained in every other step.
            is_trained = (tf.range(N_FITS) < N_FITS - 1) | (i % 2 == 0)
            slices = (weights, states, gradients_now, is_trained)
            return i + 1, *tf.vectorized_map(step_of_fit, slices)

        return tf.while_loop(lambda i, *_: i < N_STEPS, step, (tf.constant(0), weights, states))[1]

    return train(dict.fromkeys(SETTINGS, WEIGHTS), states, GRADIENTS)


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_optimizer_and_schedule_trains_each_fit_as_keras_does(trained, setting):
    for fit in range(N_FITS):
        optimizer = make(setting)
        variables = [keras.Variable(weight[fit]) for weight in WEIGHTS]
        for step in range(0, N_STEPS, 2 if fit == N_FITS - 1 else 1):
            gradients = [tf.constant(gradient[step, fit]) for gradient in GRADIENTS]
            optimizer.apply(gradients, variables)
        for weight, initial, variable in zip(trained[setting], WEIGHTS, variables, strict=True):
            np.testing.assert_allclose(weight[fit], variable.numpy(), rtol=1e-5, atol=1e-6)
            assert not np.allclose(weight[fit], initial[fit])


def test_cosine_decay_with_warmup_is_that_of_keras():
    params = SCHEDULES["cosine_decay"]
    expected = keras.optimizers.schedules.CosineDecay(0.01, N_STEPS, **params)
    schedule = make("cosine_decay")._learning_rate
    for step in range(3 + N_STEPS + 2):
        assert float(schedule(step)) == float(expected(step))


def test_a_schedule_is_as_long_as_the_training_unless_the_user_says_otherwise():
    schedule = make_optimizer(training_config(lr_schedule="cosine_decay"), 120)._learning_rate
    assert float(schedule(0)) == pytest.approx(0.01)
    assert float(schedule(60)) == pytest.approx(0.005)
    assert float(schedule(120)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"optimizer": "adan"}, r"unknown name 'adan'\. Did you mean 'adam'\?"),
        ({"optimizer_params": {"beta_one": 0.5}}, "beta_one"),
        ({"optimizer_params": {"use_ema": True}}, "use_ema is not supported"),
        (
            {"lr_schedule": "cosin_decay"},
            r"unknown name 'cosin_decay'\. Did you mean 'cosine_decay'\?",
        ),
        (
            {"lr_schedule": "cosine_decay", "lr_schedule_params": {"warmup": 3}},
            r"of cosine_decay: .*warmup_steps.*\{'warmup': 3\}",
        ),
        ({"lr_schedule": "exponential_decay"}, "decay_rate"),
        ({"lr_schedule_params": {"decay_steps": 3}}, "give training.lr_schedule too"),
    ],
    ids=str,
)
def test_unknown_optimizers_schedules_and_parameters_are_rejected(changes, expected):
    with pytest.raises(UserError, match=expected):
        make_optimizer(training_config(**changes), 9)


@pytest.mark.parametrize("gamma", [1.0, 2.0, 3.5])
def test_focal_loss_and_its_gradient_are_those_of_keras(gamma):
    y = tf.constant(RNG.integers(0, 2, size=(40, 3)), tf.float32)
    y_score = tf.constant(RNG.random((40, 3)), tf.float32)
    config = training_config(loss="focal", focal_gamma=gamma)
    losses, gradients = [], []
    for compute in (
        lambda: tf.reduce_mean(cell_losses(config, y, y_score, np.ones((2, 3), "f4")), axis=-1),
        lambda: keras.losses.binary_focal_crossentropy(y, y_score, gamma=gamma),
    ):
        with tf.GradientTape() as tape:
            tape.watch(y_score)
            losses.append(compute())
        gradients.append(tape.gradient(losses[-1], y_score))
    np.testing.assert_allclose(*losses, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(*gradients, rtol=1e-4, atol=1e-6)


def asymmetric_loss(y, p, gamma_pos, gamma_neg, clip):
    """Compute the loss of one cell and its slope, from equations 6 and 7 of Ridnik et al."""
    m = max(p - clip, 0)
    if y:
        loss = -((1 - p) ** gamma_pos) * np.log(p)
        slope = -((1 - p) ** gamma_pos) / p
        slope += gamma_pos * (1 - p) ** (gamma_pos - 1) * np.log(p) if gamma_pos else 0
        return loss, slope
    slope = m**gamma_neg / (1 - m)
    slope -= gamma_neg * m ** (gamma_neg - 1) * np.log(1 - m) if gamma_neg and m else 0
    return -(m**gamma_neg) * np.log(1 - m), slope if p > clip else 0


@pytest.mark.parametrize("params", [(0, 4, 0.05), (1, 4, 0.05), (0, 0, 0.2), (2.5, 1, 0)])
def test_asymmetric_loss_and_its_gradient_are_those_of_the_paper(params):
    gamma_pos, gamma_neg, clip = map(float, params)
    config = training_config(
        loss="asymmetric",
        **{"asymmetric_gamma_pos": gamma_pos, "asymmetric_gamma_neg": gamma_neg},
        asymmetric_clip=clip,
    )
    y = RNG.integers(0, 2, size=(40, 3))
    p = RNG.uniform(0.01, 0.99, size=(40, 3)).astype(np.float32)
    p[:4] = [[0.01, 0.02, 0.04]] * 4  # below the clip
    y_score = tf.constant(p)
    with tf.GradientTape() as tape:
        tape.watch(y_score)
        losses = cell_losses(config, tf.constant(y, tf.float32), y_score, np.ones((2, 3), "f4"))
    expected = np.array(
        [asymmetric_loss(*cell, *params) for cell in zip(y.ravel(), p.ravel(), strict=True)]
    ).reshape(40, 3, 2)
    np.testing.assert_allclose(losses, expected[..., 0], rtol=1e-4, atol=1e-6)
    gradient = tape.gradient(losses, y_score)
    np.testing.assert_allclose(gradient, expected[..., 1], rtol=1e-3, atol=1e-5)


def test_asymmetric_loss_generalises_the_others():
    y = tf.constant(RNG.integers(0, 2, size=(40, 3)), tf.float32)
    y_score = tf.constant(RNG.random((40, 3)), tf.float32)
    ones = np.ones((2, 3), np.float32)

    def losses(gamma, **changes):
        gammas = {"asymmetric_gamma_pos": gamma, "asymmetric_gamma_neg": gamma}
        config = training_config(**gammas, asymmetric_clip=0.0, focal_gamma=2.0, **changes)
        return cell_losses(config, y, y_score, ones)

    np.testing.assert_allclose(losses(0.0, loss="asymmetric"), losses(0.0), rtol=1e-5)
    focal = losses(2.0, loss="focal")
    np.testing.assert_allclose(losses(2.0, loss="asymmetric"), focal, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("p", [0.0, 1.0])
@pytest.mark.parametrize("gamma", [0.0, 1.0, 4.0])
def test_asymmetric_loss_has_a_finite_gradient_at_the_ends(p, gamma):
    config = training_config(
        loss="asymmetric", asymmetric_gamma_pos=gamma, asymmetric_gamma_neg=gamma
    )
    y_score = tf.constant([[p, p]])
    with tf.GradientTape() as tape:
        tape.watch(y_score)
        losses = cell_losses(config, tf.constant([[0.0, 1.0]]), y_score, np.ones((2, 2), "f4"))
    assert np.isfinite(losses).all()
    assert np.isfinite(tape.gradient(losses, y_score)).all()
