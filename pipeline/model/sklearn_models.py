"""Build scikit-learn estimators and fit them to several labels.

Many estimators reject a label that all training rows have, or none. So estimators are fitted to the
other labels only, and the probability of a constant label is its frequency, 1 or 0. With
calibration or cross-validated chains, a label with a single positive or negative row is too rare
for inner folds, and its probability is its frequency as well.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import StratifiedKFold
from sklearn.multioutput import ClassifierChain
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import TargetEncoder

from pipeline.config import SklearnModelConfig
from pipeline.errors import UserError, suggest
from pipeline.model.multilabel import FittedEstimator, MultilabelClassifier
from pipeline.user_code import import_callable

N_CALIBRATION_FOLDS = 5
ClassWeight = str | dict[int, float] | None
N_RARE = 10  # rows of the rarer value, below which a label may be too rare for an estimator


def build_estimator(
    config: SklearnModelConfig, seed: int | None = None, class_weight: ClassWeight = None
) -> Any:
    """Build an untrained estimator.

    Args:
        config: Dotted path and parameters.
        seed: Value of each `random_state` that the parameters do not set, including those of
            nested estimators.
        class_weight: Value of `class_weight` if the parameters do not set it.

    Raises:
        UserError: If it cannot be imported, or does not take the parameters.
    """
    make_estimator = import_callable("model.estimator", config.estimator)
    params = config.params or {}
    _check_names(config.estimator, make_estimator, params)
    try:
        estimator = make_estimator(**params)
    except Exception as error:
        raise UserError(
            f"model.params: expected parameters of {config.estimator}. Received: {params} "
            f"({type(error).__name__}: {error})"
        ) from error
    without_seed = unset_seeds(estimator)
    if without_seed:
        estimator.set_params(**dict.fromkeys(without_seed, seed))
    if class_weight is not None and get_params(estimator, deep=False)["class_weight"] is None:
        estimator.set_params(class_weight=class_weight)
    return estimator


def _raise(labels: Sequence[int], error: Exception) -> NoReturn:
    raise error


def fit_labels(
    config: SklearnModelConfig,
    X: NDArray[np.floating],
    y: NDArray[np.int8],
    *,
    seed: int,
    class_weight: str | NDArray[np.float32] | None = None,
    on_failure: Callable[[Sequence[int], Exception], object] = _raise,
    label_mask: NDArray[np.bool_] | None = None,
    sample_weight: NDArray[np.float32] | None = None,
    n_target_encoded: int = 0,
) -> MultilabelClassifier:
    """Fit estimators to all labels of some rows.

    If an estimator of several labels fails, its rarest ones are left out as long as they are rare.

    Args:
        config: The estimator, and the strategy for several labels.
        X: Preprocessed training rows of shape (n, n_columns).
        y: Labels of shape (n, n_labels).
        seed: Seed of the estimators, the calibration folds and the chain.
        class_weight: "balanced"; or weights of each label's absence and presence, of shape
            (2, n_labels), if each has its own estimator; or None.
        on_failure: Called with labels and the error of the estimator that cannot learn them. If it
            returns, the probability of these labels is their frequency.
        label_mask: True where the label is known; the estimator of a label is fitted to the rows
            that know it. None if all are known.
        sample_weight: Weights of the rows; rows of weight 0 are left out. None for 1.
        n_target_encoded: Number of last columns that `TargetEncoder` encodes for each label.
    """
    if sample_weight is not None and not sample_weight.all():
        counted = sample_weight > 0
        X, y, sample_weight = X[counted], y[counted], sample_weight[counted]
        label_mask = None if label_mask is None else label_mask[counted]
    n_positive = y.sum(axis=0, dtype=np.int64)
    n_given = np.full(y.shape[1], len(y)) if label_mask is None else label_mask.sum(axis=0)
    n_minority = np.minimum(n_positive, n_given - n_positive)
    n_inner_folds = _n_inner_folds(config)
    labels = np.flatnonzero(n_minority >= (2 if n_inner_folds else 1))
    groups = [labels] if len(labels) else []
    if config.strategy == "binary_relevance":
        groups = [labels[i : i + 1] for i in range(len(labels))]
    estimators = []
    for group in groups:
        while len(group):
            of_group: ClassWeight
            if isinstance(class_weight, np.ndarray):
                of_group = dict(enumerate(class_weight[:, group[0]].tolist()))
            else:
                of_group = class_weight
            estimator = build_estimator(config, seed, of_group)
            if n_target_encoded:
                estimator = _encode_targets(estimator, X.shape[1], n_target_encoded, seed)
            n_folds = min(n_inner_folds, int(n_minority[group].min()))
            estimator = _wrap(config, estimator, group.tolist(), n_folds, seed)
            labels_of_group = group
            if len(group) == 1 and config.strategy != "classifier_chain":
                labels_of_group = group[0]
            rows = slice(None) if label_mask is None else label_mask[:, group[0]]
            weights = {} if sample_weight is None else {"sample_weight": sample_weight[rows]}
            try:
                estimator.fit(X[rows], y[rows, labels_of_group], **weights)
            except Exception as error:
                rarest = n_minority[group].min()
                failed = group[n_minority[group] == rarest] if rarest < N_RARE else group
                on_failure(failed.tolist(), error)
                group = np.setdiff1d(group, failed)
            else:
                estimators.append(FittedEstimator(tuple(group.tolist()), estimator))
                break
    frequencies = label_frequencies(y, label_mask, sample_weight)
    return MultilabelClassifier(tuple(estimators), frequencies)


def _encode_targets(estimator: Any, n_columns: int, n_encoded: int, seed: int) -> Pipeline:
    """Put scikit-learn's cross-fitted encoder of the last columns before an estimator."""
    last = np.arange(n_columns - n_encoded, n_columns).tolist()
    folds = StratifiedKFold(shuffle=True, random_state=seed)
    encoder = TargetEncoder(target_type="binary", cv=folds)
    columns = ColumnTransformer([("target", encoder, last)], remainder="passthrough")
    return Pipeline([("columns", columns), ("estimator", estimator)])


