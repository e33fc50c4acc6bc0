"""The compiled program: several epochs of a stack of fits, as one call.

A stack holds one slice per fit along a leading axis: of every weight, of the optimizer's state, of
the preparation and of the row numbers of each batch. The table itself is shared. One step maps the
model, its gradient and the optimizer over that axis, so that each slice is trained as if alone.
"""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from pipeline.training.batches import PADDING
from pipeline.training.prepared import Layout, Prepare, apply

Tensors = list[tf.Tensor]


class State(NamedTuple):
    """What training changes; every tensor has the stack as its first axis."""

    trainable: Tensors
    non_trainable: Tensors
    optimizer: Tensors


class Inputs(NamedTuple):
    """What training reads.

    Attributes:
        X: The shared raw features, of shape (n_samples, n_features).
        y: The shared labels, of shape (n_samples, n_labels).
        prepare: The preparation of each slice.
        batches: Row numbers of shape (epochs, steps, stack, batch).
        rest: Row numbers of last, smaller batches, of shape (epochs, stack, rest).
        test: Row numbers to score, of shape (chunks, stack, chunk).
        n_epochs: How many epochs of `batches` to run.
        n_steps: How many steps of each epoch to run.
    """

    X: tf.Tensor
    y: tf.Tensor
    prepare: Prepare
    batches: tf.Tensor
    rest: tf.Tensor
    test: tf.Tensor
    n_epochs: tf.Tensor
    n_steps: tf.Tensor


class Outputs(NamedTuple):
    """What training leaves.

    Attributes:
        state: The state after the last epoch.
        loss: Sum of the training losses of the rows, of shape (epochs, stack).
        val_loss: Sum of the losses of the scored rows, of shape (epochs, stack).
        y_score: Probabilities after the last epoch, of shape (chunks, stack, chunk, n_labels).
    """

    state: State
    loss: tf.Tensor
    val_loss: tf.Tensor
    y_score: tf.Tensor


class Program:
    """Epochs of a stack, compiled once for each shape of its inputs."""

    def __init__(self, model: keras.Model, optimizer: keras.Optimizer, layout: Layout) -> None:
        """Take the architecture from `model`, which is built, and the rule from `optimizer`.

        Args:
            model: Takes inputs of the width `layout.n_columns`.
            optimizer: A functional one.
            layout: Of the preparations.
        """
        optimizer.build(model.trainable_variables)
        self.model = model
        self.optimizer_state = [variable.numpy() for variable in optimizer.variables]
        self._optimizer, self._layout = optimizer, layout
        self.run = tf.function(self._epochs, jit_compile=True, autograph=False)

    def _epochs(self, state: State, inputs: Inputs) -> Outputs:
        n_epochs, _, stack, _ = inputs.batches.shape
        losses = tf.zeros((n_epochs, stack))
        scores = tf.zeros((*inputs.test.shape, inputs.y.shape[1]))
        _, state, loss, val_loss, y_score = tf.while_loop(
            lambda epoch, *_: epoch < inputs.n_epochs,
            lambda *carry: self._epoch(inputs, *carry),
            (tf.constant(0), state, losses, losses, scores),
        )
        return Outputs(state, loss, val_loss, y_score)

    def _epoch(
        self,
        inputs: Inputs,
        epoch: tf.Tensor,
        state: State,
        loss: tf.Tensor,
        val_loss: tf.Tensor,
        y_score: tf.Tensor,
    ) -> tuple[Any, ...]:
        batches = inputs.batches[epoch]
        _, stack, _ = batches.shape

        def step(i: tf.Tensor, state: State, total: tf.Tensor) -> tuple[Any, ...]:
            state, loss = self._step(inputs, state, batches[i])
            return i + 1, state, total + loss

        _, state, total = tf.while_loop(
            lambda i, *_: i < inputs.n_steps, step, (tf.constant(0), state, tf.zeros(stack))
        )
        if inputs.rest.shape[-1]:
            state, last = self._step(inputs, state, inputs.rest[epoch])
            total += last
        held_out, y_score = self._score(inputs, state, y_score)
        loss = tf.tensor_scatter_nd_update(loss, [[epoch]], total[None])
        val_loss = tf.tensor_scatter_nd_update(val_loss, [[epoch]], held_out[None])
        return epoch + 1, state, loss, val_loss, y_score

    def _step(self, inputs: Inputs, state: State, rows: tf.Tensor) -> tuple[State, tf.Tensor]:
        """Train each slice on its batch; one without rows keeps its state."""

        def one(slices: tuple[Any, ...]) -> tuple[State, tf.Tensor]:
            state, rows, prepare = slices
            x, y, weight = self._gather(inputs, rows, prepare)
            count = tf.reduce_sum(weight)
            with tf.GradientTape() as tape:
                tape.watch(state.trainable)
                y_score, non_trainable, penalties = self.model.stateless_call(
                    state.trainable, state.non_trainable, x, training=True, return_losses=True
                )
                by_row = keras.losses.binary_crossentropy(y, y_score)
                loss = tf.reduce_sum(by_row * weight) / tf.maximum(count, 1.0)
                loss += tf.add_n(penalties) if penalties else 0.0
            gradients = tape.gradient(
                loss, state.trainable, unconnected_gradients=tf.UnconnectedGradients.ZERO
            )
            trainable, optimizer = self._optimizer.stateless_apply(
                state.optimizer, gradients, state.trainable
            )
            after = State(trainable, non_trainable, optimizer)
            active = count > 0
            kept = tf.nest.map_structure(lambda new, old: tf.where(active, new, old), after, state)
            return kept, loss * count

        mapped: tuple[State, tf.Tensor] = tf.vectorized_map(one, (state, rows, inputs.prepare))
        return mapped

    def _score(
        self, inputs: Inputs, state: State, y_score: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Score the test rows of each slice, chunk by chunk."""

        def one(slices: tuple[Any, ...]) -> tuple[tf.Tensor, tf.Tensor]:
            state, rows, prepare = slices
            x, y, weight = self._gather(inputs, rows, prepare)
            scores, _, penalties = self.model.stateless_call(
                state.trainable, state.non_trainable, x, training=False, return_losses=True
            )
            by_row = keras.losses.binary_crossentropy(y, scores)
            by_row += tf.add_n(penalties) if penalties else 0.0
            return tf.reduce_sum(by_row * weight), scores

        def chunk(i: tf.Tensor, total: tf.Tensor, y_score: tf.Tensor) -> tuple[Any, ...]:
            loss, scores = tf.vectorized_map(one, (state, inputs.test[i], inputs.prepare))
            return i + 1, total + loss, tf.tensor_scatter_nd_update(y_score, [[i]], scores[None])

        n_chunks, stack, _ = inputs.test.shape
        if n_chunks == 1:  # saves a loop to compile
            return chunk(tf.constant(0), tf.zeros(stack), y_score)[1:]
        _, total, y_score = tf.while_loop(
            lambda i, *_: i < n_chunks, chunk, (tf.constant(0), tf.zeros(stack), y_score)
        )
        return total, y_score

    def _gather(
        self, inputs: Inputs, rows: tf.Tensor, prepare: Prepare
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return prepared features, labels and weights (0 for padding) of the rows."""
        present = tf.maximum(rows, 0)
        x = apply(prepare, self._layout, tf.gather(inputs.X, present))
        return x, tf.gather(inputs.y, present), tf.cast(rows != PADDING, tf.float32)
