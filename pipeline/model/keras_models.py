"""Build Keras models."""

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache

import keras
import numpy as np
from keras import layers

from pipeline.config import (
    EstimatorConfig,
    KerasModelConfig,
    MlpPlrConfig,
    ModelConfig,
)
from pipeline.errors import UserError, suggest
from pipeline.model.keras_builder import call_builder
from pipeline.model.tabular_networks import mlp_plr, resnet, tabm


def build_model(
    config: ModelConfig, n_features: int, n_labels: int, n_numeric: int | None = None
) -> keras.Model:
    """Build an untrained model that maps (batch, n_features) to (batch, n_labels) probabilities.

    Args:
        config: Kind of the model and its parameters.
        n_features: Number of input columns.
        n_labels: Number of outputs.
        n_numeric: Number of numbers, which are the first input columns; None for all.

    Raises:
        UserError: If Keras does not know a configured name, if the user's builder cannot be
            imported or raises, or if it returns something else than such a model.
    """
    if isinstance(config, KerasModelConfig):
        return call_builder(config, n_features, n_labels)
    if isinstance(config, EstimatorConfig):
        raise TypeError(f"Expected the configuration of a Keras model. Received: {config.kind}")
    params = asdict(config)
    del params["kind"], params["ensemble_size"]
    if isinstance(config, MlpPlrConfig):
        params["n_numeric"] = n_features if n_numeric is None else n_numeric
    return BUILDERS[config.kind](n_features, n_labels, **params)


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
    """Build an untrained multi-layer perceptron with one sigmoid output per label.

    Args:
        n_features: Number of input columns.
        n_labels: Number of outputs.
        hidden_units: Units of each hidden layer; empty for logistic regression.
        activation: Keras activation of the hidden layers.
        kernel_initializer: Keras initializer of the hidden kernels; the output layer has Keras's
            default.
        dropout: Fraction of each hidden layer's outputs that is dropped in training, in [0, 1).
        batch_normalization: Whether to normalise each hidden layer before its activation.
        l2: Weight of the L2 penalty on all kernels.

    Raises:
        UserError: If Keras has no such activation or initializer.
    """
    _check_params("activation", activation, keras.activations)
    _check_params("kernel_initializer", kernel_initializer, keras.initializers)
    regularizer = keras.regularizers.L2(l2) if l2 else None
    model_layers: list[keras.layers.Layer] = [keras.Input((n_features,))]
    for units in hidden_units:
        model_layers.append(
            layers.Dense(
                units,
                use_bias=not batch_normalization,  # which adds an offset itself
                kernel_initializer=kernel_initializer,
                kernel_regularizer=regularizer,
            )
        )
        if batch_normalization:
            model_layers.append(layers.BatchNormalization())
        model_layers.append(layers.Activation(activation))
        if dropout:
            model_layers.append(layers.Dropout(dropout))
    model_layers.append(
        layers.Dense(n_labels, activation="sigmoid", kernel_regularizer=regularizer)
    )
    return keras.Sequential(model_layers)


BUILDERS: dict[str, Callable[..., keras.Model]] = {
    "mlp": mlp,
    "resnet": resnet,
    "mlp_plr": mlp_plr,
    "tabm": tabm,
}


@cache  # because every fold builds the model
def _check_params(key: str, name: str, module: object) -> None:
    """Raise UserError unless a Keras activation or initializer of this name can be used."""
    state = random.getstate()  # restored below: initializers draw a seed from it
    try:
        function = module.get(name)  # type: ignore[attr-defined]
        x = np.zeros((2, 4), dtype=np.float32)
        output = function(x) if key == "activation" else function(x.shape)
        if output.shape != x.shape:
            raise ValueError(f"it changes shapes: {x.shape} became {tuple(output.shape)}")
    except Exception as error:
        available = [
            item
            for item in dir(module)
            if item.islower()
            and not item.startswith("_")
            and item not in {"get", "serialize", "deserialize"}
        ]
        if name not in available:
            raise UserError(
                f"model.{key}: unknown name {name!r}. {suggest(name, available)}"
            ) from error
        raise UserError(
            f"model.{key}: expected one without required arguments. Received: {name!r} "
            f"({str(error).strip().splitlines()[0][:200]})"
        ) from error
    finally:
        random.setstate(state)
