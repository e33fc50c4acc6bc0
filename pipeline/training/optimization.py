"""Losses, optimizers and learning-rate schedules."""

import inspect
import re
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import keras
import tensorflow as tf
from keras.optimizers import schedules
from keras.optimizers.schedules import LearningRateSchedule
from keras.src.backend.tensorflow.optimizer import TFOptimizer
from keras.src.optimizers.base_optimizer import BaseOptimizer

from pipeline.config import TrainingConfig
from pipeline.errors import UserError, suggest


def cell_losses(config: TrainingConfig, y: Any, y_score: Any, weights: Any) -> Any:
    """Return the loss of each row and label, a tensor of shape (n, n_labels).

    A network that returns the probabilities of several members in training gets the mean of their
    losses.

    Args:
        config: Names the loss.
        y: Labels of shape (n, n_labels).
        y_score: Probabilities of the same shape, or of shape (n, n_submodels, n_labels).
        weights: Weights from `loss_weights`.

    References:
        Lin et al., Focal Loss for Dense Object Detection, ICCV 2017.
        Ridnik et al., Asymmetric Loss For Multi-Label Classification, ICCV 2021.
    """
    if has_members := len(y_score.shape) == 3:
        y = y[:, None] + tf.zeros_like(y_score)
    is_asymmetric = config.loss == "asymmetric"
    if is_asymmetric and config.asymmetric_clip:
        y_score = tf.where(y > 0, y_score, tf.nn.relu(y_score - config.asymmetric_clip))
    losses = keras.ops.binary_crossentropy(y, y_score)
    if config.loss == "focal":
        p_true = y * y_score + (1 - y) * (1 - y_score)  # probability of the true value
        losses *= keras.ops.power(1 - p_true, config.focal_gamma)
    if is_asymmetric:
        present = _power(1 - y_score, config.asymmetric_gamma_pos)
        losses *= tf.where(y > 0, present, _power(y_score, config.asymmetric_gamma_neg))
    if config.class_weight is not None or config.label_weights is not None:
        losses *= tf.where(y > 0, weights[1], weights[0])
    return keras.ops.mean(losses, axis=1) if has_members else losses


def _power(p: Any, gamma: float) -> Any:
    """Return p ** gamma, with a gradient also for p = 0 and gamma = 0."""
    return keras.ops.power(p, gamma) if gamma else tf.ones_like(p)


CLIPPING = ("clipnorm", "global_clipnorm", "clipvalue")
_UNSUPPORTED = {
    "use_ema": "the averaged weights would not be the ones that are scored",
    "gradient_accumulation_steps": "raise training.batch_size instead",
    "loss_scale_factor": "it is for reduced precision, and folds train in float32",
}


def make_optimizer(config: TrainingConfig, n_steps: int | None = None) -> keras.Optimizer:
    """Make the configured Keras optimizer.

    Args:
        config: Names optimizer and schedule, and their parameters.
        n_steps: Steps of the whole training; the default length of a schedule.

    Raises:
        UserError: If Keras has no such optimizer or schedule, or it has no such parameter.
    """
    optimizers = _optimizers()
    optimizer_class = optimizers.get(config.optimizer.lower())
    if optimizer_class is None:
        raise UserError(
            f"training.optimizer: unknown name {config.optimizer!r}. "
            f"{suggest(config.optimizer.lower(), optimizers)}"
        )
    params = config.optimizer_params or {}
    for name, reason in _UNSUPPORTED.items():
        if params.get(name):
            raise UserError(f"training.optimizer_params: {name} is not supported: {reason}.")
    if "learning_rate" in params:
        raise UserError("training.optimizer_params: give learning_rate as training.learning_rate.")
    for name in CLIPPING:
        if params.get(name) is not None and not params[name] > 0:
            raise UserError(
                f"training.optimizer_params: expected {name} above 0. Received: {params[name]}"
            )
    learning_rate = _learning_rate(config, n_steps)
    try:
        return optimizer_class(learning_rate=learning_rate, **params)
    except (TypeError, ValueError) as error:
        raise UserError(
            "training.optimizer_params: expected parameters of "
            f"keras.optimizers.{optimizer_class.__name__}. Received: {params} ({error})"
        ) from error


# TFOptimizer overrides these methods of Keras's BaseOptimizer for `tf.distribute`, which needs real
# variables. Restoring the base methods makes stateless updates work. `_clip_by_norm` is unrelated.
_BASE_METHODS = {
    name: method
    for name, method in vars(BaseOptimizer).items()
    if name in vars(TFOptimizer) and not name.startswith("__") and name != "_clip_by_norm"
}
_Stateless = type("_Stateless", (TFOptimizer,), _BASE_METHODS)


