"""What a stack of fits carries into its program and out of it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.training.prepared import Prepare

Tensors = list[tf.Tensor]


class State(NamedTuple):
    """What training changes; every tensor has the stack as its first axis."""

    trainable: Tensors
    non_trainable: Tensors
    optimizer: Tensors


class EarlyStoppingState(NamedTuple):
    """What is known of each slice's course; every tensor has the stack as its first axis.

    Attributes:
        trainable: Weights after the best epoch; empty if they are not to be restored.
        non_trainable: Likewise.
        best: Validation loss of the best epoch, of shape (stack,).
        wait: Epochs since then, of shape (stack,).
        n_epochs: Epochs trained, of shape (stack,).
        stopped: Whether the training has ended, of shape (stack,).
        y_score: Probabilities of the rows `Inputs.test` after the epoch whose weights are kept, of
            shape (stack, chunks, chunk, n_labels).
    """

    trainable: Tensors
    non_trainable: Tensors
    best: tf.Tensor
    wait: tf.Tensor
    n_epochs: tf.Tensor
    stopped: tf.Tensor
    y_score: tf.Tensor


class Inputs(NamedTuple):
    """What training reads.

    Attributes:
        X: The shared raw features, of shape (n_samples, n_features).
        y: The shared labels, of shape (n_samples, n_labels).
        prepare: The preparation of each slice.
        weights: Of each label's absence and presence, of shape (stack, 2, n_labels).
        batches: Row numbers of shape (epochs, steps, stack, batch).
        rest: Row numbers of last, smaller batches, of shape (epochs, stack, rest).
        valid: Row numbers to watch, of shape (chunks, stack, chunk).
        test: Row numbers to score, of shape (chunks, stack, chunk).
        n_epochs: How many epochs of `batches` to run.
        n_steps: How many steps of each epoch to run.
    """

    X: tf.Tensor
    y: tf.Tensor
    prepare: Prepare
    weights: tf.Tensor
    batches: tf.Tensor
    rest: tf.Tensor
    valid: tf.Tensor
    test: tf.Tensor
    n_epochs: tf.Tensor
    n_steps: tf.Tensor


class Losses(NamedTuple):
    """Losses by epoch, each of shape (epochs, stack); only those of epochs that were trained hold.

    Attributes:
        train: Sum over the training rows, while the epoch went on.
        valid: Mean over the rows `Inputs.valid` after the epoch.
        test: Mean over the rows `Inputs.test` after the epoch.
    """

    train: tf.Tensor
    valid: tf.Tensor
    test: tf.Tensor


class Outputs(NamedTuple):
    """What training leaves: the state after the last epoch, and its course."""

    state: State
    stopping: EarlyStoppingState
    losses: Losses


PADDING = -1


def epoch_order(seed: int, epoch: int, train: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the training rows in the order in which one epoch visits them."""
    return np.random.default_rng([seed, epoch]).permutation(train)


def cut(
    orders: Sequence[Sequence[NDArray[np.int64]]], n_steps: int, batch_size: int, rest: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Cut the orders of several epochs and fits into batches.

    Args:
        orders: Row numbers by epoch, then by fit; an idle slice of a stack has none.
        n_steps: Batches of full size per epoch.
        batch_size: Rows per batch.
        rest: Rows of a last, smaller batch of its own; 0 pads the last batch instead.

    Returns:
        Row numbers of shape (n_epochs, n_steps, n_fits, batch_size), and those of the smaller
        batches, of shape (n_epochs, n_fits, rest). Places without a row hold `PADDING`.
    """
    n_epochs, n_fits, full = len(orders), len(orders[0]), n_steps * batch_size
    rows = np.full((n_epochs, n_fits, full + rest), PADDING, dtype=np.int32)
    for epoch, by_fit in enumerate(orders):
        for fit, order in enumerate(by_fit):
            rows[epoch, fit, : len(order)] = order
    batches = rows[:, :, :full].reshape(n_epochs, n_fits, n_steps, batch_size)
    return np.ascontiguousarray(batches.transpose(0, 2, 1, 3)), rows[:, :, full:]
