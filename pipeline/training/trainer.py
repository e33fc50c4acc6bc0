"""Training of all fits: dealt into stacks, compiled once, run side by side in threads."""

import time
from collections.abc import Callable, Collection, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.config import TrainingConfig
from pipeline.errors import UserError
from pipeline.training.batches import PADDING, cut, epoch_order
from pipeline.training.fit import Fit, Fitted
from pipeline.training.optimizer import functional, make_optimizer
from pipeline.training.prepared import Layout, layout_of, shared_table, stacked
from pipeline.training.program import Inputs, Outputs, Program, State
from pipeline.training.row_mixing import mixes_rows
from pipeline.training.stacking import Plan, make_plan

TEST_CHUNK = 4096  # rows scored at once, to bound memory

Progress = Callable[[int], None]


class Stopped(Exception):
    """Training was told to stop before its end."""


class _Shape(NamedTuple):
    """What must be equal for stacks to share a compiled program."""

    layout: Layout
    n_steps: int
    batch_size: int
    rest: int


class _Stack(NamedTuple):
    places: tuple[int, ...]
    shape: _Shape


class StackedTrainer:
    """Trains fits of one architecture on one table, all at once.

    A fit's result depends on its seed and its rows: never on the stack it shares or on threads.
    """

    def __init__(
        self,
        build: Callable[[int], keras.Model],
        config: TrainingConfig,
        X: NDArray[np.floating],
        y: NDArray[np.int8],
        fits: Sequence[Fit],
    ) -> None:
        """Build the model once and plan the stacks.

        Args:
            build: Returns the untrained model for a width of input; its randomness must come from
                Keras, NumPy or Python's `random`, which are seeded before each call.
            config: Optimizer, epochs, batch size.
            X: Raw features of shape (n_samples, n_features).
            y: Labels of shape (n_samples, n_labels).
            fits: What to train.

        Raises:
            UserError: If the optimizer or one of its options is unknown.
        """
        self._build, self._config, self._fits = build, config, fits
        self._X, self._y = shared_table(X), tf.constant(y, tf.float32)
        double = X.dtype == np.float64
        self._layouts = [layout_of(fit.preparation, double=double) for fit in fits]
        self._programs = {layout: self._make_program(layout) for layout in set(self._layouts)}
        first = self._programs[self._layouts[0]]
        self._plan = self._make_plan(first)
        some_rows = fits[0].preparation.transform(X[: config.batch_size])
        self._stacks = self._deal(mixes_rows(first.model, some_rows))
        n_test = max(len(fit.test) for fit in fits)
        self._test_chunk = max(1, min(n_test, TEST_CHUNK))
        self._n_test_chunks = max(1, -(-n_test // self._test_chunk))
        self._initial: list[State] = []
        self._stop = Event()

    def compile(self) -> None:
        """Trace and compile the program of each shape, and draw the initial weights meanwhile.

        Tracing is Python's work and compiling is not: only the latter goes on beside other things.
        """
        one_of_each = {stack.shape: stack for stack in self._stacks}.values()
        with ThreadPoolExecutor(self._plan.threads) as pool:
            traced = map(self._trace, one_of_each)
            compiled = [pool.submit(run, state, inputs) for run, state, inputs in traced]
            places = range(len(self._fits))
            self._initial = [self._draw_initial(place) for place in places]
            try:
                for future in compiled:
                    future.result()
            except tf.errors.OpError as error:
                raise UserError(
                    "model: expected layers that XLA can compile, for all folds train in one "
                    f"program. Received: {str(error).strip().splitlines()[0][:300]}"
                ) from error

    def train(
        self, progress: Progress = lambda n: None, known: Collection[int] = ()
    ) -> Generator[Fitted]:
        """Yield what was trained, in the order of the fits, as soon as it is there.

        Args:
            progress: Called, from any thread, with the number of epochs trained since, summed
                over fits.
            known: Places of fits that are not asked for; a stack of them alone is not trained.

        Raises:
            Stopped: After `stop`.
        """
        self._stop.clear()
        if not self._initial:
            self.compile()
        with ThreadPoolExecutor(self._plan.threads) as pool:
            try:
                futures = [
                    pool.submit(self._train, stack, progress)
                    for stack in self._stacks
                    if not set(stack.places) <= set(known)
                ]
                done: dict[int, Fitted] = {}
                for place in range(len(self._fits)):
                    if place in known:
                        continue
                    while place not in done:
                        done.update(futures.pop(0).result())
                    yield done.pop(place)
            finally:
                self.stop()

    def stop(self) -> None:
        """Let the training end after the calls that are under way."""
        self._stop.set()

    def _make_program(self, layout: Layout) -> Program:
        return Program(
            self._build(layout.n_columns), functional(make_optimizer(self._config)), layout
        )

    def _make_plan(self, program: Program) -> Plan:
        n_weights = sum(int(np.prod(v.shape)) for v in program.model.trainable_variables)
        return make_plan(
            n_fits=len(self._fits),
            n_train=max(len(fit.train) for fit in self._fits),
            batch_size=self._config.batch_size,
            n_weights=n_weights,
            n_state=n_weights + sum(v.size for v in program.optimizer_state),
            epochs=self._config.epochs,
            stack_size=self._config.stack_size,
            threads=self._config.threads,
        )

    def _deal(self, exact: bool) -> list[_Stack]:
        """Deal the fits into stacks.

        Args:
            exact: Whether batches must hold training rows and nothing else; fits of unequal size
                cannot share a stack then. Otherwise padding of weight 0 evens them out.
        """
        shapes: dict[_Shape, list[int]] = {}
        largest = max(len(fit.train) for fit in self._fits)
        for place, (fit, layout) in enumerate(zip(self._fits, self._layouts, strict=True)):
            size = len(fit.train) if exact else largest
            batch_size = min(self._config.batch_size, size)
            full, rest = divmod(size, batch_size)
            padded = _Shape(layout, full + bool(rest), batch_size, 0)
            shape = _Shape(layout, full, batch_size, rest) if exact else padded
            shapes.setdefault(shape, []).append(place)
        size_of_stack = self._plan.stack_size
        stacks = [
            _Stack(tuple(places[start : start + size_of_stack]), shape)
            for shape, places in shapes.items()
            for start in range(0, len(places), size_of_stack)
        ]
        return sorted(stacks, key=lambda stack: stack.places)

    def _draw_initial(self, place: int) -> State:
        keras.utils.set_random_seed(self._fits[place].seed)
        layout = self._layouts[place]
        model = self._build(layout.n_columns)
        return State(
            [variable.numpy() for variable in model.trainable_variables],
            [variable.numpy() for variable in model.non_trainable_variables],
            self._programs[layout].optimizer_state,
        )

    def _trace(self, stack: _Stack) -> tuple[Callable[..., Outputs], State, Inputs]:
        """Return the program of a stack, traced, and arguments under which it does nothing."""
        program = self._programs[stack.shape.layout]
        nothing = State(
            [np.zeros(v.shape, v.dtype) for v in program.model.trainable_variables],
            [np.zeros(v.shape, v.dtype) for v in program.model.non_trainable_variables],
            program.optimizer_state,
        )
        state = _stacked([nothing] * self._plan.stack_size)
        inputs = self._inputs(stack, [], self._test_rows(stack))
        program.run.get_concrete_function(state, inputs)
        return program.run, state, inputs

    def _train(self, stack: _Stack, progress: Progress) -> dict[int, Fitted]:
        """Train one stack to its end; called in a thread of its own."""
        began = time.perf_counter()
        program = self._programs[stack.shape.layout]
        idle = self._plan.stack_size - len(stack.places)
        state = _stacked([self._initial[i] for i in (*stack.places, *stack.places[:1] * idle)])
        test = self._test_rows(stack)
        loss, val_loss = [], []
        for first in range(0, self._config.epochs, self._plan.epochs_per_call):
            if self._stop.is_set():
                raise Stopped
            last = min(first + self._plan.epochs_per_call, self._config.epochs)
            inputs = self._inputs(stack, list(range(first, last)), test)
            outputs: Outputs = program.run(state, inputs)
            state = outputs.state
            loss.append(outputs.loss.numpy()[: last - first])
            val_loss.append(outputs.val_loss.numpy()[: last - first])
            progress((last - first) * len(stack.places))
        seconds = (time.perf_counter() - began) / len(stack.places)
        return self._unstack(
            stack, outputs, np.concatenate(loss), np.concatenate(val_loss), seconds
        )

    def _inputs(self, stack: _Stack, epochs: list[int], test: tf.Tensor) -> Inputs:
        fits = [self._fits[place] for place in stack.places]
        n_idle = self._plan.stack_size - len(fits)
        no_rows = np.empty(0, dtype=np.int64)
        orders = [
            [*(epoch_order(fit.seed, epoch, fit.train) for fit in fits), *[no_rows] * n_idle]
            for epoch in epochs
        ]
        orders += [[no_rows] * self._plan.stack_size] * (self._plan.epochs_per_call - len(epochs))
        _, n_steps, batch_size, rest = stack.shape
        batches, rests = cut(orders, n_steps, batch_size, rest)
        steps = max(-(-(len(fit.train) - rest) // batch_size) for fit in fits)
        return Inputs(
            X=self._X,
            y=self._y,
            prepare=stacked([fit.preparation for fit in (*fits, *fits[:1] * n_idle)]),
            batches=tf.constant(batches),
            rest=tf.constant(rests),
            test=test,
            n_epochs=tf.constant(len(epochs)),
            n_steps=tf.constant(steps),
        )

    def _test_rows(self, stack: _Stack) -> tf.Tensor:
        """Return the test rows of a stack, padded, of shape (chunks, stack, chunk)."""
        shape = (self._plan.stack_size, self._n_test_chunks * self._test_chunk)
        rows = np.full(shape, PADDING, dtype=np.int32)
        for slot, place in enumerate(stack.places):
            test = self._fits[place].test
            rows[slot, : len(test)] = test
        chunks = rows.reshape(self._plan.stack_size, self._n_test_chunks, self._test_chunk)
        return tf.constant(chunks.transpose(1, 0, 2))

    def _unstack(
        self,
        stack: _Stack,
        outputs: Outputs,
        loss: NDArray[np.float32],
        val_loss: NDArray[np.float32],
        seconds: float,
    ) -> dict[int, Fitted]:
        y_score = outputs.y_score.numpy().transpose(1, 0, 2, 3)
        y_score = y_score.reshape(len(y_score), -1, y_score.shape[-1])
        weights = [t.numpy() for t in (*outputs.state.trainable, *outputs.state.non_trainable)]
        fitted = {}
        for slot, place in enumerate(stack.places):
            fit = self._fits[place]
            n_test = len(fit.test)
            fitted[place] = Fitted(
                y_score=y_score[slot, :n_test],
                loss=loss[:, slot] / len(fit.train),
                val_loss=val_loss[:, slot] / n_test if n_test else np.full(len(loss), np.nan),
                weights=tuple(weight[slot] for weight in weights),
                seconds=seconds,
            )
        return fitted


def _stacked(states: Sequence[State]) -> State:
    return State(
        *(
            [tf.constant(np.stack(slices)) for slices in zip(*variables, strict=True)]
            for variables in zip(*states, strict=True)
        )
    )
