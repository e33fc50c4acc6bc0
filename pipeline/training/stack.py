"""What a stack of fits carries into its program and out of it."""

from typing import NamedTuple

import tensorflow as tf

from pipeline.training.prepared import Prepare

Tensors = list[tf.Tensor]


class State(NamedTuple):
    """What training changes; every tensor has the stack as its first axis."""

    trainable: Tensors
    non_trainable: Tensors
    optimizer: Tensors


class Watch(NamedTuple):
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
    watch: Watch
    losses: Losses
