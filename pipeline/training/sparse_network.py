"""A network whose first layer skips the features that are 0.

Of a table that is mostly zeros, the products of a batch with the first layer's weights take most of
a training step. Only the rows of weights count whose feature is not 0, and the gradient of the
others comes from the standardisation alone.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.models import Functional

from pipeline.preprocessing import Preprocessor
from pipeline.training.sparse_rows import SparseRows

MAX_GATHERED = 1 / 32  # of the features, in the fullest row: more take as long as a dense product
MAX_ZERO = 100.0  # of a standardised 0: sums of larger terms lose digits of the difference


class SparseNetwork(keras.Model):  # type: ignore[misc]
    """The network of a program for `SparseRows`, with the same variables in the same order."""

    def __init__(self, network: keras.Sequential) -> None:
        """Divide the network behind its first layer, which `can_gather` has found."""
        super().__init__()
        self.network = network  # before all other layers, which it has too, for the order
        self.standardise, model = network.layers
        self.dense = _first_layer(model)
        outputs = self.dense.output, model.outputs[0]
        self.rest = None if outputs[0] is outputs[1] else keras.Model(*outputs)
        self.built = True

    def call(self, rows: SparseRows, training: bool = False) -> tf.Tensor:
        """Return the output for some rows, as the network does for dense ones."""
        layer, kernel = self.standardise, tf.convert_to_tensor(self.dense.kernel)
        fill, scale = (tf.gather(it.value, rows.columns) for it in (layer.fill, layer.scale))
        values = tf.where(tf.math.is_nan(rows.values), fill, rows.values) / scale
        x = gathered_product(rows.columns, values, kernel)
        x -= tf.linalg.matvec(kernel, layer.center.value / layer.scale.value, transpose_a=True)
        if self.dense.use_bias:
            x += self.dense.bias.value
        hidden = self.dense.activation(x)
        return hidden if self.rest is None else self.rest(hidden, training=training)


def can_gather(
    network: keras.Sequential, preprocessors: Sequence[Preprocessor], X: tf.Tensor | SparseRows
) -> bool:
    """Return whether a `SparseNetwork` can train on the rows, and faster.

    All features must be numbers, and go into one dense layer and nothing else.

    Args:
        network: The preprocessing layer and the model.
        preprocessors: Those of all fits.
        X: Encoded features.
    """
    if not isinstance(X, SparseRows) or tf.config.list_logical_devices("GPU"):
        return False
    layouts = [it.layout for it in preprocessors]
    zeros = (np.abs(it.center / it.scale).max(initial=0) for it in preprocessors)
    return (
        X.columns.shape[1] <= MAX_GATHERED * X.n_features
        and all(len(it.numeric) == it.n_columns == X.n_features for it in layouts)
        and max(zeros) <= MAX_ZERO
        and _first_layer(network.layers[1]) is not None
    )


def _first_layer(model: keras.Model) -> Any:
    """Return the dense layer that alone takes the model's input; None if there is none."""
    if type(model) not in (keras.Sequential, Functional):  # another class may do anything
        return None
    users = [
        layer
        for layer in model.layers
        for node in layer._inbound_nodes
        if any(it is model.inputs[0] for it in node.input_tensors)
    ]
    layer: Any = users[0] if len(users) == 1 else None
    is_plain = (
        type(layer) is keras.layers.Dense
        and layer.dtype_policy.name == "float32"
        and layer.activity_regularizer is None
        and not layer.lora_enabled
        and len(layer._inbound_nodes) == 1
    )
    return layer if is_plain else None


@tf.custom_gradient  # type: ignore[untyped-decorator]
def gathered_product(columns: tf.Tensor, values: tf.Tensor, kernel: tf.Tensor) -> Any:
    """Return the product of sparse rows with a matrix, of shape (n, n_units).

    It adds one value of each row at a time, so that no temporary tensor exceeds the cache.

    Args:
        columns: Column of each value, of shape (n, n_values).
        values: Of the same shape, padded with 0.
        kernel: Of shape (n_columns, n_units).
    """
    columns, values = tf.transpose(columns), tf.transpose(values)[..., None]
    positions = tf.range(1, columns.shape[0] + 1)[:, None, None]
    n_values = tf.reduce_max(tf.where(values != 0, positions, 0))

    def repeat(add: Callable[[Any, Any, Any], Any], total: tf.Tensor) -> tf.Tensor:
        return tf.while_loop(
            lambda i, _: i < n_values,
            lambda i, total: (i + 1, add(total, columns[i], values[i])),
            (tf.constant(0), total),
        )[1]

    def add_product(total: Any, column: Any, value: Any) -> Any:
        return total + value * tf.gather(kernel, column)

    def gradient(upstream: tf.Tensor) -> tuple[None, None, tf.Tensor]:
        def add_gradient(total: Any, column: Any, value: Any) -> Any:
            return tf.tensor_scatter_nd_add(total, column[:, None], value * upstream)

        return None, None, repeat(add_gradient, tf.zeros_like(kernel))

    return repeat(add_product, tf.zeros((columns.shape[1], kernel.shape[1]))), gradient
