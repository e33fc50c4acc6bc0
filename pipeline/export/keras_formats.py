"""Write a network with its preprocessing and calibration as SavedModel, ONNX or LiteRT."""

import logging
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipeline.decision.rule import EDGE
from pipeline.errors import UserError
from pipeline.export.examples import INPUT, OPSET, OUTPUT
from pipeline.keras_backend import without_log_lines
from pipeline.model.loaded_model import LoadedModel

Function = Callable[[tf.Tensor], dict[str, tf.Tensor]]


def write_saved_model(model: LoadedModel, path: Path) -> None:
    """Write a folder that `tf.saved_model.load` and TensorFlow Serving read."""
    exporter = keras.export.ExportArchive()
    exporter.track(model.model)
    exporter.add_endpoint("serve", _function(model), input_signature=[_signature(model)])
    with without_log_lines():
        exporter.write_out(str(path), verbose=False)


def write_litert(model: LoadedModel, path: Path) -> None:
    """Write a `.tflite` file.

    Raises:
        UserError: If LiteRT has no operation for a part of the network.
    """
    with TemporaryDirectory() as folder:
        write_saved_model(model, Path(folder))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.experimental_enable_resource_variables = True  # as Keras's own exporter does
        try:
            with without_log_lines():
                path.write_bytes(converter.convert())
        except Exception as error:  # of a type that TensorFlow keeps to itself
            raise _conversion_error("LiteRT", "onnx or saved_model", error) from error


def write_onnx(model: LoadedModel, path: Path) -> None:
    """Write an `.onnx` file.

    Raises:
        UserError: If ONNX or its converter has no operation for a part of the network.
    """
    tf2onnx, onnx = import_module("tf2onnx"), import_module("onnx")
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # the checker finds what is missing
    signature = [_signature(model)]
    function = tf.function(_function(model), input_signature=signature)
    try:
        with without_log_lines():
            proto, _ = tf2onnx.convert.from_function(
                function, signature, opset=OPSET, custom_op_handlers=HANDLERS
            )
    except Exception as error:  # of any type
        raise _conversion_error("ONNX", "saved_model", error) from error
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        raise _conversion_error("ONNX", "saved_model", error) from error
    onnx.save(proto, path)


def _function(model: LoadedModel) -> Function:
    """Return the function of encoded rows that is exported."""
    temperature = model.rule.temperature.astype(np.float32)

    def predict(features: tf.Tensor) -> dict[str, tf.Tensor]:
        y_score = model.model(features, training=False)
        if (temperature == 1).all():
            return {OUTPUT: y_score}
        inside = tf.clip_by_value(y_score, np.float32(EDGE), np.float32(1 - EDGE))
        log_odds = tf.math.log(inside) - tf.math.log(1 - inside)
        return {OUTPUT: tf.sigmoid(log_odds / temperature)}

    return predict


def _signature(model: LoadedModel) -> tf.TensorSpec:
    return tf.TensorSpec((None, model.schema.n_encoded), tf.float32, name=INPUT)


def _convert_erfc(context: Any, node: Any, name: str, arguments: Any) -> Any:
    """Convert erfc(x), a part of GELU that tf2onnx does not convert, into 1 - erf(x)."""
    value = context.make_node("Erf", node.input).output[0]
    return _replace(context, node, "Sub", _one(context, name), value)


def _convert_expm1(context: Any, node: Any, name: str, arguments: Any) -> Any:
    """Convert exp(x) - 1, a part of CELU that tf2onnx does not convert."""
    value = context.make_node("Exp", node.input).output[0]
    return _replace(context, node, "Sub", value, _one(context, name))


def _convert_sigmoid(context: Any, node: Any, name: str, arguments: Any) -> Any:
    """Convert a sigmoid into exp(x) / (1 + exp(x)), as TensorFlow computes it.

    The sigmoid of ONNX Runtime has an absolute error of 1e-7, also for probabilities of 1e-8, which
    calibration would magnify. From 30 on, the result is 1 in float32.
    """
    limit = context.make_const(f"{name}_limit", np.array(30, np.float32)).output[0]
    bounded = context.make_node("Min", [node.input[0], limit]).output[0]
    value = context.make_node("Exp", [bounded]).output[0]
    above = context.make_node("Add", [value, _one(context, name)]).output[0]
    return _replace(context, node, "Div", value, above)


def _convert_where(context: Any, node: Any, name: str, arguments: Any) -> Any:
    """Convert `tf.where`, which tf2onnx may replace by products, where 0 times NaN is NaN."""
    node.type = "Where"
    return node


def _one(context: Any, name: str) -> str:
    return str(context.make_const(f"{name}_one", np.array(1, np.float32)).output[0])


def _replace(context: Any, node: Any, op_type: str, *inputs: str) -> Any:
    """Replace a node by one of another type and other inputs."""
    output = node.output[0]
    shapes, dtypes = [context.get_shape(output)], [context.get_dtype(output)]
    context.remove_node(node.name)
    return context.make_node(
        op_type, [*inputs], outputs=[output], name=node.name, shapes=shapes, dtypes=dtypes
    )


HANDLERS: dict[str, tuple[Any, list[Any]]] = {
    "Erfc": (_convert_erfc, []),
    "Expm1": (_convert_expm1, []),
    "SelectV2": (_convert_where, []),
    "Sigmoid": (_convert_sigmoid, []),
}
"""Converters of operations, beside tf2onnx's own."""


def _conversion_error(title: str, others: str, error: Exception) -> UserError:
    """Return an error that names the formats of networks that convert more."""
    reason = " ".join(str(error).split())[:300]
    return UserError(
        f"--format: expected a network of operations that {title} has. Received: {reason}. "
        f"Use --format {others}."
    )
