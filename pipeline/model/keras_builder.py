"""Call the user's builder of a Keras model, and check the model that it returns."""

import re
from collections.abc import Iterator
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from pipeline.config import KerasModelConfig, TrainingConfig
from pipeline.errors import UserError, describe_exception
from pipeline.user_code import import_callable

MAX_MESSAGE = 300  # characters of an error of Keras
PROBE_SCALES = (1.0, 10.0, 1000.0)  # of random rows


def call_builder(config: KerasModelConfig, n_features: int, n_labels: int) -> keras.Model:
    """Call the builder and check the output of its model for a row of zeros.

    Raises:
        UserError: If the builder cannot be imported or raises, or if it returns something else
            than a model of one input and one output with a column for each label.
    """
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
    expected = f"model.builder: expected {config.builder} to return"
    if not isinstance(model, keras.Model):
        raise UserError(f"{expected} a keras.Model. Received: {type(model).__name__}.")
    try:
        output = model(np.zeros((2, n_features), dtype=np.float32))
    except Exception as error:
        raise UserError(
            f"{expected} a model with one input of shape (batch, {n_features}), the features. "
            f"Received: {_describe_inputs(model)}{_shorten(error)}"
        ) from error
    if isinstance(output, list | tuple | dict):
        raise UserError(
            f"{expected} a model with one output of shape (batch, {n_labels}), one column per "
            f"label. Received: {_describe_outputs(output)}. Join them: keras.layers.Concatenate()"
        )
    shape = tuple(output.shape)
    if shape != (2, n_labels):
        raise UserError(
            f"{expected} a model with outputs of shape (batch, {n_labels}), one per label. "
            f"Received: {_format_shape(shape)}."
        )
    return model


def check_model(config: KerasModelConfig, model: keras.Model, rows: NDArray[np.float32]) -> None:
    """Raise UserError unless the user's model returns probabilities and can be saved and loaded.

    Args:
        config: Names the builder.
        model: An untrained model of it.
        rows: Preprocessed training rows, the more varied the better.
    """
    _check_range(config.builder, model, rows)
    _check_types(config.builder, model, rows)
    with TemporaryDirectory() as folder:
        path = f"{folder}/model.keras"
        try:
            model.save(path)
            keras.saving.load_model(path, compile=False)
        except Exception as error:
            raise UserError(
                f"model.builder: expected {config.builder} to return a model that Keras can save "
                f"and load. Received: {_shorten(error)}. Decorate "
                "own layers with @keras.saving.register_keras_serializable(), give those with "
                "arguments a get_config, and use no Lambda layers."
            ) from error


def describe_compilation(
    config: KerasModelConfig, model: keras.Model, training: TrainingConfig
) -> list[str]:
    """Say that settings which the builder gave to `compile` have no effect; empty without any."""
    if not model.compiled:
        return []
    compiled = model.get_compile_config() or {}
    optimizer, loss = model.optimizer, _name(compiled.get("loss"))
    received = f"optimizer {type(optimizer).__name__}, loss {loss}"
    return [
        f"{config.builder} compiles its model ({received}), which has no effect: "
        f"training.optimizer={training.optimizer}, "
        f"training.learning_rate={training.learning_rate} and training.loss={training.loss} apply"
    ]


def _check_range(name: str, model: keras.Model, rows: NDArray[np.float32]) -> None:
    """Raise UserError if an output is outside [0, 1] for training rows, zeros or random rows."""
    outputs = []
    for source, output in _probe(model, rows):
        outputs.append(output)
        is_missing = np.isnan(output)
        is_outside = (output < 0) | (output > 1)
        if is_outside.any() or (source == "training rows" and is_missing.any()):
            low, high = np.nanmin(output, initial=np.inf), np.nanmax(output, initial=-np.inf)
            values = f"from {low:.3g} to {high:.3g}" if is_outside.any() else "NaN"
            raise UserError(
                f"model.builder: expected {name} to return a model of probabilities in [0, 1], as "
                f"of a sigmoid. Received: outputs {values} for {source}. Give the last layer "
                "activation='sigmoid'."
            )


