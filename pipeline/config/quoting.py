"""Quote plain text in command-line arguments, so that Hydra's grammar keeps every character.

Hydra reads brackets, commas, equals signs and most signs beyond ASCII as grammar. The schema says
which keys hold text; a value of these that Hydra would refuse or change is quoted.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import fields
from functools import cache
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

from pipeline.config.schema import Config
from pipeline.config.validation import find_dataclasses
from pipeline.errors import UserError
from pipeline.runtime import expand_user

_ARGUMENT = re.compile(r"(\+{0,2})([\w.]+)=(.*)", re.DOTALL)
_PATHS = ("path", "test_path", "xml", "data_home", "checkpoint_dir")  # last parts of keys
_NAMES = ("name", "_column")  # ends of keys over which a sweep makes no sense
_QUOTED = re.compile(
    r"""[ \t]*("(\\\\)*"|'(\\\\)*'|"(.*?[^\\](\\\\)*)"|'(.*?[^\\](\\\\)*)')[ \t]*""", re.DOTALL
)
_QUOTED_ELEMENT = re.compile(rf"{_QUOTED.pattern}(?=,|$)", re.DOTALL)
FUNCTION = re.compile(
    r"[ \t]*(choice|range|interval|glob|sort|shuffle|tag|int|float|bool|str)[ \t]*\((.*)\)[ \t]*",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\[\\()\[\]{}:=, \t]")  # of Hydra's grammar, and by a user who knows it
_WORD = re.compile(r"(?!(?:true|false|null|nan|inf)$)[a-z_/][\w/.*?-]*", re.IGNORECASE | re.ASCII)
_BLANKS = " \t"  # that the grammar skips; all other signs are text
_PARSER = OverridesParser.create()


class _Text(NamedTuple):
    """The type of a setting that holds text.

    Attributes:
        depth: 0 for a text, 1 for a list of texts, 2 for a list of rows.
        is_pure: Whether numbers are no valid values.
        is_optional: Whether null is a valid value.
    """

    depth: int
    is_pure: bool
    is_optional: bool


def quote_arguments(arguments: Sequence[str]) -> list[str]:
    """Quote the plain text in the arguments of a command line.

    Raises:
        UserError: If an argument is not valid text.
    """
    is_sweep = any(map(_is_multirun, arguments))
    return [quote_argument(argument, is_sweep) for argument in arguments]


def quote_argument(argument: str, is_sweep: bool = False) -> str:
    """Quote the plain text in a setting such as `dataset.path=train (1).csv`.

    The path of a file that exists is one value, even with a comma in a sweep.

    Raises:
        UserError: If the argument is not valid text.
    """
    if re.search("[\ud800-\udfff]", argument):
        shown = argument.encode(errors="surrogateescape").decode(errors="replace")
        raise UserError(f"Expected an argument in UTF-8. Received: {shown!r}. Rename the file.")
    match = _ARGUMENT.fullmatch(argument)
    text = _text_settings().get(match[2]) if match else None
    if match is None or text is None or not match[3]:
        return argument
    key, value = match[2], match[3]
    quoted = _quote_sweep(value, text, key, is_sweep)
    return f"{match[1]}{key}={quoted}"


def quote(text: str) -> str:
    """Quote a text for Hydra, which reads it back unchanged."""
    marks = Quote.single if '"' in text and "'" not in text else Quote.double
    return QuotedString(text, marks).with_quotes()


def quote_path(path: str) -> str:
    """Quote the path of a file for Hydra, which reads it back unchanged."""
    return path if _WORD.fullmatch(path) else quote(re.sub(r"(\\*)\$\{", r"\1\1\\${", path))


def quote_value(value: str) -> str:
    """Quote a value that Hydra cannot parse; within a list, its elements."""
    if _is_list(value):
        elements = split_values(value[1:-1])
        return f"[{','.join(_quote_element(it, _Text(0, False, True)) for it in elements)}]"
    return quote(value)


def is_parsed(argument: str) -> bool:
    """Return whether an argument follows Hydra's grammar."""
    try:
        _PARSER.parse_overrides([argument])
    except HydraException:
        return False
    return True


def find_types(key: str) -> frozenset[tuple[int, object]]:
    """Return the types of a setting, each with the number of lists around it; none if unknown."""
    return _types().get(key.lstrip("+"), frozenset())


def split_values(text: str) -> list[str]:
    """Split at the commas that are outside of quotes and brackets."""
    elements, start = [], 0
    while True:
        end = _find_end(text, start)
        elements.append(text[start:end])
        if end >= len(text):
            return elements
        start = end + 1


def format_value(value: object) -> str:
    """Return a value as it is typed on the command line."""
    if isinstance(value, list):
        return f"[{','.join(map(format_value, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = str(value)
    return text if not isinstance(value, str) or _WORD.fullmatch(text) else quote(text)


def format_setting(key: str, value: object) -> str:
    """Return a setting as it is typed in a shell."""
    return shlex.quote(f"{key}={format_value(value)}")


