"""Losses, label weights, schedules and shared programs, against Keras and scikit-learn."""

from functools import partial

import keras
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from pipeline.errors import UserError
from pipeline.model.keras_models import mlp
from pipeline.training import compiled
from pipeline.training.keras_trainer import KerasTrainer
from pipeline.training.optimization import label_weights, make_optimizer
from tests.test_training import PLAIN, L, N, X, Y, assert_same, make_fits, train, training

SCHEDULES = {
    "cosine_decay": {"warmup_target": 0.05, "warmup_steps": 3},
    "cosine_decay_restarts": {"first_decay_steps": 4},
    "exponential_decay": {"decay_steps": 2, "decay_rate": 0.5},
    "inverse_time_decay": {"decay_rate": 0.9, "staircase": True},
    "piecewise_constant_decay": {"boundaries": [2, 5], "values": [0.05, 0.01, 0.001]},
    "polynomial_decay": {"power": 2.0},
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_equals_model_fit(name):
    config = training(lr_schedule=name, lr_schedule_params=SCHEDULES[name], optimizer="sgd")
    assert_same(make_fits((40, 20)), config)  # each spans its own training


def test_a_schedule_lasts_the_whole_training_unless_told():
    schedule = make_optimizer(training(lr_schedule="cosine_decay"), 120)._learning_rate
    assert float(schedule(0)) == pytest.approx(0.01)
    assert float(schedule(60)) == pytest.approx(0.005)
    assert float(schedule(120)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("cosin_decay", None, r"unknown name 'cosin_decay'\. Did you mean 'cosine_decay'\?"),
        ("cosine_decay", {"warmup": 3}, r"options of CosineDecay: .*warmup_steps.*\{'warmup': 3\}"),
        ("exponential_decay", None, "decay_rate"),
        (None, {"decay_steps": 3}, "give training.lr_schedule too"),
    ],
)
def test_unfit_schedules_are_refused(name, options, expected):
    with pytest.raises(UserError, match=expected):
        make_optimizer(training(lr_schedule=name, lr_schedule_params=options), 9)


@pytest.mark.parametrize("gamma", [1.0, 2.0, 3.5])
def test_focal_loss_equals_model_fit(gamma):
    focal = keras.losses.BinaryFocalCrossentropy(gamma=gamma)
    assert_same(make_fits((40, 40)), training(loss="focal", focal_gamma=gamma), loss=focal)


def test_balanced_weights_are_those_of_scikit_learn():
    y = np.random.default_rng(0).random((60, 4)) < [0.5, 0.1, 0.0, 1.0]
    y = y.astype(np.int8)
    train_rows = np.arange(0, 60, 2)
    y[1::2] = 1 - y[1::2]  # what test rows hold plays no part
    weights = label_weights(training(class_weight="balanced"), y, train_rows)
    for label in range(2):
        column = y[train_rows, label]
        expected = compute_class_weight("balanced", classes=np.array([0, 1]), y=column)
        np.testing.assert_allclose(weights[:, label], expected, rtol=1e-6)
    assert (weights[:, 2:] == 1).all()
    assert (label_weights(training(), y, train_rows) == 1).all()


def test_balanced_training_equals_model_fit_with_weighted_losses():
    config = training(class_weight="balanced")
    for fit in make_fits((40, 33)):
        absent, present = label_weights(config, Y, fit.train)

        def weighted(y, y_score, absent=absent, present=present):
            losses = keras.ops.binary_crossentropy(y, y_score)
            return keras.ops.mean(losses * (y * present + (1 - y) * absent), axis=-1)

        assert_same([fit], config, loss=weighted)


def test_members_of_an_ensemble_answer_with_their_mean():
    fits = make_fits((40,)) * 2
    fits = [fits[0], fits[0].__class__(99, fits[0].train, fits[0].test, fits[0].preprocessor)]
    trainer = KerasTrainer(PLAIN, training(), X, Y, fits)
    members = list(trainer.train())
    model = trainer.final_model(members, fits[0])
    y_score = model(X[fits[0].test].astype(np.float32)).numpy()
    mean = (members[0].y_score + members[1].y_score) / 2
    np.testing.assert_allclose(y_score, mean, atol=1e-6)
    assert np.abs(members[0].y_score - members[1].y_score).max() > 0.01


def test_trainings_of_one_architecture_share_their_programs(monkeypatch):
    monkeypatch.setattr(compiled, "_cache", compiled._cache.__class__())
    built = []

    def build(n_columns):
        built.append(n_columns)
        return PLAIN(n_columns)

    def run(architecture, **changes):
        trainer = KerasTrainer(build, training(**changes), X, Y, make_fits(), architecture)
        return trainer, list(trainer.train())

    first, _ = run("a")
    n_built = len(built)
    second, slower = run("a", learning_rate=0.001, epochs=4)
    assert len(built) == n_built, "weights were to be drawn, and models built, only once"
    (program,) = first._programs.values()
    assert program in second._programs.values()
    assert program.run.experimental_get_tracing_count() == 1
    for one, other in zip(
        slower, train(make_fits(), training(learning_rate=0.001, epochs=4)), strict=True
    ):
        np.testing.assert_array_equal(one.y_score, other.y_score)
    for other in (run("b"), run("a", class_weight="balanced"), run("a", optimizer="sgd")):
        assert program not in other[0]._programs.values()


def test_only_the_fits_that_are_asked_for_are_trained():
    fits = make_fits((40, 41, 33, 40))
    trainer = KerasTrainer(partial(mlp, n_labels=L), training(fits_per_program=2), X, Y, fits)
    some, done = [], []
    for places in ([1, 3], [0]):
        some += trainer.train(done.append, places)
    whole = list(KerasTrainer(partial(mlp, n_labels=L), training(), X, Y, fits).train())
    for place, fitted in zip((1, 3, 0), some, strict=True):
        np.testing.assert_allclose(fitted.y_score, whole[place].y_score, atol=1e-6)
    assert sum(done) == 3 * 3
    assert len(X) == N