def _check_types(name: str, model: keras.Model, rows: NDArray[np.float32]) -> None:
    """Raise UserError if a model has nothing to train, named inputs or outputs of another type."""
    dtype = keras.backend.standardize_dtype(model(rows[:1], training=False).dtype)
    received = ""
    if not model.trainable_variables:
        received = "no trainable weights. Set trainable=True, at least for the last layer"
    elif isinstance(getattr(model, "input", None), dict):
        received = "a dict of inputs. Give keras.Model the input itself, not a dict"
    elif dtype != "float32":
        received = f"outputs of type {dtype}. Give the last layer dtype='float32'"
    if received:
        raise UserError(
            f"model.builder: expected {name} to return a model with one input, trainable weights "
            f"and outputs of type float32. Received: {received}."
        )


def _probe(model: keras.Model, rows: NDArray[np.float32]) -> Iterator[tuple[str, Any]]:
    """Yield the outputs for some rows, with a name of the rows.

    A model whose initial weights make it constant, such as zeros before a ReLU, is probed with
    random weights as well.
    """
    rng = np.random.default_rng(0)
    n, n_features = max(len(rows), 64), rows.shape[1]
    inputs = {"training rows": rows, "a row of zeros": np.zeros((1, n_features), np.float32)}
    for scale in PROBE_SCALES:
        random_rows = rng.normal(0, scale, (n, n_features)).astype(np.float32)
        inputs[f"random rows of deviation {scale:g}"] = random_rows
    outputs = []
    for source, x in inputs.items():
        try:
            output = np.asarray(model(x, training=False), dtype=np.float64)
        except Exception as error:
            if source == "training rows":
                raise UserError(
                    "model.builder: expected a model that takes preprocessed training rows. "
                    f"Received: {_shorten(error)}"
                ) from error
            continue  # layers may take the codes of categories alone, such as embeddings
        outputs.append(output)
        yield source, output
    if all(np.allclose(output, outputs[0][:1], atol=1e-12) for output in outputs):
        weights = [rng.normal(size=variable.shape) for variable in model.trainable_variables]
        y, _ = model.stateless_call(
            [weight.astype(np.float32) for weight in weights],
            [np.asarray(variable) for variable in model.non_trainable_variables],
            inputs["random rows of deviation 1"],
            training=False,
        )
        yield "random weights", np.asarray(y, dtype=np.float64)


def _describe_inputs(model: keras.Model) -> str:
    """Return the number of inputs if there are several, else an empty text."""
    inputs = getattr(model, "inputs", None) or []
    shapes = ", ".join(_format_shape(each.shape) for each in inputs)
    return f"{len(inputs)} inputs of shapes {shapes}. " if len(inputs) > 1 else ""


def _describe_outputs(output: Any) -> str:
    """Return the kind, number and shapes of several outputs."""
    items = output.items() if isinstance(output, dict) else enumerate(output)
    shapes = ", ".join(
        f"{name}: {_format_shape(getattr(each, 'shape', ()))}" for name, each in items
    )
    return f"a {type(output).__name__} of {len(output)} outputs ({shapes})"


def _format_shape(shape: Any) -> str:
    return f"({', '.join(['batch', *map(str, shape[1:])])})"


def _shorten(error: Exception) -> str:
    text = " ".join(re.sub(r"\x1b\[\d+m", "", str(error)).split())  # Keras prints in bold
    return f"{type(error).__name__}: {text[:MAX_MESSAGE]}"


def _name(loss: Any) -> str:
    """Return the name of a loss in a compile configuration, which may be nested."""
    if isinstance(loss, dict) and "class_name" in loss:
        return str(loss["class_name"])
    return str(loss)