def _is_multirun(argument: str) -> bool:
    is_option = len(argument) > 2 and "--multirun".startswith(argument)
    return is_option or argument in ("-m", "hydra.mode=MULTIRUN")


def _quote_sweep(value: str, text: _Text, key: str, is_sweep: bool) -> str:
    """Quote a value, or each of the values that a sweep varies."""
    is_path = key.endswith(_PATHS)
    if is_path and _exists(value):
        return quote_path(value)
    if text.depth == 0 and not value.strip(" ,"):  # a separator, or a blank name
        return quote(value)
    if FUNCTION.fullmatch(value):
        return value
    elements = split_values(value)
    if not all(map(_is_list, elements)) and _is_list(value):  # a bracket in an element
        elements = [value]
    if len(elements) > 1 and text.depth == 0:
        is_name = key.endswith(_NAMES) and not any(map(_QUOTED.fullmatch, elements))
        if is_name and not is_sweep and "${" not in value:
            return quote(value)
        elements = list(_join_paths(elements)) if is_path else elements
    quoted = [
        quote_path(it) if is_path and _exists(it) else _quote_nested(it, text) for it in elements
    ]
    return ",".join(quoted)


def _quote_nested(value: str, text: _Text) -> str:
    """Quote a text, or the elements of a list."""
    stripped = value.strip()
    if text.depth == 0 or not _is_list(stripped):
        return _quote_element(value, text)
    elements = [
        _quote_nested(it.strip(), text._replace(depth=text.depth - 1, is_optional=False))
        for it in split_values(stripped[1:-1])
    ]
    return f"[{','.join(elements)}]"


def _quote_element(value: str, text: _Text) -> str:
    stripped = value.strip(_BLANKS)
    is_null = text.is_optional and stripped.lower() == "null"
    if not stripped or is_null or _WORD.fullmatch(value) or _QUOTED.fullmatch(value):
        return value
    parsed: Any = None
    if is_parsed(f"key={value}"):
        parsed = _PARSER.parse_override(f"key={value}").value()
        is_same = parsed == value or "${" in value or _ESCAPE.search(value)
        if not text.is_pure or FUNCTION.fullmatch(value) or (isinstance(parsed, str) and is_same):
            return value
    return quote(value)


def _join_paths(elements: Sequence[str]) -> Iterator[str]:
    """Join elements between commas that are the path of one file."""
    start = 0
    while start < len(elements):
        ends = range(len(elements), start + 1, -1)
        joined = {end: ",".join(elements[start:end]) for end in ends}
        end = next((end for end, path in joined.items() if _exists(path)), start + 1)
        yield joined.get(end, elements[start])
        start = end


def _exists(path: str) -> bool:
    try:
        return expand_user(path).exists()
    except (OSError, ValueError):  # too long, a null character
        return False


def _is_list(value: str) -> bool:
    return value.startswith("[") and value.endswith("]")


def _find_end(text: str, start: int) -> int:
    """Return the end of the element at a position; a bracket without its partner is text."""
    if quoted := _QUOTED_ELEMENT.match(text, start):
        return quoted.end()
    depth = 0
    for position, character in enumerate(text[start:], start):
        if character == "," and not depth and text[position - 1 : position] != "\\":
            return position
        depth += (character in "([{") - (character in ")]}" and depth > 0)
    comma = text.find(",", start) if depth else -1
    return len(text) if comma < 0 else comma


@cache
def _text_settings() -> dict[str, _Text]:
    """Return the settings of the schema that hold text, by key."""
    settings = {}
    for key, types in _types().items():
        depths = {depth for depth, leaf in types if leaf is not NoneType}
        if len(depths) == 1 and any(leaf is str for _, leaf in types):
            is_pure = all(leaf in (str, NoneType) for _, leaf in types)
            settings[key] = _Text(max(depths), is_pure, (0, NoneType) in types)
    return settings


@cache
def _types() -> dict[str, frozenset[tuple[int, object]]]:
    settings = _find_settings("", Config)
    return {key: frozenset(_leaves(annotation)) for key, annotation in settings}


def _find_settings(prefix: str, schema: type) -> Iterator[tuple[str, Any]]:
    """Yield the keys of a dataclass and of the groups within it, with their types."""
    for field in fields(schema):
        groups = find_dataclasses(field.type)
        for group in groups:
            yield from _find_settings(f"{prefix}{field.name}.", group)
        if not groups:
            yield f"{prefix}{field.name}", field.type


def _leaves(annotation: Any, depth: int = 0) -> Iterator[tuple[int, object]]:
    """Yield the types within a union or tuple, and the number of tuples around each."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _leaves(arguments[0], depth)
    elif origin is Literal:
        yield from ((depth, type(option)) for option in arguments)
    elif origin is tuple:
        yield from _leaves(arguments[0], depth + 1)
    elif origin is not dict and arguments:
        for option in arguments:
            yield from _leaves(option, depth)
    else:
        yield depth, annotation
