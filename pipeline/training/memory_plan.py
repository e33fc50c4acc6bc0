"""Keep the fits that train at once within a budget of memory.

The bytes of a slice, one fit of a stack, are known from shapes before anything is compiled. Stacks
that would not fit train on fewer threads, which changes no score, and then in smaller stacks.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from math import prod

import keras
import numpy as np

from pipeline.config import TrainingConfig
from pipeline.config.schema import parse_bytes
from pipeline.errors import UserError
from pipeline.runtime import core_fraction, n_cores
from pipeline.training.base import Device, FitSpec
from pipeline.training.batches import MAX_SCORED_ROWS
from pipeline.training.compiled_function import has_reproducible_sums
from pipeline.training.device import free_memory
from pipeline.training.stack_plan import StackPlan, plan_stacks

AUTOMATIC_FRACTION = 0.5  # of the free memory; the rest is for the scores, figures and the model
# Jobs of a parallel sweep share it as they share the cores.
_STATE_COPIES = 2  # the state before a call of the program, and after it
_GRADIENT_COPIES = 2  # the gradients, and the copy of a variable that XLA makes
_ACTIVATION_COPIES = 2  # of the forward and of the backward pass
_BYTES = 4  # of float32
_ROW_BYTES = 20  # of a row's number: its kept place, drawn, padded, in batches, on the device


@dataclass(frozen=True)
class SliceMemory:
    """Bytes of one fit of a stack while it trains.

    Attributes:
        weights: Weights, and those of the best epoch if early stopping restores them.
        gradients: Gradients of the weights.
        optimizer: Variables of the optimizer.
        activations: Outputs of all layers, for a batch or for the rows that are scored at once.
        scores: Probabilities of the test rows.
        batches: Row numbers of the batches of one call of the program.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    scores: int
    batches: int

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return sum(astuple(self))


def plan_training(
    config: TrainingConfig,
    network: keras.Model,
    n_optimizer: int,
    fits: Sequence[FitSpec],
    device: Device,
) -> tuple[StackPlan, str]:
    """Plan the stacks, and return a message if the memory makes them smaller.

    A GPU trains all fits in one stack: a step takes it no longer for many fits than for one, and
    stacks side by side would take turns.

    Args:
        config: Epochs, batch size, and the user's choices.
        network: The preprocessing layer and the model.
        n_optimizer: Values of the optimizer's variables.
        fits: All fits.
        device: Processor that trains.

    Raises:
        UserError: If not even one fit fits into the memory.
    """
    is_gpu = device.kind == "gpu"
    n_train = max(len(fit.train) for fit in fits)
    n_test = max(len(fit.test) for fit in fits)
    n_weights = _n_values(network.trainable_variables)
    plan = plan_stacks(
        n_fits=len(fits),
        n_train=n_train,
        batch_size=config.batch_size,
        n_weights=n_weights,
        n_state=n_weights + n_optimizer,
        epochs=config.epochs,
        fits_per_program=config.fits_per_program or (len(fits) if is_gpu else None),
        n_threads=config.n_threads or (1 if is_gpu else n_cores()),
        can_stop=config.early_stopping.patience is not None,
        is_flexible=not is_gpu and has_reproducible_sums(),
        n_positions=_n_positions(network),
    )
    if is_gpu:
        plan = replace(plan, is_given=config.fits_per_program is not None, n_stacks=1)
    stopping = config.early_stopping
    memory = slice_memory(
        network,
        n_optimizer,
        min(config.batch_size, n_train),
        min(n_test, MAX_SCORED_ROWS),
        n_test,
        n_train * plan.epochs_per_call,
        restores_best=stopping.patience is not None and stopping.restore_best_weights,
    )
    return fit_to_memory(plan, memory.total, config.memory, free_memory(device))


def slice_memory(
    network: keras.Model,
    n_optimizer: int,
    batch_size: int,
    n_scored: int,
    n_test: int,
    n_visited: int,
    *,
    restores_best: bool,
) -> SliceMemory:
    """Return the bytes of one slice.

    Args:
        network: The preprocessing layer and the model.
        n_optimizer: Values of the optimizer's variables.
        batch_size: Rows of a training step.
        n_scored: Rows that are scored at once.
        n_test: Test rows of the largest fit.
        n_visited: Training rows of all epochs of one call.
        restores_best: Whether early stopping keeps the weights of the best epoch.
    """
    n_trainable = _n_values(network.trainable_variables)
    n_weights = n_trainable + _n_values(network.non_trainable_variables)
    # The widest axis of a layer's weights is that of its inputs or outputs.
    widths = [max(it.shape) for it in network.trainable_variables if len(it.shape) > 1]
    n_inputs, n_labels = network.input_shape[-1], network.output_shape[-1]
    n_activations = max(batch_size, n_scored) * (n_inputs + n_labels + sum(widths))
    return SliceMemory(
        weights=_BYTES * _STATE_COPIES * n_weights * (2 if restores_best else 1),
        gradients=_BYTES * _GRADIENT_COPIES * n_trainable,
        optimizer=_BYTES * _STATE_COPIES * n_optimizer,
        activations=_BYTES * _ACTIVATION_COPIES * n_activations,
        scores=_BYTES * n_test * n_labels,
        batches=_ROW_BYTES * n_visited,
    )


def fit_to_memory(
    plan: StackPlan, per_slice: int, setting: str | None, free: int | None
) -> tuple[StackPlan, str]:
    """Return a plan whose stacks fit into the memory at once, and a message if it is another.

    Args:
        plan: Stacks as large, and threads as many, as is fastest.
        per_slice: Bytes of one slice.
        setting: `training.memory`.
        free: Free bytes of the device; None if they are unknown.

    Raises:
        UserError: If not even one slice fits.
    """
    if setting is not None:
        limit = budget = parse_bytes(setting)
    elif free is None:
        return plan, ""
    else:
        limit, budget = free, int(free * AUTOMATIC_FRACTION * core_fraction())
    if per_slice > limit:
        owner = "are free" if setting is None else "training.memory allows"
        raise UserError(
            f"training.memory: expected at least {_format(per_slice)}, which a single fit takes. "
            f"Received: {_format(limit)} that {owner}. Train a smaller model "
            "(model.hidden_units), in smaller batches (training.batch_size)"
            + (", or on a machine with more memory." if setting is None else ", or allow more.")
        )
    n_slices = max(1, budget // per_slice)
    size = min(plan.fits_per_program, n_slices)
    n_threads = max(1, min(plan.n_threads, n_slices // size))
    if (size, n_threads) == (plan.fits_per_program, plan.n_threads):
        return plan, ""
    message = (
        f"{plan.n_threads} x {plan.fits_per_program} fits at once would take "
        f"{_format(plan.n_threads * plan.fits_per_program * per_slice)}, more than the "
        f"{_format(budget)} of training.memory, so {n_threads} x {size} train at once"
    )
    return replace(plan, fits_per_program=size, n_threads=n_threads), message


def _n_values(variables: list[keras.Variable]) -> int:
    return sum(int(np.prod(variable.shape)) for variable in variables)


def _n_positions(network: keras.Model) -> int:
    """Return the largest number of vectors, such as those of members, in an output for a row."""
    nodes = (node for layer in network._flatten_layers() for node in layer._inbound_nodes)
    shapes = (tensor.shape for node in nodes for tensor in node.output_tensors)
    return max((prod(filter(None, shape[1:-1])) for shape in shapes), default=1)


def _format(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:.2f} MB"
