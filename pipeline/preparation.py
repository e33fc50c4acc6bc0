"""What is learnt from a fold's training rows and done to its features."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.config import PreparationConfig


@dataclass(frozen=True, eq=False)
class Preparation:
    """An affine map of each feature: `(X - mean) / scale`; both of shape (n_features,)."""

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]


def fit_preparation(
    config: PreparationConfig, X: NDArray[np.floating], train: NDArray[np.int64]
) -> Preparation:
    """Return the preparation learnt from the training rows alone.

    A feature that is constant on them keeps the scale 1, as in scikit-learn's `StandardScaler`.

    Args:
        config: Which preparation.
        X: All features, of shape (n_samples, n_features).
        train: Row numbers of the training rows.
    """
    if config.kind == "none":
        return Preparation(np.zeros(X.shape[1]), np.ones(X.shape[1]))
    rows = X[train]
    mean, deviation = rows.mean(axis=0), rows.std(axis=0)
    constant = rows.max(axis=0) == rows.min(axis=0)
    return Preparation(mean, np.where(constant | (deviation == 0), 1.0, deviation))
