"""How the fits are dealt into stacks: which share a program, and how many epochs make a call.

Stacking pays where a step is so small that calling it costs more than computing it. Once the
weights, gradients and optimizer state of a stack outgrow a core's cache, a smaller stack is faster
(`benchmarks/stacking.py` shows it). Compiled for stacks of another size, larger layers may add in
another order, and training makes much of a last bit; so the size follows from the work alone, never
from the cores that a job happens to have.
"""

from dataclasses import dataclass

from pipeline.cores import n_cores

CACHE_BYTES = 4 * 2**20  # what a stack may hold, by the benchmark on a server core of 2026
CALL_STEPS = 1000  # of one call: the same for the smallest networks
CALL_FLOPS = 2e9  # work of one call: some tenths of a second between two signs of progress
N_SHARES = 4  # stacks, at least, where there are as many fits: most machines' cores can share them
PROGRESS_CALLS = 10  # at least so many calls per training, to show progress


@dataclass(frozen=True)
class Plan:
    """How a group of fits is trained.

    Attributes:
        stack_size: Fits in one program.
        threads: Programs side by side.
        epochs_per_call: Epochs between two signs of progress.
    """

    stack_size: int
    threads: int
    epochs_per_call: int


def make_plan(
    n_fits: int,
    n_train: int,
    batch_size: int,
    n_weights: int,
    n_state: int,
    epochs: int,
    stack_size: int | None,
    threads: int | None,
) -> Plan:
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
    return Plan(stack_size, threads, epochs_per_call)


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
