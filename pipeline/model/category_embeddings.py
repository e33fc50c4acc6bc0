"""A Keras layer that embeds ordinal codes of categories.

Logged models carry this file, so it imports nothing of Manyfold.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

MAX_SIZE = 50


def embedding_size(n_categories: int) -> int:
    """Return the number of components of a category: 1.6 n^0.56, as fast.ai's, but at most 50."""
    return min(MAX_SIZE, math.ceil(1.6 * math.pow(n_categories, 0.56)))


@keras.saving.register_keras_serializable("manyfold", "CategoryEmbeddings")
class CategoryEmbeddings(keras.layers.Layer):  # type: ignore[misc]
    """Replaces the last columns, codes of categories, by their embeddings.

    A code of -1, which stands for a missing or unknown category, has an embedding of zeros.
    """

    def __init__(self, n_categories: Sequence[int], **kwargs: Any) -> None:
        """Make an embedding for each column.

        Args:
            n_categories: Number of categories of each of the last columns.
            kwargs: Of a Keras layer.
        """
        super().__init__(**kwargs)
        self.n_categories = tuple(n_categories)
        self.embeddings = [keras.layers.Embedding(n, embedding_size(n)) for n in n_categories]

    def build(self, input_shape: Any) -> None:
        """Make the weights."""
        for embedding in self.embeddings:
            embedding.build((None,))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Return the other columns and the embeddings.

        They are products with one-hot codes, whose gradients are dense tensors that the slots of a
        stack have in common; those of a lookup are sparse.
        """
        n_others = x.shape[1] - len(self.n_categories)
        parts = [x[:, :n_others]]
        codes = tf.cast(x[:, n_others:], tf.int32)
        for column, embedding in enumerate(self.embeddings):
            one_hot = tf.one_hot(codes[:, column], embedding.input_dim, dtype=x.dtype)
            parts.append(one_hot @ embedding.embeddings)
        return tf.concat(parts, axis=1)

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        """Return the shape of the columns with the embeddings."""
        n_others = input_shape[1] - len(self.n_categories)
        return (input_shape[0], n_others + sum(map(embedding_size, self.n_categories)))

    def get_config(self) -> dict[str, Any]:
        """Return the numbers of categories, to save the layer."""
        return {**super().get_config(), "n_categories": list(self.n_categories)}


def embed_categories(
    build: Callable[[int], keras.Model], n_categories: Sequence[int]
) -> Callable[[int], keras.Model]:
    """Return a function like `build` of a model that embeds the last columns of its input."""

    def build_with_embeddings(n_columns: int) -> keras.Model:
        layer = CategoryEmbeddings(n_categories)
        _, n_features = layer.compute_output_shape((None, n_columns))
        return keras.Sequential([keras.Input((n_columns,)), layer, build(n_features)])

    return build_with_embeddings
