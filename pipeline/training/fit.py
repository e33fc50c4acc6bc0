"""The records that go into training and come out of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.preparation import Preparation


@dataclass(frozen=True, eq=False)
class Fit:
    """One training to do.

    Attributes:
        seed: Seeds initial weights, batch order and dropout.
        train: Row numbers to train on.
        test: Row numbers to score on; may be empty.
        preparation: Learnt from the rows `train`.
    """

    seed: int
    train: NDArray[np.int64]
    test: NDArray[np.int64]
    preparation: Preparation


@dataclass(frozen=True, eq=False)
class Fitted:
    """One training done.

    Attributes:
        y_score: Probabilities for the rows `test`, of shape (n_test, n_labels).
        loss: Mean training loss of each epoch, penalties included, of shape (epochs,).
        val_loss: The same on the rows `test` after each epoch, of shape (epochs,); NaN without such
            rows. It is looked at, never acted on.
        weights: Trainable, then non-trainable variables, in the model's order.
        seconds: This fit's share of its stack's time.
    """

    y_score: NDArray[np.float32]
    loss: NDArray[np.floating]
    val_loss: NDArray[np.floating]
    weights: tuple[NDArray[np.generic], ...]
    seconds: float
