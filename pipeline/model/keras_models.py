"""Build Keras models: multi-layer perceptrons and the user's own."""

import random
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from tempfile import TemporaryDirectory

import keras
import numpy as np
from keras import layers

from pipeline.config import KerasModelConfig, MlpConfig, ModelConfig
from pipeline.errors import UserError, describe_exception, suggest
from pipeline.runtime import import_callable


def build_model(config: ModelConfig, n_features: int, n_labels: int) -> keras.Model:
    """Build an untrained model that maps (batch, n_features) to (batch, n_labels) probabilities.

    Raises:
        UserError: If Keras does not know a configured name, if the user's builder cannot be
            imported or raises, or if it returns something else than such a model.
    """
    if isinstance(config, MlpConfig):
        params = asdict(config)
        del params["kind"], params["ensemble_size"]
        return mlp(n_features, n_labels, **params)
    if not isinstance(config, KerasModelConfig):
        raise TypeError(f"Expected the configuration of a Keras model. Received: {config.kind}")
    keywords = {"n_features": n_features, "n_labels": n_labels, **(config.params or {})}
    try:
        model = import_callable("model.builder", config.builder)(**keywords)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"model.builder: expected {config.builder} to return a model. Received: "
            f"{describe_exception(error)}, when called with {keywords}."
        ) from error
    _check_outputs(config.builder, model, n_features, n_labels)
    return model


def check_savable(config: KerasModelConfig, model: keras.Model) -> None:
    """Raise UserError if Keras cannot save and load the user's model."""
    with TemporaryDirectory() as folder:
        path = f"{folder}/model.keras"
        try:
            model.save(path)
            keras.saving.load_model(path, compile=False)
        except Exception as error:
            raise UserError(
                f"model.builder: expected {config.builder} to return a model that Keras can save "
                f"and load. Received: {type(error).__name__}: {str(error).strip()[:300]}. Decorate "
                "own layers with @keras.saving.register_keras_serializable(), give those with "
                "arguments a get_config, and use no Lambda layers."
            ) from error


def _check_outputs(name: str, model: object, n_features: int, n_labels: int) -> None:
    expected = f"model.builder: expected {name} to return"
    if not isinstance(model, keras.Model):
        raise UserError(f"{expected} a keras.Model. Received: {type(model).__name__}.")
    output = np.asarray(model(np.zeros((2, n_features), dtype=np.float32)))
    if output.shape != (2, n_labels):
        raise UserError(
            f"{expected} a model with outputs of shape (batch, {n_labels}), one per label. "
            f"Received: (batch, {', '.join(map(str, output.shape[1:]))})."
        )
    if not ((output >= 0) & (output <= 1)).all():
        raise UserError(
            f"{expected} a model of probabilities in [0, 1], as of a sigmoid. "
            f"Received: outputs from {output.min():.3g} to {output.max():.3g} for a row of zeros."
        )


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
