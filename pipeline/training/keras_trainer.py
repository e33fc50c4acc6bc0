"""Training of all fits: dealt into stacks, compiled once, run side by side in threads."""

import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.config import TrainingConfig
from pipeline.errors import UserError
from pipeline.training.base import FitResult, FitSpec, Progress, Stopped
from pipeline.training.compiled import Program, cached_program
from pipeline.training.optimization import functional, label_weights, make_optimizer
from pipeline.training.prepared import Layout, layout_of, shared_table, stacked
from pipeline.training.stack import (
    PADDING,
    EarlyStoppingState,
    Inputs,
    Outputs,
    State,
    cut,
    epoch_order,
)
from pipeline.training.stack_plan import StackPlan, depends_on_batch, evenly, plan_stacks

SCORED = 4096  # rows scored at once, to bound memory
KEPT_WEIGHTS = 2**24  # numbers: initial weights that a program keeps for later, 64 MB


class _Kind(NamedTuple):
    """What must be equal for fits to share a program.

    Attributes:
        layout: Of their preparations.
        n_steps: Steps of the whole training, where a schedule of the learning rate spans them.
    """

    layout: Layout
    n_steps: int | None


class _Shape(NamedTuple):
    """What must be equal for stacks to share a compiled program; steps are those of an epoch."""

    kind: _Kind
    n_steps: int
    batch_size: int
    rest: int


class _Stack(NamedTuple):
    places: tuple[int, ...]
    shape: _Shape
    size: int


