"""The compiled program that trains a stack of fits.

One call of a program trains several epochs. Every weight, optimizer variable and row number has the
slots of the stack as its leading axis; the table is shared. A step gathers the batch of each slot
and maps the model, its gradient and the optimizer over that axis, so each slot trains as if alone.

All state is an argument and a result of the call, never a captured variable. So threads can share
one compiled program, and so can the jobs of a sweep.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.config import TrainingConfig
from pipeline.model.keras_models import WeightInitializer
from pipeline.training.batch_loss import gather, total_loss
from pipeline.training.stack import (
    MAX_SCORED_ROWS,
    EarlyStoppingState,
    Inputs,
    Losses,
    Outputs,
    State,
    Tensors,
)


class Program:
    """Training of a stack, compiled once for each shape of its inputs.

    Attributes:
        network: The preprocessing layer and the model; their own weights are not used.
        initializer: Draws the initial weights of the model.
    """

    def __init__(
        self,
        network: keras.Model,
        optimizer: keras.Optimizer,
        config: TrainingConfig,
        initializer: WeightInitializer,
    ) -> None:
        """Build the functional optimizer; compilation waits for the first calls."""
        optimizer.build(network.trainable_variables)
        self.network = network
        self.initializer = initializer
        self._optimizer, self._config = optimizer, config
        self.run = tf.function(self._train_epochs, jit_compile=True, autograph=False)
        self._predict = tf.function(self._predict_block, jit_compile=True, autograph=False)

    def initial_stopping(self, state: State, n_idle: int, test: tf.Tensor) -> EarlyStoppingState:
        """Return the state before the first epoch; the last `n_idle` slots count as stopped."""
        n_chunks, n_slots, chunk_size = test.shape
        n_labels = self.network.output_shape[-1]
        return EarlyStoppingState(
            list(state.trainable) if self._restores_best else [],
            list(state.non_trainable) if self._restores_best else [],
            tf.fill([n_slots], np.float32(np.inf)),
            tf.zeros(n_slots, tf.int32),
            tf.zeros(n_slots, tf.int32),
            tf.range(n_slots) >= n_slots - n_idle,
            tf.zeros((n_slots, n_chunks, chunk_size, n_labels)),
        )

    @property
    def _restores_best(self) -> bool:
        stopping = self._config.early_stopping
        return stopping.patience is not None and stopping.restore_best_weights

    def predict(
        self,
        preprocessing: Sequence[NDArray[np.generic]],
        weights: Sequence[NDArray[np.generic]],
        X: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Return the probabilities of rows by one fit, with a call for each block of them.

        The last block is filled up with copies of a row, so that blocks have one shape.
        """
        n_trainable = len(self.network.trainable_variables)
        trainable = [tf.constant(array) for array in weights[:n_trainable]]
        others = [tf.constant(array) for array in (*preprocessing, *weights[n_trainable:])]
        size = min(MAX_SCORED_ROWS, 1 << (len(X) - 1).bit_length())
        padded = np.pad(X, ((0, -len(X) % size), (0, 0)), mode="edge")
        blocks = np.split(padded, len(padded) // size)
        y_score = [self._predict(trainable, others, tf.constant(block)).numpy() for block in blocks]
        return np.concatenate(y_score)[: len(X)]

    def _predict_block(self, trainable: Tensors, non_trainable: Tensors, x: tf.Tensor) -> tf.Tensor:
        return self.network.stateless_call(trainable, non_trainable, x, training=False)[0]

    def _train_epochs(self, state: State, stopping: EarlyStoppingState, inputs: Inputs) -> Outputs:
        # The number of epochs to run is an input: the last call of a training can be shorter than
        # the others without another compilation. The loop also ends once every slot has stopped.
        n_epochs, _, n_slots, _ = inputs.batches.shape
        losses = Losses(*[tf.zeros((n_epochs, n_slots))] * 3)
        _, *outputs = tf.while_loop(
            lambda epoch, _, stopping, __: (
                (epoch < inputs.n_epochs) & ~tf.reduce_all(stopping.stopped)
            ),
            lambda *loop_variables: self._train_epoch(inputs, *loop_variables),
            (tf.constant(0), state, stopping, losses),
        )
        return Outputs(*outputs)

    def _train_epoch(
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
            state, loss = self._train_step(inputs, state, active, batches[i])
            return i + 1, state, total + loss

        _, state, total = tf.while_loop(
            lambda i, *_: i < inputs.n_steps,
            step,
            (tf.constant(0), state, tf.zeros(active.shape)),
        )
        # A smaller last batch has a shape of its own, hence a step outside the loop.
        if inputs.last_batches.shape[-1]:
            state, loss = self._train_step(inputs, state, active, inputs.last_batches[epoch])
            total += loss
        test, y_score = self._score(inputs, state, inputs.test)
        monitors = self._config.early_stopping.patience is not None
        valid = self._score(inputs, state, inputs.valid)[0] if monitors else tf.zeros_like(test)
        stopping = self._update_stopping(stopping, state, valid, y_score)
        losses = Losses(
            *(
                tf.tensor_scatter_nd_update(by_epoch, [[epoch]], loss[None])
                for by_epoch, loss in zip(losses, (total, valid, test), strict=True)
            )
        )
        return epoch + 1, state, stopping, losses

    def _update_stopping(
        self, stopping: EarlyStoppingState, state: State, valid: tf.Tensor, y_score: tf.Tensor
    ) -> EarlyStoppingState:
        """Apply the rule of `keras.callbacks.EarlyStopping` to each slot after an epoch.

        Probabilities of the test rows are kept with the weights they belong to, so that no further
        call is needed to score the best epoch.
        """
        config, active = self._config.early_stopping, ~stopping.stopped
        n_epochs = stopping.n_epochs + tf.cast(active, tf.int32)
        if config.patience is None:
            y_score = _where(active, y_score, stopping.y_score)
            return stopping._replace(n_epochs=n_epochs, y_score=y_score)
        is_first = stopping.n_epochs == 0
        is_better = active & (is_first | (valid + config.min_delta < stopping.best))
        wait = tf.where(is_better, 0, stopping.wait + tf.cast(active, tf.int32))
        trainable, non_trainable = (
            # Without restored weights `best` is empty, and so is the result.
            [_where(is_better, new, old) for new, old in zip(current, best, strict=False)]
            for current, best in (
                (state.trainable, stopping.trainable),
                (state.non_trainable, stopping.non_trainable),
            )
        )
        return EarlyStoppingState(
            trainable,
            non_trainable,
            tf.where(is_better, valid, stopping.best),
            wait,
            n_epochs,
            stopping.stopped | (~is_better & ~is_first & (wait >= config.patience)),
            _where(is_better if config.restore_best_weights else active, y_score, stopping.y_score),
        )

    def _train_step(
        self, inputs: Inputs, state: State, active: tf.Tensor, rows: tf.Tensor
    ) -> tuple[State, tf.Tensor]:
        """Train each slot on its batch; a slot that has stopped or has no rows stays unchanged.

        Nor does a batch change it of which no label is known.
        """

        def train_slot(slot: tuple[Any, ...]) -> tuple[State, tf.Tensor]:
            state, active, rows, first_row, loss_weights = slot
            batch = gather(inputs, rows, first_row)
            with tf.GradientTape() as tape:
                tape.watch(state.trainable)
                y_score, non_trainable, penalties = self.network.stateless_call(
                    state.trainable, state.non_trainable, batch.X, training=True, return_losses=True
                )
                # The mean is over the rows that are not padding, as in a smaller batch of Keras.
                total, n_terms = total_loss(self._config, batch, y_score, loss_weights, 0.0)
                loss = total / tf.maximum(n_terms, 1.0)
                loss += tf.add_n(penalties) if penalties else 0.0
            gradients = tape.gradient(
                loss, state.trainable, unconnected_gradients=tf.UnconnectedGradients.ZERO
            )
            trainable, optimizer = self._optimizer.stateless_apply(
                state.optimizer, gradients, state.trainable
            )
            # All slots compute every step, because they share one program. So the old state of
            # a slot is restored afterwards: even a gradient of zero would change Adam's moments.
            updated = State(trainable, non_trainable, optimizer)
            is_trained = active & (n_terms > 0)
            selected = tf.nest.map_structure(
                lambda new, old: tf.where(is_trained, new, old), updated, state
            )
            return selected, loss * n_terms

        mapped: tuple[State, tf.Tensor] = tf.vectorized_map(
            train_slot, (state, active, rows, inputs.first_rows, inputs.loss_weights)
        )
        return mapped

    def _score(self, inputs: Inputs, state: State, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Score rows in chunks, which bound the memory of a large test set.

        Row numbers are of shape (n_chunks, n_slots, chunk_size), the mean losses of shape
        (n_slots,), the probabilities of shape (n_slots, n_chunks, chunk_size, n_labels).
        """

        def score_slot(slot: tuple[Any, ...]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            state, rows, first_row, loss_weights = slot
            batch = gather(inputs, rows, first_row)
            y_score, _, penalties = self.network.stateless_call(
                state.trainable, state.non_trainable, batch.X, training=False, return_losses=True
            )
            penalty = tf.add_n(penalties) if penalties else 0.0
            total, n_terms = total_loss(self._config, batch, y_score, loss_weights, penalty)
            return total, n_terms, y_score

        def score_chunk(
            i: tf.Tensor, total: tf.Tensor, n_terms: tf.Tensor, y_score: tf.Tensor
        ) -> tuple[Any, ...]:
            loss, n, chunk = tf.vectorized_map(
                score_slot, (state, rows[i], inputs.first_rows, inputs.loss_weights)
            )
            y_score = tf.tensor_scatter_nd_update(y_score, [[i]], chunk[None])
            return i + 1, total + loss, n_terms + n, y_score

        n_chunks, n_slots, chunk_size = rows.shape
        loop_variables = (
            tf.constant(0),
            tf.zeros(n_slots),
            tf.zeros(n_slots),
            tf.zeros((n_chunks, n_slots, chunk_size, inputs.y.shape[1])),
        )
        if n_chunks == 1:  # saves the compilation of a loop
            _, total, n_terms, y_score = score_chunk(*loop_variables)
        else:
            _, total, n_terms, y_score = tf.while_loop(
                lambda i, *_: i < n_chunks, score_chunk, loop_variables
            )
        return total / tf.maximum(n_terms, 1.0), tf.transpose(y_score, [1, 0, 2, 3])


def _where(condition: tf.Tensor, new: tf.Tensor, old: tf.Tensor) -> tf.Tensor:
    """Select slots of `new` where the condition, of shape (n_slots,), holds, else of `old`."""
    return tf.where(tf.reshape(condition, [-1] + [1] * (len(new.shape) - 1)), new, old)
