"""Write configurations: as YAML, and as texts by dotted key for MLflow and fingerprints."""

import posixpath
import re
from collections.abc import Callable
from dataclasses import asdict

from omegaconf import OmegaConf

from pipeline.config.schema import Config
from pipeline.config.schema_models import BoostingConfig, EstimatorConfig
from pipeline.errors import mask

# Prefixes of the keys that cannot change a score.
_WITHOUT_INFLUENCE = (
    "report",
    "checks",
    "racing",
    "tracking.",
    "resume",
    "dataset.predict_rows",
    "dataset.memory_map",
    "training.n_threads",
)
IMPORTANCE = "report.importance"  # beginning of keys
_SKLEARN_TRAINING_KEYS = {
    "training.class_weight",
    "training.class_weight_beta",
    "training.final_fit",
    "training.n_threads",
}
_STOPPING = "training.early_stopping."


def to_yaml(config: Config) -> str:
    """Return the configuration as YAML that `parse_config` can read back, URIs masked."""
    return OmegaConf.to_yaml(OmegaConf.create(_to_dict(config)))


def affects_scores(key: str, value: object) -> bool:
    """Return whether a setting can change a score.

    The number of fits in a program can change the last bits, if it or its memory is set.
    """
    if key in ("training.fits_per_program", "training.memory"):
        return value not in (None, "None")
    return not key.startswith(_WITHOUT_INFLUENCE)


def flatten(config: Config) -> dict[str, str]:
    """Return the configuration as texts by dotted key: `{"cv.n_splits": "10", ...}`.

    Passwords and tokens in URIs are masked. A mapping whose keys are numbers, or texts that MLflow
    refuses in names of params, is one text: `{0: 1, 1: 5}`. Keys without effect are omitted: those
    of networks for scikit-learn models, such as the epochs, those of another loss or class weight,
    those of an importance that is not requested, and unset ones that older runs lack.
    """
    flat: dict[str, str] = {}

    def add(prefix: str, value: object) -> None:
        if isinstance(value, dict) and value and all(map(_is_param_name, value)):
            for key, item in value.items():
                add(f"{prefix}.{key}" if prefix else key, item)
        else:
            flat[prefix] = str(_sorted(value))

    add("", _to_dict(config))
    unset = {
        "scoring.greater_is_better": "{}",
        "scoring.weighted": "False",
        "training.final_fit": "None",
        "dataset.missing_labels": "refuse",
        "dataset.label_na_values": "[]",
        "dataset.time_column": "None",
        "dataset.weight_column": "None",
        "training.label_weights": "None",
        "training.memory": "None",
        "training.deterministic": "True",
        "cv.outer_splits": "None",
        "preprocessing.category_encoding": "onehot",
        "dataset.text_columns": "[]",
        "dataset.memory_map": "None",
    }
    without_effect: tuple[str, ...] = ()
    if config.training.loss != "asymmetric":
        without_effect += ("training.asymmetric_",)
    if config.training.class_weight != "effective_number":
        without_effect += ("training.class_weight_beta",)
    if config.preprocessing.category_encoding != "hashing":
        without_effect += ("preprocessing.n_hash_buckets",)
    if config.cv.outer_splits is None:
        without_effect += ("cv.outer_repeats",)
    if not config.report.importance:
        without_effect += (IMPORTANCE,)
    flat = {
        key: value
        for key, value in flat.items()
        if unset.get(key) != value and not key.startswith(without_effect)
    }
    if isinstance(config.model, EstimatorConfig):
        of_networks = {key for key in flat if key.startswith("training.")} - _SKLEARN_TRAINING_KEYS
        if isinstance(config.model, BoostingConfig):
            of_networks = {key for key in of_networks if not key.startswith(_STOPPING)}
        return {key: value for key, value in flat.items() if key not in of_networks}
    return flat


def map_texts(function: Callable[[str], str], values: object) -> object:
    """Apply a function to all texts in nested dicts, lists and tuples; tuples become lists."""
    if isinstance(values, dict):
        return {key: map_texts(function, value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [map_texts(function, value) for value in values]
    return function(values) if isinstance(values, str) else values


def _to_dict(config: Config) -> dict[str, object]:
    return map_texts(mask, asdict(config))  # type: ignore[return-value]


def _is_param_name(key: object) -> bool:
    """Return whether MLflow takes a key as a part of the name of a param."""
    is_text = isinstance(key, str) and re.fullmatch(r"[\w .:/-]+", key)
    return bool(is_text) and posixpath.normpath(str(key)) == key


def _sorted(value: object) -> object:
    """Sort the keys of nested mappings, whose order means nothing."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: (type(key).__name__, key))
        return {key: _sorted(value[key]) for key in keys}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
