"""Multi-label classifiers and ensembles of scikit-learn estimators.

Many estimators reject a label that all training rows have, or none. So estimators are fitted to the
other labels only, and the probability of a constant label is its frequency, 1 or 0. With
calibration or cross-validated chains, a label with a single positive or negative row is too rare
for inner folds, and its probability is its frequency as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import StratifiedKFold
from sklearn.multioutput import ClassifierChain

from pipeline.config import SklearnModelConfig
from pipeline.model.sklearn_models import build_estimator

N_CALIBRATION_FOLDS = 5


@dataclass(frozen=True, eq=False)
class FittedEstimator:
    """A fitted estimator with `predict_proba`, and the indices of the labels it predicts."""

    labels: tuple[int, ...]
    estimator: Any


@dataclass(frozen=True, eq=False)
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


@dataclass(frozen=True, eq=False)
class MultilabelEnsemble:
    """One or more classifiers whose probabilities are averaged."""

    classifiers: tuple[MultilabelClassifier, ...]

    def __call__(self, X: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return probabilities of shape (n, n_labels) for preprocessed rows."""
        y_scores = [classifier(X) for classifier in self.classifiers]
        mean: NDArray[np.float32] = np.mean(y_scores, axis=0, dtype=np.float32)
        return mean


def fit_labels(
    config: SklearnModelConfig,
    X: NDArray[np.floating],
    y: NDArray[np.int8],
    *,
    seed: int,
    class_weight: str | None = None,
) -> MultilabelClassifier:
    """Fit estimators to all labels of some rows.

    Args:
        config: The estimator, and the strategy for several labels.
        X: Preprocessed training rows of shape (n, n_columns).
        y: Labels of shape (n, n_labels).
        seed: Seed of the estimators, the calibration folds and the chain.
        class_weight: "balanced" or None.
    """
    n_positive = y.sum(axis=0, dtype=np.int64)
    n_minority = np.minimum(n_positive, len(y) - n_positive)
    n_inner_folds = _n_inner_folds(config)
    labels = np.flatnonzero(n_minority >= (2 if n_inner_folds else 1))
    groups = [labels] if len(labels) else []
    if config.strategy == "binary_relevance":
        groups = [labels[i : i + 1] for i in range(len(labels))]
    estimators = []
    for group in groups:
        estimator = build_estimator(config, seed, class_weight)
        n_folds = min(n_inner_folds, int(n_minority[group].min()))
        estimator = _wrap(config, estimator, group.tolist(), n_folds, seed)
        is_single = len(group) == 1 and config.strategy != "classifier_chain"
        estimator.fit(X, y[:, group[0]] if is_single else y[:, group])
        estimators.append(FittedEstimator(tuple(group.tolist()), estimator))
    return MultilabelClassifier(tuple(estimators), n_positive / len(y))


def _n_inner_folds(config: SklearnModelConfig) -> int:
    """Return the number of inner folds for calibration or the chain; 0 without them."""
    chain_cv = (config.chain_params or {}).get("cv") or 0
    return max(chain_cv, N_CALIBRATION_FOLDS if config.calibration != "none" else 0)


def _wrap(
    config: SklearnModelConfig, estimator: Any, labels: Sequence[int], n_folds: int, seed: int
) -> Any:
    """Wrap the estimator in calibration and a classifier chain, as configured."""
    if config.calibration != "none":
        folds = StratifiedKFold(min(N_CALIBRATION_FOLDS, n_folds), shuffle=True, random_state=seed)
        estimator = CalibratedClassifierCV(
            estimator, method=config.calibration, cv=folds, ensemble=False
        )
    if config.strategy != "classifier_chain":
        return estimator
    params = dict(config.chain_params or {})
    if isinstance(params.get("order"), list):
        order = [label for label in params["order"] if label in labels]
        params["order"] = [labels.index(label) for label in order]
    if params.get("cv"):
        params["cv"] = min(params["cv"], n_folds)
    return ClassifierChain(estimator, random_state=seed, **params)


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