def functional(optimizer: keras.Optimizer) -> keras.Optimizer:
    """Enable stateless updates, which Keras does not support with TensorFlow.

    They take and return variables as tensors, so that they can be mapped over fits. The class of
    the optimizer comes first in the method resolution order, which keeps its own overrides (Nadam,
    Muon).
    """
    optimizer_class = type(optimizer)
    name = f"Stateless{optimizer_class.__name__}"
    optimizer.__class__ = type(name, (optimizer_class, _Stateless), {})
    return optimizer


def apply_gradients(
    optimizer: keras.Optimizer,
    variables: Sequence[keras.Variable],
    values: Sequence[tf.Tensor],
    state: Sequence[tf.Tensor],
    gradients: Sequence[tf.Tensor],
    is_trained: tf.Tensor,
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Return the trainable and the optimizer variables after a step, or as they were without it.

    Args:
        optimizer: From `functional`, built for the variables.
        variables: Trainable variables of the network.
        values: Their values.
        state: Values of the optimizer's variables.
        gradients: Gradients of the trainable variables.
        is_trained: Whether to take the step: a gradient of 0 would change the moments of Adam.
    """
    pairs = [*zip(variables, values, strict=True), *zip(optimizer.variables, state, strict=True)]
    with _SelectiveScope(pairs, is_trained) as scope:
        optimizer.apply(gradients)
    return (
        [scope.get_current_value(variable) for variable in variables],
        [scope.get_current_value(variable) for variable in optimizer.variables],
    )


class _SelectiveScope(keras.StatelessScope):  # type: ignore[misc]
    """A stateless scope that keeps the old values unless a condition holds.

    It selects at each assignment. Selecting after the whole update would make XLA compute it twice
    and copy all moments, because the new weights would be computed from the old moments.
    """

    def __init__(self, pairs: Sequence[tuple[Any, Any]], condition: tf.Tensor) -> None:
        super().__init__(state_mapping=pairs)
        self._condition = condition

    def add_update(self, update: tuple[Any, Any]) -> None:
        variable, value = update
        old = self.get_current_value(variable)
        super().add_update((variable, tf.where(self._condition, value, old)))


def _learning_rate(config: TrainingConfig, n_steps: int | None) -> float | LearningRateSchedule:
    """Return the learning rate, or a Keras schedule that starts with it."""
    params = config.lr_schedule_params or {}
    if config.lr_schedule is None:
        if params:
            raise UserError("training.lr_schedule_params: give training.lr_schedule too.")
        return config.learning_rate
    classes = _subclasses(schedules, LearningRateSchedule)
    available = {
        re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower(): classes[name] for name in classes
    }
    available["cosine_decay"] = _CosineDecay
    schedule_class = available.get(config.lr_schedule)
    if schedule_class is None:
        raise UserError(
            f"training.lr_schedule: unknown name {config.lr_schedule!r}. "
            f"{suggest(config.lr_schedule, available)}"
        )
    defaults = {"initial_learning_rate": config.learning_rate, "decay_steps": n_steps}
    parameters = inspect.signature(schedule_class).parameters
    defaults = {name: value for name, value in defaults.items() if name in parameters}
    try:
        schedule = schedule_class(**{**defaults, **params})
        float(schedule(0))  # some parameters are checked on the first call only
    except (TypeError, ValueError) as error:
        names = ", ".join(name for name in parameters if name != "name")
        raise UserError(
            f"training.lr_schedule_params: expected parameters of {config.lr_schedule}: "
            f"{names}. Received: {params} ({error})"
        ) from error
    return schedule


class _CosineDecay(schedules.CosineDecay):  # type: ignore[misc]
    """Keras's schedule without `cond`, which XLA cannot compile once it is mapped over fits."""

    def __call__(self, step: Any) -> Any:
        if self.warmup_target is None:
            return super().__call__(step)
        step, decay_steps, warmup_steps, target, initial = (
            keras.ops.cast(value, "float32")
            for value in (
                *(step, self.decay_steps, self.warmup_steps),
                *(self.warmup_target, self.initial_learning_rate),
            )
        )
        decay_step = keras.ops.minimum(step - warmup_steps, decay_steps)
        return keras.ops.where(
            step < warmup_steps,
            self._warmup_function(step, warmup_steps, target, initial),
            self._decay_function(decay_step, decay_steps, target, "float32"),
        )


def _subclasses(module: ModuleType, base: type) -> dict[str, Any]:
    """Return the public subclasses of a base class in a module, other than the base, by name."""
    return {
        name: candidate
        for name, candidate in vars(module).items()
        if isinstance(candidate, type) and issubclass(candidate, base) and candidate is not base
    }


def _optimizers() -> dict[str, type[keras.Optimizer]]:
    """Return the supported optimizers of Keras by name in lower case."""
    classes = _subclasses(keras.optimizers, keras.Optimizer)
    # ScheduleFreeAdamW scores other weights than it trains.
    unsupported = {"LossScaleOptimizer", "MultiOptimizer", "ScheduleFreeAdamW"}
    return {name.lower(): classes[name] for name in classes if name not in unsupported}
