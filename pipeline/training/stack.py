"""Tensors of a stack: its state, its inputs and its results."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.config import TrainingConfig
from pipeline.preprocessing.layer import count_weights
from pipeline.training.base import NO_ROWS, FitResult, FitSpec
from pipeline.training.loss_weights import loss_weights
from pipeline.training.sparse_rows import SparseRows, to_device
from pipeline.training.stack_plan import Stack, n_steps

PADDING = -1  # row number that stands for no row
MAX_SCORED_ROWS = 4096  # rows per slot that are scored at once, to bound memory

Tensors = list[tf.Tensor]


class State(NamedTuple):
    """Weights and optimizer variables; every tensor has the slots as its first axis."""

    trainable: Tensors
    non_trainable: Tensors
    optimizer: Tensors


class EarlyStoppingState(NamedTuple):
    """Progress of early stopping; every tensor has the slots as its first axis.

    Attributes:
        trainable: Weights after the best epoch; empty if they are not to be restored.
        non_trainable: Non-trainable variables after the best epoch; empty likewise.
        best: Validation loss of the best epoch, of shape (n_slots,).
        wait: Epochs since the best epoch, of shape (n_slots,).
        n_epochs: Epochs trained, of shape (n_slots,).
        stopped: Whether the training has ended, of shape (n_slots,).
        y_score: Probabilities of the rows `Inputs.test` by the weights that are kept, of shape
            (n_slots, n_chunks, chunk_size, n_labels).
    """

    trainable: Tensors
    non_trainable: Tensors
    best: tf.Tensor
    wait: tf.Tensor
    n_epochs: tf.Tensor
    stopped: tf.Tensor
    y_score: tf.Tensor


class Inputs(NamedTuple):
    """Data of one call of a program; training does not change them.

    Attributes:
        X: Encoded features of all rows, of shape (n_samples, n_features), or their `SparseRows`.
        y: Labels of all rows, of shape (n_samples, n_labels).
        first_rows: First training row of each slot, which stands in for `PADDING`, of shape
            (n_slots,). No other row may: its numbers could overflow in the network.
        loss_weights: Weights of each label's absence and presence, of shape
            (n_slots, 2, n_labels).
        batches: Row numbers, of shape (n_epochs, n_steps, n_slots, batch_size).
        last_batches: Row numbers of smaller last batches, of shape
            (n_epochs, n_slots, last_batch_size).
        valid: Row numbers that early stopping monitors, of shape (n_chunks, n_slots, chunk_size).
        test: Row numbers to score, of shape (n_chunks, n_slots, chunk_size).
        n_epochs: Epochs of `batches` to run.
        n_steps: Steps of each epoch to run.
        label_mask: True where the label is known, of shape (n_samples, n_labels); None if all are.
        sample_weight: Weights of all rows, of shape (n_samples,); None for 1.
    """

    X: tf.Tensor | SparseRows
    y: tf.Tensor
    first_rows: tf.Tensor
    loss_weights: tf.Tensor
    batches: tf.Tensor
    last_batches: tf.Tensor
    valid: tf.Tensor
    test: tf.Tensor
    n_epochs: tf.Tensor
    n_steps: tf.Tensor
    label_mask: tf.Tensor | None = None
    sample_weight: tf.Tensor | None = None


class Losses(NamedTuple):
    """Losses by epoch, each of shape (n_epochs, n_slots); undefined after a slot has stopped.

    With a mask, sums and means are over known cells.

    Attributes:
        train: Sum over the training rows, taken during the epoch.
        valid: Mean over the rows `Inputs.valid` after the epoch.
        test: Mean over the rows `Inputs.test` after the epoch.
    """

    train: tf.Tensor
    valid: tf.Tensor
    test: tf.Tensor


class Outputs(NamedTuple):
    """Results of one call of a program."""

    state: State
    stopping: EarlyStoppingState
    losses: Losses


def stack_states(states: Sequence[State]) -> State:
    """Stack the states of single fits along a new first axis."""
    return State(
        *(
            [tf.constant(np.stack(slots)) for slots in zip(*variables, strict=True)]
            for variables in zip(*states, strict=True)
        )
    )


class StackInputs:
    """Makes the inputs of stacks from one table and its fits."""

    def __init__(
        self,
        config: TrainingConfig,
        X: NDArray[np.float32],
        y: NDArray[np.int8],
        fits: Sequence[FitSpec],
        label_mask: NDArray[np.bool_] | None = None,
        sample_weight: NDArray[np.float32] | None = None,
    ) -> None:
        """Copy the features, labels, mask and weights of all rows to the device."""
        self._fits = fits
        self._X, self._y = to_device(X), tf.constant(y, tf.float32)
        self._label_mask = None if label_mask is None else tf.constant(label_mask)
        self._sample_weight = None if sample_weight is None else tf.constant(sample_weight)
        self._n_given = None if label_mask is None else label_mask.sum(axis=1)
        self._loss_weights = [
            loss_weights(config, y, fit.train, label_mask, sample_weight) for fit in fits
        ]
        self._n_test = max(len(fit.test) for fit in fits)
        self._n_valid = max(len(fit.valid) for fit in fits)

    def scored_rows(self, stack: Stack) -> tuple[tf.Tensor, tf.Tensor]:
        """Return `Inputs.valid` and `Inputs.test` of a stack."""
        fits = [self._fits[fit_index] for fit_index in stack.fit_indices]
        return (
            pad_rows([fit.valid for fit in fits], stack.n_slots, self._n_valid),
            pad_rows([fit.test for fit in fits], stack.n_slots, self._n_test),
        )

    def make(
        self, stack: Stack, epochs: range, n_compiled: int, valid: tf.Tensor, test: tf.Tensor
    ) -> Inputs:
        """Return the inputs of some epochs.

        Args:
            stack: The stack.
            epochs: Epochs to run.
            n_compiled: Epochs that the program is compiled for; at least as many.
            valid: As from `scored_rows`.
            test: As from `scored_rows`.
        """
        fits = [self._fits[fit_index] for fit_index in stack.fit_indices]
        idle = [NO_ROWS] * stack.n_idle
        orders = [
            [*(epoch_order(fit.seed, epoch, fit.train) for fit in fits), *idle] for epoch in epochs
        ]
        orders += [[NO_ROWS] * stack.n_slots] * (n_compiled - len(epochs))
        shape = stack.shape
        batches, last_batches = make_batches(
            orders, shape.n_steps, shape.batch_size, shape.last_batch_size
        )
        return Inputs(
            X=self._X,
            y=self._y,
            first_rows=tf.constant([self._fits[i].train[0] for i in stack.slots], tf.int32),
            loss_weights=tf.constant(np.stack([self._loss_weights[i] for i in stack.slots])),
            batches=tf.constant(batches),
            last_batches=tf.constant(last_batches),
            valid=valid,
            test=test,
            n_epochs=tf.constant(len(epochs)),
            n_steps=tf.constant(max(n_steps(len(fit.train), shape) for fit in fits)),
            label_mask=self._label_mask,
            sample_weight=self._sample_weight,
        )

    def results(
        self,
        stack: Stack,
        state: State,
        stopping: EarlyStoppingState,
        losses: NDArray[np.float32],
        seconds: float,
    ) -> dict[int, FitResult]:
        """Return the result of each fit of a trained stack, by fit index.

        `losses` has all epochs in the order of `Losses`, of shape (3, n_epochs, n_slots); `seconds`
        is the training time of each fit.
        """
        best = stopping if stopping.trainable or stopping.non_trainable else state
        n_prepared = count_weights(stack.shape.key.layout)
        model_weights = (*best.trainable, *best.non_trainable[n_prepared:])
        weights = [tensor.numpy() for tensor in model_weights]
        y_score = stopping.y_score.numpy()
        y_score = y_score.reshape(len(y_score), -1, y_score.shape[-1])  # joins the chunks
        n_epochs = stopping.n_epochs.numpy()
        results = {}
        for slot, fit_index in enumerate(stack.fit_indices):
            fit = self._fits[fit_index]
            loss, val_loss, test_loss = losses[:, : n_epochs[slot], slot]
            results[fit_index] = FitResult(
                y_score=y_score[slot, : len(fit.test)],
                loss=loss / self._n_terms(fit.train),
                val_loss=val_loss if self._n_terms(fit.valid) else val_loss[:0],
                test_loss=test_loss if self._n_terms(fit.test) else test_loss[:0],
                seconds=seconds,
                weights=tuple(weight[slot] for weight in weights),
            )
        return results

    def _n_terms(self, rows: NDArray[np.int64]) -> int:
        """Return the number of terms of the loss of rows: these, or their known cells."""
        return len(rows) if self._n_given is None else int(self._n_given[rows].sum())


def pad_rows(rows: Sequence[NDArray[np.int64]], n_slots: int, n_rows: int) -> tf.Tensor:
    """Pad the row numbers of each fit to `n_rows`, in shape (n_chunks, n_slots, chunk_size)."""
    chunk_size = max(1, min(n_rows, MAX_SCORED_ROWS))
    n_chunks = max(1, -(-n_rows // chunk_size))
    padded = np.full((n_slots, n_chunks * chunk_size), PADDING, dtype=np.int32)
    for slot, row_numbers in enumerate(rows):
        padded[slot, : len(row_numbers)] = row_numbers
    return tf.constant(padded.reshape(n_slots, n_chunks, chunk_size).transpose(1, 0, 2))


def epoch_order(seed: int, epoch: int, train: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the training rows in their order in one epoch."""
    return np.random.default_rng([seed, epoch]).permutation(train)


