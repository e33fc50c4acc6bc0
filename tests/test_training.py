"""The stacked trainer against the plain loop of `model.fit` that it replaces."""

from functools import partial

import keras
import numpy as np
import pytest

from pipeline.config.schema import EarlyStoppingConfig, TrainingConfig
from pipeline.errors import UserError
from pipeline.model.keras_models import mlp
from pipeline.preprocessing.preprocessor import fit_preprocessor
from pipeline.training.base import FitSpec, Stopped, fit_seed
from pipeline.training.keras_trainer import KerasTrainer
from pipeline.training.optimization import _optimizers, make_optimizer
from pipeline.training.stack import PADDING, cut, epoch_order
from pipeline.training.stack_plan import depends_on_batch, plan_stacks
from tests.test_preparation import CATEGORIES, OPTIONS, mixed_table, preparing

N, D, L = 50, 5, 3
RNG = np.random.default_rng(0)
X = RNG.normal(1, 2, size=(N, D))
PLAIN = partial(mlp, n_labels=L, hidden_units=(8,))
Y = (X[:, :L] + RNG.normal(size=(N, L)) > 1).astype(np.int8)


NEVER = EarlyStoppingConfig(
    patience=None, min_delta=0.0, restore_best_weights=True, validation_fraction=0.2
)


def training(**changes) -> TrainingConfig:
    defaults = {
        "optimizer": "adam",
        "learning_rate": 0.01,
        "optimizer_params": None,
        "lr_schedule": None,
        "lr_schedule_params": None,
        "epochs": 3,
        "batch_size": 16,
        "loss": "binary_crossentropy",
        "focal_gamma": 2.0,
        "class_weight": None,
        "early_stopping": NEVER,
        "fits_per_program": 2,
        "n_threads": None,
    }
    return TrainingConfig(**{**defaults, **changes})


def make_fits(sizes=(40, 40, 40), kind="none", X=X) -> list[FitSpec]:
    fits = []
    for fold, size in enumerate(sizes):
        rows = np.random.default_rng(fold).permutation(N)
        preprocessor = fit_preprocessor(preparing(scaling=kind), X, (), rows[:size])
        fits.append(FitSpec(fit_seed(7, (0, fold)), rows[:size], rows[size:], preprocessor))
    return fits


def train(fits, config, build=PLAIN, X=X):
    named = repr(build) if isinstance(build, partial) else None  # so that programs are shared
    return list(KerasTrainer(build, config, X, Y, fits, named).train())


def keras_loop(fit, config, build=PLAIN, X=X, y=Y, loss="binary_crossentropy"):
    """Return weights, losses and scores of `model.fit`, given the same start and batch order."""
    keras.utils.set_random_seed(fit.seed)
    model = build(fit.preprocessor.n_columns)
    n_steps = -(-len(fit.train) // config.batch_size) * config.epochs
    model.compile(make_optimizer(config, n_steps), loss=loss, run_eagerly=True)
    x = fit.preprocessor.transform(X)
    losses = []
    for epoch in range(config.epochs):
        order = epoch_order(fit.seed, epoch, fit.train)
        history = model.fit(
            x[order], y[order], batch_size=config.batch_size, shuffle=False, verbose=0
        )
        losses.append(history.history["loss"][0])
    weights = [v.numpy() for v in (*model.trainable_variables, *model.non_trainable_variables)]
    val_loss = model.evaluate(x[fit.test], y[fit.test], verbose=0) if len(fit.test) else None
    return weights, losses, model.predict(x, verbose=0)[fit.test], val_loss


def assert_same(fits, config, build=PLAIN, rtol=0.0, atol=1e-6, loss="binary_crossentropy"):
    for fit, fitted in zip(fits, train(fits, config, build), strict=True):
        weights, losses, y_score, val_loss = keras_loop(fit, config, build, loss=loss)
        for ours, theirs in zip(fitted.weights, weights, strict=True):
            if np.issubdtype(theirs.dtype, np.floating):
                np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)
        np.testing.assert_allclose(fitted.loss, losses, rtol=1e-4)
        np.testing.assert_allclose(fitted.y_score, y_score, rtol=1e-3, atol=1e-5)
        if val_loss is not None:
            np.testing.assert_allclose(fitted.test_loss[-1], val_loss, rtol=1e-3)


@pytest.mark.parametrize("name", ["adam", "sgd", "rmsprop", "adamw"])
def test_equals_model_fit(name):
    assert_same(make_fits(), training(optimizer=name))