def label_frequencies(
    y: NDArray[np.int8],
    label_mask: NDArray[np.bool_] | None,
    sample_weight: NDArray[np.float32] | None,
) -> NDArray[np.float64]:
    """Return the frequency of each label among the rows that know it; 0.5 if none does."""
    weights = np.ones(len(y)) if sample_weight is None else sample_weight.astype(np.float64)
    total = weights.sum() if label_mask is None else weights @ label_mask
    total = np.broadcast_to(total, y.shape[1])
    frequencies: NDArray[np.float64] = np.full(y.shape[1], 0.5)
    np.divide(weights @ y, total, out=frequencies, where=total > 0)
    return frequencies


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


def _check_names(path: str, make_estimator: Any, params: dict[str, Any]) -> None:
    try:
        accepted = inspect.signature(make_estimator).parameters
    except (ValueError, TypeError):
        return  # written in C without a signature; the call itself will fail
    if any(parameter.kind == parameter.VAR_KEYWORD for parameter in accepted.values()):
        return
    for name in params:
        if name not in accepted:
            raise UserError(
                f"model.params.{name}: {path} has no such parameter. {suggest(name, accepted)}"
            )


def unset_seeds(estimator: Any) -> list[str]:
    """Return the names of random_state parameters, nested ones included, that are not set."""
    params = get_params(estimator, deep=True)
    return [
        name
        for name, value in params.items()
        if value is None and (name == "random_state" or name.endswith("__random_state"))
    ]


def get_params(estimator: Any, *, deep: bool) -> dict[str, Any]:
    """Return the parameters of an estimator; none if it does not list them."""
    return estimator.get_params(deep=deep) if hasattr(estimator, "get_params") else {}
