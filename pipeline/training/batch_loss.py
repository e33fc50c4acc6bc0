"""The rows of a batch and their loss, for the compiled program."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from pipeline.config import TrainingConfig
from pipeline.training.batches import PADDING
from pipeline.training.optimization import cell_losses
from pipeline.training.sparse_rows import SparseRows
from pipeline.training.stack import Inputs


class Batch(NamedTuple):
    """Encoded features and labels of some rows.

    Attributes:
        X: Encoded features, of shape (n, n_features), or their `SparseRows` for a `SparseNetwork`.
        y: Labels, of shape (n, n_labels).
        is_row: False for padding, of shape (n,).
        is_cell: True for known labels of rows, of shape (n, n_labels); None if all are known.
        sample_weight: Weights of the rows, of shape (n,); None for 1.
    """

    X: tf.Tensor | SparseRows
    y: tf.Tensor
    is_row: tf.Tensor
    is_cell: tf.Tensor | None
    sample_weight: tf.Tensor | None


def gather(inputs: Inputs, rows: tf.Tensor, first_row: tf.Tensor) -> Batch:
    """Return the batch of some row numbers; the first row stands in for padding."""
    is_row = rows != PADDING
    indices = tf.where(is_row, rows, first_row)
    mask, weight = inputs.label_mask, inputs.sample_weight
    return Batch(
        gather_features(inputs.X, indices),
        tf.gather(inputs.y, indices),
        is_row,
        None if mask is None else tf.gather(mask, indices) & is_row[:, None],
        None if weight is None else tf.gather(weight, indices),
    )


def gather_features(X: tf.Tensor | SparseRows, indices: tf.Tensor) -> tf.Tensor | SparseRows:
    """Return the features of some rows, of shape (n, n_features) unless a network gathers them."""
    if not isinstance(X, SparseRows):
        return tf.gather(X, indices)
    columns, values = tf.gather(X.columns, indices), tf.gather(X.values, indices)
    if X.is_gathered:
        return X._replace(columns=columns, values=values)
    rows = tf.broadcast_to(tf.range(indices.shape[0])[:, None], columns.shape)
    cells = tf.stack([rows, columns], axis=-1)
    # A sum of one value and zeros of the padding, so it is the value itself.
    return tf.scatter_nd(cells, values, (indices.shape[0], X.n_features))


def total_loss(
    config: TrainingConfig, batch: Batch, y_score: tf.Tensor, loss_weights: tf.Tensor, penalty: Any
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the sum of the losses of a batch and the number of its terms.

    A term is the mean loss of a row or, with a mask, the loss of a known cell; `penalty` is added
    to each. Weights of rows multiply the losses but are not counted, so that the mean is that of
    `model.fit` with `sample_weight`.
    """
    losses, is_term = cell_losses(config, batch.y, y_score, loss_weights), batch.is_cell
    if is_term is None:
        losses, is_term = keras.ops.mean(losses, axis=-1), batch.is_row
    if batch.sample_weight is not None:
        losses *= tf.reshape(batch.sample_weight, [-1] + [1] * (len(losses.shape) - 1))
    total = tf.reduce_sum(tf.where(is_term, losses + penalty, 0.0))
    return total, tf.reduce_sum(tf.cast(is_term, tf.float32))
