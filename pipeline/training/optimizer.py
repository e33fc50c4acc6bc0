"""Keras optimizers as pure functions of their state."""

import keras
from keras.src.backend.tensorflow.optimizer import TFOptimizer
from keras.src.optimizers.base_optimizer import BaseOptimizer

from pipeline.config import TrainingConfig
from pipeline.errors import UserError, choices

CLIPS = ("clipnorm", "global_clipnorm", "clipvalue")
_REFUSED = {
    "use_ema": "the averaged weights would not be the ones that are scored",
    "gradient_accumulation_steps": "raise batch_size instead",
    "loss_scale_factor": "it serves reduced precision, and folds train in float32",
}


def make_optimizer(config: TrainingConfig) -> keras.Optimizer:
    """Return the Keras optimizer that the configuration names.

    Raises:
        UserError: If Keras has no such optimizer, or it takes no such option.
    """
    known = _optimizers()
    kind = known.get(config.optimizer.lower())
    if kind is None:
        raise UserError(
            f"training.optimizer: unknown name {config.optimizer!r}. "
            f"{choices(config.optimizer.lower(), known)}"
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
        return kind(**{"learning_rate": config.learning_rate, **own})
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
