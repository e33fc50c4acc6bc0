"""Infer the schema of a table: the kind, the categories and the offset of each feature."""

from typing import TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.config import format_setting
from pipeline.dataset.column_roles import ColumnRoles
from pipeline.dataset.format_inference import (
    find_quantities,
    infer_formatted,
    is_quantity,
    looks_like_number,
    may_be_formatted,
)
from pipeline.dataset.matrix import EXACT_FLOAT64, sample_rows, with_offsets
from pipeline.errors import UserError, locate
from pipeline.preprocessing import Column, TableSchema, encode_texts, is_text
from pipeline.preprocessing.column_values import Kind
from pipeline.preprocessing.date_formats import DATE_FORMATS, is_date, is_iso_date
from pipeline.preprocessing.table_schema import MAX_SHOWN
from pipeline.preprocessing.value_formats import normalise

_Encoded: TypeAlias = tuple[NDArray[np.int64], list[str]]  # codes of rows and texts by code
_MANY_CATEGORIES = 100


def infer_schema(
    source: str, roles: ColumnRoles, table: pa.Table
) -> tuple[TableSchema, tuple[str, ...]]:
    """Infer the schema of the feature columns of a table.

    Args:
        source: Origin of the table, for messages.
        roles: Roles of the columns.
        table: At least one row.

    Returns:
        The schema, and warnings.

    Raises:
        UserError: If a column has an unusable type or value.
    """
    spelling = TableSchema((), roles.na_values, roles.decimal)
    columns = [
        infer_column(source, roles, spelling, name, table.column(name)) for name in roles.features
    ]
    n_samples, untyped = table.num_rows, not roles.typed
    warnings = [
        f"feature {column.name!r} has {len(column.categories)} categories in {n_samples} rows: an "
        f"id or free text? Then leave it out{', or name it in dataset.text_columns' * untyped}"
        for column in columns
        if len(column.categories) > max(_MANY_CATEGORIES, n_samples // 2)
    ]
    if not roles.typed:
        declared = {it.name for it in table.schema if pa.types.is_dictionary(it.type)}
        declared |= roles.categorical
        warnings += find_quantities([it for it in columns if it.name not in declared])
    return TableSchema(tuple(columns), roles.na_values, roles.decimal), tuple(warnings)


def infer_column(
    source: str, roles: ColumnRoles, spelling: TableSchema, name: str, values: pa.ChunkedArray
) -> Column:
    """Infer the kind, the categories and the offset of one column; raises as `infer_schema`."""
    if name in roles.text and not pa.types.is_nested(values.type):
        return Column(name, "text")
    kind = _infer_kind(source, roles, name, values.type)
    if kind == "category":
        codes, texts = encode_texts(values)
        column = _infer_formatted(source, roles, spelling, name, texts)
        if column is not None:
            return _add_offset(source, spelling, column, values)
        if not _are_numbers(source, roles, spelling, name, (codes, texts)):
            present = [text for text in texts if not spelling.is_missing(text)]
            return Column(name, kind, categories=tuple(sorted(present)))
        kind = "number"
    elif pa.types.is_integer(values.type) and values.type.bit_width == 64:
        _check_exact(source, name, values)
    return _add_offset(source, spelling, Column(name, kind), values)


def _infer_formatted(
    source: str, roles: ColumnRoles, spelling: TableSchema, name: str, texts: list[str]
) -> Column | None:
    """Return the column if its texts are numbers or dates in a format, else None."""
    if roles.typed or name in roles.categorical:
        return None
    present = (text for text in texts if text.strip() and not spelling.is_missing(text))
    form = roles.formats.get(name)
    if form is not None:
        return Column(name, "datetime" if form in DATE_FORMATS else "number", format=form)
    first = next(present, "")  # most columns of texts are no others: their first text decides that
    if not may_be_formatted(first):
        return None
    return infer_formatted(source, roles, name, [first, *present])


def _add_offset(
    source: str, spelling: TableSchema, column: Column, values: pa.ChunkedArray
) -> Column:
    try:
        numbers = spelling.encode_column(column, values)[:, None]
    except ValueError as error:
        raise locate(source, error, "Correct it or drop the row.") from error
    low, high = np.fmin.reduce(numbers), np.fmax.reduce(numbers)
    return with_offsets(source, [column], numbers[sample_rows(len(numbers))], low, high)[0]


def _infer_kind(source: str, roles: ColumnRoles, name: str, kind: pa.DataType) -> Kind:
    """Return the kind of a column by its type and its role; texts may still be numbers."""
    types = pa.types
    is_time = types.is_temporal(kind) and not types.is_interval(kind)
    if is_time and name not in roles.categorical:
        if types.is_duration(kind):
            return "duration"
        return "time" if types.is_time(kind) else "datetime"
    is_category = name in roles.categorical and not types.is_nested(kind)
    if is_category or types.is_dictionary(kind) or is_text(kind):
        return "category"
    is_number = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    if not (is_number or types.is_boolean(kind) or types.is_null(kind)):
        way = " or divide it with pandas.json_normalize" * types.is_struct(kind)
        raise UserError(
            f"{source}: expected features that are numbers, texts or dates. Received: {kind} in "
            f"column {name!r}. Leave it out: {format_setting('dataset.drop', [name])}{way}"
        )
    return "number"


def _check_exact(source: str, name: str, values: pa.ChunkedArray) -> None:
    numbers = values.fill_null(0).to_numpy()
    inexact = (numbers > EXACT_FLOAT64) | (numbers < -EXACT_FLOAT64)
    if inexact.any():
        row = int(inexact.argmax())
        raise UserError(
            f"{source}: expected whole numbers up to 2**53. Received: {numbers[row]} in column "
            f"{name!r}, row {row} (the first is 0). If it is an id, leave it out; in a table, name "
            "it in dataset.id_column or dataset.categorical."
        )


def _are_numbers(
    source: str, roles: ColumnRoles, spelling: TableSchema, name: str, encoded: _Encoded
) -> bool:
    """Return whether texts are numbers, and not categories.

    Raises:
        UserError: If some texts are no numbers although the column is declared numeric, or although
            most of the others are: then a single wrong cell made Arrow read the column as texts.
    """
    declared = name in roles.numeric
    if not declared and (roles.typed or name in roles.categorical):
        return False
    present = [text for text in encoded[1] if text.strip() and not spelling.is_missing(text)]
    numbers = {text for text in present if spelling.parse_number(text) is not None}
    like_numbers = [text for text in present if text in numbers or looks_like_number(text)]
    if like_numbers:  # <5 is a number that was not measured
        like_numbers += filter(is_quantity, sorted({*present} - {*like_numbers}))
    n_needed = 1 if len(like_numbers) == len(present) and numbers else len(present) / 2
    if not declared and (len(numbers) == len(present) or len(like_numbers) < n_needed):
        return False
    if len(numbers) < len(present):
        raise _not_numbers(source, roles, spelling, name, encoded, like_numbers)
    return True


def _not_numbers(
    source: str,
    roles: ColumnRoles,
    spelling: TableSchema,
    name: str,
    encoded: _Encoded,
    like_numbers: list[str],
) -> UserError:
    """Return the error for a column in which some texts are no numbers or dates."""
    codes, texts = encoded
    dates = [text for text in like_numbers if is_date(normalise(text))]
    expected = "dates" if 2 * len(dates) > len(like_numbers) else "numbers"
    formatted = [text for text in like_numbers if spelling.parse_number(text) is None]
    column = Column(name)
    for group in (like_numbers, dates, [*filter(is_iso_date, dates)], formatted):
        inferred = infer_formatted(source, roles, name, group) if group else None
        if inferred is not None and 2 * len(group) > len(texts):
            column = inferred
            break
    parse = spelling.make_parser(column)
    invalid = [
        code
        for code, text in enumerate(texts)
        if text.strip() and not spelling.is_missing(text) and parse(text.strip()) is None
    ]
    row = int(np.isin(codes, invalid).argmax())
    examples = ", ".join(repr(texts[code][:20]) for code in invalid[:MAX_SHOWN])
    missing = ""
    if len(invalid) == 1 and not any(map(str.isdigit, texts[invalid[0]])):
        given = format_setting("dataset.na_values", [*roles.na_values, texts[invalid[0]].strip()])
        missing = f"If it means a missing value, give {given}. Else "
    way = "as 2026-01-31 or 2026-01-31 12:30:00" if dates else "with the same unit and marks"
    return UserError(
        f"{source}: expected {expected} in column {name!r}. Received: {texts[codes[row]][:60]!r} "
        f"in row {row} (the first is 0), one of {len(invalid)} such texts among {len(texts)} "
        f"different values: {examples}. {missing}{'c' if missing else 'C'}orrect it, write all "
        f"{expected} {way}, make the column a category: "
        f"{format_setting('dataset.categorical', [name])} , or leave it out: "
        f"{format_setting('dataset.drop', [name])}"
    )
