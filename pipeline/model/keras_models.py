"""Build Keras models."""

import random
import traceback
from collections.abc import Sequence
from functools import cache
from tempfile import TemporaryDirectory

import keras
import numpy as np
from keras import layers

from pipeline.config import MlpConfig, ModelConfig, PythonModelConfig
from pipeline.errors import UserError, suggest
from pipeline.runtime import import_callable


def build_model(config: ModelConfig, n_features: int, n_labels: int) -> keras.Model:
    """Return an untrained model that maps (batch, n_features) to (batch, n_labels) probabilities.

    Raises:
        UserError: If the configuration names what Keras does not know, the user's callable cannot
            be imported or raises, or what it returns is not such a model.
    """
    if isinstance(config, MlpConfig):
        return mlp(
            n_features,
            n_labels,
            hidden_units=config.hidden_units,
            activation=config.activation,
            kernel_initializer=config.kernel_initializer,
            dropout=config.dropout,
            batch_normalization=config.batch_normalization,
            l2=config.l2,
        )
    if not isinstance(config, PythonModelConfig):
        raise TypeError(f"Expected the configuration of a network. Received: {config.kind}")
    keywords = {"n_features": n_features, "n_labels": n_labels, **(config.params or {})}
    try:
        model = import_callable("model.callable", config.callable)(**keywords)
    except UserError:
        raise
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise UserError(
            f"model.callable: expected {config.callable} to return a model. Received: "
            f"{type(error).__name__}: {error} ({place.filename}, line {place.lineno}), when called "
            f"with {keywords}."
        ) from error
    _refuse_unfit(config.callable, model, n_features, n_labels)
    return model


def check_savable(config: PythonModelConfig, model: keras.Model) -> None:
    """Raise UserError if a model of the user's own could not be kept; tried before training."""
    with TemporaryDirectory() as folder:
        path = f"{folder}/model.keras"
        try:
            model.save(path)
            keras.saving.load_model(path, compile=False)
        except Exception as error:
            raise UserError(
                f"model.callable: expected {config.callable} to return a model that Keras can save "
                f"and load. Received: {type(error).__name__}: {str(error).strip()[:300]}. Decorate "
                "own layers with @keras.saving.register_keras_serializable(), give those with "
                "arguments a get_config, and use no Lambda layers."
            ) from error


def _refuse_unfit(name: str, model: object, n_features: int, n_labels: int) -> None:
    expected = f"model.callable: expected {name} to return"
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
    _check_params("activation", activation, keras.activations)
    _check_params("kernel_initializer", kernel_initializer, keras.initializers)
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
def _check_params(key: str, name: str, module: object) -> None:
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
                f"model.{key}: unknown name {name!r}. {suggest(name, known)}"
            ) from error
        raise UserError(
            f"model.{key}: expected one that needs no arguments of its own. Received: {name!r} "
            f"({str(error).strip().splitlines()[0][:200]})"
        ) from error
    finally:
        random.setstate(state)
