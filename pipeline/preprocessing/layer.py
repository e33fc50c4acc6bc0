"""A Keras layer that preprocesses encoded rows with the statistics of one fit.

Logged models carry this file, so it imports nothing of Manyfold.
"""

from operator import mul
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.preprocessing.preprocessor import NO_COLUMN, Layout, Preprocessor

N_WEIGHTS = 6  # without columns of texts


@keras.saving.register_keras_serializable("manyfold", "PreprocessingLayer")
class PreprocessingLayer(keras.layers.Layer):  # type: ignore[misc]
    """Imputes, scales and one-hot encodes rows of `TableSchema.encode`.

    It computes what `Preprocessor.transform` computes. The statistics are weights, so that the fits
    of a stack, which have one layer, have statistics of their own.
    """

    def __init__(self, layout: Layout, **kwargs: Any) -> None:
        """Set the sizes; `trainable` and `dtype` may come back from a saved configuration."""
        super().__init__(**{"trainable": False, "dtype": "float32", **kwargs})
        sizes: Any = (tuple(it) if isinstance(it, list) else it for it in layout)  # of a saved one
        self.layout = Layout(*sizes)

    def build(self, input_shape: Any) -> None:
        """Make the weights, in the order of `weights_of`.

        They start as zeros: another initializer would draw a random number, and so change the
        initial weights of all layers behind this one.
        """
        layout = self.layout

        def add(name: str, size: int, dtype: str) -> Any:
            return self.add_weight(
                shape=(size,), initializer="zeros", dtype=dtype, trainable=False, name=name
            )

        self.fill = add("fill", len(layout.numeric), "float32")
        self.center = add("center", len(layout.numeric), "float32")
        self.scale = add("scale", len(layout.numeric), "float32")
        self.indicators = add("indicators", layout.n_indicators, "int32")
        self.columns = add("columns", sum(layout.n_categories), "int32")
        self.column_features = add("column_features", layout.n_category_columns, "int32")
        if layout.n_terms:
            self.terms = add("terms", sum(layout.n_terms), "int32")
            self.idf = add("idf", sum(layout.n_terms), "float32")
            n_weights = map(mul, layout.n_terms, layout.n_components)
            self.components = add("components", sum(n_weights), "float32")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Return the model's input for encoded rows."""
        layout = self.layout
        numbers = x
        if len(layout.numeric) < x.shape[1]:
            numbers = tf.gather(x, tf.constant(layout.numeric, tf.int32), axis=1)  # may be empty
        missing = tf.math.is_nan(numbers)
        numbers = tf.where(missing, self.fill.value, numbers) - self.center.value
        parts = [numbers / self.scale.value]
        if layout.n_indicators:
            index = self.indicators.value
            indicated = tf.gather(missing, tf.maximum(index, 0), axis=1) & (index != NO_COLUMN)
            parts.append(tf.cast(indicated, tf.float32))
        if layout.n_category_columns:
            codes = tf.gather(x, layout.categorical, axis=1)
            is_present = ~tf.math.is_nan(codes)
            first = np.cumsum([0, *layout.n_categories[:-1]], dtype=np.int32)
            index = tf.cast(tf.where(is_present, codes, 0.0), tf.int32) + first
            column = tf.where(is_present, tf.gather(self.columns.value, index), NO_COLUMN)
        if layout.n_category_columns and not layout.is_ordinal:
            # A column is 1 if it is the column of its feature's category.
            feature_column = tf.gather(column, self.column_features.value, axis=1)
            one_hot = feature_column == tf.range(layout.n_category_columns)
            parts.append(tf.cast(one_hot, tf.float32))
        if layout.n_terms:
            parts += self._weigh_terms(x)
        if layout.n_category_columns and layout.is_ordinal:
            parts.append(tf.cast(column, tf.float32))
        return tf.concat(parts, axis=1) if len(parts) > 1 else parts[0]

    def _weigh_terms(self, x: tf.Tensor) -> list[tf.Tensor]:
        """Return TF-IDF of each column of texts, or its components."""
        layout = self.layout
        weighted = tf.gather(x, self.terms.value, axis=1) * self.idf.value
        parts, first = [], 0
        for part, n_components in zip(
            tf.split(weighted, layout.n_terms, axis=1), layout.n_components, strict=True
        ):
            length = tf.sqrt(tf.reduce_sum(part * part, axis=1, keepdims=True))
            part /= tf.where(length > 0, length, 1.0)
            if n_components:
                last = first + part.shape[1] * n_components
                part @= tf.reshape(self.components.value[first:last], (-1, n_components))
                first = last
            parts.append(part)
        return parts

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        """Return the shape of the model's input."""
        return (input_shape[0], self.layout.n_columns)

    def get_config(self) -> dict[str, Any]:
        """Return the sizes, to save the layer."""
        return {**super().get_config(), "layout": list(self.layout)}


def weights_of(preprocessor: Preprocessor) -> list[NDArray[np.generic]]:
    """Return the weights of the layer for a preprocessor."""
    columns = np.concatenate([[NO_COLUMN], *preprocessor.columns])[1:]
    return [
        preprocessor.fill,
        preprocessor.center,
        preprocessor.scale,
        preprocessor.indicators.astype(np.int32),
        columns.astype(np.int32),
        preprocessor.column_features.astype(np.int32),
        *_text_weights(preprocessor),
    ]


def count_weights(layout: Layout) -> int:
    """Return the number of weights of the layer."""
    return N_WEIGHTS + (3 if layout.n_terms else 0)


def _text_weights(preprocessor: Preprocessor) -> list[NDArray[np.generic]]:
    if not preprocessor.terms:
        return []
    return [
        np.concatenate(preprocessor.terms).astype(np.int32),
        np.concatenate(preprocessor.idf),
        np.concatenate([components.ravel() for components in preprocessor.components]),
    ]
