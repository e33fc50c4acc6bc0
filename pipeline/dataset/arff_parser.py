"""Parse dense and sparse ARFF text to numbers, with errors that name line and attribute.

A category becomes its index among the declared ones, a date its seconds since 1970, and a missing
value NaN. An attribute that a sparse row omits is 0, or the first category of a nominal attribute,
as in WEKA. A line that WEKA cannot read is read with blanks as parts of its values if it then has
as many as there are attributes.

References:
    https://waikato.github.io/weka-wiki/formats_and_processing/arff_stable/
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset.arff_header import Attribute, parse_header
from pipeline.dataset.arff_tokens import BLANKS, TokenError, Value, split_row
from pipeline.dataset.column_roles import check_unique_names
from pipeline.dataset.files import check_fits_memory
from pipeline.errors import UserError, suggest
from pipeline.preprocessing import TableSchema


@dataclass(frozen=True, eq=False)
class ArffTable:
    """The content of an ARFF file.

    Attributes:
        relation: Name of the relation, without quotes.
        attributes: The columns.
        values: Values of shape (n_samples, n_attributes); NaN where missing or of an unusable kind.
        weights: Instance weights of shape (n_samples,), 1 where the file has none.
    """

    relation: str
    attributes: tuple[Attribute, ...]
    values: NDArray[np.float64]
    weights: NDArray[np.float64]


def parse_arff(source: str, text: str) -> ArffTable:
    """Parse the text of an ARFF file; `source` is its path, for messages.

    Raises:
        UserError: If it is not ARFF; the message names the line and the attribute.
    """
    lines = _content_lines(text)
    relation, attributes = parse_header(source, lines)
    if not attributes:
        raise UserError(f"{source}: expected @attribute lines before @data. Received: none.")
    names = [attribute.name for attribute in attributes]
    check_unique_names(source, "attributes", names)
    data = list(lines)
    is_sparse = bool(data) and data[0][1].startswith("{")
    check_fits_memory(source, (len(data), len(names)), 20 if is_sparse else 100)  # bytes, and texts
    columns: list[list[Value]] = [[] for _ in attributes]
    rows: list[list[int]] = [[] for _ in attributes]  # row of each value in `columns`
    line_numbers: list[int] = []  # of each row
    weights: dict[int, float] = {}  # by row
    for line_number, line in data:
        values, weight = _parse_row(source, line_number, line, names)
        for column, value in values:
            columns[column].append(value)
            rows[column].append(len(line_numbers))
        if weight is not None:
            weights[len(line_numbers)] = weight
        line_numbers.append(line_number)
    if not line_numbers:
        raise UserError(f"{source}: expected at least one row behind @data. Received: none.")
    attributes = tuple(map(_choose_categories, attributes, columns))
    matrix = np.zeros((len(line_numbers), len(attributes)))
    for j, attribute in enumerate(attributes):
        value_lines = [line_numbers[row] for row in rows[j]]
        matrix[rows[j], j] = _to_numbers(source, attribute, columns[j], value_lines)
    all_weights = np.ones(len(line_numbers))
    all_weights[list(weights)] = list(weights.values())
    return ArffTable(relation, attributes, matrix, all_weights)


def _content_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield line numbers from 1 and lines, but no comments and blank lines."""
    for line_number, line in enumerate(re.split("\r\n|\n|\r", text), start=1):
        line = line.strip(BLANKS)
        if line and not line.startswith("%"):
            yield line_number, line


def _choose_categories(attribute: Attribute, texts: list[Value]) -> Attribute:
    """Return the attribute with blanks as parts of its categories if only that suits all values."""
    if not attribute.by_commas:
        return attribute
    used = {text for text in texts if text is not None}
    if used <= set(attribute.categories) or not used <= set(attribute.by_commas):
        return attribute
    return Attribute(attribute.name, attribute.kind, attribute.by_commas)


def _parse_row(
    source: str, line_number: int, line: str, names: list[str]
) -> tuple[Iterable[tuple[int, Value]], float | None]:
    """Return the column index and the text of each value in a row, and its weight if it has one."""
    try:
        row = split_row(line)
    except TokenError as error:
        expected = (
            "{index value, index value} in a sparse row"
            if line.startswith("{")
            else "values between commas or blanks, in matching quotes"
        )
        raise UserError(
            f"{source}: expected {expected}. Received: {str(error)[:60]!r} in line {line_number}."
        ) from error
    weight = None if row.weight is None else _parse_weight(source, line_number, row.weight)
    if row.is_sparse:
        return _parse_sparse(source, line_number, line, row.values, names).items(), weight
    values = row.values
    if len(values) != len(names) and row.by_commas is not None:
        values = row.by_commas
    if len(values) != len(names):
        last = names[max(min(len(values), len(names)) - 1, 0)]
        comment = " A % outside of quotes starts a comment." if "%" in line else ""
        raise UserError(
            f"{source}: expected {len(names)} values in each row, one per attribute. Received: "
            f"{len(values)} in line {line_number}, up to attribute {last!r}.{comment}"
        )
    return enumerate(values), weight


def _parse_weight(source: str, line_number: int, text: str) -> float:
    weight = TableSchema(()).parse_number(text)
    if weight is None or not 0 <= weight < np.inf:
        raise UserError(
            f"{source}: expected an instance weight of at least 0 between braces behind the "
            f"values. Received: {text[:60]!r} in line {line_number}."
        )
    return weight


def _parse_sparse(
    source: str, line_number: int, line: str, values: list[Value], names: list[str]
) -> dict[int, Value]:
    keys = values[::2]
    if len(values) % 2 or not all(key and key.isdecimal() and len(key) < 10 for key in keys):
        raise UserError(
            f"{source}: expected {{index value, index value}} in a sparse row. Received: "
            f"{line[:60]!r} in line {line_number}."
        )
    row = {int(key): value for key, value in zip(keys, values[1::2], strict=True) if key}
    if len(row) < len(keys) or (row and max(row) >= len(names)):
        raise UserError(
            f"{source}: expected each attribute once, from 0 to {len(names) - 1}, in a sparse row. "
            f"Received: {max(row)} as the last of {len(keys)} in line {line_number}."
        )
    return row


def _to_numbers(
    source: str, attribute: Attribute, texts: list[Value], line_numbers: list[int]
) -> NDArray[np.float64]:
    if attribute.kind == "nominal":
        codes: dict[Value, float] = {text: i for i, text in enumerate(attribute.categories)}
        codes[None] = np.nan
        try:
            return np.array([codes[text] for text in texts], dtype=np.float64)
        except KeyError:
            i = next(i for i, text in enumerate(texts) if text not in codes)
            hint = f". {suggest(str(texts[i]), attribute.categories)}"
            _raise_for(source, "a declared category", attribute, texts[i], line_numbers[i], hint)
    parse: Callable[[str], float | None]
    if attribute.date_format:
        expected, parse = f"a date {attribute.date_format.pattern}", attribute.date_format.parse
    elif attribute.kind == "numeric":
        expected, parse = "a number", TableSchema(()).parse_number
    else:
        return np.full(len(texts), np.nan)
    numbers = np.empty(len(texts))
    for i, text in enumerate(texts):
        number = np.nan if text is None else parse(text)
        if number is None:
            _raise_for(source, expected, attribute, text, line_numbers[i], ".")
        numbers[i] = number
    return numbers


def _raise_for(
    source: str, expected: str, attribute: Attribute, text: Value, line: int, hint: str
) -> NoReturn:
    raise UserError(
        f"{source}: expected {expected} in attribute {attribute.name!r}. Received: {text!r} in "
        f"line {line}{hint}"
    )