@pytest.mark.parametrize("name", sorted(set(_optimizers()) - {"adam", "sgd", "rmsprop", "adamw"}))
def test_every_other_optimizer_equals_model_fit(name):
    assert_same(make_fits((40, 40)), training(optimizer=name), rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"clipnorm": 0.1},
        {"global_clipnorm": 0.1},
        {"clipvalue": 0.02},
        {"weight_decay": 0.1},
        {"amsgrad": True},
    ],
    ids=str,
)
def test_options_that_look_across_variables_stay_within_a_fold(options):
    assert_same(make_fits(), training(optimizer_params=options))


def test_sgd_with_momentum_equals_model_fit():
    options = {"momentum": 0.9, "nesterov": True}
    assert_same(make_fits(), training(optimizer="sgd", optimizer_params=options))


@pytest.mark.parametrize("extra", [{"l2": 0.01}, {"batch_normalization": True}], ids=str)
def test_penalties_and_batch_statistics_equal_model_fit(extra):
    build = partial(mlp, n_labels=L, hidden_units=(8,), **extra)
    assert_same(make_fits((40, 41, 33)), training(), build, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sizes", [(40, 41, 33), (48, 50), (3, 49)], ids=str)
def test_folds_of_unequal_size_equal_model_fit(sizes):
    assert_same(make_fits(sizes), training())


@pytest.mark.parametrize("batch_size", [1, 7, 40, 64])
def test_every_batch_size_equals_model_fit(batch_size):
    assert_same(make_fits((40, 39)), training(batch_size=batch_size))


def test_a_batch_larger_than_a_fold_with_batch_statistics():
    build = partial(mlp, n_labels=L, hidden_units=(8,), batch_normalization=True)
    assert_same(make_fits((40, 20)), training(batch_size=64), build, rtol=1e-4, atol=1e-5)


def test_logistic_regression_equals_model_fit():
    assert_same(make_fits(), training(), partial(mlp, n_labels=L, hidden_units=()))


def test_standardised_features_equal_model_fit():
    assert_same(make_fits(kind="standard"), training(), atol=2e-6)


def mixed_fits(X=None):
    """Folds whose training rows hold different categories: inputs of unequal width."""
    X = mixed_table(N) if X is None else X
    fits = []
    for fold in range(3):
        rows = np.random.default_rng(fold + 10).permutation(N)
        train, test = rows[:30], rows[30:]
        preprocessor = fit_preprocessor(preparing(add_indicator=True), X, CATEGORIES, train)
        fits.append(FitSpec(fit_seed(7, (0, fold)), train, test, preprocessor))
    return fits, X


def test_categories_and_missing_values_equal_model_fit():
    fits, X = mixed_fits()
    X[X[:, 1] == 3, 1] = 0
    X[fits[1].test[:2], 1] = 3  # a category that only one fold trains without
    fits, X = mixed_fits(X)
    assert len({fit.preprocessor.n_columns for fit in fits}) > 1
    for fit, fitted in zip(fits, train(fits, training(), X=X), strict=True):
        weights, _, y_score, _ = keras_loop(fit, training(), X=X)
        for ours, expected in zip(fitted.weights, weights, strict=True):
            np.testing.assert_allclose(ours, expected, atol=2e-6)
        np.testing.assert_allclose(fitted.y_score, y_score, atol=1e-5)


def custom(n_features, n_labels=L):
    """A model of the user's own, with what a perceptron does not have."""
    inputs = keras.Input((n_features,))
    x = keras.layers.Dense(8, activation="gelu")(inputs)
    x = keras.layers.LayerNormalization()(x)
    x = keras.layers.Add()([x, keras.layers.Dense(8)(x)])
    return keras.Model(inputs, keras.layers.Dense(n_labels, activation="sigmoid")(x))


def test_a_custom_model_equals_model_fit():
    assert_same(make_fits(), training(), custom)


@pytest.mark.parametrize(
    "extra", [{}, {"dropout": 0.5}, {"batch_normalization": True}], ids=["plain", "dropout", "bn"]
)
def test_a_fold_does_not_depend_on_its_stack_or_on_threads(extra):
    build = partial(mlp, n_labels=L, hidden_units=(8,), **extra)
    fits = make_fits((40, 40, 40, 39))
    alone = train(fits, training(fits_per_program=1, n_threads=1), build)
    for stack_size, threads in ((2, 2), (3, 1)):
        together = train(fits, training(fits_per_program=stack_size, n_threads=threads), build)
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_allclose(one.y_score, other.y_score, atol=1e-6)
            for a, b in zip(one.weights, other.weights, strict=True):
                np.testing.assert_allclose(a, b, atol=1e-6)


def test_two_runs_with_one_seed_agree():
    first, second = (train(make_fits(), training()) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.y_score, other.y_score)
        for a, b in zip(one.weights, other.weights, strict=True):
            np.testing.assert_array_equal(a, b)


def test_dropout_masks_differ_between_folds():
    # Equal weights, and all rows in one batch: only the masks can set these folds apart.
    build = partial(mlp, n_labels=L, hidden_units=(8,), kernel_initializer="ones", dropout=0.5)

    def equal_output(n_columns):
        model = build(n_columns)
        model.layers[-1].kernel.assign(np.ones((8, L)))
        return model

    rows = np.arange(N)
    preprocessor = fit_preprocessor(preparing(scaling="none"), X, (), rows)
    fits = [FitSpec(seed, rows, rows[:0], preprocessor) for seed in (1, 2, 1)]
    one_epoch = training(batch_size=N, epochs=1)
    losses = [float(fitted.loss[0]) for fitted in train(fits, one_epoch, equal_output)]
    assert losses[0] == losses[2]
    assert abs(losses[0] - losses[1]) > 1e-3
    keep_all = partial(mlp, n_labels=L, hidden_units=(8,), kernel_initializer="ones")

    def no_dropout(n_columns):
        model = keep_all(n_columns)
        model.layers[-1].kernel.assign(np.ones((8, L)))
        return model

    without = [float(fitted.loss[0]) for fitted in train(fits, one_epoch, no_dropout)]
    assert without[0] == pytest.approx(without[1], rel=1e-5)


def option_fits(X):
    """A fold for each option of the preparation, all of them one training."""
    rows = np.random.default_rng(3).permutation(N)
    train, test = rows[:35], rows[35:]
    fits = [
        FitSpec(7, train, test, fit_preprocessor(preparing(**options), X, CATEGORIES, train))
        for options in OPTIONS
    ]
    return fits, test


def test_test_rows_leave_the_trained_fold_unchanged_for_every_option():
    X = mixed_table(N)
    fits, test = option_fits(X)
    one_epoch = training(epochs=1)
    expected = train(fits, one_epoch, X=X)
    poisoned, missing = X.copy(), X.copy()
    poisoned[np.ix_(test, [0, 2, 3])] = 1e20
    poisoned[np.ix_(test, [1, 4])] = 0
    missing[test] = np.nan
    for changed in (poisoned, missing):
        found = train(option_fits(changed)[0], one_epoch, X=changed)
        for one, other in zip(expected, found, strict=True):
            for a, b in zip(one.weights, other.weights, strict=True):
                np.testing.assert_array_equal(a, b)


def test_deleted_test_rows_leave_the_trained_fold_unchanged():
    X = mixed_table(N)
    (fit, *_), test = option_fits(X)
    kept = np.setdiff1d(np.arange(N), test[5:])
    place = {row: new for new, row in enumerate(kept)}
    train_rows = np.array([place[row] for row in fit.train])
    smaller = X[kept]
    preprocessor = fit_preprocessor(preparing(**OPTIONS[0]), smaller, CATEGORIES, train_rows)
    shorter = FitSpec(7, train_rows, np.array([place[row] for row in test[:5]]), preprocessor)
    whole = train([fit], training(), X=X)[0]
    trainer = KerasTrainer(PLAIN, training(), smaller, Y[kept], [shorter])
    (part,) = trainer.train()
    for a, b in zip(whole.weights, part.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(whole.y_score[:5], part.y_score, atol=1e-6)


def test_an_offset_that_float32_cannot_hold_changes_nothing():
    near = train(make_fits(kind="standard"), training())
    X_far = X.copy()
    X_far[:, 0] += 1.7e9  # as of seconds since 1970; float32 knows 128 of them
    far = train(make_fits(kind="standard", X=X_far), training(), X=X_far)
    for one, other in zip(near, far, strict=True):
        np.testing.assert_allclose(one.y_score, other.y_score, atol=1e-4)


@pytest.mark.parametrize("kind", ["none", "standard"])
def test_test_rows_leave_the_trained_fold_unchanged(kind):
    fits = make_fits(kind=kind)
    before = train(fits, training())
    for place, fit in enumerate(fits):
        poisoned = X.copy()
        poisoned[fit.test] = 1e6
        refitted = make_fits(kind=kind, X=poisoned)[place]
        after = train([refitted], training(), X=poisoned)[0]
        for a, b in zip(before[place].weights, after.weights, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
        assert not np.allclose(before[place].y_score, after.y_score)


def test_trained_weights_make_a_model_that_scores_as_the_fold_did():
    fit = make_fits(kind="standard")[0]
    fitted = train([fit], training())[0]
    model = KerasTrainer(PLAIN, training(), X, Y, [fit]).final_model([fitted], fit)
    y_score = model(fit.preprocessor.transform(X[fit.test])).numpy()
    np.testing.assert_allclose(y_score, fitted.y_score, atol=1e-5)


def test_results_come_in_order_with_progress_for_every_epoch():
    epochs = []
    fits = make_fits((40, 40, 40, 40, 40))
    trainer = KerasTrainer(
        partial(mlp, n_labels=L), training(fits_per_program=2, n_threads=2, epochs=11), X, Y, fits
    )
    fitted = list(trainer.train(epochs.append))
    assert [len(one.y_score) for one in fitted] == [len(fit.test) for fit in fits]
    assert sum(epochs) == 11 * len(fits)
    assert all(one.loss.shape == one.test_loss.shape == (11,) for one in fitted)


def test_training_stops_when_told():
    trainer = KerasTrainer(partial(mlp, n_labels=L), training(epochs=1000), X, Y, make_fits())
    with pytest.raises(Stopped):
        list(trainer.train(lambda n: trainer.stop()))


def test_diverged_training_is_left_as_it_is():
    wild = training(optimizer="sgd", learning_rate=1e30, epochs=4)
    fitted = train(make_fits(kind="none"), wild)[0]
    assert not np.isfinite(fitted.loss).all()


def test_unknown_optimizers_and_options_are_refused():
    with pytest.raises(UserError, match=r"unknown name 'adan'\. Did you mean 'adam'\?"):
        make_optimizer(training(optimizer="adan"), 9)
    with pytest.raises(UserError, match="beta_one"):
        make_optimizer(training(optimizer_params={"beta_one": 0.5}), 9)
    with pytest.raises(UserError, match="use_ema is not supported"):
        make_optimizer(training(optimizer_params={"use_ema": True}), 9)


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (partial(mlp, n_labels=L), False),
        (partial(mlp, n_labels=L, dropout=0.5), False),
        (partial(mlp, n_labels=L, l2=0.1), False),
        (custom, False),
        (partial(mlp, n_labels=L, batch_normalization=True), True),
    ],
)
def test_row_mixing_is_found(build, expected):
    assert depends_on_batch(build(D), X[:16].astype(np.float32)) is expected


@pytest.mark.parametrize("rest", [0, 3])
def test_every_training_row_is_visited_once_an_epoch(rest):
    n = 16 + 3 if rest else 23
    orders = [[epoch_order(1, epoch, np.arange(n)), np.empty(0, int)] for epoch in range(2)]
    batches, rests = cut(orders, n_steps=2 if rest else 3, batch_size=8, rest=rest)
    for epoch in range(2):
        visited = [*batches[epoch, :, 0].ravel(), *rests[epoch, 0]]
        assert sorted(row for row in visited if row != PADDING) == list(range(n))
        assert (batches[epoch, :, 1] == PADDING).all()
    assert (orders[0][0] != orders[1][0]).any()


def test_seeds_differ_for_every_fit():
    places = ["final", *((repeat, fold) for repeat in range(20) for fold in range(50))]
    seeds = {fit_seed(seed, place) for seed in (0, 1) for place in places}
    assert len(seeds) == 2 * len(places)


def test_large_models_are_not_stacked():
    small = plan_stacks(31, 900, 32, 283, 1130, 100, None, 2)
    large = plan_stacks(11, 18_000, 256, 281_000, 843_000, 100, None, 2)
    assert (small.stack_size, small.threads, small.epochs_per_call) == (8, 2, 10)
    assert (large.stack_size, large.threads, large.epochs_per_call) == (1, 2, 1)
    assert plan_stacks(31, 900, 32, 283, 1130, 100, 5, 1).stack_size == 5


@pytest.mark.parametrize("n_fits", [1, 2, 11, 31, 200])
def test_stacks_do_not_depend_on_cores(n_fits):
    plans = [plan_stacks(n_fits, 900, 32, 61_000, 183_000, 100, None, n) for n in (1, 2, 3, 64)]
    assert len({plan.stack_size for plan in plans}) == 1
    assert all(plan.threads <= n_fits for plan in plans)


def test_threads_change_no_bit_of_a_large_layer():
    build = partial(mlp, n_labels=L, hidden_units=(256,))
    fits = make_fits((40,) * 8)
    by_the_work = {"fits_per_program": None, "epochs": 2}
    alone, beside = (train(fits, training(n_threads=n, **by_the_work), build) for n in (1, 2))
    for one, other in zip(alone, beside, strict=True):
        np.testing.assert_array_equal(one.y_score, other.y_score)
