"""Convert a model object of a Python program to settings of the group `model`."""

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Any
from uuid import uuid4

import cloudpickle

from pipeline.errors import UserError, describe_exception
from pipeline.user_code import LENT

EXPECTED = (
    "model: expected the name of an option, a dict of keys, a scikit-learn estimator, a Keras "
    "model or a function that returns one."
)
_PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class GivenModel:
    """A model object as settings.

    Attributes:
        settings: Option and strategy, as on the command line.
        values: Keys of the group and their values.
        callables: Functions that are lent to the configuration, by their paths in it.
        modules: Modules of the program that define the model or its parts.
    """

    settings: list[str]
    values: dict[str, Any]
    callables: dict[str, Callable[..., Any]] = field(default_factory=dict)
    modules: frozenset[str] = frozenset()


def convert_model(model: Any, n_features: int, n_labels: int) -> GivenModel:
    """Convert an estimator, a Keras model, or a function that returns one of them.

    Every fit gets an estimator of its own, cloned, or a network with new initial weights: those of
    the given object are not used.

    Args:
        model: The object.
        n_features: Number of features of the data set, for functions that take it.
        n_labels: Number of labels, likewise.

    Raises:
        UserError: If it is none of these, or the function fails.
    """
    if _is_keras(model):
        build = partial(_clone_keras, model)
        return _keras(model, build, _lent_path(model, _architecture(model)))
    if _is_estimator(model):
        return _sklearn(model)
    if not callable(model):
        raise UserError(f"{EXPECTED} Received: {model!r}, a {type(model).__name__}.")
    sizes = _accepted(model, {"n_features": n_features, "n_labels": n_labels})
    try:
        built = model(**sizes)
    except Exception as error:  # any error of the user's code
        raise UserError(f"{EXPECTED} Received: {describe_exception(error)}") from error
    if _is_keras(built):
        is_complete = len(sizes) == 2
        if is_complete and (path := _importable_path(model)):
            return GivenModel(["model=keras"], {"builder": path})
        return _keras(built, partial(_call_with_sizes, model), _lent_path(model))
    if _is_estimator(built):
        if not isinstance(model, type) and (path := _importable_path(model)) and not sizes:
            return GivenModel(_sklearn_settings(built), {"estimator": path})
        return _sklearn(built)
    raise UserError(f"{EXPECTED} Received: a function that returns a {type(built).__name__}.")


def _is_keras(model: Any) -> bool:
    keras = sys.modules.get("keras")  # nobody has a model of Keras without it
    return keras is not None and isinstance(model, keras.Model)


def _is_estimator(model: Any) -> bool:
    return hasattr(model, "fit") and hasattr(model, "get_params") and not isinstance(model, type)


def _keras(model: Any, build: Callable[..., Any], path: str) -> GivenModel:
    layers = (model, *model._flatten_layers(include_self=False))
    modules = frozenset(type(layer).__module__ for layer in layers)
    return GivenModel(["model=keras"], {"builder": path}, {path: build}, modules)


def _sklearn(estimator: Any) -> GivenModel:
    """Name the class and its parameters where a configuration can, else lend the object."""
    modules = frozenset({type(estimator).__module__})
    path = _importable_path(type(estimator))
    params = _changed_params(estimator)
    if path and all(map(_is_plain, params.values())):
        values: dict[str, Any] = {"estimator": path, "params": params or None}
        return GivenModel(_sklearn_settings(estimator), values, modules=modules)
    path = _lent_path(type(estimator), _pickle(estimator))
    clone = partial(_clone_sklearn, estimator)
    return GivenModel(_sklearn_settings(estimator), {"estimator": path}, {path: clone}, modules)


def _sklearn_settings(estimator: Any) -> list[str]:
    """Fit all labels at once where the estimator supports it, as scikit-learn does."""
    get_tags = getattr(estimator, "__sklearn_tags__", None)
    tags = get_tags().classifier_tags if get_tags else None
    strategy = "native" if tags and tags.multi_label else "binary_relevance"
    return ["model=sklearn", f"model.strategy={strategy}"]


def _changed_params(estimator: Any) -> dict[str, Any]:
    """Return the parameters that differ from the defaults of the class."""
    defaults = inspect.signature(type(estimator)).parameters
    return {
        name: value
        for name, value in estimator.get_params(deep=False).items()
        if name not in defaults or not _is_equal(value, defaults[name].default)
    }


def _is_equal(value: Any, default: Any) -> bool:
    return value is default or (
        type(value) is type(default) and _is_plain(value) and value == default
    )


def _is_plain(value: Any) -> bool:
    """Return whether YAML can hold a value."""
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    is_finite = not isinstance(value, float) or abs(value) < float("inf")
    return type(value) in _PLAIN and is_finite


def _importable_path(function: Any) -> str | None:
    """Return the dotted path by which another process can import a function or class, or None."""
    module = getattr(function, "__module__", None) or "__main__"
    name = getattr(function, "__qualname__", "")
    is_importable = module != "__main__" and "." not in name
    importable = getattr(sys.modules.get(module), name, None) if is_importable else None
    return f"{module}.{name}" if importable is not None and importable is function else None


def _lent_path(named: Any, content: bytes | None = None) -> str:
    """Return a path for an object: the name of its class or function, and a digest of it."""
    if not hasattr(named, "__qualname__"):
        named = type(named)
    name = named.__qualname__.rpartition(".")[2].strip("<>")
    digest = sha256(_pickle(named) if content is None else content).hexdigest()[:8]
    return f"{named.__module__}.{name}{LENT}{digest}"


def _pickle(value: Any) -> bytes:
    try:
        content: bytes = cloudpickle.dumps(value)
    except Exception:  # an object that cannot be pickled equals no other
        return uuid4().bytes
    return content


def _architecture(model: Any) -> bytes:
    try:
        text: str = model.to_json()
    except Exception:  # a model without a configuration equals no other
        return uuid4().bytes
    return text.encode()


def _clone_sklearn(estimator: Any) -> Any:
    return sys.modules["sklearn.base"].clone(estimator)


def _clone_keras(model: Any, *, n_features: int, n_labels: int) -> Any:
    """Return the same architecture with new weights.

    Raises:
        UserError: If it takes another number of columns, or cannot be cloned.
    """
    hint = (
        "Give a function that builds it, as model=build with build(n_features, n_labels), for the "
        "number of columns after preprocessing."
    )
    shape = getattr(model, "input_shape", None) if model.built else None
    if isinstance(shape, tuple) and len(shape) == 2 and shape[1] not in (None, n_features):
        raise UserError(
            f"model: expected a network of {n_features} inputs, the columns after preprocessing. "
            f"Received: one of {shape[1]}. {hint}"
        )
    try:
        clone = sys.modules["keras"].models.clone_model(model)
        if model.compiled:  # so that the user is told that it has no effect
            optimizer = type(model.optimizer).from_config(model.optimizer.get_config())
            clone.compile(optimizer, model.loss)
    except Exception as error:
        raise UserError(
            f"model: expected a network that Keras can clone. Received: "
            f"{describe_exception(error)}. {hint}"
        ) from error
    return clone


def _call_with_sizes(build: Callable[..., Any], **sizes: int) -> Any:
    return build(**_accepted(build, sizes))


def _accepted(function: Callable[..., Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords that a function takes."""
    try:
        parameters = inspect.signature(function).parameters
    except (ValueError, TypeError):
        return {}
    if any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values()):
        return dict(keywords)
    return {name: value for name, value in keywords.items() if name in parameters}
