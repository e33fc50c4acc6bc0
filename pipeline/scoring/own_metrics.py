"""Call the user's own metrics."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from numbers import Real

import numpy as np

from pipeline.errors import UserError, describe_exception
from pipeline.scoring.classification_metrics import Labels, Mask, Scores, Weights
from pipeline.user_code import import_callable

CONFIG_KEY = "scoring.metrics"
DIRECTION_KEY = "scoring.greater_is_better"
ARGUMENTS = ("mask", "sample_weight")  # given to own metrics where labels are missing or weighted


def call_own(
    function: Callable[..., object],
    name: str,
    y_true: Labels,
    y_score: Scores,
    y_pred: Labels,
    mask: Mask = None,
    sample_weight: Weights = None,
) -> float:
    """Call the user's own metric with read-only arrays and check that it returns a number.

    `mask` and `sample_weight` are passed by name, where there are any.
    """
    arrays = {"mask": mask, "sample_weight": sample_weight}
    views = [array.view() for array in (y_true, y_score, y_pred)]
    options = {key: array.view() for key, array in arrays.items() if array is not None}
    for array in (*views, *options.values()):
        array.flags.writeable = False
    arguments = ", ".join(["y_true", "y_score", "y_pred", *options])
    expected = f"{CONFIG_KEY}: expected {name}({arguments}) to return a number"
    try:
        value = function(*views, **options)
    except Exception as error:
        raise UserError(f"{expected}. Received: {describe_exception(error)}.") from error
    if not isinstance(value, Real) or isinstance(value, bool):
        shape = f" of shape {value.shape}" if isinstance(value, np.ndarray) else ""
        raise UserError(f"{expected}. Received: {type(value).__name__}{shape}.")
    return float(value)


def check_own_arguments(names: Sequence[str], *, is_masked: bool, is_weighted: bool) -> None:
    """Raise UserError if an own metric would ignore that labels are not known, or the weights.

    Args:
        names: Names of metrics; those with a dot are the user's own.
        is_masked: True if labels of the data set are not known.
        is_weighted: True if metrics are weighted.
    """
    needed = {"mask": is_masked, "sample_weight": is_weighted}
    for name in names:
        if "." not in name or not any(needed.values()):
            continue
        function = import_callable(CONFIG_KEY, name)
        try:
            parameters = inspect.signature(function).parameters
        except ValueError:  # a function of C without a signature
            parameters = inspect.signature(lambda y_true, y_score, y_pred: None).parameters
        takes_all = any(it.kind is it.VAR_KEYWORD for it in parameters.values())
        missing = [key for key in ARGUMENTS if needed[key] and key not in parameters]
        if missing and not takes_all:
            meaning = {
                "mask": "True where a label is known (dataset.missing_labels=mask)",
                "sample_weight": "the weight of each row (scoring.weighted=true)",
            }
            arguments = ", ".join(["y_true", "y_score", "y_pred", *missing])
            meanings = "; ".join(f"{key} is {meaning[key]}" for key in missing)
            raise UserError(
                f"{CONFIG_KEY}: expected {name}({arguments}). Received: a function without "
                f"{' and '.join(missing)}. {meanings}."
            )


def own_directions(settings: Mapping[str, str]) -> dict[str, bool]:
    """Return `scoring.greater_is_better` of a run from its logged settings."""
    prefix = f"{DIRECTION_KEY}."
    return {
        key.removeprefix(prefix): value == "True"
        for key, value in settings.items()
        if key.startswith(prefix)
    }
