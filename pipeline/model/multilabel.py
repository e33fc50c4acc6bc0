"""From an estimator to probabilities of every label: per label, natively or in a chain.

A label that all rows of a fold have, or none, teaches an estimator nothing, and many refuse it. So
estimators see only labels that vary, and the others are answered by their share of the rows, 1 or
0. Those too rare to learn probabilities from inner folds, with a single row on one side, are
answered by their share as well.
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

N_INNER = 5  # folds of the training rows, whose scores `probabilities` are learnt from


@dataclass(frozen=True, eq=False)
class FittedEstimator:
    """A trained estimator.

    Attributes:
        labels: Places of the labels that it answers for.
        estimator: Of scikit-learn's kind, with `predict_proba`.
    """

    labels: tuple[int, ...]
    estimator: Any


@dataclass(frozen=True, eq=False)
class MultilabelClassifier:
    """Estimators that answer for all labels together.

    Attributes:
        parts: Each answers for some labels.
        shares: The answer for each label that no part answers for, of shape (n_labels,).
    """

    parts: tuple[FittedEstimator, ...]
    shares: NDArray[np.float64]

    def __call__(self, X: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return probabilities of shape (n, n_labels) for prepared rows."""
        y_score = np.tile(self.shares.astype(np.float32), (len(X), 1))
        for part in self.parts:
            y_score[:, part.labels] = _present(part.estimator.predict_proba(X), len(part.labels))
        return y_score


@dataclass(frozen=True, eq=False)
class MultilabelEnsemble:
    """The members of an ensemble, or a single model; their probabilities are averaged."""

    members: tuple[MultilabelClassifier, ...]

    def __call__(self, X: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return probabilities of shape (n, n_labels) for prepared rows."""
        answers = [member(X) for member in self.members]
        mean: NDArray[np.float32] = np.mean(answers, axis=0, dtype=np.float32)
        return mean


def fit_labels(
    config: SklearnModelConfig,
    X: NDArray[np.floating],
    y: NDArray[np.int8],
    *,
    seed: int,
    class_weight: str | None = None,
) -> MultilabelClassifier:
    """Return estimators trained on all labels of some rows.

    Args:
        config: Which estimators, and how they share the labels.
        X: Prepared training rows of shape (n, n_columns).
        y: Their labels, of shape (n, n_labels).
        seed: For whatever is random.
        class_weight: "balanced" or None.
    """
    present = y.sum(axis=0, dtype=np.int64)
    rarer = np.minimum(present, len(y) - present)
    n_inner = _n_inner(config)
    labels = np.flatnonzero(rarer >= (2 if n_inner else 1))
    together = [labels] if len(labels) else []
    groups = [labels[i : i + 1] for i in range(len(labels))]
    parts = []
    for group in groups if config.strategy == "per_label" else together:
        estimator = build_estimator(config, seed, class_weight)
        n_folds = min(n_inner, int(rarer[group].min()))
        estimator = _for_labels(config, estimator, group.tolist(), n_folds, seed)
        single = len(group) == 1 and config.strategy != "chain"
        estimator.fit(X, y[:, group[0]] if single else y[:, group])
        parts.append(FittedEstimator(tuple(group.tolist()), estimator))
    return MultilabelClassifier(tuple(parts), present / len(y))


def _n_inner(config: SklearnModelConfig) -> int:
    """Return how many folds the training rows are divided into again; 0 if they are not."""
    chain_cv = (config.chain_options or {}).get("cv") or 0
    return max(chain_cv, N_INNER if config.probabilities != "own" else 0)


def _for_labels(
    config: SklearnModelConfig, estimator: Any, labels: Sequence[int], n_folds: int, seed: int
) -> Any:
    """Return the estimator as it is fitted: with learnt probabilities, in a chain, or as it is."""
    if config.probabilities != "own":
        folds = StratifiedKFold(min(N_INNER, n_folds), shuffle=True, random_state=seed)
        estimator = CalibratedClassifierCV(
            estimator, method=config.probabilities, cv=folds, ensemble=False
        )
    if config.strategy != "chain":
        return estimator
    options = dict(config.chain_options or {})
    if isinstance(options.get("order"), list):
        order = [label for label in options["order"] if label in labels]
        options["order"] = [labels.index(label) for label in order]
    if options.get("cv"):
        options["cv"] = min(options["cv"], n_folds)
    return ClassifierChain(estimator, random_state=seed, **options)


def _present(answer: Any, n_labels: int) -> NDArray[np.floating]:
    """Return the probabilities that labels are present, of shape (n, n_labels).

    Of several labels an estimator returns a list of (absent, present) pairs, as forests and
    neighbours do, or one column per label, as networks and chains do.
    """
    if isinstance(answer, list):
        return np.column_stack([np.asarray(pair)[:, 1] for pair in answer])
    columns = np.asarray(answer)
    if n_labels == 1 and columns.ndim == 2 and columns.shape[1] == 2:
        return columns[:, 1:]
    if columns.ndim != 2 or columns.shape[1] != n_labels:
        raise ValueError(
            f"Expected predict_proba to return an array of shape (n, {n_labels}), or a list of as "
            f"many arrays of shape (n, 2). Received: an array of shape {columns.shape}."
        )
    return columns
