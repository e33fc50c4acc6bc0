"""Choose which fits share a program, and how many.

Fits that train in one program form a stack: each holds one slot along the leading axis of every
tensor. Small networks train fastest in large stacks, because one step of a program has a fixed
cost. Large networks train fastest alone, because the weights of a stack then exceed the CPU's
cache. docs/measurements.md has the timings behind the constants below.

The size of a stack changes no bit of a result, so it may depend on the cores of this machine. Only
a fit alone in its program can differ from one in a stack, because XLA then drops the slots' axis
and sums some layers in another order; so the cores have no say in whether fits train alone.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from inspect import isfunction
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.preprocessing import Layout

CACHE_BYTES = 8 * 2**20  # memory of one stack, by `python -m benchmarks` on a server core of 2026
STEP_SECONDS = 6e-6  # time that a fit adds to a step of a network without weights
STEP_PRODUCTS = 50_000  # products of weights and rows that take as long
STEP_COST = 2  # fixed cost of a step, as a multiple of STEP_SECONDS
MIN_STEP_COST = 0.03  # of a network for which a stack saves anything, as a part of its step
N_CORES = 4  # for which a size is chosen if it may not depend on those of this machine
LONG_SECONDS = 10  # of one core, of a training whose first results should not wait for the last
MAX_CALL_STEPS = 1000  # training steps of one call of a program, for the smallest networks
MAX_CALL_FLOPS = 2e10  # operations of one call: some tenths of a second between progress updates
MAX_CALL_ROWS = 1_000_000  # row numbers of one call, to bound its memory
MIN_CALLS = 4  # calls per training: other threads train while the rows of the next are drawn
MIN_STOPPING_CALLS = 10  # if fits can stop early, as their slots idle until the end of a call


class ProgramKey(NamedTuple):
    """Properties that fits must have in common to share a program.

    Attributes:
        layout: Layout of their preprocessing.
        n_steps: Steps of the whole training, if a learning-rate schedule depends on it.
    """

    layout: Layout
    n_steps: int | None


class StackShape(NamedTuple):
    """Properties that stacks must have in common to share a compilation of their program.

    Attributes:
        key: Key of their program.
        n_steps: Batches of full size per epoch.
        batch_size: Rows per batch.
        last_batch_size: Rows of a smaller last batch; 0 if there is none.
    """

    key: ProgramKey
    n_steps: int
    batch_size: int
    last_batch_size: int


class FitGroup(NamedTuple):
    """Fits of equal shape, which train in stacks of equal size.

    Attributes:
        fit_indices: The fits, by their index in the list of all fits, in the order of training.
        shape: Shape of the stacks.
        n_slots: Fits per stack, of which some can be missing.
    """

    fit_indices: tuple[int, ...]
    shape: StackShape
    n_slots: int

    @property
    def firsts(self) -> list[int]:
        """Smallest index of the fits of each stack, if all fits train equally long."""
        starts = range(0, len(self.fit_indices), self.n_slots)
        return [min(self.fit_indices[start : start + self.n_slots]) for start in starts]


@dataclass(frozen=True)
class StackPlan:
    """The size and number of stacks that train at once.

    Attributes:
        fits_per_program: Largest number of fits in one stack.
        n_threads: Stacks that train side by side.
        epochs_per_call: Epochs per call of a program, that is between two progress updates.
        is_flexible: Whether the size of a stack changes no bit, so that it may depend on the cores,
            on which fits are left to train, and on the clock.
        is_given: Whether the user has chosen the size.
        n_stacks: Number of stacks, or more, of fits of one shape, if the size is not flexible.
    """

    fits_per_program: int
    n_threads: int
    epochs_per_call: int
    is_flexible: bool = True
    is_given: bool = False
    n_stacks: int = N_CORES

    def n_slots(self, n_left: int, n_equal: int) -> int:
        """Return the size of the stacks of some fits.

        Args:
            n_left: Number of these fits.
            n_equal: Number of all fits of their shape.
        """
        if self.is_given:
            return self.fits_per_program
        if not self.is_flexible:
            return min(self.fits_per_program, _stack_size(n_equal, self.n_stacks))
        # Smaller stacks let all threads train; but no fit trains alone because others are done.
        size = max(_stack_size(n_left, self.n_threads), min(2, n_equal))
        return min(self.fits_per_program, size)


def plan_stacks(
    n_fits: int,
    n_train: int,
    batch_size: int,
    n_weights: int,
    n_state: int,
    epochs: int,
    fits_per_program: int | None,
    n_threads: int,
    *,
    can_stop: bool = False,
    is_flexible: bool = True,
    n_positions: int = 1,
) -> StackPlan:
    """Choose the size of stacks for fits of one architecture.

    Args:
        n_fits: Number of fits.
        n_train: Training rows of the largest fit.
        batch_size: Rows of one step.
        n_weights: Trainable weights of one fit.
        n_state: Trainable weights and optimizer variables of one fit.
        epochs: Epochs of each fit.
        fits_per_program: The user's choice, or None.
        n_threads: Stacks to train side by side.
        can_stop: Whether early stopping can end fits, so that waiting ones take their slots.
        is_flexible: See `StackPlan`.
        n_positions: Times that a row uses a weight, such as once for each member of an ensemble.
    """
    is_given, n_threads = fits_per_program is not None, min(n_threads, n_fits)
    if fits_per_program is None:
        cached_size = CACHE_BYTES / (4 * (n_state + n_weights))  # of float32
        step_size = 1 + n_weights * min(batch_size, n_train) / STEP_PRODUCTS
        seconds = STEP_SECONDS * step_size * n_fits * epochs * n_train / batch_size
        n_rounds = 2 if can_stop or seconds > LONG_SECONDS else 1
        n_cores = n_threads if is_flexible else N_CORES
        step_cost, largest = STEP_COST / step_size, _stack_size(n_fits, n_cores * n_rounds)
        fits_per_program = _cheapest_size(n_fits, largest, cached_size, step_cost, n_cores)
    fits_per_program = min(fits_per_program, n_fits)
    # Operations bound a call, the fixed cost of its steps in small networks, and memory.
    n_rows: float = min(MAX_CALL_STEPS * batch_size * fits_per_program, MAX_CALL_ROWS)
    n_rows = min(MAX_CALL_FLOPS / (6 * n_weights * n_positions), n_rows)
    epochs //= MIN_STOPPING_CALLS if can_stop else MIN_CALLS
    epochs_per_call = max(1, min(int(n_rows / (n_train * fits_per_program)), epochs))
    return StackPlan(fits_per_program, n_threads, epochs_per_call, is_flexible, is_given)


def _stack_size(n_fits: int, n_stacks: int) -> int:
    """Return the size of so many stacks, but at least 2, as a fit alone can have other bits."""
    return min(n_fits, max(2, -(-n_fits // n_stacks)))


def _cheapest_size(
    n_fits: int, largest: int, cached_size: float, step_cost: float, n_threads: int
) -> int:
    """Return the stack size that wastes least.

    Args:
        n_fits: Number of fits.
        largest: Largest size to consider.
        cached_size: Fits whose weights fill the cache.
        step_cost: Fixed cost of a step, in steps of one fit.
        n_threads: Stacks that train side by side.
    """

    def cost(size: int) -> float:
        # Idle slots of the last stack cost as much as fits, and threads wait for the last one.
        n_rounds = -(-n_fits // (size * n_threads))
        return float(n_rounds * (size + step_cost) * max(size / cached_size, 1) ** 0.4)

    if cached_size < 2 or step_cost < MIN_STEP_COST:
        return 1
    return min(range(min(2, n_fits), largest + 1), key=cost)


def stack_shapes(
    keys: Sequence[ProgramKey], n_train: Sequence[int], batch_size: int, *, exact_batches: bool
) -> list[StackShape]:
    """Return the shape of the stack that each fit needs.

    With `exact_batches`, a batch holds training rows only, so fits of unequal size cannot share a
    stack. Otherwise every fit gets the number of steps of the largest one, and rows of weight 0
    fill the batches it does not need.

    Args:
        keys: Program of each fit.
        n_train: Training rows of each fit.
        batch_size: Rows per batch.
        exact_batches: Whether batches must not be padded.
    """
    shapes = []
    for key, n_rows in zip(keys, n_train, strict=True):
        size = n_rows if exact_batches else max(n_train)
        rows_per_batch = min(batch_size, size)
        n_full, n_last = divmod(size, rows_per_batch)
        if not exact_batches:
            n_full, n_last = n_full + bool(n_last), 0
        shapes.append(StackShape(key, n_full, rows_per_batch, n_last))
    return shapes


def n_steps(n_train: int, shape: StackShape) -> int:
    """Return the batches of full size per epoch that a fit of so many training rows needs."""
    return -(-(n_train - shape.last_batch_size) // shape.batch_size)


def group_fits(
    fit_indices: Sequence[int],
    shapes: Sequence[StackShape],
    n_train: Sequence[int],
    plan: StackPlan,
) -> list[FitGroup]:
    """Divide fits into groups of equal shape.

    Args:
        fit_indices: Fits to train now, in ascending order.
        shapes: Shape of each of all fits.
        n_train: Training rows of each of all fits.
        plan: Size and number of stacks.
    """
    by_shape: dict[StackShape, list[int]] = {}
    for fit_index in fit_indices:
        by_shape.setdefault(shapes[fit_index], []).append(fit_index)
    n_equal = Counter(shapes)
    groups = []
    for shape, group in by_shape.items():
        # A stack takes as many steps as its longest fit, so fits of similar length go together.
        ordered = sorted(group, key=lambda index: -n_steps(n_train[index], shape))
        groups.append(FitGroup(tuple(ordered), shape, plan.n_slots(len(group), n_equal[shape])))
    return groups


def depends_on_batch(model: keras.Model, x: NDArray[np.float32]) -> bool:
    """Test whether the output for a row depends on the other rows of its training batch.

    It does with layers such as BatchNormalization. Padding would change their outputs, their
    statistics or their penalties, whatever its weight, so they need exact batches. The test
    changes one row of a batch and compares the outputs for the others. A plain perceptron needs
    no test.

    Args:
        model: A built model.
        x: Some rows of its input, of shape (n, n_columns), the more varied the better.
    """
    if _is_perceptron(model):
        return False
    batch, changed = x[:9], x[:9].copy()
    others = x[(x != batch[-1]).any(axis=1)]
    changed[-1] = others[-1] if len(others) else batch[-1] + 1

    def outputs(x: NDArray[np.float32]) -> list[NDArray[np.generic]]:
        y, non_trainable, penalties = model.stateless_call(
            [variable.value for variable in model.trainable_variables],
            [variable.value for variable in model.non_trainable_variables],
            tf.constant(x),
            training=True,
            return_losses=True,
        )
        return [np.asarray(part) for part in (y[:-1], *non_trainable, *penalties)]

    pairs = zip(outputs(batch), outputs(changed), strict=True)
    return not all(np.allclose(a, b, rtol=1e-5, atol=1e-6, equal_nan=True) for a, b in pairs)


def _is_perceptron(model: keras.Model) -> bool:
    """Return whether a model is a sequence of layers of Keras that take each row by itself."""
    return type(model) is keras.Sequential and all(
        type(layer) is keras.layers.Dropout
        or (
            type(layer) in (keras.layers.Dense, keras.layers.Activation)
            and layer.activity_regularizer is None
            and isfunction(layer.activation)
            and layer.activation.__module__.startswith("keras.")
        )
        for layer in model.layers
    )
