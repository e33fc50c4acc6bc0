"""What training minimises: binary cross-entropy, focal or weighted by label if asked for."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.config import TrainingConfig


def label_weights(
    config: TrainingConfig, y: NDArray[np.int8], train: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the weight of each label's absence and presence, of shape (2, n_labels).

    Balanced weights are scikit-learn's: n / (2 * how many), so that the rows with a label weigh as
    much as those without it, and their mean is 1. A label that all training rows have, or none,
    keeps the weight 1.

    Args:
        config: Says whether to balance.
        y: All labels, of shape (n_samples, n_labels).
        train: Row numbers of the training rows; no other row plays a part.
    """
    if config.class_weight is None:
        return np.ones((2, y.shape[1]), dtype=np.float32)
    present = y[train].sum(axis=0, dtype=np.int64)
    counts = np.stack([len(train) - present, present])
    both = (counts > 0).all(axis=0)
    return np.where(both, len(train) / (2 * np.maximum(counts, 1)), 1.0).astype(np.float32)


def row_losses(config: TrainingConfig, y: Any, y_score: Any, weights: Any) -> Any:
    """Return the loss of each row, the mean over its labels; a tensor of shape (n,).

    Args:
        config: Says which loss.
        y: Labels of shape (n, n_labels).
        y_score: Probabilities of the same shape.
        weights: As from `label_weights`.

    References:
        Lin et al., Focal Loss for Dense Object Detection, ICCV 2017.
    """
    losses = keras.ops.binary_crossentropy(y, y_score)
    if config.loss == "focal":
        found = y * y_score + (1 - y) * (1 - y_score)
        losses *= keras.ops.power(1 - found, config.focal_gamma)
    if config.class_weight is not None:
        losses *= tf.where(y > 0, weights[1], weights[0])
    return keras.ops.mean(losses, axis=-1)
