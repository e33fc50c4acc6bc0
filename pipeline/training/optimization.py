"""Losses, label weights, optimizers and learning-rate schedules."""

import inspect
import re
from types import ModuleType
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.optimizers import schedules
from keras.optimizers.schedules import LearningRateSchedule
from keras.src.backend.tensorflow.optimizer import TFOptimizer
from keras.src.optimizers.base_optimizer import BaseOptimizer
from numpy.typing import NDArray

from pipeline.config import TrainingConfig
from pipeline.errors import UserError, suggest


def label_weights(
    config: TrainingConfig, y: NDArray[np.int8], train: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the weight of each label's absence and presence, of shape (2, n_labels).

    Balanced weights are scikit-learn's: n / (2 * how many), so that the rows with a label weigh as
    much as those without it, and their mean is 1. A label that all training rows have, or none,
    keeps the weight 1.

    Args:
        config: Says whether to balance.
        y: All labels, of shape (n_samples, n_labels).
        train: Row numbers of the training rows; no other row plays a part.
    """
    if config.class_weight is None:
        return np.ones((2, y.shape[1]), dtype=np.float32)
    present = y[train].sum(axis=0, dtype=np.int64)
    counts = np.stack([len(train) - present, present])
    both = (counts > 0).all(axis=0)
    return np.where(both, len(train) / (2 * np.maximum(counts, 1)), 1.0).astype(np.float32)


def row_losses(config: TrainingConfig, y: Any, y_score: Any, weights: Any) -> Any:
    """Return the loss of each row, the mean over its labels; a tensor of shape (n,).

    Args:
        config: Says which loss.
        y: Labels of shape (n, n_labels).
        y_score: Probabilities of the same shape.
        weights: As from `label_weights`.

    References:
        Lin et al., Focal Loss for Dense Object Detection, ICCV 2017.
    """
    losses = keras.ops.binary_crossentropy(y, y_score)
    if config.loss == "focal":
        found = y * y_score + (1 - y) * (1 - y_score)
        losses *= keras.ops.power(1 - found, config.focal_gamma)
    if config.class_weight is not None:
        losses *= tf.where(y > 0, weights[1], weights[0])
    return keras.ops.mean(losses, axis=-1)


CLIPS = ("clipnorm", "global_clipnorm", "clipvalue")
_REFUSED = {
    "use_ema": "the averaged weights would not be the ones that are scored",
    "gradient_accumulation_steps": "raise batch_size instead",
    "loss_scale_factor": "it serves reduced precision, and folds train in float32",
}


def make_optimizer(config: TrainingConfig, n_steps: int | None = None) -> keras.Optimizer:
    """Return the Keras optimizer that the configuration names.

    Args:
        config: Names optimizer and schedule, and their options.
        n_steps: Steps of the whole training; how long a schedule lasts if it is not said.

    Raises:
        UserError: If Keras has no such optimizer or schedule, or it takes no such option.
    """
    known = _optimizers()
    kind = known.get(config.optimizer.lower())
    if kind is None:
        raise UserError(
            f"training.optimizer: unknown name {config.optimizer!r}. "
            f"{suggest(config.optimizer.lower(), known)}"
        )
    own = config.optimizer_options or {}
    for option, reason in _REFUSED.items():
        if own.get(option):
            raise UserError(f"training.optimizer_options: {option} is not supported: {reason}.")
    if "learning_rate" in own:
        raise UserError("training.optimizer_options: give learning_rate as training.learning_rate.")
    for option in CLIPS:
        if own.get(option) is not None and not own[option] > 0:
            raise UserError(
                f"training.optimizer_options: expected {option} above 0. Received: {own[option]}"
            )
    try:
        return kind(**{"learning_rate": _learning_rate(config, n_steps), **own})
    except (TypeError, ValueError) as error:
        raise UserError(
            f"training.optimizer_options: expected options of keras.optimizers.{kind.__name__}. "
            f"Received: {own} ({error})"
        ) from error


# Keras overrides these for `tf.distribute`, which needs real variables. Clipping by norm is no part
# of that.
_TAKEN_BACK = {
    name: method
    for name, method in vars(BaseOptimizer).items()
    if name in vars(TFOptimizer) and not name.startswith("__") and name != "_clip_by_norm"
}
_Stateless = type("_Stateless", (TFOptimizer,), _TAKEN_BACK)


def functional(optimizer: keras.Optimizer) -> keras.Optimizer:
    """Give the optimizer `stateless_apply`, which Keras denies it under TensorFlow.

    State and weights are arguments and results of it, so that it can be mapped over folds. What
    its own class overrides (Nadam, Muon) stays in force: the methods taken back stand behind it.
    """
    kind = type(optimizer)
    optimizer.__class__ = type(f"Stateless{kind.__name__}", (kind, _Stateless), {})
    return optimizer


def _learning_rate(config: TrainingConfig, n_steps: int | None) -> float | LearningRateSchedule:
    """Return the rate, or Keras's schedule that starts with it."""
    own = config.schedule_options or {}
    if config.schedule is None:
        if own:
            raise UserError("training.schedule_options: give training.schedule too.")
        return config.learning_rate
    known = {_snake_case(kind.__name__): kind for kind in _subclasses(schedules)}
    kind = known.get(config.schedule)
    if kind is None:
        raise UserError(
            f"training.schedule: unknown name {config.schedule!r}. "
            f"{suggest(config.schedule, known)}"
        )
    given = {"initial_learning_rate": config.learning_rate, "decay_steps": n_steps}
    taken = inspect.signature(kind).parameters
    given = {key: value for key, value in given.items() if key in taken}
    try:
        schedule = kind(**{**given, **own})
        float(schedule(0))
    except (TypeError, ValueError) as error:
        options = ", ".join(name for name in taken if name != "name")
        raise UserError(
            f"training.schedule_options: expected options of {kind.__name__}: {options}. "
            f"Received: {own} ({error})"
        ) from error
    return schedule


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _subclasses(module: ModuleType) -> list[type[LearningRateSchedule]]:
    return [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type)
        and issubclass(kind, LearningRateSchedule)
        and kind is not LearningRateSchedule
    ]


def _optimizers() -> dict[str, type[keras.Optimizer]]:
    optimizers = keras.optimizers
    base = {
        optimizers.Optimizer,
        optimizers.LossScaleOptimizer,
        optimizers.MultiOptimizer,
        optimizers.ScheduleFreeAdamW,  # scores other weights than it trains
    }
    return {
        name.lower(): kind
        for name, kind in vars(keras.optimizers).items()
        if isinstance(kind, type) and issubclass(kind, keras.Optimizer) and kind not in base
    }
