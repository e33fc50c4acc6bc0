"""Untrained Keras models by configuration."""

import traceback
from tempfile import TemporaryDirectory

import keras
import numpy as np

from pipeline.callables import import_callable
from pipeline.config import MlpConfig, ModelConfig, PythonModelConfig
from pipeline.errors import UserError
from pipeline.model.mlp import mlp

__all__ = ["build_model", "mlp", "refuse_unsavable"]


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


def refuse_unsavable(config: PythonModelConfig, model: keras.Model) -> None:
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