class KerasTrainer:
    """Trains fits of one architecture on one table, all at once.

    A fit's result depends on its seed and its rows: never on the stack it shares or on threads.
    """

    unit = "epochs"
    warnings = ()

    def __init__(
        self,
        build: Callable[[int], keras.Model],
        config: TrainingConfig,
        X: NDArray[np.floating],
        y: NDArray[np.int8],
        fits: Sequence[FitSpec],
        architecture: str | None = None,
    ) -> None:
        """Build the model once and plan the stacks.

        Args:
            build: Returns the untrained model for a width of input; its randomness must come from
                Keras, NumPy or Python's `random`, which are seeded before each call.
            config: Optimizer, epochs, batch size.
            X: Raw features of shape (n_samples, n_features).
            y: Labels of shape (n_samples, n_labels).
            fits: What to train.
            architecture: Names what `build` returns, so that trainers of one architecture share
                compiled programs; None to share none.

        Raises:
            UserError: If the optimizer or one of its options is unknown.
        """
        self._build, self._config, self._fits = build, config, fits
        self._X, self._y = shared_table(X), tf.constant(y, tf.float32)
        self._weights = [label_weights(config, y, fit.train) for fit in fits]
        self._kinds = [self._kind(fit, double=X.dtype == np.float64) for fit in fits]
        self._programs = {kind: self._find_program(architecture, kind) for kind in set(self._kinds)}
        self._optimizer_states = {
            kind: self._optimizer_state(kind, program) for kind, program in self._programs.items()
        }
        first = self._programs[self._kinds[0]]
        self._plan = self._plan_stacks(first)
        some_rows = fits[0].preparation.transform(X[: config.batch_size])
        self._exact = depends_on_batch(first.model, some_rows)
        largest = max(len(fit.train) for fit in fits)
        self._shapes = [self._shape(place, largest) for place in range(len(fits))]
        self._n_alike = Counter(self._shapes)
        self._n_test = max(len(fit.test) for fit in fits)
        self._n_valid = max(len(fit.valid) for fit in fits)
        self._initial: list[State] = []
        self._stop = Event()

    @property
    def units_per_fit(self) -> int:
        """Epochs of one fit, at most."""
        return self._config.epochs

    def compile(self) -> None:
        """Trace and compile the program of each shape, and draw the initial weights meanwhile.

        Tracing is Python's work and compiling is not: only the latter goes on beside other things.
        """
        stacks = self._assign_stacks(range(len(self._fits)))
        one_of_each = {stack.shape: stack for stack in stacks}.values()
        with ThreadPoolExecutor(self._plan.threads) as executor:
            compiled = [executor.submit(do_nothing) for do_nothing in map(self._trace, one_of_each)]
            self._initial = [self._draw_initial(place) for place in range(len(self._fits))]
            try:
                for future in compiled:
                    future.result()
            except tf.errors.ResourceExhaustedError as error:
                raise UserError(
                    "model: expected folds that fit into memory. Received: "
                    f"{_first_line(error)}. Train fewer at once (training.stack_size=1 "
                    "training.threads=1) or in smaller batches (training.batch_size)."
                ) from error
            except tf.errors.OpError as error:
                raise UserError(
                    "model: expected layers that XLA can compile, for all folds train in one "
                    f"program. Received: {_first_line(error)}"
                ) from error

    def train(
        self, progress: Progress = lambda n: None, places: Sequence[int] | None = None
    ) -> Generator[FitResult]:
        """Yield what was trained, in the order of the fits, as soon as it is there.

        Args:
            progress: Called, from any thread, with the number of epochs done since, summed over
                fits; those that a fit did not need count as done when it stops.
            places: Which fits, in ascending order; None for all.

        Raises:
            Stopped: After `stop`.
        """
        self._stop.clear()
        if not self._initial:
            self.compile()
        places = range(len(self._fits)) if places is None else places
        with ThreadPoolExecutor(self._plan.threads) as executor:
            try:
                stacks = self._assign_stacks(places)
                futures = [executor.submit(self._train, stack, progress) for stack in stacks]
                done: dict[int, FitResult] = {}
                for place in places:
                    while place not in done:
                        done.update(futures.pop(0).result())
                    yield done.pop(place)
            finally:
                self.stop()

    def stop(self) -> None:
        """Let the training end after the calls that are under way."""
        self._stop.set()

    def final_model(self, members: Sequence[FitResult], fit: FitSpec) -> keras.Model:
        """Return the model of one fit, or of several of one preparation, their answers averaged.

        Args:
            members: What was trained.
            fit: One of theirs.
        """
        models = [self._build(fit.preparation.n_columns) for _ in members]
        for model, result in zip(models, members, strict=True):
            variables = [*model.trainable_variables, *model.non_trainable_variables]
            for variable, value in zip(variables, result.weights, strict=True):
                variable.assign(value)
        if len(models) == 1:
            return models[0]
        inputs = keras.Input((fit.preparation.n_columns,))
        for member, model in enumerate(models):
            model.name = f"member_{member}"
        return keras.Model(inputs, keras.layers.Average()([model(inputs) for model in models]))

    def _kind(self, fit: FitSpec, *, double: bool) -> _Kind:
        spanned = self._config.schedule is not None
        steps = -(-len(fit.train) // self._config.batch_size) * self._config.epochs
        return _Kind(layout_of(fit.preparation, double=double), steps if spanned else None)

    def _find_program(self, architecture: str | None, kind: _Kind) -> Program:
        def make() -> Program:
            optimizer = functional(make_optimizer(self._config, kind.n_steps))
            return Program(self._build(kind.layout.n_columns), optimizer, kind.layout, self._config)

        if architecture is None:
            return make()
        return cached_program(architecture, self._config, kind.layout, kind.n_steps, make)

    def _optimizer_state(self, kind: _Kind, program: Program) -> list[NDArray[np.generic]]:
        """Return the state at the start, the learning rate in it."""
        optimizer = make_optimizer(self._config, kind.n_steps)
        optimizer.build(program.model.trainable_variables)
        return [variable.numpy() for variable in optimizer.variables]

    def _plan_stacks(self, program: Program) -> StackPlan:
        n_weights = sum(int(np.prod(v.shape)) for v in program.model.trainable_variables)
        return plan_stacks(
            n_fits=len(self._fits),
            n_train=max(len(fit.train) for fit in self._fits),
            batch_size=self._config.batch_size,
            n_weights=n_weights,
            n_state=n_weights + sum(v.size for v in self._optimizer_states[self._kinds[0]]),
            epochs=self._config.epochs,
            stack_size=self._config.stack_size,
            threads=self._config.threads,
        )

    def _assign_stacks(self, places: Sequence[int]) -> list[_Stack]:
        """Deal fits into stacks, those of like size together.

        Where batches must hold training rows and nothing else, fits of unequal size cannot share a
        stack; otherwise padding of weight 0 evens them out.
        """
        shapes: dict[_Shape, list[int]] = {}
        for place in places:
            shapes.setdefault(self._shapes[place], []).append(place)
        stacks = []
        for shape, group in shapes.items():
            size = self._size_of_stack(shape)
            alike = sorted(group, key=lambda place: -self._n_steps(place, shape))
            stacks += [
                _Stack(tuple(alike[start : start + size]), shape, size)
                for start in range(0, len(alike), size)
            ]
        return sorted(stacks, key=lambda stack: min(stack.places))

    def _shape(self, place: int, largest: int) -> _Shape:
        size = len(self._fits[place].train) if self._exact else largest
        batch_size = min(self._config.batch_size, size)
        full, rest = divmod(size, batch_size)
        if self._exact:
            return _Shape(self._kinds[place], full, batch_size, rest)
        return _Shape(self._kinds[place], full + bool(rest), batch_size, 0)

    def _size_of_stack(self, shape: _Shape) -> int:
        """Return how many fits a stack holds: no more than cores can share out evenly."""
        if len(self._n_alike) == 1:
            return self._plan.stack_size  # which is dealt so
        return min(self._plan.stack_size, evenly(self._n_alike[shape]))

    def _n_steps(self, place: int, shape: _Shape) -> int:
        return -(-(len(self._fits[place].train) - shape.rest) // shape.batch_size)

    def _draw_initial(self, place: int) -> State:
        kind, seed = self._kinds[place], self._fits[place].seed
        drawn = self._programs[kind].drawn
        if seed in drawn:
            return State(*drawn[seed], self._optimizer_states[kind])
        keras.utils.set_random_seed(seed)
        model = self._build(kind.layout.n_columns)
        weights = (
            [variable.numpy() for variable in model.trainable_variables],
            [variable.numpy() for variable in model.non_trainable_variables],
        )
        if model.count_params() * (len(drawn) + 1) <= KEPT_WEIGHTS:
            drawn[seed] = weights
        return State(*weights, self._optimizer_states[kind])

    def _trace(self, stack: _Stack) -> Callable[[], Outputs]:
        """Trace the program of a stack and return a call of it that does nothing."""
        program = self._programs[stack.shape.kind]
        nothing = State(
            [np.zeros(v.shape, v.dtype) for v in program.model.trainable_variables],
            [np.zeros(v.shape, v.dtype) for v in program.model.non_trainable_variables],
            self._optimizer_states[stack.shape.kind],
        )
        state = _stacked([nothing] * stack.size)
        valid, test = self._scored_rows(stack)
        stopping = program.initial_stopping(state, 0, test)
        inputs = self._inputs(stack, [], valid, test)
        program.run.get_concrete_function(state, stopping, inputs)
        return lambda: program.run(state, stopping, inputs)

    def _train(self, stack: _Stack, progress: Progress) -> dict[int, FitResult]:
        """Train one stack to its end; called in a thread of its own."""
        began = time.perf_counter()
        program = self._programs[stack.shape.kind]
        n_idle = stack.size - len(stack.places)
        state = _stacked([self._initial[i] for i in (*stack.places, *stack.places[:1] * n_idle)])
        valid, test = self._scored_rows(stack)
        stopping = program.initial_stopping(state, n_idle, test)
        losses = []
        for first in range(0, self._config.epochs, self._plan.epochs_per_call):
            if self._stop.is_set():
                raise Stopped
            last = min(first + self._plan.epochs_per_call, self._config.epochs)
            inputs = self._inputs(stack, list(range(first, last)), valid, test)
            state, stopping, by_epoch = program.run(state, stopping, inputs)
            losses.append(np.stack(by_epoch)[:, : last - first])
            all_stopped = bool(np.all(stopping.stopped))
            done = (self._config.epochs if all_stopped else last) - first
            progress(done * len(stack.places))
            if all_stopped:
                break
        seconds = (time.perf_counter() - began) / len(stack.places)
        return self._unstack(stack, state, stopping, np.concatenate(losses, axis=1), seconds)

    def _inputs(
        self, stack: _Stack, epochs: list[int], valid: tf.Tensor, test: tf.Tensor
    ) -> Inputs:
        fits = [self._fits[place] for place in stack.places]
        n_idle = stack.size - len(fits)
        no_rows = np.empty(0, dtype=np.int64)
        orders = [
            [*(epoch_order(fit.seed, epoch, fit.train) for fit in fits), *[no_rows] * n_idle]
            for epoch in epochs
        ]
        orders += [[no_rows] * stack.size] * (self._plan.epochs_per_call - len(epochs))
        _, n_steps, batch_size, rest = stack.shape
        batches, rests = cut(orders, n_steps, batch_size, rest)
        filled = (*stack.places, *stack.places[:1] * n_idle)
        return Inputs(
            X=self._X,
            y=self._y,
            prepare=stacked([self._fits[place].preparation for place in filled]),
            weights=tf.constant(np.stack([self._weights[place] for place in filled])),
            batches=tf.constant(batches),
            rest=tf.constant(rests),
            valid=valid,
            test=test,
            n_epochs=tf.constant(len(epochs)),
            n_steps=tf.constant(max(self._n_steps(place, stack.shape) for place in stack.places)),
        )

    def _scored_rows(self, stack: _Stack) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the rows that a stack watches and those it tests, padded."""
        fits = [self._fits[place] for place in stack.places]
        size = stack.size
        return (
            _in_chunks([fit.valid for fit in fits], size, self._n_valid),
            _in_chunks([fit.test for fit in fits], size, self._n_test),
        )

    def _unstack(
        self,
        stack: _Stack,
        state: State,
        stopping: EarlyStoppingState,
        losses: NDArray[np.float32],
        seconds: float,
    ) -> dict[int, FitResult]:
        best = stopping if stopping.trainable or stopping.non_trainable else state
        y_score = stopping.y_score.numpy()
        y_score = y_score.reshape(len(y_score), -1, y_score.shape[-1])
        weights = [t.numpy() for t in (*best.trainable, *best.non_trainable)]
        n_epochs = stopping.n_epochs.numpy()
        result = {}
        for slot, place in enumerate(stack.places):
            fit = self._fits[place]
            loss, val_loss, test_loss = losses[:, : n_epochs[slot], slot]
            result[place] = FitResult(
                y_score=y_score[slot, : len(fit.test)],
                loss=loss / len(fit.train),
                val_loss=val_loss if len(fit.valid) else val_loss[:0],
                test_loss=test_loss if len(fit.test) else test_loss[:0],
                seconds=seconds,
                weights=tuple(weight[slot] for weight in weights),
            )
        return result


def _in_chunks(rows: Sequence[NDArray[np.int64]], n_slots: int, n_most: int) -> tf.Tensor:
    """Return row numbers, padded, of shape (chunks, n_slots, chunk)."""
    chunk = max(1, min(n_most, SCORED))
    n_chunks = max(1, -(-n_most // chunk))
    padded = np.full((n_slots, n_chunks * chunk), PADDING, dtype=np.int32)
    for slot, own in enumerate(rows):
        padded[slot, : len(own)] = own
    return tf.constant(padded.reshape(n_slots, n_chunks, chunk).transpose(1, 0, 2))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300]


def _stacked(states: Sequence[State]) -> State:
    return State(
        *(
            [tf.constant(np.stack(slices)) for slices in zip(*variables, strict=True)]
            for variables in zip(*states, strict=True)
        )
    )
