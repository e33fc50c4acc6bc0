"""Check the configuration of scikit-learn estimators; nothing is trained."""

from typing import Any

from sklearn.multioutput import ClassifierChain
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter

from pipeline.config import SklearnModelConfig
from pipeline.errors import UserError, suggest
from pipeline.model.sklearn_models import build_estimator, get_params, unset_seeds

CHAIN_PARAMS = ("chain_method", "cv", "order")


def check_model(config: SklearnModelConfig, n_labels: int, class_weight: str | None) -> None:
    """Raise UserError if the estimator does not support the configuration; nothing is trained."""
    estimator = build_estimator(config)
    _check_values("model.params", estimator)
    _check_probabilities(config, estimator)
    _check_chain(config, estimator, n_labels)
    _check_ensemble(config, estimator)
    if config.strategy == "native":
        _check_native(config, estimator)
    if class_weight is not None:
        _check_class_weight(config, estimator, class_weight)


def check_takes_mask(config: SklearnModelConfig) -> None:
    """Raise UserError if the estimator cannot leave out single labels of a row."""
    if config.strategy == "classifier_chain":
        raise UserError(
            "model.strategy: expected binary_relevance where labels are missing, because "
            "scikit-learn's chains need all labels of a row. Received: classifier_chain. Type: "
            "model.strategy=binary_relevance"
        )


def check_takes_weights(config: SklearnModelConfig) -> None:
    """Raise UserError if the estimator takes no weights of rows."""
    if config.strategy == "classifier_chain":
        raise UserError(
            "model.strategy: expected binary_relevance or native where rows have weights, because "
            "scikit-learn's chains take none. Received: classifier_chain. Type: "
            "model.strategy=binary_relevance"
        )
    if not has_fit_parameter(build_estimator(config), "sample_weight"):
        raise UserError(
            "model.estimator: expected one that takes sample_weight, because the rows have "
            f"weights. Received: {config.estimator}. Choose another, or train without weights: "
            "name their column in dataset.drop in place of dataset.weight_column; of an ARFF file, "
            "dataset.instance_weights=ignore"
        )


def _check_values(key: str, estimator: Any) -> None:
    """Run scikit-learn's own validation of parameters, which otherwise waits for `fit`."""
    try:
        if hasattr(estimator, "_parameter_constraints"):
            estimator._validate_params()
    except (ValueError, TypeError) as error:
        raise UserError(f"{key}: {error}") from error


def _check_probabilities(config: SklearnModelConfig, estimator: Any) -> None:
    expected = f"model.estimator: expected {config.estimator} to return"
    if not hasattr(estimator, "fit"):
        raise UserError(
            f"{expected} an estimator, with fit and predict_proba. Received: "
            f"{type(estimator).__name__}."
        )
    has_scores = hasattr(estimator, "decision_function")
    has_probabilities = hasattr(estimator, "predict_proba")
    if config.calibration == "none" and not has_probabilities:
        received = "one with neither predict_proba nor decision_function."
        if has_scores:
            received = "one with decision_function only. Calibrate it: model.calibration=sigmoid"
        raise UserError(f"{expected} an estimator with predict_proba. Received: {received}")
    if config.calibration != "none" and not (has_scores or has_probabilities):
        raise UserError(
            f"{expected} an estimator with decision_function or predict_proba, to calibrate. "
            f"Received: {type(estimator).__name__}, with neither."
        )


def _check_native(config: SklearnModelConfig, estimator: Any) -> None:
    hint = "Set model.strategy=binary_relevance or classifier_chain."
    if config.calibration != "none":
        raise UserError(
            "model.calibration: expected none with model.strategy=native, because one estimator "
            f"predicts all labels. Received: {config.calibration!r}. {hint}"
        )
    has_tags = hasattr(estimator, "__sklearn_tags__")
    if has_tags and not get_tags(estimator).classifier_tags.multi_label:
        raise UserError(
            "model.strategy: expected an estimator with multi-label support for native. Received: "
            f"{config.estimator}, which predicts one label. {hint}"
        )


def _check_chain(config: SklearnModelConfig, estimator: Any, n_labels: int) -> None:
    params = config.chain_params or {}
    if config.strategy != "classifier_chain":
        if params:
            raise UserError(
                "model.chain_params: expected null without model.strategy=classifier_chain. "
                f"Received: {params}"
            )
        return
    for name in params:
        if name not in CHAIN_PARAMS:
            raise UserError(
                f"model.chain_params.{name}: no such parameter. {suggest(name, CHAIN_PARAMS)}"
            )
    order = params.get("order")
    if isinstance(order, list) and sorted(order) != list(range(n_labels)):
        raise UserError(
            "model.chain_params.order: expected each label once, as numbers from 0 to "
            f"{n_labels - 1}. Received: {order}"
        )
    cv = params.get("cv")
    if cv is not None and (not isinstance(cv, int) or cv < 2):
        raise UserError(f"model.chain_params.cv: expected null or at least 2. Received: {cv!r}")
    _check_values("model.chain_params", ClassifierChain(estimator, **params))


def _check_ensemble(config: SklearnModelConfig, estimator: Any) -> None:
    if config.ensemble_size == 1 or unset_seeds(estimator) or config.calibration != "none":
        return
    is_chain = config.strategy == "classifier_chain"
    if is_chain and (config.chain_params or {}).get("order") == "random":
        return
    raise UserError(
        f"model.ensemble_size: expected 1, because {config.estimator} does not depend on the seed "
        f"and all models of the ensemble would be equal. Received: {config.ensemble_size}"
    )


def _check_class_weight(config: SklearnModelConfig, estimator: Any, class_weight: str) -> None:
    expected = "training.class_weight: expected null"
    if "class_weight" not in get_params(estimator, deep=False):
        raise UserError(
            f"{expected}, because {config.estimator} has no class_weight. Received: {class_weight}"
        )
    expected += f" with model.strategy={config.strategy}, because one estimator cannot"
    if config.strategy == "native":
        raise UserError(
            f"{expected} balance each label. Received: {class_weight}. Set "
            "model.strategy=binary_relevance, or let scikit-learn multiply the weights of a row's "
            "labels: +model.params.class_weight=balanced"
        )
    if config.strategy == "classifier_chain" and class_weight != "balanced":
        raise UserError(
            f"{expected} have other weights for each label. Received: {class_weight}. Set "
            "training.class_weight=balanced, or model.strategy=binary_relevance"
        )
