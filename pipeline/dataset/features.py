"""Encode the feature columns of an Arrow table as a matrix of numbers and category codes."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.dataset.column_roles import ColumnRoles
from pipeline.dataset.dataset import MAX_SHOWN
from pipeline.errors import UserError

_EXACT_FLOAT32 = 2**24  # integers up to here are exact in float32
_EXACT_FLOAT64 = 2**53
_MANY_CATEGORIES = 100

Categories = tuple[str, ...] | None
"""The categories of a feature, or None if it is numeric."""


def is_lossy(values: NDArray[np.floating], narrow: NDArray[np.float32]) -> bool:
    """Return whether float32 loses whole numbers or small numbers.

    Above 2**24 (a timestamp, for example) every digit must be kept; below, no value may become 0.
    Other rounding to the 24 bits of float32 is accepted, because models are trained in float32.

    Args:
        values: Numbers in float64; infinite and missing ones count as kept.
        narrow: The same numbers in float32.
    """
    top, bottom = np.fmax.reduce(values, axis=None), np.fmin.reduce(values, axis=None)
    if max(top, -bottom) > _EXACT_FLOAT32:
        large = np.abs(values) > _EXACT_FLOAT32
        return not np.array_equal(values[large], narrow[large])
    return bool(np.count_nonzero(values) != np.count_nonzero(narrow))


def to_float32(X: NDArray[np.float64]) -> NDArray[np.floating]:
    """Return the matrix in float32, or unchanged if float32 is lossy (see `is_lossy`)."""
    with np.errstate(over="ignore", under="ignore"):
        narrow = X.astype(np.float32)
    return X if is_lossy(X, narrow) else narrow


def encode_features(
    source: str, roles: ColumnRoles, table: pa.Table
) -> tuple[NDArray[np.floating], tuple[Categories, ...], tuple[str, ...]]:
    """Encode the feature columns of a table.

    Args:
        source: Origin of the table, for messages.
        roles: Roles of the columns.
        table: At least one row.

    Returns:
        The matrix of shape (n_samples, n_features), float32 unless a column would lose values
        (then float64); the categories of each feature, empty if all are numeric; and warnings.

    Raises:
        UserError: If a column has an unusable type or value.
    """
    X: NDArray[np.floating] = np.empty((table.num_rows, len(roles.features)), dtype=np.float32)
    categories: list[Categories] = []
    lossy = False
    for j, name in enumerate(roles.features):
        values, column_categories = _encode_column(source, roles, name, table.column(name))
        categories.append(column_categories)
        with np.errstate(over="ignore", under="ignore"):
            X[:, j] = values
        lossy = lossy or is_lossy(values, X[:, j])
    if lossy:
        X = np.empty(X.shape, dtype=np.float64)
        for j, name in enumerate(roles.features):
            X[:, j] = _encode_column(source, roles, name, table.column(name))[0]
    warnings = [
        f"feature {name!r} has {len(texts)} categories in {len(X)} rows: an id or free text? Then "
        "leave it out"
        for name, texts in zip(roles.features, categories, strict=True)
        if texts and len(texts) > max(_MANY_CATEGORIES, len(X) // 2)
    ]
    return X, (tuple(categories) if any(categories) else ()), tuple(warnings)


def encode_texts(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], list[str]]:
    """Encode a column as texts.

    Returns:
        The code of each row, -1 where the value is missing, and the texts by code: in the order of
        a dictionary column's own dictionary, else of their first occurrence.
    """
    encoded = column
    if not pa.types.is_dictionary(column.type):
        text_column = column if _is_string(column.type) else column.cast(pa.string())
        encoded = text_column.dictionary_encode()
    encoded = encoded.unify_dictionaries()
    codes = [chunk.indices.cast(pa.int64()).fill_null(-1).to_numpy() for chunk in encoded.chunks]
    texts = encoded.chunk(0).dictionary.cast(pa.string()).to_pylist()
    return np.concatenate(codes), texts


def first_rows(codes: NDArray[np.int64], n_codes: int) -> list[int]:
    """Return the first row of each code, 0 for a code that no row has."""
    used, rows = np.unique(codes, return_index=True)
    row_by_code = dict(zip(used.tolist(), rows.tolist(), strict=True))
    return [row_by_code.get(code, 0) for code in range(n_codes)]


def _encode_column(
    source: str, roles: ColumnRoles, name: str, column: pa.ChunkedArray
) -> tuple[NDArray[np.float64], Categories]:
    """Return numbers or category codes, NaN where missing, and the categories in sorted order."""
    if not _is_text(source, roles, name, column.type):
        return _to_numbers(source, name, column), None
    codes, texts = encode_texts(column)
    numbers = _parse_numbers(source, roles, name, codes, texts)
    if numbers is not None:
        return np.append(numbers, np.nan)[codes], None
    sorted_codes = np.argsort(np.argsort(np.array(texts, dtype=object)))
    return np.append(sorted_codes, np.nan)[codes], tuple(sorted(texts))


def _is_text(source: str, roles: ColumnRoles, name: str, kind: pa.DataType) -> bool:
    types = pa.types
    if types.is_dictionary(kind) or _is_string(kind):
        return True
    if types.is_temporal(kind) and name in roles.numeric:
        return False
    if name in roles.categorical and not types.is_nested(kind):
        return True
    if not _is_number(kind):
        dates = "as a number (seconds since 1970) in dataset.numeric, or "
        raise UserError(
            f"{source}: expected features that are numbers or texts. Received: {kind} in column "
            f"{name!r}, from row 0 on. Leave it out, or in a table declare it "
            f"{dates if types.is_temporal(kind) else ''}as a category in dataset.categorical."
        )
    return False


def _to_numbers(source: str, name: str, column: pa.ChunkedArray) -> NDArray[np.float64]:
    types = pa.types
    if types.is_temporal(column.type):
        return _to_seconds(column)
    if types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    elif types.is_decimal(column.type) or types.is_null(column.type):
        column = column.cast(pa.float64())
    elif types.is_integer(column.type) and column.type.bit_width == 64:
        _check_exact(source, name, column)
    numbers: NDArray[np.float64] = column.to_numpy().astype(np.float64, copy=False)
    return numbers


def _to_seconds(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return dates since 1970, times since midnight and durations, all in seconds."""
    kind = pa.timestamp("us")
    if pa.types.is_duration(column.type):
        kind = pa.duration("us")
    elif pa.types.is_time(column.type):
        kind = pa.time64("us")
    microseconds = column.cast(kind, safe=False).cast(pa.int64()).cast(pa.float64(), safe=False)
    seconds: NDArray[np.float64] = microseconds.to_numpy() / 1e6
    return seconds


