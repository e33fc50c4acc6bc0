"""The compiled program that trains a stack of fits.

One call of a program trains several epochs. Every weight, optimizer variable and row number has the
slots of the stack as its leading axis; the table is shared. A step gathers the batch of each slot
and maps the model, its gradient and the optimizer over that axis, so each slot trains as if alone.

All state is an argument and a result of the call, never a captured variable. So threads can share
one compiled program, and so can the jobs of a sweep.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.config import TrainingConfig
from pipeline.training.batch_loss import gather, gather_features, total_loss
from pipeline.training.batches import MAX_SCORED_ROWS
from pipeline.training.compiled_function import CompiledFunction
from pipeline.training.initial_weights import WeightInitializer
from pipeline.training.optimization import apply_gradients
from pipeline.training.sparse_network import SparseNetwork
from pipeline.training.sparse_rows import SparseRows, is_gathered
from pipeline.training.stack import (
    EarlyStoppingState,
    Inputs,
    Losses,
    Outputs,
    State,
    Tensors,
    add_slot,
    drop_slot,
    map_slots,
    where_slots,
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
        trace_key: str | None = None,
    ) -> None:
        """Build the functional optimizer; compilation waits for the first calls.

        `trace_key` identifies the network, the settings and their code in all processes; None if
        traces are not to be kept.
        """
        optimizer.build(network.trainable_variables)
        self.network = network
        self.initializer = initializer
        self._optimizer, self._config = optimizer, config
        keys = [trace_key and f"{name} {trace_key}" for name in ("run", "score", "predict")]
        self.run = CompiledFunction(self._train_epochs, _output_structure, keys[0])
        self.score = CompiledFunction(self._score_rows, key=keys[1])
        self._predict = CompiledFunction(self._predict_block, key=keys[2])

    def initial_optimizer_state(self, learning_rate: float) -> list[NDArray[np.generic]]:
        """Return the optimizer variables before the first step.

        The learning rate is one of them, unless a schedule gives it.
        """
        rate = self._optimizer._learning_rate
        return [
            np.asarray(learning_rate, it.dtype) if it is rate else it.numpy()
            for it in self._optimizer.variables
        ]

    def initial_stopping(self, state: State) -> EarlyStoppingState:
        """Return the progress of one fit before its first epoch, from its initial state."""
        return EarlyStoppingState(
            list(state.trainable) if self._restores_best else [],
            list(state.non_trainable) if self._restores_best else [],
            np.float32(np.inf),
            np.int32(0),
            np.int32(0),
            np.bool_(False),
        )

    @cached_property
    def _sparse_network(self) -> SparseNetwork:
        return SparseNetwork(self.network)

    def _network(self, X: tf.Tensor | SparseRows) -> keras.Model:
        return self._sparse_network if is_gathered(X) else self.network

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
            lambda epoch, _, stopping, __: tf.reduce_any(_is_active(inputs, epoch, stopping)),
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
        active = _is_active(inputs, epoch, stopping)
        state = drop_slot(state, active.shape[0])

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
        test = self._mean_loss(inputs, state, inputs.test)
        monitors = self._config.early_stopping.patience is not None
        valid = self._mean_loss(inputs, state, inputs.valid) if monitors else tf.zeros_like(test)
        state = add_slot(state, active.shape[0])
        stopping = self._update_stopping(stopping, state, active, valid)
        losses = Losses(
            *(
                tf.tensor_scatter_nd_update(by_epoch, [[epoch]], loss[None])
                for by_epoch, loss in zip(losses, (total, valid, test), strict=True)
            )
        )
        return epoch + 1, state, stopping, losses

    def _update_stopping(
        self, stopping: EarlyStoppingState, state: State, active: tf.Tensor, valid: tf.Tensor
    ) -> EarlyStoppingState:
        """Apply the rule of `keras.callbacks.EarlyStopping` to each slot after an epoch."""
        config = self._config.early_stopping
        n_epochs = stopping.n_epochs + tf.cast(active, tf.int32)
        if config.patience is None:
            return stopping._replace(n_epochs=n_epochs)
        is_first = stopping.n_epochs == 0
        is_better = active & (is_first | (valid + config.min_delta < stopping.best))
        wait = tf.where(is_better, 0, stopping.wait + tf.cast(active, tf.int32))
        trainable, non_trainable = (
            # Without restored weights `best` is empty, and so is the result.
            [where_slots(is_better, new, old) for new, old in zip(current, best, strict=False)]
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
                y_score, non_trainable, penalties = self._network(inputs.X).stateless_call(
                    state.trainable, state.non_trainable, batch.X, training=True, return_losses=True
                )
                # The mean is over the rows that are not padding, as in a smaller batch of Keras.
                total, n_terms = total_loss(self._config, batch, y_score, loss_weights, 0.0)
                loss = total / tf.maximum(n_terms, 1.0)
                loss += tf.add_n(penalties) if penalties else 0.0
            gradients = tape.gradient(
                loss, state.trainable, unconnected_gradients=tf.UnconnectedGradients.ZERO
            )
            # All slots compute every step, because they share one program.
            is_trained = active & (n_terms > 0)
            trainable, optimizer = apply_gradients(
                *(self._optimizer, self.network.trainable_variables, state.trainable),
                *(state.optimizer, gradients, is_trained),
            )
            non_trainable = [
                tf.where(is_trained, new, old)
                for new, old in zip(non_trainable, state.non_trainable, strict=True)
            ]
            return State(trainable, non_trainable, optimizer), loss * n_terms

        slots = active, rows, inputs.first_rows, inputs.loss_weights
        mapped: tuple[State, tf.Tensor] = map_slots(train_slot, state, slots)
        return mapped

    def _mean_loss(self, inputs: Inputs, state: State, rows: tf.Tensor) -> tf.Tensor:
        """Return the mean loss of rows in each slot, of shape (n_slots,).

        Row numbers are of shape (n_chunks, n_slots, chunk_size): chunks bound the memory.
        """

        def slot_loss(slot: tuple[Any, ...]) -> tuple[tf.Tensor, tf.Tensor]:
            state, rows, first_row, loss_weights = slot
            batch = gather(inputs, rows, first_row)
            y_score, _, penalties = self._network(inputs.X).stateless_call(
                state.trainable, state.non_trainable, batch.X, training=False, return_losses=True
            )
            penalty = tf.add_n(penalties) if penalties else 0.0
            return total_loss(self._config, batch, y_score, loss_weights, penalty)

        def add_chunk(i: tf.Tensor, total: tf.Tensor, n_terms: tf.Tensor) -> tuple[Any, ...]:
            slots = rows[i], inputs.first_rows, inputs.loss_weights
            loss, n = map_slots(slot_loss, state, slots)
            return i + 1, total + loss, n_terms + n

        n_chunks, n_slots, _ = rows.shape
        loop_variables = tf.constant(0), tf.zeros(n_slots), tf.zeros(n_slots)
        if n_chunks == 1:  # saves the compilation of a loop
            _, total, n_terms = add_chunk(*loop_variables)
        else:
            _, total, n_terms = tf.while_loop(lambda i, *_: i < n_chunks, add_chunk, loop_variables)
        return total / tf.maximum(n_terms, 1.0)

    def _score_rows(
        self, weights: tuple[Tensors, Tensors], X: tf.Tensor | SparseRows, rows: tf.Tensor
    ) -> tf.Tensor:
        """Return the probabilities of rows by each slot, of shape (n_slots, n, n_labels).

        Args:
            weights: Trainable and non-trainable variables of the slots.
            X: As in `Inputs`.
            rows: Row numbers, of shape (n_slots, n).
        """

        def score_slot(slot: tuple[Any, ...]) -> tf.Tensor:
            (trainable, non_trainable), rows = slot
            x = gather_features(X, rows)
            network = self._network(X)
            return network.stateless_call(trainable, non_trainable, x, training=False)[0]

        n_slots = rows.shape[0]
        return add_slot(map_slots(score_slot, drop_slot(weights, n_slots), (rows,)), n_slots)


def _output_structure(state: State, stopping: EarlyStoppingState, _: Inputs) -> Outputs:
    return Outputs(state, stopping, Losses(0, 0, 0))


def _is_active(inputs: Inputs, epoch: tf.Tensor, stopping: EarlyStoppingState) -> tf.Tensor:
    """Return which slots train in an epoch of a call, of shape (n_slots,)."""
    return ~stopping.stopped & (epoch < inputs.n_epochs)
