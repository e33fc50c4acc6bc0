"""The records that go into training and come out of it."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.preprocessing import Preparation

Progress = Callable[[int], None]
NO_ROWS: NDArray[np.int64] = np.empty(0, dtype=np.int64)


class Stopped(Exception):
    """Training was told to stop before its end."""


@dataclass(frozen=True, eq=False)
class FitSpec:
    """One training to do.

    Attributes:
        seed: Seeds initial weights, batch order and dropout.
        train: Row numbers to train on.
        test: Row numbers to score on; may be empty.
        preparation: Learnt from the rows `train`.
        valid: Row numbers that early stopping watches; empty without it.
    """

    seed: int
    train: NDArray[np.int64]
    test: NDArray[np.int64]
    preparation: Preparation
    valid: NDArray[np.int64] = field(default_factory=lambda: NO_ROWS)


@dataclass(frozen=True, eq=False)
class FitResult:
    """One training done.

    Attributes:
        y_score: Probabilities for the rows `test`, of shape (n_test, n_labels).
        loss: Mean training loss of each epoch, penalties included, of shape (n_epochs,); empty for
            what is not trained by epochs.
        val_loss: The same on the rows `valid`; empty without such rows.
        test_loss: The same on the rows `test`; empty without such rows. It is looked at, never
            acted on.
        seconds: This fit's share of the time.
        weights: Trainable, then non-trainable variables of a Keras model, in its order.
        estimator: What scikit-learn trained; None for a Keras model.
    """

    y_score: NDArray[np.float32]
    loss: NDArray[np.floating]
    val_loss: NDArray[np.floating]
    test_loss: NDArray[np.floating]
    seconds: float
    weights: tuple[NDArray[np.generic], ...] = ()
    estimator: Any = None


def mean_curve(curves: Sequence[NDArray[np.floating]]) -> NDArray[np.float64]:
    """Return the mean by epoch over those that are still training then.

    Args:
        curves: Losses by epoch; of any lengths, as each may have stopped by itself.
    """
    longest = max((len(curve) for curve in curves), default=0)
    total, n = np.zeros(longest), np.zeros(longest)
    for curve in curves:
        total[: len(curve)] += curve
        n[: len(curve)] += 1
    return total / n


class Trainer(Protocol):
    """What trains fits of one kind of model on one table."""

    unit: str
    """What progress counts."""

    @property
    def warnings(self) -> Sequence[str]:
        """What the user should know of the training so far."""

    @property
    def units_per_fit(self) -> int:
        """How much of it one fit is."""

    def compile(self) -> None:
        """Do what can be done before the training, beside other things."""

    def train(
        self, progress: Progress = ..., places: Sequence[int] | None = None
    ) -> Generator[FitResult]:
        """Yield what was trained, in the order of the fits, as soon as it is there."""

    def stop(self) -> None:
        """Let the training end early; it raises `Stopped` then."""

    def final_model(self, members: Sequence[FitResult], fit: FitSpec) -> Any:
        """Return the model of one fit, or of the members of an ensemble."""


def fit_seed(
    seed: int, place: tuple[int, int] | Literal["final"], inner: int = 0, member: int = 0
) -> int:
    """Return the 32-bit seed of one fit.

    Args:
        seed: The configuration's seed.
        place: (repeat, fold), or "final" for the fit on all rows.
        inner: 0, or from 1 which of the fits within the training fold.
        member: Which member of an ensemble.
    """
    key = [1, 0, 0] if place == "final" else [0, *place]
    if inner or member:
        key += [inner, member]
    return int(np.random.SeedSequence([seed, *key]).generate_state(1)[0])
