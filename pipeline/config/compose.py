"""Check composed configurations, and explain errors in them and on the command line."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_args

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from pipeline.config.renamed_keys import explain_renamed, explain_renamed_argument
from pipeline.config.schema import Config, TrackingConfig
from pipeline.config.serialization import map_texts
from pipeline.errors import UserError, reveal, suggest
from pipeline.runtime import CONF_DIR

T = TypeVar("T")
EXTRAS = {("hydra/launcher", "joblib"): "joblib"}  # options that need an optional dependency
OPTIONAL_GROUPS = ("experiment", "racing", "search_space")  # without an option by default


def parse_config(composed: DictConfig) -> Config:
    """Convert the result of Hydra's composition to a `Config`.

    Raises:
        UserError: If keys are unknown or missing or values are invalid; the message names all.
    """
    return _validate(Config, _to_container(composed))


def parse_tracking(composed: DictConfig) -> TrackingConfig:
    """Convert the group `tracking` alone; the other groups may be invalid.

    Raises:
        UserError: If the group is invalid.
    """
    return _validate(TrackingConfig, _to_container(composed.tracking), "tracking")


def compose_tracking(overrides: Sequence[str]) -> TrackingConfig:
    """Compose the group `tracking` from `conf/` and overrides such as `tracking.uri=...`.

    Raises:
        UserError: If an override is invalid.
    """
    try:
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            return parse_tracking(compose("config", overrides=list(overrides)))
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain_hydra_error(error, overrides) or str(error)) from error


def parse_settings(
    schema: type[T], key: str, settings: Mapping[str, Any], depth: int | None = None
) -> T:
    """Convert settings of one of Hydra's own groups, such as hydra.launcher, to a dataclass.

    An error message shows at most `depth` names below the key of the group.

    Raises:
        UserError: If names are unknown or missing or values are invalid; the message names all.
    """
    return _validate(schema, dict(settings), key, depth)


def _to_container(composed: DictConfig) -> object:
    try:
        container = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        key = error.full_key
        raise _invalid([f"{key}: missing. Give it as {key}=..."]) from error
    except OmegaConfBaseException as error:
        raise UserError(f"Configuration refused: {error}") from error
    return map_texts(reveal, container)


def _invalid(messages: Iterable[str]) -> UserError:
    return UserError("\n  ".join(["Configuration refused:", *messages]))


def _validate(schema: type[T], values: object, key: str = "", depth: int | None = None) -> T:
    try:
        # Strict validation accepts lists as tuples in JSON only.
        validated = TypeAdapter(schema).validate_json(json.dumps(values))
    except ValidationError as error:
        raise _invalid(
            message
            for details in error.errors()
            for message in _format_error(details, schema, key, depth)
        ) from error
    _restore_keys(validated, values, key)
    return validated


def _restore_keys(validated: object, values: Any, prefix: str) -> None:
    """Give the mappings of parameters their keys back: numbers and booleans are texts in JSON."""
    for field in fields(validated):  # type: ignore[arg-type]
        value, original = getattr(validated, field.name), values.get(field.name)
        key = f"{prefix}.{field.name}" if prefix else field.name
        if is_dataclass(value):
            _restore_keys(value, original, key)
        elif isinstance(value, dict) and original:
            for name in original:
                if not isinstance(name, str):
                    raise _invalid([f"{key}: expected names as keys. Received: {name!r}"])
            value.update(original)


def _format_error(
    details: ErrorDetails, schema: type, prefix: str, depth: int | None
) -> Iterator[str]:
    names, owner, by_kind = _locate(details["loc"], schema)
    key = ".".join([prefix] * bool(prefix) + names[:depth])
    kind, value = details["type"], details["input"]
    if kind == "union_tag_invalid":
        key, value = f"{key}.kind", details["ctx"]["tag"]
    renamed = list(explain_renamed(key, value))
    if renamed and (kind == "union_tag_invalid" or not kind.startswith("missing")):
        yield from renamed
    elif kind == "unexpected_keyword_argument":
        siblings = (field.name for field in fields(owner))
        yield f"{key}: no such key. {suggest(names[-1], siblings)}"
    elif kind == "union_tag_invalid":
        yield f"{key}: unknown kind {value!r}. {suggest(value, by_kind)}"
    elif kind.startswith("missing"):
        yield f"{key}: missing."
    else:
        expected = details["msg"].removeprefix("Input should be ")
        comparison = "a value " if expected.startswith(("greater", "less")) else ""
        yield f"{key}: expected {comparison}{expected}. Received: {value!r}"


def _locate(location: Iterable[int | str], schema: type) -> tuple[list[str], type, dict[str, type]]:
    """Follow an error's location from a dataclass.

    Returns:
        The names of the key, without pydantic's tags; the innermost dataclass; and the dataclass
        of each kind that the group at the location may have.
    """
    names: list[str] = []
    owner, by_kind = schema, {"": schema}
    for part in map(str, location):
        if len(by_kind) > 1 and part in by_kind:
            owner, by_kind = by_kind[part], {part: by_kind[part]}
            continue
        names.append(part)
        if len(by_kind) == 1:
            (owner,) = by_kind.values()
        field = owner.__dataclass_fields__.get(part) if by_kind else None  # type: ignore[attr-defined]
        schemas = _dataclasses(field.type) if field else []
        by_kind = {kind: each for each in schemas for kind in _kind_names(each)}
    return names, owner, by_kind


def _dataclasses(annotation: Any) -> list[type]:
    """Return the dataclass that is the annotation, or those of its union."""
    if isinstance(annotation, type) and is_dataclass(annotation):
        return [annotation]
    return [option for part in get_args(annotation) for option in _dataclasses(part)]


def _kind_names(schema: type) -> tuple[str, ...]:
    kind = schema.__dataclass_fields__.get("kind")  # type: ignore[attr-defined]
    return get_args(kind.type) if kind else ("",)


def explain_hydra_error(error: Exception, arguments: Sequence[str]) -> str | None:
    """Return the message for an invalid command line, or None for any other error."""
    null = [text for text in arguments if text.endswith("=null") and "." not in text]
    if isinstance(error, ValueError) and "Config group override" in str(error) and null:
        return str(_invalid(f"{text}: leave out a group with ~{text[:-5]}" for text in null))
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return None
    renamed = [line for argument in arguments for line in explain_renamed_argument(argument)]
    if renamed:
        return str(_invalid(renamed))
    unknown = re.search(r"Could not override '([^']+)'", str(error))
    if unknown:
        return str(_invalid(_explain_unknown_key(unknown[1], arguments)))
    missing = re.search(r"Could not find '([^']+)/([^/']+)'", str(error))
    if isinstance(error, MissingConfigException) and missing:
        return _explain_missing_option(missing[1], missing[2], error.options or [])
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


def check_renamed(arguments: Iterable[str], list_options: Callable[[str], Sequence[str]]) -> None:
    """Reject former groups, options, keys and values in command-line arguments.

    Args:
        arguments: The arguments.
        list_options: Lists the options of a group.

    Raises:
        UserError: If there are any; the message names all.
    """
    messages = [
        line for argument in arguments for line in explain_renamed_argument(argument, list_options)
    ]
    if messages:
        raise _invalid(dict.fromkeys(messages))


def _explain_missing_option(group: str, option: str, available: Iterable[str]) -> str:
    if (group, option) in EXTRAS:
        extra = EXTRAS[group, option]
        return f"{group}: {option} is not installed. Install it: pip install 'manyfold[{extra}]'"
    renamed = list(explain_renamed_argument(f"{group}={option}"))
    unknown = f"{group}: no such option {option!r}. {suggest(option, available)}"
    return str(_invalid(renamed or [unknown]))


def _explain_unknown_key(key: str, arguments: Sequence[str]) -> list[str]:
    renamed = list(explain_renamed(key))
    if renamed:
        return renamed
    parent, _, name = key.rpartition(".")
    composed = _compose_options(arguments)
    group = key.partition(".")[0]
    if parent and group in OPTIONAL_GROUPS and group not in composed:
        return [f"{key}: no such key before {group}=... is chosen."]
    siblings = OmegaConf.select(composed, parent) if parent else composed
    while not isinstance(siblings, DictConfig):
        parent, _, name = parent.rpartition(".")
        siblings = OmegaConf.select(composed, parent) if parent else composed
    available = {str(key) for key in siblings if key != "hydra" and not str(key).startswith("_")}
    hint = suggest(name, available if parent else available.union(OPTIONAL_GROUPS))
    return [f"{parent}.{name}: no such key. {hint}" if parent else f"{name}: no such key. {hint}"]


def _compose_options(arguments: Sequence[str]) -> DictConfig:
    """Compose the valid group options of a command line, and nothing else of it."""
    GlobalHydra.instance().clear()
    chosen: list[str] = []
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        for argument in arguments:
            if re.fullmatch(r"[\w/]+=[\w/]+", argument):
                try:
                    compose("config", overrides=[*chosen, argument])
                except (HydraException, OmegaConfBaseException):
                    continue  # possibly the invalid one
                chosen.append(argument)
        return compose("config", overrides=chosen, return_hydra_config=True)