def _check_exact(source: str, name: str, column: pa.ChunkedArray) -> None:
    numbers = column.fill_null(0).to_numpy()
    inexact = (numbers > _EXACT_FLOAT64) | (numbers < -_EXACT_FLOAT64)
    if inexact.any():
        row = int(inexact.argmax())
        raise UserError(
            f"{source}: expected whole numbers up to 2**53. Received: {numbers[row]} in column "
            f"{name!r}, row {row} (the first is 0). If it is an id, leave it out; in a table, name "
            "it in dataset.id_column or dataset.categorical."
        )


def _parse_numbers(
    source: str, roles: ColumnRoles, name: str, codes: NDArray[np.int64], texts: list[str]
) -> NDArray[np.float64] | None:
    """Return the number that each text spells, or None if the texts are categories.

    Raises:
        UserError: If some texts are no numbers although the column is declared numeric, or although
            most of the others are: then a single wrong cell made Arrow read the column as texts.
    """
    declared = name in roles.numeric
    if not declared and (roles.typed or name in roles.categorical):
        return None
    numbers = [parse_number(text) for text in texts]
    invalid = [code for code, number in enumerate(numbers) if number is None]
    n_like_numbers = sum(parse_number(text.replace(",", ".")) is not None for text in texts)
    if not declared and (not invalid or 2 * n_like_numbers < len(texts)):
        return None
    if invalid:
        row = int(np.isin(codes, invalid).argmax())
        examples = ", ".join(repr(texts[code][:20]) for code in invalid[:MAX_SHOWN])
        raise UserError(
            f"{source}: expected numbers in column {name!r}. Received: {texts[codes[row]][:60]!r} "
            f"in row {row} (the first is 0), one of {len(invalid)} such texts among {len(texts)} "
            f"different values: {examples}. Correct it, "
            "name it in dataset.na_values, give \"dataset.decimal=','\" if it has a decimal comma, "
            "or declare the column in dataset.categorical."
        )
    return np.array(numbers, dtype=np.float64)


def parse_number(text: str) -> float | None:
    """Return the number that a text spells, or None if it spells none."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _is_string(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_number(kind: pa.DataType) -> bool:
    types = pa.types
    checks = (
        types.is_integer, types.is_floating, types.is_decimal, types.is_boolean, types.is_null
    )  # fmt: skip
    return any(check(kind) for check in checks)
