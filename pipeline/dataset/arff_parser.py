"""The text of ARFF, dense and sparse, as numbers: a small parser that knows line and attribute.

A category is its place among those declared, a missing value NaN. In a sparse row what is left out
is 0, for a nominal attribute its first category, as in WEKA.

References:
    https://waikato.github.io/weka-wiki/formats_and_processing/arff_stable/
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError, suggest

_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_NAME = re.compile(rf"\s*({_QUOTED}|[^\s{{]+)\s*(.*)$", re.S)
_VALUE = re.compile(rf"""\s*({_QUOTED}|[^,'"{{}}]*?)\s*(,|$)""")
_PAIR = re.compile(rf"""\s*(\d+)\s+({_QUOTED}|[^,\s'"{{}}]+)\s*(,|$)""")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.S)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_NUMERIC = {"numeric", "real", "integer"}
_MISSING = {"?", "", None}


@dataclass(frozen=True)
class Attribute:
    """A column of the file.

    Attributes:
        name: Its name, unquoted.
        kind: `numeric`, `nominal`, or another word of the file that cannot be used.
        categories: Those declared for a nominal one, in this order.
    """

    name: str
    kind: str
    categories: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Arff:
    """What an ARFF file says.

    Attributes:
        relation: The relation's name, unquoted.
        attributes: Its columns.
        values: Values of shape (n_samples, n_attributes); NaN where missing or of an unusable kind.
    """

    relation: str
    attributes: tuple[Attribute, ...]
    values: NDArray[np.float64]


def parse_arff(source: str, text: str) -> Arff:
    """Return what the text of an ARFF file says.

    Args:
        source: The file, for messages.
        text: All of it.

    Raises:
        UserError: If it is not ARFF; the line and the attribute are named.
    """
    lines = _content(text)
    relation, attributes = _parse_header(source, lines)
    if not attributes:
        raise UserError(f"{source}: expected @attribute lines before @data. Received: none.")
    names = [attribute.name for attribute in attributes]
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise UserError(
            f"{source}: expected attributes with different names. Received: {twice!r} twice."
        )
    columns: list[list[str | None]] = [[] for _ in attributes]
    at: list[list[int]] = [[] for _ in attributes]  # row of each given value
    numbers: list[int] = []  # line of each row
    for number, line in lines:
        row = len(numbers)
        numbers.append(number)
        for column, value in _parse_row(source, number, line, names):
            columns[column].append(value)
            at[column].append(row)
    if not numbers:
        raise UserError(f"{source}: expected at least one row behind @data. Received: none.")
    values = np.zeros((len(numbers), len(attributes)))
    for j, attribute in enumerate(attributes):
        rows = np.array(at[j], dtype=np.int64)
        values[rows, j] = _to_numbers(source, attribute, columns[j], rows, numbers)
    return Arff(relation, attributes, values)


def unquoted(text: str) -> str:
    """Return a name or value without its quotes and escapes."""
    if len(text) < 2 or text[0] not in "'\"":
        return text
    return _ESCAPE.sub(_unescape, text[1:-1])


def _unescape(match: re.Match[str]) -> str:
    found = match[1]
    return chr(int(found[1:], 16)) if len(found) > 1 else _ESCAPES.get(found, found)


def _content(text: str) -> Iterator[tuple[int, str]]:
    """Yield line numbers from 1 and lines, without comments and blank ones."""
    for number, line in enumerate(re.split("\r\n|\n|\r", text), start=1):
        line = line.strip()
        if line and not line.startswith("%"):
            yield number, line


def _parse_header(
    source: str, lines: Iterator[tuple[int, str]]
) -> tuple[str, tuple[Attribute, ...]]:
    relation = ""
    attributes: list[Attribute] = []
    for number, line in lines:
        word, rest = [*line.split(None, 1), ""][:2]
        match word.lower():
            case "@relation":
                relation = unquoted(rest.strip())
            case "@attribute":
                attributes.append(_parse_attribute(source, number, rest))
            case "@data":
                return relation, tuple(attributes)
            case _:
                raise UserError(
                    f"{source}: expected @relation, @attribute or @data. Received: {line[:60]!r} "
                    f"in line {number}."
                )
    raise UserError(f"{source}: expected a line @data and rows behind it. Received: no such line.")


def _parse_attribute(source: str, number: int, rest: str) -> Attribute:
    found = _NAME.match(rest)
    if not found or not found[2]:
        raise UserError(
            f"{source}: expected @attribute, a name and a type. Received: {rest[:60]!r} in line "
            f"{number}."
        )
    name, kind = unquoted(found[1]), found[2].strip()
    if not kind.startswith("{"):
        word = kind.split()[0].lower()
        return Attribute(name, "numeric" if word in _NUMERIC else word)
    if not kind.endswith("}"):
        raise UserError(
            f"{source}: expected categories between braces. Received: {kind[:60]!r} of attribute "
            f"{name!r} in line {number}."
        )
    categories = tuple(map(str, _values(source, number, kind[1:-1])))
    if len(set(categories)) < len(categories) or None in categories:
        raise UserError(
            f"{source}: expected different categories. Received: {kind[:60]!r} of attribute "
            f"{name!r} in line {number}."
        )
    return Attribute(name, "nominal", categories)


def _parse_row(
    source: str, number: int, line: str, names: list[str]
) -> Iterator[tuple[int, str | None]]:
    """Return column and text of each value that a row gives."""
    if line.startswith("{"):
        return iter(_pairs(source, number, line, names).items())
    values = _values(source, number, line)
    if len(values) != len(names):
        last = names[min(len(values), len(names)) - 1]
        raise UserError(
            f"{source}: expected {len(names)} values in each row, one per attribute. Received: "
            f"{len(values)} in line {number}, up to attribute {last!r}."
        )
    return iter(enumerate(values))


def _values(source: str, number: int, text: str) -> list[str | None]:
    if not any(mark in text for mark in "'\"{}"):
        return [None if value in _MISSING else value for value in map(str.strip, text.split(","))]
    values: list[str | None] = []
    end, comma = 0, ","
    while comma:
        found = _VALUE.match(text, end)
        if not found:
            raise UserError(
                f"{source}: expected values between commas, in matching quotes. Received: "
                f"{text[end : end + 60].strip()!r} in line {number}, value {len(values)} (the "
                "first is 0)."
            )
        values.append(None if found[1] in _MISSING else unquoted(found[1]))
        end, comma = found.end(), found[2]
    return values


def _pairs(source: str, number: int, line: str, names: list[str]) -> dict[int, str | None]:
    body = line[1:-1].strip() if line.endswith("}") else None
    pairs: list[tuple[str, str]] = []
    end, comma = 0, "," if body else ""
    if body and not any(mark in body for mark in "'\"{}"):
        split = [pair.split() for pair in body.split(",")]
        if all(len(pair) == 2 and pair[0].isdecimal() for pair in split):
            pairs, comma = [(key, value) for key, value in split], ""
    while comma and body:
        found = _PAIR.match(body, end)
        if not found:
            body = None
            break
        pairs.append((found[1], found[2]))
        end, comma = found.end(), found[3]
    if body is None:
        raise UserError(
            f"{source}: expected {{place value, place value}} in a sparse row. Received: "
            f"{line[end : end + 60]!r} in line {number}."
        )
    row = {int(key): None if value == "?" else unquoted(value) for key, value in pairs}
    if len(row) < len(pairs) or (row and max(row) >= len(names)):
        raise UserError(
            f"{source}: expected each attribute once, from 0 to {len(names) - 1}, in a sparse row. "
            f"Received: {max(row)} as the last of {len(pairs)} in line {number}."
        )
    return row


def _to_numbers(
    source: str,
    attribute: Attribute,
    texts: list[str | None],
    rows: NDArray[np.int64],
    numbers: list[int],
) -> NDArray[np.float64]:
    if attribute.kind == "nominal":
        places: dict[str | None, float] = {
            text: float(place) for place, text in enumerate(attribute.categories)
        }
        places[None] = np.nan
        try:
            return np.array([places[text] for text in texts])
        except KeyError:
            i = next(i for i, text in enumerate(texts) if text not in places)
            hint = f". {suggest(str(texts[i]), attribute.categories)}"
            _raise_for(source, "a declared category", attribute, texts[i], numbers[rows[i]], hint)
    if attribute.kind != "numeric":
        return np.full(len(texts), np.nan)
    found = np.empty(len(texts))
    for i, text in enumerate(texts):
        try:
            found[i] = np.nan if text is None else float(text)
        except ValueError:
            _raise_for(source, "a number", attribute, text, numbers[rows[i]], ".")
        if text and "_" in text:
            _raise_for(source, "a number", attribute, text, numbers[rows[i]], ".")
    return found


def _raise_for(
    source: str, expected: str, attribute: Attribute, text: str | None, line: int, hint: str
) -> NoReturn:
    raise UserError(
        f"{source}: expected {expected} in attribute {attribute.name!r}. Received: {text!r} in "
        f"line {line}{hint}"
    )