def make_batches(
    orders: Sequence[Sequence[NDArray[np.int64]]],
    n_steps: int,
    batch_size: int,
    last_batch_size: int,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Divide the training rows of several epochs into batches.

    Args:
        orders: Row numbers by epoch, then by slot; idle slots have none.
        n_steps: Batches of full size per epoch.
        batch_size: Rows per batch.
        last_batch_size: Rows of a smaller last batch; 0 pads the last full batch instead.

    Returns:
        Row numbers of shape (n_epochs, n_steps, n_slots, batch_size), and those of the smaller
        batches, of shape (n_epochs, n_slots, last_batch_size), both filled up with `PADDING`.
    """
    n_epochs, n_slots, n_full = len(orders), len(orders[0]), n_steps * batch_size
    rows = np.full((n_epochs, n_slots, n_full + last_batch_size), PADDING, dtype=np.int32)
    for epoch, by_slot in enumerate(orders):
        for slot, order in enumerate(by_slot):
            rows[epoch, slot, : len(order)] = order
    batches = rows[:, :, :n_full].reshape(n_epochs, n_slots, n_steps, batch_size)
    return np.ascontiguousarray(batches.transpose(0, 2, 1, 3)), rows[:, :, n_full:]


def varied_rows(fit: FitSpec, X: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return some training rows as input of the model, with two different ones if there are."""
    evenly = fit.train[:: -(-len(fit.train) // 32)]
    first = X[fit.train[0]]
    for start in range(0, len(fit.train), MAX_SCORED_ROWS):
        rows = fit.train[start : start + MAX_SCORED_ROWS]
        differs = ~((X[rows] == first) | (np.isnan(X[rows]) & np.isnan(first))).all(axis=1)
        if differs.any():
            evenly = np.append(evenly, rows[differs.argmax()])
            break
    return fit.preprocessor.transform(X[np.append(fit.train[:1], evenly)])
