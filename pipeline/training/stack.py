"""Tensors of a stack: its state, its inputs and its results."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.config import TrainingConfig
from pipeline.training.base import NO_ROWS, FitSpec
from pipeline.training.batches import (
    MAX_SCORED_CELLS,
    MAX_SCORED_ROWS,
    epoch_order,
    make_batches,
    pad_rows,
)
from pipeline.training.loss_weights import loss_weights
from pipeline.training.sparse_rows import SparseRows, to_device
from pipeline.training.stack_plan import StackShape, n_steps

MIN_TRAIN_PER_MONITORED = 10  # training rows for each test row of the loss after each epoch

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
        stopped: Whether early stopping has ended the training, of shape (n_slots,).
    """

    trainable: Tensors
    non_trainable: Tensors
    best: tf.Tensor
    wait: tf.Tensor
    n_epochs: tf.Tensor
    stopped: tf.Tensor


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
        test: Numbers of the test rows whose loss is computed after each epoch, likewise.
        n_epochs: Epochs of `batches` to run, of shape (n_slots,); 0 for an idle slot.
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


def map_slots(function: Callable[[Any], Any], state: Any, slots: tuple[Any, ...]) -> Any:
    """Call a function for each slot of a stack.

    Args:
        function: Takes a tuple of the state and the rest of a slot.
        state: From `drop_slot`.
        slots: The rest; every tensor has the slots as its first axis.
    """
    n_slots = slots[0].shape[0]
    if n_slots > 1:
        return tf.vectorized_map(function, (state, *slots))
    return function((state, *drop_slot(slots, n_slots)))


def drop_slot(slots: Any, n_slots: int) -> Any:
    """Drop the axis of the slots if it has one.

    With this axis, XLA would copy large weights and optimizer variables at each step.
    """
    return tf.nest.map_structure(lambda it: it[0], slots) if n_slots == 1 else slots


def add_slot(slots: Any, n_slots: int) -> Any:
    """Add the axis of the slots again."""
    return tf.nest.map_structure(lambda it: it[None], slots) if n_slots == 1 else slots


def where_slots(condition: tf.Tensor, new: tf.Tensor, old: tf.Tensor) -> tf.Tensor:
    """Select slots of `new` where the condition, of shape (n_slots,), holds, else of `old`."""
    return tf.where(tf.reshape(condition, [-1] + [1] * (len(new.shape) - 1)), new, old)


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
        self.X = to_device(X)
        self._fits = fits
        self._y = tf.constant(y, tf.float32)
        self._label_mask = None if label_mask is None else tf.constant(label_mask)
        self._sample_weight = None if sample_weight is None else tf.constant(sample_weight)
        self._n_given = None if label_mask is None else label_mask.sum(axis=1)
        self._loss_weights = [
            loss_weights(config, y, fit.train, label_mask, sample_weight) for fit in fits
        ]
        self._monitored_test = [monitored_test_rows(fit) for fit in fits]
        self._n_monitored_test = max(map(len, self._monitored_test))
        self._n_test = max(len(fit.test) for fit in fits)
        self._n_scored = min(MAX_SCORED_ROWS, max(1, MAX_SCORED_CELLS // X.shape[1]))
        self._n_valid = max(len(fit.valid) for fit in fits)

    def of_slots(self, shape: StackShape, slots: Sequence[int | None]) -> Inputs:
        """Return the inputs of some fits, with no epochs yet.

        Args:
            shape: Shape of the stack.
            slots: Index of the fit in each slot; None if it is idle.
        """
        trained = [fit_index for fit_index in slots if fit_index is not None]
        filled = [trained[0] if fit_index is None else fit_index for fit_index in slots]
        valid = [NO_ROWS if it is None else self._fits[it].valid for it in slots]
        test = [NO_ROWS if it is None else self._monitored_test[it] for it in slots]
        no_batches = tf.zeros((0, 0, len(slots), 0), tf.int32)
        return Inputs(
            X=self.X,
            y=self._y,
            first_rows=tf.constant([self._fits[it].train[0] for it in filled], tf.int32),
            loss_weights=tf.constant(np.stack([self._loss_weights[it] for it in filled])),
            batches=no_batches,
            last_batches=no_batches,
            valid=pad_rows(valid, self._n_valid),
            test=pad_rows(test, self._n_monitored_test),
            n_epochs=tf.zeros(len(slots), tf.int32),
            n_steps=tf.constant(max(n_steps(len(self._fits[it].train), shape) for it in trained)),
            label_mask=self._label_mask,
            sample_weight=self._sample_weight,
        )

    def of_epochs(
        self,
        inputs: Inputs,
        shape: StackShape,
        slots: Sequence[int | None],
        epochs: Sequence[range],
        n_compiled: int,
    ) -> Inputs:
        """Return the inputs of some epochs.

        Args:
            inputs: From `of_slots`.
            shape: Shape of the stack.
            slots: Index of the fit in each slot; None if it is idle.
            epochs: Epochs to run in each slot.
            n_compiled: Epochs that the program is compiled for; at least as many.
        """
        orders = [
            [self._order(it, of_slot[i : i + 1]) for it, of_slot in zip(slots, epochs, strict=True)]
            for i in range(n_compiled)
        ]
        batches, last_batches = make_batches(
            orders, shape.n_steps, shape.batch_size, shape.last_batch_size
        )
        return inputs._replace(
            batches=tf.constant(batches),
            last_batches=tf.constant(last_batches),
            n_epochs=tf.constant(np.array([len(of_slot) for of_slot in epochs], np.int32)),
        )

    def _order(self, fit_index: int | None, epochs: range) -> NDArray[np.int32]:
        """Return the training rows of a fit in their order in an epoch; without one, no rows."""
        if fit_index is None or not epochs:
            return NO_ROWS
        fit = self._fits[fit_index]
        return epoch_order(fit.seed, epochs[0], fit.train)

    def scored_rows(self, slots: Sequence[int | None]) -> list[tf.Tensor]:
        """Return the numbers of the test rows of each slot, in chunks of equal shape.

        Shorter chunks are filled up with row 0.
        """
        test = [NO_ROWS if it is None else self._fits[it].test for it in slots]
        return list(tf.maximum(pad_rows(test, self._n_test, self._n_scored), 0))

    def n_test(self, fit_index: int) -> int:
        """Return the number of test rows of a fit."""
        return len(self._fits[fit_index].test)

    def _n_terms(self, rows: NDArray[np.int32]) -> int:
        """Return the number of terms of the loss of rows: these, or their known cells."""
        return len(rows) if self._n_given is None else int(self._n_given[rows].sum())

    def curves(
        self, fit_index: int, losses: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Return the mean losses of a fit on its training, validation and test rows, by epoch.

        Args:
            fit_index: The fit.
            losses: Losses of its epochs in the order of `Losses`, of shape (3, n_epochs).
        """
        fit, (loss, val_loss, test_loss) = self._fits[fit_index], losses
        n_test = self._n_terms(self._monitored_test[fit_index])
        return (
            loss / self._n_terms(fit.train),
            val_loss if self._n_terms(fit.valid) else val_loss[:0],
            test_loss if n_test else test_loss[:0],
        )


def monitored_test_rows(fit: FitSpec) -> NDArray[np.int32]:
    """Draw test rows whose loss is computed after each epoch, a tenth as many as training rows.

    More would take more than a thirtieth of the time of the training.
    """
    n_rows = max(1, len(fit.train) // MIN_TRAIN_PER_MONITORED)
    if n_rows >= len(fit.test):
        return fit.test
    return np.sort(np.random.default_rng(fit.seed).choice(fit.test, n_rows, replace=False))


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
