"""Fit specifications, fit results and the trainer protocol."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.preprocessing import Preprocessor

Progress = Callable[[int], None]
NO_ROWS: NDArray[np.int32] = np.empty(0, dtype=np.int32)
NO_CURVE: NDArray[np.float64] = np.empty(0)


class Stopped(Exception):
    """Training was stopped before it was complete."""


@dataclass(frozen=True)
class Device:
    """The processor that trains.

    Attributes:
        kind: A GPU trains all fits in one program, a CPU smaller stacks in several threads.
        name: Name of the GPU.
        memory: Bytes of the GPU's memory; None if they are unknown.
        reason: Why no GPU trains.
    """

    kind: Literal["cpu", "gpu"]
    name: str = ""
    memory: int | None = None
    reason: str = ""

    def __str__(self) -> str:
        """Return kind, name and memory, such as `GPU (NVIDIA H100, 85.0 GB)`."""
        size = f"{self.memory / 1e9:.1f} GB" if self.memory else ""
        details = ", ".join(filter(None, (self.name, size)))
        return self.kind.upper() + (f" ({details})" if details else "")

    @property
    def description(self) -> str:
        """The device, and why it is not a GPU."""
        return f"{self} ({self.reason})" if self.reason else str(self)


CPU = Device("cpu")


@dataclass(frozen=True, eq=False)
class FitSpec:
    """The rows, the seed and the preprocessing of one fit.

    Attributes:
        seed: Seeds initial weights, batch order and dropout.
        train: Row numbers to train on.
        test: Row numbers to score; may be empty.
        preprocessor: Preprocessing learnt from the rows `train`.
        valid: Row numbers that early stopping monitors; empty without early stopping.
        name: Its fold for messages, such as "repeat 0, fold 2".
        keeps_model: Whether `Trainer.predict` will be called with its result.
    """

    seed: int
    train: NDArray[np.int32]
    test: NDArray[np.int32]
    preprocessor: Preprocessor
    valid: NDArray[np.int32] = field(default_factory=lambda: NO_ROWS)
    name: str = "a fold"
    keeps_model: bool = False


@dataclass(frozen=True, eq=False)
class FitResult:
    """The predictions, the losses and the model of one fit.

    Attributes:
        y_score: Probabilities for the rows `test`, of shape (n_test, n_labels).
        seconds: Training time of this fit; fits trained together divide their time equally.
        loss: Mean training loss of each epoch, including penalties, of shape (n_epochs,); empty
            for models without epochs.
        val_loss: Loss on the rows `valid`; empty without such rows.
        test_loss: Loss on the rows `test`, or on some of them; empty without such rows. It is only
            reported; training never uses it.
        weights: Trainable, then non-trainable variables of a Keras model, in its order, without
            those of the preprocessing.
        estimator: Fitted scikit-learn model; None for a Keras model, and for a fold whose model is
            not kept.
    """

    y_score: NDArray[np.float32]
    seconds: float
    loss: NDArray[np.floating] = field(default_factory=lambda: NO_CURVE)
    val_loss: NDArray[np.floating] = field(default_factory=lambda: NO_CURVE)
    test_loss: NDArray[np.floating] = field(default_factory=lambda: NO_CURVE)
    weights: tuple[NDArray[np.generic], ...] = ()
    estimator: Any = None


def mean_curve(curves: Sequence[NDArray[np.floating]]) -> NDArray[np.float64]:
    """Return the mean loss of each epoch over the fits that reached it."""
    n_epochs = max((len(curve) for curve in curves), default=0)
    total, n = np.zeros(n_epochs), np.zeros(n_epochs)
    for curve in curves:
        total[: len(curve)] += curve
        n[: len(curve)] += 1
    return total / n


class Trainer(Protocol):
    """Trains the fits of one kind of model on one table."""

    unit: str
    """Name of the unit of progress, such as epochs."""

    device: Device
    """Processor that trains."""

    @property
    def warnings(self) -> Sequence[str]:
        """Messages for the user about the training so far."""

    @property
    def units_per_fit(self) -> int:
        """Units of progress of one fit."""

    def compile(self) -> None:
        """Compile the training; can run in a thread while other work goes on."""

    def train(
        self, progress: Progress = ..., fit_indices: Sequence[int] | None = None
    ) -> Generator[FitResult]:
        """Yield the result of each fit, in the order of the fits, as soon as it is available.

        Args:
            progress: Called from any thread with the units done since the last call.
            fit_indices: Fits to train, in ascending order; None for all.

        Raises:
            Stopped: After `stop`.
        """

    def stop(self) -> None:
        """Request an early end of the training, after the current fits or calls of programs."""

    def predict(
        self, result: FitResult, fit: FitSpec, X: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the probabilities that the model of one fit predicts for encoded rows."""

    def final_model(self, ensemble: Sequence[FitResult], fit: FitSpec) -> Any:
        """Return the model of one fit, or an ensemble that averages several fits."""


def fit_seed(
    seed: int,
    fold_id: tuple[int, int] | Literal["final"],
    inner_fold: int = 0,
    ensemble_index: int = 0,
) -> int:
    """Return the 32-bit seed of one fit.

    Args:
        seed: Seed of the configuration.
        fold_id: (repeat, fold), or "final" for the fit on all rows.
        inner_fold: Number of the inner fold, from 1; 0 for an outer fit.
        ensemble_index: Index of the model within its ensemble.
    """
    key = [1, 0, 0] if fold_id == "final" else [0, *fold_id]
    if inner_fold or ensemble_index:
        key += [inner_fold, ensemble_index]
    return int(np.random.SeedSequence([seed, *key]).generate_state(1)[0])
