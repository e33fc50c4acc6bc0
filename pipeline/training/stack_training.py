"""Train a stack of fits, and waiting fits in the slots of those that have ended.

Once no fit waits and half of the slots are idle, the others go on in a program of half the size. So
early stopping saves the time of every fit that stops, not only of a stack that has stopped as a
whole. A fit does not depend on the others in its stack.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.preprocessing.layer import count_weights
from pipeline.runtime import release_memory
from pipeline.training.base import FitResult, Progress, Stopped
from pipeline.training.compiled import Program
from pipeline.training.stack import EarlyStoppingState, Inputs, StackInputs, State
from pipeline.training.stack_plan import FitGroup, StackPlan

# Of a smaller program, which is compiled once idle slots have wasted as much time: so no more than
# twice the time is lost that foresight would lose, however long the other fits go on.
COMPILE_SECONDS = 1.0


class Slots(NamedTuple):
    """The variables of a stack between two calls of its program."""

    state: State
    stopping: EarlyStoppingState


@dataclass
class _RunningFit:
    """A fit in a slot of a stack.

    Attributes:
        fit_index: The fit.
        next_epoch: The next epoch to train.
        losses: Losses of the epochs of each call, of shape (3, n_epochs).
        seconds: Its part of the time of the calls.
    """

    fit_index: int
    next_epoch: int = 0
    losses: list[NDArray[np.float32]] = field(default_factory=list)
    seconds: float = 0.0


class StackTraining:
    """Trains fits of one shape; several threads can call `run`, each for a stack of its own.

    Attributes:
        waiting: Fits that no stack has begun, by their index.
    """

    def __init__(
        self,
        program: Program,
        inputs: StackInputs,
        group: FitGroup,
        n_epochs: int,
        plan: StackPlan,
        initial_state: Callable[[int], State],
    ) -> None:
        """Set what all stacks of the shape share.

        Args:
            program: Their program.
            inputs: The table and its fits.
            group: The fits, their shape and the size of a stack.
            n_epochs: Epochs of each fit.
            plan: Epochs of one call of the program, and whether stacks may shrink.
            initial_state: Returns the state of a fit before the first step.
        """
        self.waiting = deque(group.fit_indices)
        self._program, self._inputs = program, inputs
        self._shape, self._n_slots = group.shape, group.n_slots
        self._n_epochs, self._per_call = n_epochs, plan.epochs_per_call
        self._can_shrink = plan.is_flexible
        self._initial_state = initial_state

    def trace(self, state: State) -> list[Callable[[], Any]]:
        """Trace the programs of a stack; return calls that compile them and train nothing.

        `state` is that of any fit; the values do not matter.
        """
        program, slots = self._program, [self.waiting[0]] * self._n_slots
        carried = _stack([self._fresh(state)] * self._n_slots)
        none = [range(0)] * self._n_slots
        inputs = self._inputs.of_slots(self._shape, slots)
        inputs = self._inputs.of_epochs(inputs, self._shape, slots, none, self._per_call)
        rows = self._inputs.scored_rows(slots)[0]
        weights = carried.state.trainable, carried.state.non_trainable
        program.run.trace(*carried, inputs)
        program.score.trace(weights, self._inputs.X, rows)
        return [
            lambda: program.run(*carried, inputs),
            lambda: program.score(weights, self._inputs.X, rows),
        ]

    def run(
        self, progress: Progress, is_stopped: Callable[[], bool]
    ) -> Iterator[dict[int, FitResult]]:
        """Train one stack until no fit is left; yield the results of the fits that have ended.

        Args:
            progress: Called with the epochs done since the last call; those that early stopping
                skips count when the fit ends.
            is_stopped: Whether to end early.

        Raises:
            Stopped: If it ends early.
        """
        running: list[_RunningFit | None] = [None] * self._n_slots
        carried: Slots | None = None
        wasted = 0.0
        while (carried := self._fill(running, carried)) is not None:
            inputs = self._inputs.of_slots(self._shape, _indices(running))
            idle_fraction = 1 - self._smaller_size(running) / len(running)
            ended: list[int] = []
            while not ended and wasted <= COMPILE_SECONDS:
                if is_stopped():
                    raise Stopped
                began = time.perf_counter()
                carried, ended = self._call(running, carried, inputs, progress)
                wasted += idle_fraction * (time.perf_counter() - began)
            if ended:
                yield self._results(running, carried, ended)
            for slot in ended:
                running[slot] = None
            if wasted > COMPILE_SECONDS:
                running, carried = self._shrink(running, carried)
                wasted = 0.0
            release_memory()

    def _fill(self, running: list[_RunningFit | None], carried: Slots | None) -> Slots | None:
        """Begin waiting fits in idle slots; return None if no fit is left."""
        fresh = {}
        for slot, fit in enumerate(running):
            if fit is None:
                try:
                    fit_index = self.waiting.popleft()
                except IndexError:  # another thread may have begun the last one just now
                    break
                running[slot] = _RunningFit(fit_index)
                fresh[slot] = self._fresh(self._initial_state(fit_index))
        if not any(running):
            return None
        if carried is None:  # idle slots hold copies of a fit, for their shapes
            return _stack([fresh.get(slot, fresh[0]) for slot in range(self._n_slots)])
        return _replace(carried, fresh) if fresh else carried

    def _smaller_size(self, running: Sequence[_RunningFit | None]) -> int:
        """Return half of the slots, or half of these again, if no fit waits for the others."""
        n_slots, n_filled = len(running), sum(fit is not None for fit in running)
        can_shrink = self._can_shrink and not self.waiting
        while can_shrink and n_slots > 2 and n_filled <= n_slots // 2:
            n_slots = max(2, n_slots // 2)
        return n_slots

    def _shrink(
        self, running: Sequence[_RunningFit | None], carried: Slots
    ) -> tuple[list[_RunningFit | None], Slots]:
        """Drop idle slots."""
        filled_first = sorted(range(len(running)), key=lambda slot: running[slot] is None)
        kept = filled_first[: self._smaller_size(running)]
        shrunk: Slots = tf.nest.map_structure(lambda tensor: tf.gather(tensor, kept), carried)
        return [running[slot] for slot in kept], shrunk

    def _fresh(self, state: State) -> Slots:
        return Slots(state, self._program.initial_stopping(state))

    def _next_epochs(self, fit: _RunningFit | None) -> range:
        """Return the epochs that a fit trains in the next call."""
        if fit is None:
            return range(0)
        return range(fit.next_epoch, min(fit.next_epoch + self._per_call, self._n_epochs))

    def _call(
        self,
        running: Sequence[_RunningFit | None],
        carried: Slots,
        inputs: Inputs,
        progress: Progress,
    ) -> tuple[Slots, list[int]]:
        """Train some epochs of the fits; return the slots of those that have ended too."""
        began = time.perf_counter()
        slots, epochs = _indices(running), [self._next_epochs(fit) for fit in running]
        inputs = self._inputs.of_epochs(inputs, self._shape, slots, epochs, self._per_call)
        state, stopping, by_epoch = self._program.run(*carried, inputs)
        losses, stopped = np.stack(by_epoch), stopping.stopped.numpy()
        fits = [(slot, fit) for slot, fit in enumerate(running) if fit]
        seconds = (time.perf_counter() - began) / len(fits)
        ended, n_done = [], 0
        for slot, fit in fits:
            fit.losses.append(losses[:, : len(epochs[slot]), slot])
            fit.seconds += seconds
            fit.next_epoch = epochs[slot].stop
            n_done += len(epochs[slot])
            if stopped[slot] or fit.next_epoch == self._n_epochs:
                n_done += self._n_epochs - fit.next_epoch
                ended.append(slot)
        progress(n_done)
        return Slots(state, stopping), ended

    def _results(
        self, running: Sequence[_RunningFit | None], carried: Slots, ended: Sequence[int]
    ) -> dict[int, FitResult]:
        """Return the results of the fits in some slots, by fit index."""
        state, stopping = carried
        best = stopping if stopping.trainable or stopping.non_trainable else state
        chunks = [
            self._program.score((best.trainable, best.non_trainable), self._inputs.X, rows)
            for rows in self._inputs.scored_rows(_indices(running))
        ]
        n_prepared = count_weights(self._shape.key.layout)
        weights = [it.numpy() for it in (*best.trainable, *best.non_trainable[n_prepared:])]
        n_epochs = stopping.n_epochs.numpy()
        results = {}
        for slot in ended:
            fit = running[slot]
            assert fit is not None
            y_score = np.concatenate([chunk.numpy()[slot] for chunk in chunks])
            losses = np.concatenate(fit.losses, axis=1)[:, : n_epochs[slot]]
            loss, val_loss, test_loss = self._inputs.curves(fit.fit_index, losses)
            results[fit.fit_index] = FitResult(
                y_score=y_score[: self._inputs.n_test(fit.fit_index)],
                loss=loss,
                val_loss=val_loss,
                test_loss=test_loss,
                seconds=fit.seconds,
                weights=tuple(weight[slot] for weight in weights),
            )
        return results


def _indices(running: Sequence[_RunningFit | None]) -> list[int | None]:
    """Return the index of the fit in each slot; None if it is idle."""
    return [fit.fit_index if fit else None for fit in running]


def _stack(slots: Sequence[Slots]) -> Slots:
    """Stack the variables of single fits along a new first axis."""
    stacked: Slots = tf.nest.map_structure(lambda *values: tf.constant(np.stack(values)), *slots)
    return stacked


def _replace(carried: Slots, fresh: dict[int, Slots]) -> Slots:
    """Replace the variables of some slots."""

    def replace(tensor: tf.Tensor, *values: NDArray[np.generic]) -> tf.Tensor:
        array = tensor.numpy().copy()
        array[list(fresh)] = np.stack(values)
        return tf.constant(array)

    replaced: Slots = tf.nest.map_structure(replace, carried, *fresh.values())
    return replaced
