"""The compiled program: several epochs of a stack of fits, as one call.

A stack holds one slice per fit along a leading axis: of every weight, of the optimizer's state, of
the preparation and of the row numbers of each batch. The table itself is shared. One step maps the
model, its gradient and the optimizer over that axis, so that each slice is trained as if alone.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.config import TrainingConfig
from pipeline.training.optimization import row_losses
from pipeline.training.prepared import Layout, Prepare, apply
from pipeline.training.stack import PADDING, EarlyStoppingState, Inputs, Losses, Outputs, State

Arrays = list[NDArray[np.generic]]


class Program:
    """Epochs of a stack, compiled once for each shape of its inputs.

    Attributes:
        model: The architecture; its own weights play no part.
        layout: Of the preparations.
        drawn: Initial weights by seed, trainable and non-trainable, for those who would draw them
            again.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.Optimizer,
        layout: Layout,
        config: TrainingConfig,
    ) -> None:
        """Take the architecture from `model`, which is built, and the rule from `optimizer`.

        Args:
            model: Takes inputs of the width `layout.n_columns`.
            optimizer: A functional one.
            layout: Of the preparations.
            config: Says what is minimised and when to stop.
        """
        optimizer.build(model.trainable_variables)
        self.model, self.layout = model, layout
        self.drawn: dict[int, tuple[Arrays, Arrays]] = {}
        self._optimizer, self._config = optimizer, config
        self.run = tf.function(self._epochs, jit_compile=True, autograph=False)

    def initial_stopping(self, state: State, n_idle: int, test: tf.Tensor) -> EarlyStoppingState:
        """Return the course of slices that are not trained yet.

        Args:
            state: Their state.
            n_idle: How many, the last ones, are not to be trained.
            test: Row numbers to score.
        """
        chunks, stack, chunk = test.shape
        best = self._keeps_best
        n_labels = self.model.output_shape[-1]
        return EarlyStoppingState(
            list(state.trainable) if best else [],
            list(state.non_trainable) if best else [],
            tf.fill([stack], np.float32(np.inf)),
            tf.zeros(stack, tf.int32),
            tf.zeros(stack, tf.int32),
            tf.range(stack) >= stack - n_idle,
            tf.zeros((stack, chunks, chunk, n_labels)),
        )

    @property
    def _keeps_best(self) -> bool:
        stopping = self._config.early_stopping
        return stopping.patience is not None and stopping.restore_best

    def _epochs(self, state: State, stopping: EarlyStoppingState, inputs: Inputs) -> Outputs:
        n_epochs, _, stack, _ = inputs.batches.shape
        losses = Losses(*[tf.zeros((n_epochs, stack))] * 3)
        _, *outputs = tf.while_loop(
            lambda epoch, _, stopping, __: (
                (epoch < inputs.n_epochs) & ~tf.reduce_all(stopping.stopped)
            ),
            lambda *carry: self._epoch(inputs, *carry),
            (tf.constant(0), state, stopping, losses),
        )
        return Outputs(*outputs)

    def _epoch(
        self,
        inputs: Inputs,
        epoch: tf.Tensor,
        state: State,
        stopping: EarlyStoppingState,
        losses: Losses,
    ) -> tuple[Any, ...]:
        batches = inputs.batches[epoch]
        active = ~stopping.stopped

        def step(i: tf.Tensor, state: State, total: tf.Tensor) -> tuple[Any, ...]:
            state, loss = self._step(inputs, state, active, batches[i])
            return i + 1, state, total + loss

        _, state, total = tf.while_loop(
            lambda i, *_: i < inputs.n_steps,
            step,
            (tf.constant(0), state, tf.zeros(active.shape)),
        )
        if inputs.rest.shape[-1]:
            state, last = self._step(inputs, state, active, inputs.rest[epoch])
            total += last
        test, y_score = self._score(inputs, state, inputs.test)
        stops = self._config.early_stopping.patience is not None
        valid = self._score(inputs, state, inputs.valid)[0] if stops else tf.zeros_like(test)
        stopping = self._after_epoch(stopping, state, valid, y_score)
        losses = Losses(
            *(
                tf.tensor_scatter_nd_update(by_epoch, [[epoch]], loss[None])
                for by_epoch, loss in zip(losses, (total, valid, test), strict=True)
            )
        )
        return epoch + 1, state, stopping, losses

    def _after_epoch(
        self, stopping: EarlyStoppingState, state: State, valid: tf.Tensor, y_score: tf.Tensor
    ) -> EarlyStoppingState:
        """Judge an epoch by the rule of `keras.callbacks.EarlyStopping`."""
        config, active = self._config.early_stopping, ~stopping.stopped
        n_epochs = stopping.n_epochs + tf.cast(active, tf.int32)
        if config.patience is None:
            y_score = _where(active, y_score, stopping.y_score)
            return stopping._replace(n_epochs=n_epochs, y_score=y_score)
        first = stopping.n_epochs == 0
        better = active & (first | (valid + config.min_delta < stopping.best))
        wait = tf.where(better, 0, stopping.wait + tf.cast(active, tf.int32))
        kept = better if config.restore_best else active
        trainable, non_trainable = (
            [_where(better, new, old) for new, old in zip(after, best, strict=False)]
            for after, best in (
                (state.trainable, stopping.trainable),
                (state.non_trainable, stopping.non_trainable),
            )
        )
        return EarlyStoppingState(
            trainable,
            non_trainable,
            tf.where(better, valid, stopping.best),
            wait,
            n_epochs,
            stopping.stopped | (~better & ~first & (wait >= config.patience)),
            _where(kept, y_score, stopping.y_score),
        )

    def _step(
        self, inputs: Inputs, state: State, active: tf.Tensor, rows: tf.Tensor
    ) -> tuple[State, tf.Tensor]:
        """Train each slice on its batch; one without rows, or that has stopped, keeps its state."""

        def one(slices: tuple[Any, ...]) -> tuple[State, tf.Tensor]:
            state, active, rows, prepare, weights = slices
            x, y, present = self._gather(inputs, rows, prepare)
            count = tf.reduce_sum(present)
            with tf.GradientTape() as tape:
                tape.watch(state.trainable)
                y_score, non_trainable, penalties = self.model.stateless_call(
                    state.trainable, state.non_trainable, x, training=True, return_losses=True
                )
                by_row = row_losses(self._config, y, y_score, weights)
                loss = tf.reduce_sum(by_row * present) / tf.maximum(count, 1.0)
                loss += tf.add_n(penalties) if penalties else 0.0
            gradients = tape.gradient(
                loss, state.trainable, unconnected_gradients=tf.UnconnectedGradients.ZERO
            )
            trainable, optimizer = self._optimizer.stateless_apply(
                state.optimizer, gradients, state.trainable
            )
            after = State(trainable, non_trainable, optimizer)
            trained = active & (count > 0)
            kept = tf.nest.map_structure(lambda new, old: tf.where(trained, new, old), after, state)
            return kept, loss * count

        mapped: tuple[State, tf.Tensor] = tf.vectorized_map(
            one, (state, active, rows, inputs.prepare, inputs.weights)
        )
        return mapped

    def _score(self, inputs: Inputs, state: State, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return each slice's mean loss over its rows, and their probabilities, chunk by chunk.

        Args:
            inputs: Table, labels and preparations.
            state: Of the stack.
            rows: Row numbers of shape (chunks, stack, chunk).

        Returns:
            Losses of shape (stack,) and probabilities of shape (stack, chunks, chunk, n_labels).
        """

        def one(slices: tuple[Any, ...]) -> tuple[tf.Tensor, tf.Tensor]:
            state, rows, prepare, weights = slices
            x, y, present = self._gather(inputs, rows, prepare)
            scores, _, penalties = self.model.stateless_call(
                state.trainable, state.non_trainable, x, training=False, return_losses=True
            )
            by_row = row_losses(self._config, y, scores, weights)
            by_row += tf.add_n(penalties) if penalties else 0.0
            return tf.reduce_sum(by_row * present), scores

        def chunk(i: tf.Tensor, total: tf.Tensor, y_score: tf.Tensor) -> tuple[Any, ...]:
            loss, scores = tf.vectorized_map(one, (state, rows[i], inputs.prepare, inputs.weights))
            return i + 1, total + loss, tf.tensor_scatter_nd_update(y_score, [[i]], scores[None])

        n_chunks, stack, size = rows.shape
        carry = (
            tf.constant(0),
            tf.zeros(stack),
            tf.zeros((n_chunks, stack, size, inputs.y.shape[1])),
        )
        if n_chunks == 1:  # saves a loop to compile
            _, total, y_score = chunk(*carry)
        else:
            _, total, y_score = tf.while_loop(lambda i, *_: i < n_chunks, chunk, carry)
        n_rows = tf.reduce_sum(tf.cast(rows != PADDING, tf.float32), axis=[0, 2])
        return total / tf.maximum(n_rows, 1.0), tf.transpose(y_score, [1, 0, 2, 3])

    def _gather(
        self, inputs: Inputs, rows: tf.Tensor, prepare: Prepare
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return prepared features, labels and weights (0 for padding) of the rows."""
        present = tf.maximum(rows, 0)
        x = apply(prepare, self.layout, tf.gather(inputs.X, present))
        return x, tf.gather(inputs.y, present), tf.cast(rows != PADDING, tf.float32)


def _where(condition: tf.Tensor, new: tf.Tensor, old: tf.Tensor) -> tf.Tensor:
    """Return the slices of `new` where the condition, of shape (stack,), holds, else of `old`."""
    return tf.where(tf.reshape(condition, [-1] + [1] * (len(new.shape) - 1)), new, old)


MOST = 8  # programs kept; the one not used for longest goes first
_cache: OrderedDict[str, Program] = OrderedDict()


def cached_program(
    model: str,
    config: TrainingConfig,
    layout: Layout,
    n_steps: int | None,
    make: Callable[[], Program],
) -> Program:
    """Return a program made before for the same model, rule and layout, else a new one.

    Args:
        model: Tells one architecture from another.
        config: How it is trained. What the program takes as an argument may differ: the learning
            rate, unless a schedule makes it part of the program, and the sizes of stacks.
        layout: Of the preparations.
        n_steps: Of the whole training, which a schedule knows; None without one.
        make: Makes the program.
    """
    rule = replace(config, epochs=1, batch_size=1, stack_size=None, threads=None)
    if config.schedule is None:
        rule = replace(rule, learning_rate=1.0)
    key = repr((model, rule, layout, n_steps))
    if key not in _cache:
        _cache[key] = make()
    _cache.move_to_end(key)
    if len(_cache) > MOST:
        _cache.popitem(last=False)
    return _cache[key]
