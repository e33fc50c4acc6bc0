"""A small table, fits on it, and the plain `model.fit` loop that `KerasTrainer` must equal."""

from functools import partial

import keras
import numpy as np

from pipeline.config.schema import EarlyStoppingConfig, TrainingConfig
from pipeline.model.keras_models import mlp
from pipeline.training.base import FitSpec, fit_seed
from pipeline.training.batches import epoch_order
from pipeline.training.keras_trainer import KerasTrainer
from pipeline.training.optimization import make_optimizer
from pipeline.training.stack import monitored_test_rows
from tests.test_preprocessor import fit_preprocessor, numeric_schema, preprocessing

N_SAMPLES, N_FEATURES, N_LABELS = 50, 5, 3
RNG = np.random.default_rng(0)
X = RNG.normal(1, 2, size=(N_SAMPLES, N_FEATURES)).astype(np.float32)
Y = (X[:, :N_LABELS] + RNG.normal(size=(N_SAMPLES, N_LABELS)) > 1).astype(np.int8)
LOGISTIC_REGRESSION = partial(mlp, n_labels=N_LABELS, hidden_units=())
NETWORK = partial(mlp, n_labels=N_LABELS, hidden_units=(8,))
NO_EARLY_STOPPING = EarlyStoppingConfig(
    patience=None, min_delta=0.0, restore_best_weights=True, validation_fraction=0.2
)


def training_config(**changes) -> TrainingConfig:
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
        "asymmetric_gamma_pos": 0.0,
        "asymmetric_gamma_neg": 4.0,
        "asymmetric_clip": 0.05,
        "class_weight": None,
        "class_weight_beta": 0.99,
        "label_weights": None,
        "early_stopping": NO_EARLY_STOPPING,
        "final_fit": None,
        "fits_per_program": 2,
        "n_threads": None,
        "deterministic": True,
        "memory": None,
    }
    return TrainingConfig(**{**defaults, **changes})


def make_fits(train_sizes=(40, 40, 40), scaling="none", X=X) -> list[FitSpec]:
    """Return fits on random rows; the remaining rows are the test rows."""
    fits = []
    for fold, size in enumerate(train_sizes):
        rows = np.random.default_rng(fold).permutation(N_SAMPLES)
        config = preprocessing(scaling=scaling)
        preprocessor = fit_preprocessor(config, X, numeric_schema(X), rows[:size])
        fits.append(FitSpec(fit_seed(7, (0, fold)), rows[:size], rows[size:], preprocessor))
    return fits


def train(fits, config, build=NETWORK, X=X, **masks_and_weights):
    """Train with `KerasTrainer`; equal architectures share their compiled programs."""
    architecture = repr(build) if isinstance(build, partial) else None
    trainer = KerasTrainer(build, config, X, Y, fits, architecture, **masks_and_weights)
    return list(trainer.train())


def model_fit(fit, config, build=NETWORK, X=X, y=Y, loss="binary_crossentropy", sample_weight=None):
    """Train one fit with `model.fit`, from the same initial weights and with the same batches.

    Returns:
        Weights, loss of each epoch, probabilities of the test rows, and loss of the monitored ones.
    """
    keras.utils.set_random_seed(fit.seed)
    model = build(fit.preprocessor.n_columns)
    n_steps = -(-len(fit.train) // config.batch_size) * config.epochs
    model.compile(make_optimizer(config, n_steps), loss=loss, run_eagerly=True)
    x = fit.preprocessor.transform(X)
    losses = []

    def weigh(rows):
        return None if sample_weight is None else sample_weight[rows]

    for epoch in range(config.epochs):
        rows = epoch_order(fit.seed, epoch, fit.train)
        history = model.fit(
            *(x[rows], y[rows]),
            sample_weight=weigh(rows),
            **{"batch_size": config.batch_size, "shuffle": False, "verbose": 0},
        )
        losses.append(history.history["loss"][0])
    weights = [v.numpy() for v in (*model.trainable_variables, *model.non_trainable_variables)]
    test_loss = None
    if len(fit.test):
        rows = monitored_test_rows(fit)
        test_loss = model.test_on_batch(x[rows], y[rows], weigh(rows))
    return weights, losses, model(x[fit.test]).numpy(), test_loss


def assert_equal_to_model_fit(
    fits, config, build=NETWORK, X=X, *, rtol=0.0, atol=1e-6, make_loss=None, sample_weight=None
):
    """Compare `KerasTrainer` with `model.fit`.

    Args:
        fits: The fits.
        config: How to train them.
        build: Returns the untrained model for a number of input columns.
        X: Features.
        rtol: Relative tolerance of the weights.
        atol: Absolute tolerance of the weights.
        make_loss: Returns the loss of a fit for Keras; None for binary cross-entropy.
        sample_weight: Weights of all rows; None for 1.
    """
    results = train(fits, config, build, X, sample_weight=sample_weight)
    for fit, result in zip(fits, results, strict=True):
        loss = make_loss(fit) if make_loss else "binary_crossentropy"
        weights, losses, y_score, test_loss = model_fit(
            fit, config, build, X, loss=loss, sample_weight=sample_weight
        )
        for actual, expected in zip(result.weights, weights, strict=True):
            if np.issubdtype(expected.dtype, np.floating):
                np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)
        np.testing.assert_allclose(result.loss, losses, rtol=1e-4)
        np.testing.assert_allclose(result.y_score, y_score, rtol=1e-3, atol=1e-5)
        if test_loss is not None:
            np.testing.assert_allclose(result.test_loss[-1], test_loss, rtol=1e-3)
