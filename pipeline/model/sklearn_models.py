"""An untrained estimator from its dotted path and parameters, refused early where it cannot do."""

import inspect
from typing import Any

from sklearn.multioutput import ClassifierChain
from sklearn.utils import get_tags

from pipeline.config import SklearnModelConfig
from pipeline.errors import UserError, suggest
from pipeline.runtime import import_callable

CHAIN_OPTIONS = ("chain_method", "cv", "order")


def build_estimator(
    config: SklearnModelConfig, seed: int | None = None, class_weight: str | None = None
) -> Any:
    """Return an untrained estimator.

    Args:
        config: Its dotted path and parameters.
        seed: Stands in for each `random_state` that the parameters leave open, also within
            estimators of which it is made; None leaves it open.
        class_weight: Stands in for its `class_weight` where the parameters leave it open.

    Raises:
        UserError: If it cannot be imported, or does not take the parameters.
    """
    make = import_callable("model.estimator", config.estimator)
    params = config.params or {}
    _check_params(config.estimator, make, params)
    try:
        estimator = make(**params)
    except Exception as error:
        raise UserError(
            f"model.params: expected what {config.estimator} takes. Received: {params} "
            f"({type(error).__name__}: {error})"
        ) from error
    open_seeds = _open_seeds(estimator)
    if open_seeds:
        estimator.set_params(**dict.fromkeys(open_seeds, seed))
    if class_weight is not None and _params(estimator, deep=False)["class_weight"] is None:
        estimator.set_params(class_weight=class_weight)
    return estimator


def check_model(config: SklearnModelConfig, n_labels: int, class_weight: str | None) -> None:
    """Raise UserError if the model cannot be what the configuration says; nothing is trained."""
    estimator = build_estimator(config)
    _check_values("model.params", estimator)
    _check_probabilities(config, estimator)
    _check_chain(config, estimator, n_labels)
    _check_ensemble(config, estimator)
    if config.strategy == "native":
        _check_native(config, estimator)
    if class_weight is not None:
        _check_class_weight(config, estimator)


def _check_params(path: str, make: Any, params: dict[str, Any]) -> None:
    try:
        known = inspect.signature(make).parameters
    except (ValueError, TypeError):
        return  # a callable of C's; it will say itself what it does not take
    if any(parameter.kind == parameter.VAR_KEYWORD for parameter in known.values()):
        return
    for name in params:
        if name not in known:
            raise UserError(
                f"model.params.{name}: {path} has no such parameter. {suggest(name, known)}"
            )


def _check_values(key: str, estimator: Any) -> None:
    """Let scikit-learn check the values, which it would do only when it is fitted."""
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
    has = [name for name in ("predict_proba", "decision_function") if hasattr(estimator, name)]
    if config.probabilities == "own" and "predict_proba" not in has:
        hint = "Learn them from its scores: model.probabilities=sigmoid" if has else ""
        received = "one that only scores." if has else "one with neither predict_proba nor scores."
        raise UserError(f"{expected} an estimator of probabilities. Received: {received} {hint}")
    if config.probabilities != "own" and not has:
        raise UserError(
            f"{expected} an estimator with decision_function or predict_proba, from which "
            f"probabilities can be learnt. Received: {type(estimator).__name__}, with neither."
        )


def _check_native(config: SklearnModelConfig, estimator: Any) -> None:
    hint = "Set model.strategy=per_label, or chain."
    if config.probabilities != "own":
        raise UserError(
            f"model.probabilities: expected own where one estimator fits all labels. Received: "
            f"{config.probabilities!r} with model.strategy=native. {hint}"
        )
    known = hasattr(estimator, "__sklearn_tags__")
    if known and not get_tags(estimator).classifier_tags.multi_label:
        raise UserError(
            f"model.strategy: expected an estimator that fits several labels itself. Received: "
            f"native with {config.estimator}, which fits one. {hint}"
        )


def _check_chain(config: SklearnModelConfig, estimator: Any, n_labels: int) -> None:
    options = config.chain_options or {}
    if config.strategy != "chain":
        if options:
            raise UserError(
                f"model.chain_options: expected null without model.strategy=chain. Received: "
                f"{options}"
            )
        return
    for name in options:
        if name not in CHAIN_OPTIONS:
            raise UserError(
                f"model.chain_options.{name}: no such option. {suggest(name, CHAIN_OPTIONS)}"
            )
    order = options.get("order")
    if isinstance(order, list) and sorted(order) != list(range(n_labels)):
        raise UserError(
            f"model.chain_options.order: expected each label once, as numbers from 0 to "
            f"{n_labels - 1}. Received: {order}"
        )
    cv = options.get("cv")
    if cv is not None and (not isinstance(cv, int) or cv < 2):
        raise UserError(f"model.chain_options.cv: expected null or at least 2. Received: {cv!r}")
    _check_values("model.chain_options", ClassifierChain(estimator, **options))


def _check_ensemble(config: SklearnModelConfig, estimator: Any) -> None:
    if config.n_members == 1 or _open_seeds(estimator) or config.probabilities != "own":
        return
    if config.strategy == "chain" and (config.chain_options or {}).get("order") == "random":
        return
    raise UserError(
        f"model.n_members: expected 1, as nothing in {config.estimator} is random and left to the "
        f"seed: all members would be equal. Received: {config.n_members}"
    )


def _check_class_weight(config: SklearnModelConfig, estimator: Any) -> None:
    expected = "training.class_weight: expected null"
    if "class_weight" not in _params(estimator, deep=False):
        raise UserError(
            f"{expected}, as {config.estimator} has no class_weight to balance. Received: balanced"
        )
    if config.strategy == "native":
        raise UserError(
            f"{expected}, as one estimator of all labels cannot balance each of them. Received: "
            "balanced. Set model.strategy=per_label, or let scikit-learn multiply the weights of "
            "a row's labels: +model.params.class_weight=balanced"
        )


def _open_seeds(estimator: Any) -> list[str]:
    """Return the parameters that are a random_state, its own or nested, and not set."""
    params = _params(estimator, deep=True)
    return [
        name
        for name, value in params.items()
        if value is None and (name == "random_state" or name.endswith("__random_state"))
    ]


def _params(estimator: Any, *, deep: bool) -> dict[str, Any]:
    return estimator.get_params(deep=deep) if hasattr(estimator, "get_params") else {}
