"""Redirects from former configuration keys, options and values to the present ones."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

KEYS = {
    "sweep": "search_space",
    "preparation": "preprocessing",
    "preparation.numeric": "preprocessing.scaling",
    "preparation.impute": "preprocessing.imputation",
    "preparation.indicators": "preprocessing.add_indicator",
    "preparation.pool_below": "preprocessing.min_frequency",
    "scoring.threshold": "decision.threshold",
    "scoring.threshold_metric": "decision.threshold_metric",
    "scoring.calibration": "decision.calibration",
    "scoring.inner.validation_share": "decision.inner_cv.validation_fraction",
    "scoring.inner": "decision.inner_cv",
    "training.early_stopping.restore_best": "training.early_stopping.restore_best_weights",
    "training.early_stopping.validation_share": "training.early_stopping.validation_fraction",
    "training.optimizer_options": "training.optimizer_params",
    "training.schedule": "training.lr_schedule",
    "training.schedule_options": "training.lr_schedule_params",
    "training.stack_size": "training.fits_per_program",
    "training.threads": "training.n_threads",
    "model.callable": "model.builder",
    "model.n_members": "model.ensemble_size",
    "model.probabilities": "model.calibration",
    "model.chain_options": "model.chain_params",
    "dataset.callable": "dataset.loader",
    "dataset.missing": "dataset.na_values",
    "dataset.group": "dataset.group_column",
    "dataset.fold": "dataset.fold_column",
    "dataset.id": "dataset.id_column",
    "dataset.label_list": "dataset.label_list_column",
    "dataset.new_rows": "dataset.predict_rows",
    "tracking.checkpoints": "tracking.checkpoint_dir",
}
MAX_PARTS = max(key.count(".") + 1 for key in KEYS)
VALUES = {
    ("model", "python"): "keras",
    ("model.kind", "python"): "keras",
    ("model.strategy", "per_label"): "binary_relevance",
    ("model.strategy", "chain"): "classifier_chain",
    ("model.probabilities", "own"): "none",
    ("scoring", "full"): "all_metrics",
    ("scoring", "threshold"): "default",
    ("tracking", "mlflow"): "default",
    ("training", "adam"): "default",
}


def translate_key(key: str) -> str:
    """Return the present name of a dotted key: the key itself, if it was never renamed."""
    parts = key.split(".")
    for length in range(min(len(parts), MAX_PARTS), 0, -1):
        prefix = ".".join(parts[:length])
        if prefix in KEYS:
            return ".".join([KEYS[prefix], *parts[length:]])
    return key


def translate_settings(params: Mapping[str, str]) -> dict[str, str]:
    """Return flattened settings, such as the params of a former run, under the present keys."""
    return {translate_key(key): VALUES.get((key, value), value) for key, value in params.items()}


def explain_renamed(key: str, value: object = None) -> Iterator[str]:
    """Yield a message for a former key or group and its value, and for those within a mapping."""
    if value and isinstance(value, Mapping):
        for name, item in value.items():
            yield from explain_renamed(f"{key}.{name}", item)
        return
    new_key, new_value = translate_key(key), VALUES.get((key, str(value)))
    if new_value is not None:
        yield f"{key}={value} was renamed: use {new_key}={new_value}"
    elif new_key != key:
        option = f"={value}" if "." not in key and isinstance(value, str) else ""
        yield f"{key}{option} was renamed: use {new_key}{option}"


def explain_renamed_argument(
    argument: str, list_options: Callable[[str], Sequence[str]] = lambda group: ()
) -> Iterator[str]:
    """Yield a message for each former group, option, key or value of a command-line argument.

    Args:
        argument: The argument.
        list_options: Lists the options of a group; the user's own may have a former name.
    """
    key, separator, value = argument.lstrip("+~").partition("=")
    if separator or argument.startswith("~"):
        key = key.partition("@")[0]
        arguments = re.findall(r"\w+", value)  # several in a sweep
        options = list_options(key)
        arguments = [word for word in arguments if word not in options]
        former = [word for word in arguments if (key, word) in VALUES]
        for word in former or (arguments if len(arguments) == 1 else [None]):
            yield from explain_renamed(key, word)
