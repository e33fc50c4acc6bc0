"""Train and score one fit of a scikit-learn model."""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from pipeline.config import BoostingConfig, EstimatorConfig, TrainingConfig
from pipeline.errors import UserError, describe_exception
from pipeline.model.boosting import Rows, fit_boosting
from pipeline.model.multilabel import FittedEstimator, MultilabelClassifier
from pipeline.model.saved_model import own_packages
from pipeline.model.sklearn_models import N_RARE, fit_labels
from pipeline.runtime import end_with_parent
from pipeline.scoring.probabilities import TOLERANCE
from pipeline.training.base import FitResult, FitSpec
from pipeline.training.loss_weights import loss_weights
from pipeline.user_code import lend

MAX_MESSAGE = 300  # characters of an estimator's error

Completed = tuple[int, FitResult, list[str], dict[int, str]]
"""The index of a fit, its result, its warnings, and the reason for each label it cannot learn."""


def fit_for(given: Mapping[str, Callable[..., Any]], *arguments: Any) -> Completed:
    """Train one fit for another process; a killed one would leave this process behind."""
    end_with_parent()
    with lend(given):
        return fit_one(*arguments)


def fit_one(
    config: EstimatorConfig,
    training: TrainingConfig,
    X: NDArray[np.float32],
    y: NDArray[np.int8],
    fit_index: int,
    fit: FitSpec,
    label_names: Sequence[str],
    label_mask: NDArray[np.bool_] | None,
    sample_weight: NDArray[np.float32] | None,
) -> Completed:
    """Train and score one fit, in this process or another.

    Only a final fit, which has no test rows, and a fit that keeps its model return the estimator:
    forests are large, and of a fold mostly the probabilities alone are needed.

    Raises:
        UserError: If the estimator learns no label, or predicts something else than probabilities.
    """
    began = time.perf_counter()
    failures: dict[int, Exception] = {}

    def leave_out(labels: Sequence[int], error: Exception) -> None:
        failures.update(dict.fromkeys(labels, error))

    with warnings.catch_warnings(record=True) as caught, threadpool_limits(1):
        warnings.simplefilter("always")
        model = _fit_labels(config, training, X, y, fit, leave_out, label_mask, sample_weight)
        y_score = np.empty((0, y.shape[1]), dtype=np.float32)
        if len(fit.test):
            y_score = predict_labels(model, fit.preprocessor.transform(X[fit.test]), leave_out)
    reasons = {label: _describe(config, error) for label, error in failures.items()}
    learnt = {label for fitted in model.estimators for label in fitted.labels} - failures.keys()
    if failures and not learnt:
        label, error = next(iter(failures.items()))
        n_positive = int(y[fit.train, label].sum())
        if len(failures) > 1 or min(n_positive, len(fit.train) - n_positive) >= N_RARE:
            more = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
            raise UserError(
                f"{_name(config)} cannot learn label {label_names[label]!r}"
                f"{more} in {fit.name}: {reasons[label]}. Change model.params, the preprocessing "
                "or the model."
            ) from error
    _check_range(config, fit, y_score, label_names)
    result = FitResult(
        y_score=y_score,
        seconds=time.perf_counter() - began,
        estimator=model if fit.keeps_model or not len(fit.test) else None,
    )
    messages = {f"{w.category.__name__}: {str(w.message).strip().splitlines()[0]}" for w in caught}
    return fit_index, result, sorted(messages), reasons


def _fit_labels(
    config: EstimatorConfig,
    training: TrainingConfig,
    X: NDArray[np.float32],
    y: NDArray[np.int8],
    fit: FitSpec,
    on_failure: Callable[[Sequence[int], Exception], object],
    label_mask: NDArray[np.bool_] | None,
    sample_weight: NDArray[np.float32] | None,
) -> MultilabelClassifier:
    """Fit estimators to all labels of the training rows, which are preprocessed once."""

    def select(rows: NDArray[np.integer]) -> Rows:
        mask = None if label_mask is None else label_mask[rows]
        weight = None if sample_weight is None else sample_weight[rows]
        return Rows(fit.preprocessor.transform(X[rows]), y[rows], mask, weight)

    train, class_weight = select(fit.train), None
    if training.class_weight is not None:
        class_weight = loss_weights(
            replace(training, label_weights=None), y, fit.train, label_mask, sample_weight
        )
    if isinstance(config, BoostingConfig):
        valid = select(fit.valid) if len(fit.valid) else None
        return fit_boosting(
            *(config, train, valid, training.early_stopping),
            seed=fit.seed,
            class_weight=class_weight,
            on_failure=on_failure,
        )
    return fit_labels(
        *(config, train.X, train.y),
        seed=fit.seed,
        class_weight=(
            class_weight if training.class_weight == "effective_number" else training.class_weight
        ),
        on_failure=on_failure,
        label_mask=train.label_mask,
        sample_weight=train.weight,
        n_target_encoded=fit.preprocessor.n_target_encoded,
    )


def predict_labels(
    model: MultilabelClassifier,
    X: NDArray[np.float32],
    on_failure: Callable[[Sequence[int], Exception], object],
) -> NDArray[np.float32]:
    """Return probabilities of shape (n, n_labels); frequencies for labels without an answer."""
    y_score = np.tile(model.frequencies.astype(np.float32), (len(X), 1))
    for fitted in model.estimators:
        labels = np.array(fitted.labels)
        alone = FittedEstimator(tuple(range(len(labels))), fitted.estimator)
        try:
            answer = MultilabelClassifier((alone,), model.frequencies[labels])(X)
        except Exception as error:
            on_failure(labels.tolist(), error)
            continue
        is_nan = np.isnan(answer).any(axis=0)
        if is_nan.any():
            on_failure(labels[is_nan].tolist(), ValueError("predict_proba returned NaN"))
        y_score[:, labels[~is_nan]] = answer[:, ~is_nan]
    return y_score


def _check_range(
    config: EstimatorConfig,
    fit: FitSpec,
    y_score: NDArray[np.float32],
    label_names: Sequence[str],
) -> None:
    outside = ((y_score < -TOLERANCE) | (y_score > 1 + TOLERANCE)).any(axis=0)
    if outside.any():
        label = int(outside.argmax())
        values = y_score[:, label]
        raise UserError(
            f"model.estimator: expected {config.estimator} to return probabilities in [0, 1]. "
            f"Received: from {values.min():.3g} to {values.max():.3g} for label "
            f"{label_names[label]!r} in {fit.name}. Calibrate it: model.calibration=sigmoid"
        )


def _name(config: EstimatorConfig) -> str:
    """Return the setting that names the estimator, and its name."""
    if isinstance(config, BoostingConfig):
        return f"model={config.library}: {config.title}"
    return f"model.estimator: {config.estimator}"


def _describe(config: EstimatorConfig, error: Exception) -> str:
    """Return the sentence of an estimator, with the line of code if it is the user's own."""
    text = f"{type(error).__name__}: {error}"
    if own_packages(config) and error.__traceback__:
        text = describe_exception(error)
    return " ".join(text.split())[:MAX_MESSAGE].rstrip(".")
