"""Choose which fits share a program, and how large a stack is."""

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.runtime import n_cores

CACHE_BYTES = 4 * 2**20  # what a stack may hold, by the benchmark on a server core of 2026
CALL_STEPS = 1000  # of one call: the same for the smallest networks
CALL_FLOPS = 2e9  # work of one call: some tenths of a second between two signs of progress
N_SHARES = 4  # stacks, at least, where there are as many fits: most machines' cores can share them
PROGRESS_CALLS = 10  # at least so many calls per training, to show progress


@dataclass(frozen=True)
class StackPlan:
    """How a group of fits is trained.

    Attributes:
        stack_size: Fits in one program.
        threads: Programs side by side.
        epochs_per_call: Epochs between two signs of progress.
    """

    stack_size: int
    threads: int
    epochs_per_call: int


def plan_stacks(
    n_fits: int,
    n_train: int,
    batch_size: int,
    n_weights: int,
    n_state: int,
    epochs: int,
    stack_size: int | None,
    threads: int | None,
) -> StackPlan:
    """Return the plan for fits of one architecture.

    Args:
        n_fits: How many there are.
        n_train: Training rows of the largest.
        batch_size: Rows of one step.
        n_weights: Numbers in the weights of one fit.
        n_state: Numbers in weights and optimizer state of one fit.
        epochs: Epochs of each.
        stack_size: Decided by the user, or None.
        threads: Decided by the user, or None.
    """
    threads = min(threads or n_cores(), n_fits)
    if stack_size is None:
        stack_size = _cheapest(n_fits, CACHE_BYTES / (4 * (n_state + n_weights)))
    stack_size = min(stack_size, n_fits)
    n_steps = -(-n_train // batch_size)
    flops_per_epoch = 6 * n_weights * n_train * stack_size
    by_work = int(min(CALL_FLOPS / flops_per_epoch, CALL_STEPS / n_steps))
    epochs_per_call = max(1, min(by_work, -(-epochs // PROGRESS_CALLS)))
    return StackPlan(stack_size, threads, epochs_per_call)


def evenly(n_fits: int) -> int:
    """Return the largest stacks that can be shared out among cores."""
    return -(-n_fits // N_SHARES)


def _cheapest(n_fits: int, ideal: float) -> int:
    """Return the stack size under which the busiest of `N_SHARES` threads has least to do.

    Args:
        n_fits: Fits to deal.
        ideal: Fits that fill the cache. Sizes far from it cost more, by a fifth power that fits the
            benchmark; places that the last stack leaves empty cost as much as fits.
    """

    def cost(size: int) -> float:
        rounds = -(-n_fits // (size * N_SHARES))
        return float(rounds * size * max(size / ideal, ideal / size) ** 0.2)

    return min(range(1, evenly(n_fits) + 1), key=cost)


def depends_on_batch(model: keras.Model, x: NDArray[np.float32]) -> bool:
    """Return whether training mode mixes rows, as BatchNormalization does; found by trying.

    A batch of such a model must hold training rows and nothing else: rows added to even out
    batches would change its answers, its statistics or its penalties, whatever their weight.

    Args:
        model: A built model.
        x: Some rows of its input, of shape (n, n_columns).
    """
    x, others = x[:9], x[9:] if len(x) > 9 else x
    other = x.copy()
    other[-1] = others[(others != x[-1]).any(axis=1).argmax()]

    def answers(x: NDArray[np.float32]) -> list[NDArray[np.generic]]:
        y, non_trainable, penalties = model.stateless_call(
            [variable.value for variable in model.trainable_variables],
            [variable.value for variable in model.non_trainable_variables],
            tf.constant(x),
            training=True,
            return_losses=True,
        )
        return [np.asarray(part) for part in (y[:-1], *non_trainable, *penalties)]

    pairs = zip(answers(x), answers(other), strict=True)
    return not all(np.allclose(a, b, rtol=1e-5, atol=1e-6, equal_nan=True) for a, b in pairs)
