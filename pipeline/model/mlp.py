"""The multi-layer perceptron of the tutorial, and what people add to it first."""

import random
from collections.abc import Sequence
from functools import cache

import keras
import numpy as np
from keras import layers

from pipeline.errors import UserError, choices


def mlp(
    n_features: int,
    n_labels: int,
    *,
    hidden_units: Sequence[int] = (20,),
    activation: str = "relu",
    kernel_initializer: str = "he_uniform",
    dropout: float = 0.0,
    batch_normalization: bool = False,
    l2: float = 0.0,
) -> keras.Model:
    """Return an untrained multi-layer perceptron with one sigmoid output per label.

    Args:
        n_features: Width of the input.
        n_labels: Width of the output.
        hidden_units: Units of each hidden layer; empty for logistic regression.
        activation: Keras activation of the hidden layers.
        kernel_initializer: Keras initializer of the hidden kernels; the output has Keras's default.
        dropout: Share of each hidden layer's outputs dropped in training, in [0, 1).
        batch_normalization: Whether to normalise each hidden layer before its activation.
        l2: Weight of the L2 penalty on all kernels.

    Raises:
        UserError: If Keras has no such activation or initializer.
    """
    _refuse_unknown("activation", activation, keras.activations)
    _refuse_unknown("kernel_initializer", kernel_initializer, keras.initializers)
    regularizer = keras.regularizers.L2(l2) if l2 else None
    stack: list[keras.layers.Layer] = [keras.Input((n_features,))]
    for units in hidden_units:
        stack.append(
            layers.Dense(
                units,
                use_bias=not batch_normalization,  # which has a shift of its own
                kernel_initializer=kernel_initializer,
                kernel_regularizer=regularizer,
            )
        )
        if batch_normalization:
            stack.append(layers.BatchNormalization())
        stack.append(layers.Activation(activation))
        if dropout:
            stack.append(layers.Dropout(dropout))
    stack.append(layers.Dense(n_labels, activation="sigmoid", kernel_regularizer=regularizer))
    return keras.Sequential(stack)


@cache  # a model is built once for each fold
def _refuse_unknown(key: str, name: str, module: object) -> None:
    state = random.getstate()  # initializers draw a seed, which is none of the model's
    try:
        found = module.get(name)  # type: ignore[attr-defined]
        trial = found(np.zeros((2, 4), dtype=np.float32)) if key == "activation" else found((2, 4))
        if trial.shape != (2, 4):
            raise ValueError(f"it changes shapes: (2, 4) became {tuple(trial.shape)}")
    except Exception as error:
        known = [item for item in dir(module) if item.islower() and not item.startswith("_")]
        known = [item for item in known if item not in {"get", "serialize", "deserialize"}]
        if name not in known:
            raise UserError(
                f"model.{key}: unknown name {name!r}. {choices(name, known)}"
            ) from error
        raise UserError(
            f"model.{key}: expected one that needs no arguments of its own. Received: {name!r} "
            f"({str(error).strip().splitlines()[0][:200]})"
        ) from error
    finally:
        random.setstate(state)
