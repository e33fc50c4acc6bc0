"""Parse dense and sparse ARFF text to numbers, with errors that name line and attribute.

A category becomes its index among the declared ones, a missing value NaN. An attribute that a
sparse row omits is 0, or the first category of a nominal attribute, as in WEKA.

References:
    https://waikato.github.io/weka-wiki/formats_and_processing/arff_stable/
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset.column_roles import check_unique_names
from pipeline.dataset.files import check_fits_memory
from pipeline.errors import UserError, suggest
from pipeline.preprocessing import TableSchema

_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_NAME = re.compile(rf"\s*({_QUOTED}|[^\s{{]+)\s*(.*)$", re.S)
# Possessive, or runs of spaces would be divided among its parts in every way before it fails.
_VALUE = re.compile(rf"""\s*+(?:({_QUOTED})\s*+|([^,'"{{}}]*+))(,|$)""")
_PAIR = re.compile(rf"""\s*(\d{{1,9}})\s+({_QUOTED}|[^,\s'"{{}}]+)\s*(,|$)""")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.S)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_NUMERIC = {"numeric", "real", "integer"}
_MISSING = {"?", "", None}


@dataclass(frozen=True)
class Attribute:
    """A column of an ARFF file.

    Attributes:
        name: Name without quotes.
        kind: `numeric`, `nominal`, or another type in the file, which cannot be used.
        categories: Declared categories of a nominal attribute, in the order of the file.
    """

    name: str
    kind: str
    categories: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ArffTable:
    """The content of an ARFF file.

    Attributes:
        relation: Name of the relation, without quotes.
        attributes: The columns.
        values: Values of shape (n_samples, n_attributes); NaN where missing or of an unusable kind.
    """

    relation: str
    attributes: tuple[Attribute, ...]
    values: NDArray[np.float64]


def parse_arff(source: str, text: str) -> ArffTable:
    """Parse the text of an ARFF file; `source` is its path, for messages.

    Raises:
        UserError: If it is not ARFF; the message names the line and the attribute.
    """
    lines = _content_lines(text)
    relation, attributes = _parse_header(source, lines)
    if not attributes:
        raise UserError(f"{source}: expected @attribute lines before @data. Received: none.")
    names = [attribute.name for attribute in attributes]
    check_unique_names(source, "attributes", names)
    data = list(lines)
    is_sparse = bool(data) and data[0][1].startswith("{")
    check_fits_memory(source, (len(data), len(names)), 20 if is_sparse else 100)  # bytes, and texts
    columns: list[list[str | None]] = [[] for _ in attributes]
    rows: list[list[int]] = [[] for _ in attributes]  # row of each value in `columns`
    line_numbers: list[int] = []  # of each row
    for line_number, line in data:
        for column, value in _parse_row(source, line_number, line, names):
            columns[column].append(value)
            rows[column].append(len(line_numbers))
        line_numbers.append(line_number)
    if not line_numbers:
        raise UserError(f"{source}: expected at least one row behind @data. Received: none.")
    values = np.zeros((len(line_numbers), len(attributes)))
    for j, attribute in enumerate(attributes):
        value_lines = [line_numbers[row] for row in rows[j]]
        values[rows[j], j] = _to_numbers(source, attribute, columns[j], value_lines)
    return ArffTable(relation, attributes, values)


def _unquote(text: str) -> str:
    """Remove the quotes and escapes of a name or value."""
    if len(text) < 2 or text[0] not in "'\"":
        return text
    return _ESCAPE.sub(_unescape, text[1:-1])


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if len(code) > 1 else _ESCAPES.get(code, code)


def _content_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield line numbers from 1 and lines, but no comments and blank lines."""
    for line_number, line in enumerate(re.split("\r\n|\n|\r", text), start=1):
        line = line.strip()
        if line and not line.startswith("%"):
            yield line_number, line


def _parse_header(
    source: str, lines: Iterator[tuple[int, str]]
) -> tuple[str, tuple[Attribute, ...]]:
    relation = ""
    attributes: list[Attribute] = []
    for line_number, line in lines:
        keyword, rest = [*line.split(None, 1), ""][:2]
        match keyword.lower():
            case "@relation":
                relation = _unquote(rest.strip())
            case "@attribute":
                attributes.append(_parse_attribute(source, line_number, rest))
            case "@data":
                return relation, tuple(attributes)
            case _:
                raise UserError(
                    f"{source}: expected @relation, @attribute or @data. Received: {line[:60]!r} "
                    f"in line {line_number}."
                )
    raise UserError(f"{source}: expected a line @data and rows behind it. Received: no such line.")


def _parse_attribute(source: str, line_number: int, rest: str) -> Attribute:
    match = _NAME.match(rest)
    if not match or not match[2]:
        raise UserError(
            f"{source}: expected @attribute, a name and a type. Received: {rest[:60]!r} in line "
            f"{line_number}."
        )
    name, kind = _unquote(match[1]), match[2].strip()
    if not kind.startswith("{"):
        kind = kind.split()[0].lower()
        return Attribute(name, "numeric" if kind in _NUMERIC else kind)
    if not kind.endswith("}"):
        raise UserError(
            f"{source}: expected categories between braces. Received: {kind[:60]!r} of attribute "
            f"{name!r} in line {line_number}."
        )
    categories = tuple(map(str, _split_values(source, line_number, kind[1:-1])))
    if len(set(categories)) < len(categories) or None in categories:
        raise UserError(
            f"{source}: expected different categories. Received: {kind[:60]!r} of attribute "
            f"{name!r} in line {line_number}."
        )
    return Attribute(name, "nominal", categories)


def _parse_row(
    source: str, line_number: int, line: str, names: list[str]
) -> Iterator[tuple[int, str | None]]:
    """Return the column index and the text of each value in a row."""
    if line.startswith("{"):
        return iter(_parse_sparse_row(source, line_number, line, names).items())
    values = _split_values(source, line_number, line)
    if len(values) != len(names):
        last = names[min(len(values), len(names)) - 1]
        raise UserError(
            f"{source}: expected {len(names)} values in each row, one per attribute. Received: "
            f"{len(values)} in line {line_number}, up to attribute {last!r}."
        )
    return iter(enumerate(values))


def _split_values(source: str, line_number: int, text: str) -> list[str | None]:
    if not any(mark in text for mark in "'\"{}"):
        return [None if value in _MISSING else value for value in map(str.strip, text.split(","))]
    values: list[str | None] = []
    end, comma = 0, ","
    while comma:
        match = _VALUE.match(text, end)
        if not match:
            raise UserError(
                f"{source}: expected values between commas, in matching quotes. Received: "
                f"{text[end : end + 60].strip()!r} in line {line_number}, value {len(values)} (the "
                "first is 0)."
            )
        value = match[1] or match[2].rstrip()
        values.append(None if value in _MISSING else _unquote(value))
        end, comma = match.end(), match[3]
    return values


def _parse_sparse_row(
    source: str, line_number: int, line: str, names: list[str]
) -> dict[int, str | None]:
    body = line[1:-1].strip() if line.endswith("}") else None
    pairs: list[tuple[str, str]] = []
    end, comma = 0, "," if body else ""
    if body and not any(mark in body for mark in "'\"{}"):
        split = [pair.split() for pair in body.split(",")]
        if all(len(it) == 2 and it[0].isdecimal() and len(it[0]) < 10 for it in split):
            pairs, comma = [(key, value) for key, value in split], ""
    while comma and body:
        match = _PAIR.match(body, end)
        if not match:
            body = None
            break
        pairs.append((match[1], match[2]))
        end, comma = match.end(), match[3]
    if body is None:
        raise UserError(
            f"{source}: expected {{index value, index value}} in a sparse row. Received: "
            f"{line[end : end + 60]!r} in line {line_number}."
        )
    row = {int(key): None if value == "?" else _unquote(value) for key, value in pairs}
    if len(row) < len(pairs) or (row and max(row) >= len(names)):
        raise UserError(
            f"{source}: expected each attribute once, from 0 to {len(names) - 1}, in a sparse row. "
            f"Received: {max(row)} as the last of {len(pairs)} in line {line_number}."
        )
    return row


def _to_numbers(
    source: str, attribute: Attribute, texts: list[str | None], line_numbers: list[int]
) -> NDArray[np.float64]:
    if attribute.kind == "nominal":
        codes: dict[str | None, float] = {text: i for i, text in enumerate(attribute.categories)}
        codes[None] = np.nan
        try:
            return np.array([codes[text] for text in texts], dtype=np.float64)
        except KeyError:
            i = next(i for i, text in enumerate(texts) if text not in codes)
            hint = f". {suggest(str(texts[i]), attribute.categories)}"
            _raise_for(source, "a declared category", attribute, texts[i], line_numbers[i], hint)
    if attribute.kind != "numeric":
        return np.full(len(texts), np.nan)
    numbers, spelling = np.empty(len(texts)), TableSchema(())
    for i, text in enumerate(texts):
        number = np.nan if text is None else spelling.parse_number(text)
        if number is None:
            _raise_for(source, "a number", attribute, text, line_numbers[i], ".")
        numbers[i] = number
    return numbers


def _raise_for(
    source: str, expected: str, attribute: Attribute, text: str | None, line: int, hint: str
) -> NoReturn:
    raise UserError(
        f"{source}: expected {expected} in attribute {attribute.name!r}. Received: {text!r} in "
        f"line {line}{hint}"
    )
