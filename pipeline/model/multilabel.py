"""Multi-label classifiers and ensembles of fitted scikit-learn estimators.

Logged models carry this file, so it imports nothing of Manyfold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin


@dataclass(frozen=True, eq=False)
class FittedEstimator:
    """A fitted estimator with `predict_proba`, and the indices of the labels it predicts."""

    labels: tuple[int, ...]
    estimator: Any


@dataclass(eq=False)
class MultilabelClassifier:
    """Fitted estimators that predict all labels together.

    Attributes:
        estimators: Fitted estimators, each for some labels.
        frequencies: Frequency of each label in the training rows, of shape (n_labels,); the
            probability of labels without an estimator.
    """

    estimators: tuple[FittedEstimator, ...]
    frequencies: NDArray[np.float64]

    def __call__(self, X: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return probabilities of shape (n, n_labels) for preprocessed rows."""
        y_score = np.tile(self.frequencies.astype(np.float32), (len(X), 1))
        for fitted in self.estimators:
            probabilities = fitted.estimator.predict_proba(X)
            y_score[:, fitted.labels] = _positive_columns(probabilities, len(fitted.labels))
        return y_score


class MultilabelEnsemble(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """One or more classifiers whose probabilities are averaged; the last step of a pipeline."""

    def __init__(self, classifiers: Sequence[MultilabelClassifier]) -> None:
        """Set the fitted classifiers."""
        self.classifiers = classifiers

    def fit(self, X: Any = None, y: Any = None) -> Self:
        """Do nothing, as the classifiers are fitted; for scikit-learn's pipeline."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        """Return True, as the classifiers are fitted."""
        return True

    def predict_proba(self, X: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return probabilities of shape (n, n_labels) for preprocessed rows."""
        y_scores = [classifier(X) for classifier in self.classifiers]
        mean: NDArray[np.float32] = np.mean(y_scores, axis=0, dtype=np.float32)
        return mean

    def predict(self, X: NDArray[np.floating]) -> NDArray[np.int8]:
        """Return 1 where the probability exceeds 0.5, else 0, of shape (n, n_labels)."""
        return (self.predict_proba(X) > 0.5).astype(np.int8)


def _positive_columns(probabilities: Any, n_labels: int) -> NDArray[np.floating]:
    """Return the probabilities of the positive class, of shape (n, n_labels).

    For several labels, `predict_proba` returns a list of arrays with two columns (forests,
    neighbors) or one column per label (networks, chains).
    """
    if isinstance(probabilities, list):
        return np.column_stack([np.asarray(pair)[:, 1] for pair in probabilities])
    columns = np.asarray(probabilities)
    if n_labels == 1 and columns.ndim == 2 and columns.shape[1] == 2:
        return columns[:, 1:]
    if columns.ndim != 2 or columns.shape[1] != n_labels:
        raise ValueError(
            f"Expected predict_proba to return an array of shape (n, {n_labels}), or a list of as "
            f"many arrays of shape (n, 2). Received: an array of shape {columns.shape}."
        )
    return columns
