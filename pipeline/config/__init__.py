"""What was asked for: the composed configuration as frozen dataclasses, checked once, here."""

import json
from dataclasses import fields, is_dataclass
from typing import Any, get_args

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from pipeline.config.cv import (
    CvConfig,
    GroupKFoldConfig,
    MultilabelStratifiedConfig,
    PredefinedConfig,
    RepeatedKFoldConfig,
    ShuffleSplitConfig,
    StratifiedGroupKFoldConfig,
)
from pipeline.config.dataset import (
    ArffConfig,
    DatasetConfig,
    NpzConfig,
    OpenmlConfig,
    PythonDatasetConfig,
    SvmlightConfig,
    SyntheticConfig,
    TableConfig,
    Value,
)
from pipeline.config.schema import (
    Config,
    EarlyStoppingConfig,
    InnerConfig,
    MlpConfig,
    ModelConfig,
    PreparationConfig,
    PythonModelConfig,
    RacingConfig,
    ReportConfig,
    ScoringConfig,
    SklearnModelConfig,
    TrackingConfig,
    TrainingConfig,
)
from pipeline.errors import UserError, choices

NO_MATTER = (
    *("report", "racing", "tracking.", "resume", "dataset.new_rows"),
    *("training.stack_size", "training.threads"),
)  # to scores: how the keys of such settings begin

__all__ = [
    "NO_MATTER",
    "ArffConfig",
    "Config",
    "CvConfig",
    "DatasetConfig",
    "EarlyStoppingConfig",
    "GroupKFoldConfig",
    "InnerConfig",
    "MlpConfig",
    "ModelConfig",
    "MultilabelStratifiedConfig",
    "NpzConfig",
    "OpenmlConfig",
    "PredefinedConfig",
    "PreparationConfig",
    "PythonDatasetConfig",
    "PythonModelConfig",
    "RacingConfig",
    "RepeatedKFoldConfig",
    "ReportConfig",
    "ScoringConfig",
    "ShuffleSplitConfig",
    "SklearnModelConfig",
    "StratifiedGroupKFoldConfig",
    "SvmlightConfig",
    "SyntheticConfig",
    "TableConfig",
    "TrackingConfig",
    "TrainingConfig",
    "Value",
    "flatten",
    "load",
    "load_tracking",
    "to_yaml",
]

_CONFIG = TypeAdapter(Config)
_TRACKING = TypeAdapter(TrackingConfig)
_FOR_ESTIMATORS = {"training.class_weight", "training.threads"}


def load(config: DictConfig) -> Config:
    """Return the composed configuration as a `Config`.

    Args:
        config: What Hydra composed from `conf/` and the command line.

    Raises:
        UserError: If a key is unknown or missing, or a value has a wrong type or is impossible;
            all of them are named at once.
    """
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise UserError(
            f"Configuration refused:\n  {error.full_key}: missing. Give it as {error.full_key}=..."
        ) from error
    except OmegaConfBaseException as error:
        raise UserError(f"Configuration refused: {error}") from error
    try:
        return _CONFIG.validate_json(json.dumps(plain))  # JSON mode reads lists into tuples
    except ValidationError as error:
        refused = "\n".join(f"  {_refusal(detail)}" for detail in error.errors())
        raise UserError(f"Configuration refused:\n{refused}") from error


def load_tracking(composed: DictConfig) -> TrackingConfig:
    """Return the store of a configuration that may be refused otherwise.

    Raises:
        UserError: If this part of it is refused.
    """
    try:
        plain = OmegaConf.to_container(composed.tracking, resolve=True)
        return _TRACKING.validate_json(json.dumps(plain))
    except OmegaConfBaseException as error:
        raise UserError(f"Configuration refused: {error}") from error
    except ValidationError as error:
        details = error.errors()
        for detail in details:
            detail["loc"] = ("tracking", *detail["loc"])
        refused = "\n".join(f"  {_refusal(detail)}" for detail in details)
        raise UserError(f"Configuration refused:\n{refused}") from error


def to_yaml(config: Config) -> str:
    """Return the configuration as YAML that `--config-dir` could read back."""
    return OmegaConf.to_yaml(OmegaConf.create(_plain(config)))


def flatten(config: Config) -> dict[str, str]:
    """Return the configuration as text by dotted key: `{"cv.n_splits": "10", ...}`.

    What says nothing of the chosen kind of model is left out: an estimator has no epochs.
    """
    flat: dict[str, str] = {}

    def walk(prefix: str, value: object) -> None:
        if isinstance(value, dict) and value:
            for key, item in value.items():
                walk(f"{prefix}.{key}" if prefix else str(key), item)
        else:
            flat[prefix] = str(value)

    walk("", _plain(config))
    if isinstance(config.model, SklearnModelConfig):
        of_networks = [key for key in flat if key.startswith("training.")]
        for key in set(of_networks) - _FOR_ESTIMATORS:
            del flat[key]
    return flat


def _plain(config: Config) -> dict[str, Any]:
    plain: dict[str, Any] = _CONFIG.dump_python(config, mode="json")
    return plain


def _refusal(detail: ErrorDetails) -> str:
    loc = [str(part) for part in detail["loc"]]
    group = Config.__dataclass_fields__[loc[0]].type if loc[0] in _group_names() else None
    kinds = {_kind(schema): schema for schema in _schemas(group)}
    if len(loc) > 1 and len(kinds) > 1:
        kind = loc.pop(1)
        schema = kinds.get(kind)
    else:
        schema = next(iter(kinds.values()), None)
    key = ".".join(loc)
    if detail["type"] == "unexpected_keyword_argument":
        for part in loc[1:-1]:
            schema = schema and schema.__dataclass_fields__[part].type  # type: ignore[attr-defined]
        siblings = fields(schema) if schema and len(loc) > 1 else fields(Config)
        return f"{key}: no such key. {choices(loc[-1], (f.name for f in siblings))}"
    if detail["type"] == "union_tag_invalid":
        received = detail["ctx"]["tag"]
        return f"{key}.kind: unknown kind {received!r}. {choices(received, kinds)}"
    expected = detail["msg"].removeprefix("Input should be ")
    if expected.startswith(("greater", "less")):
        expected = f"a value {expected}"
    if detail["type"].startswith("missing"):
        return f"{key}: missing."
    return f"{key}: expected {expected}. Received: {detail['input']!r}"


def _group_names() -> set[str]:
    return {field.name for field in fields(Config)}


def _schemas(group: Any) -> list[type]:
    """Return the dataclasses that a group may be: those of its union, or itself."""
    parts = [group, *get_args(group)]
    parts += [inner for part in get_args(group) for inner in get_args(part)]
    return [part for part in parts if isinstance(part, type) and is_dataclass(part)]


def _kind(schema: type) -> str:
    kind = schema.__dataclass_fields__.get("kind")  # type: ignore[attr-defined]
    return str(get_args(kind.type)[0]) if kind else ""
