"""Validate settings against the schema; the messages name keys and what to type."""

import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_args

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from pipeline.config.renamed_keys import explain_renamed
from pipeline.errors import UserError, suggest

T = TypeVar("T")
_EXPECTED = {
    "tuple_type": "a list",
    "string_type": "a text, in quotes if it looks like a number, true, false or null",
    "bool_type": "true or false",
    "too_short": "at least one value",
}
_BOOLEANS = {
    **dict.fromkeys(("no", "off", "0", "n", "none"), "false"),
    **dict.fromkeys(("yes", "on", "1", "y"), "true"),
}


def invalid(messages: Iterable[str]) -> UserError:
    """Return the error that lists these messages."""
    return UserError("\n  ".join(["Configuration refused:", *messages]))


def validate(schema: type[T], values: object, key: str = "", depth: int | None = None) -> T:
    """Convert settings to a dataclass; `key` and `depth` shape the names in messages.

    Raises:
        UserError: If names are unknown or missing or values are invalid; the message names all.
    """
    try:
        # Strict validation accepts lists as tuples in JSON only.
        validated = TypeAdapter(schema).validate_json(json.dumps(values))
    except ValidationError as error:
        raise invalid(
            message
            for details in _without_consequences(error.errors())
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
                    raise invalid([f"{key}: expected names as keys. Received: {name!r}"])
            value.update(original)


def _without_consequences(errors: Sequence[ErrorDetails]) -> Iterator[ErrorDetails]:
    """Yield the errors but that of a list that is too short as its values are invalid."""
    for error in errors:
        location = error["loc"]
        inner = any(other["loc"][: len(location)] == location != other["loc"] for other in errors)
        if error["type"] != "too_short" or not inner:
            yield error


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
        expected = _EXPECTED.get(kind, expected)
        comparison = "a value " if expected.startswith(("greater", "less")) else ""
        hint = f" Type: {typed}" if (typed := _suggest_value(key, kind, value)) else ""
        yield f"{key}: expected {comparison}{expected}. Received: {value!r}{hint and '.'}{hint}"


def _suggest_value(key: str, kind: str, value: object) -> str:
    """Return the setting that was meant, quoted for a shell; empty if that is not clear."""
    if key.rpartition(".")[2].isdigit():  # an element of a list
        return ""
    if kind == "tuple_type" and isinstance(value, str | int | float) and value != "":
        return shlex.quote(f"{key}=[{value}]")
    if kind == "bool_type" and str(value).lower() in _BOOLEANS:
        return f"{key}={_BOOLEANS[str(value).lower()]}"
    return ""


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
        schemas = find_dataclasses(field.type) if field else []
        by_kind = {kind: each for each in schemas for kind in _kind_names(each)}
    return names, owner, by_kind


def find_dataclasses(annotation: Any) -> list[type]:
    """Return the dataclass that is the annotation, or those of its union."""
    if isinstance(annotation, type) and is_dataclass(annotation):
        return [annotation]
    return [option for part in get_args(annotation) for option in find_dataclasses(part)]


def _kind_names(schema: type) -> tuple[str, ...]:
    kind = schema.__dataclass_fields__.get("kind")  # type: ignore[attr-defined]
    return get_args(kind.type) if kind else ("",)
