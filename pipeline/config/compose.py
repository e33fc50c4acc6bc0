"""Turn what Hydra composed into a checked `Config`, and explain refusals."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_args

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from pipeline.config.schema import (
    Config,
    SklearnModelConfig,
    TrackingConfig,
)
from pipeline.errors import UserError, suggest
from pipeline.runtime import CONF_DIR

T = TypeVar("T")


def read_settings(
    schema: TypeAdapter[T], key: str, settings: Mapping[str, Any], depth: int = 1
) -> T:
    """Return settings of Hydra's own groups, checked.

    Args:
        schema: What they are read into.
        key: Where they stand, such as hydra.launcher.
        settings: By name.
        depth: How many names below `key` a refusal gives.

    Raises:
        UserError: If one is impossible; all such are named at once.
    """
    try:
        return schema.validate_json(json.dumps(dict(settings)))  # reads lists into tuples
    except ValidationError as error:
        refused = "\n".join(
            f"  {'.'.join([key, *map(str, detail['loc'][:depth])])}: expected "
            f"{detail['msg'].removeprefix('Input should be ')}. Received: {detail['input']!r}"
            for detail in error.errors()
        )
        raise UserError(f"Configuration refused:\n{refused}") from error


IGNORED_IN_FINGERPRINT = (
    *("report", "racing", "tracking.", "resume", "dataset.predict_rows"),
    *("training.fits_per_program", "training.n_threads"),
)  # to scores: how the keys of such settings begin
_CONFIG = TypeAdapter(Config)
_TRACKING = TypeAdapter(TrackingConfig)
_FOR_ESTIMATORS = {"training.class_weight", "training.n_threads"}


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
        refused = "\n".join(f"  {_format_error(detail)}" for detail in error.errors())
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
        refused = "\n".join(f"  {_format_error(detail)}" for detail in details)
        raise UserError(f"Configuration refused:\n{refused}") from error


def compose_tracking(settings: Sequence[str]) -> TrackingConfig:
    """Compose the store from `conf/` and settings such as `tracking.uri=...`.

    Raises:
        UserError: If a setting is refused.
    """
    try:
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            return load_tracking(compose("config", overrides=list(settings)))
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain_hydra_error(error, list(settings))) from error


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


def _format_error(detail: ErrorDetails) -> str:
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
        return f"{key}: no such key. {suggest(loc[-1], (f.name for f in siblings))}"
    if detail["type"] == "union_tag_invalid":
        received = detail["ctx"]["tag"]
        return f"{key}.kind: unknown kind {received!r}. {suggest(received, kinds)}"
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


EXTRAS = {("hydra/launcher", "joblib"): "joblib"}  # options that come with an extra
UNCHOSEN = ["experiment", "racing", "search_space"]  # groups that may be left out


def explain_hydra_error(error: Exception, arguments: list[str]) -> str | None:
    """Return words for a refused command line, or None if the error is not the user's.

    Args:
        error: What Hydra raised.
        arguments: The command line, to see which keys exist under the groups it chose.
    """
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return None
    unknown = re.search(r"Could not override '([^']+)'", str(error))
    if unknown:
        return _unknown_key(unknown[1], arguments)
    missing = re.search(r"Could not find '([^']+)/([^/']+)'", str(error))
    if isinstance(error, MissingConfigException) and missing:
        group, option = missing.groups()
        if (group, option) in EXTRAS:
            extra = EXTRAS[group, option]
            return (
                f"{group}: {option} is not installed. Install it: pip install 'manyfold[{extra}]'"
            )
        hint = suggest(option, error.options or [])
        return f"Configuration refused:\n  {group}: no such option {option!r}. {hint}"
    if isinstance(error, OverrideParseException):
        return (
            f"Configuration refused: expected key=value. Received: {error.override!r}. Quote what "
            "the shell would take apart: 'model.hidden_units=[64,32]'"
        )
    reason = str(error).strip()
    if "INTERVAL_SWEEP" in reason:
        reason = "an interval has too many values to try them all. Search it: hydra/sweeper=optuna"
    cause = error.__cause__
    if isinstance(cause, OmegaConfBaseException):
        reason += f"\n{cause}"
    return f"Configuration refused: {reason}"


def _unknown_key(key: str, arguments: list[str]) -> str:
    parent, _, name = key.rpartition(".")
    config = _compose_groups(arguments)
    group = key.partition(".")[0]
    if parent and group in UNCHOSEN and group not in config:
        return f"Configuration refused:\n  {key}: no such key before {group}=... is chosen."
    siblings = OmegaConf.select(config, parent) if parent else config
    while siblings is None or not isinstance(siblings, DictConfig):
        parent, _, name = parent.rpartition(".")
        siblings = OmegaConf.select(config, parent) if parent else config
    refused = f"{parent}.{name}" if parent else name
    shown = [str(key) for key in siblings if key != "hydra" and not str(key).startswith("_")]
    groups = [] if parent else UNCHOSEN
    hint = suggest(name, {*shown, *groups})
    return f"Configuration refused:\n  {refused}: no such key. {hint}"


def _compose_groups(arguments: list[str]) -> DictConfig:
    """Compose the groups that the command line chooses, as far as they exist, and nothing else."""
    GlobalHydra.instance().clear()
    chosen: list[str] = []
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        for argument in arguments:
            if re.fullmatch(r"[\w/]+=[\w/]+", argument):
                try:
                    compose("config", overrides=[*chosen, argument])
                except (HydraException, OmegaConfBaseException):
                    continue  # this one may be what is refused
                chosen.append(argument)
        return compose("config", overrides=chosen, return_hydra_config=True)
