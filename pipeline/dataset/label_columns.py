"""Convert yes/no columns and label lists to a binary label matrix."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.dataset.column_roles import ColumnRoles
from pipeline.dataset.files import check_fits_memory
from pipeline.errors import UserError
from pipeline.preprocessing import encode_texts

_SPELLINGS = {
    **dict.fromkeys(("1", "1.0", "true", "t", "yes", "y"), 1),
    **dict.fromkeys(("0", "0.0", "false", "f", "no", "n"), 0),
}
_INVALID = -1


def encode_labels(
    source: str, roles: ColumnRoles, table: pa.Table
) -> tuple[tuple[str, ...], NDArray[np.int8]]:
    """Encode the labels of a table.

    Args:
        source: Origin of the table, for messages.
        roles: Roles of the columns.
        table: At least one row.

    Returns:
        Label names and the indicator matrix of shape (n_samples, n_labels), values {0, 1}.

    Raises:
        UserError: If a value is missing, neither yes nor no, or no list of labels.
    """
    if roles.label_list_column is not None:
        column = table.column(roles.label_list_column)
        return _encode_label_lists(source, roles.label_list_column, column, roles.label_separator)
    y = np.empty((table.num_rows, len(roles.labels)), dtype=np.int8)
    for j, name in enumerate(roles.labels):
        y[:, j] = _encode_label(source, name, table.column(name))
    return roles.labels, y


def to_binary(source: str, name: str, values: NDArray[Any]) -> NDArray[np.int8]:
    """Return a label's values as 0 and 1, of shape (n_samples,).

    Args:
        source: Origin of the values, for the message.
        name: Name of the label.
        values: Numbers, booleans, texts or bytes, of shape (n_samples,).

    Raises:
        UserError: If a value is neither yes nor no.
    """
    if values.dtype.kind in "biuf":
        y = np.full(len(values), _INVALID, dtype=np.int8)
        y[values == 0] = 0
        y[values == 1] = 1
    else:
        items = values.tolist()
        parsed = {item: _parse_yes_no(item) for item in set(items)}
        y = np.array([parsed[item] for item in items], dtype=np.int8)
    _check_binary(source, name, y, values)
    return y


def codes_to_binary(
    source: str, name: str, codes: NDArray[np.int64], texts: Sequence[object]
) -> NDArray[np.int8]:
    """Return a label's values as 0 and 1, given as indices into their distinct values.

    Args:
        source: Origin of the values, for the message.
        name: Name of the label.
        codes: Index of each row's value in `texts`, of shape (n_samples,); negative if missing.
        texts: The distinct values; those that no row has may be anything.

    Raises:
        UserError: If the value of a row is missing or neither yes nor no.
    """
    parsed = np.array([*map(_parse_yes_no, texts), _INVALID], dtype=np.int8)
    codes = np.where(codes < 0, len(texts), codes)
    y = parsed[codes]
    if (y == _INVALID).any():
        _check_binary(source, name, y, np.array([*texts, None], dtype=object)[codes])
    return y


def _parse_label_list(source: str, name: str, text: str, separator: str, row: int) -> list[str]:
    """Return the labels that one cell lists between separators, or as JSON; none if it is blank."""
    if separator != "json":
        return [label.strip() for label in text.split(separator) if label.strip()]
    try:
        labels = json.loads(text or "[]")
    except (ValueError, RecursionError):
        labels = None
    if not isinstance(labels, list) or not all(
        isinstance(label, str | int) and label != "" for label in labels
    ):
        raise UserError(
            f"{source}: expected a JSON list of labels. Received: {text[:60]!r} in column "
            f"{name!r}, row {row} (the first is 0)."
        )
    return list(map(str, labels))


def _encode_label(source: str, name: str, column: pa.ChunkedArray) -> NDArray[np.int8]:
    types, kind = pa.types, column.type
    if column.null_count and not types.is_dictionary(kind):
        _raise_missing_label(source, name, int(column.is_null().to_numpy().argmax()))
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        return to_binary(source, name, column.to_numpy())
    encoded = column if types.is_dictionary(kind) else column.dictionary_encode()
    encoded = encoded.unify_dictionaries().combine_chunks()
    codes = encoded.indices.cast(pa.int64()).fill_null(-1).to_numpy()
    return codes_to_binary(source, name, codes, encoded.dictionary.to_pylist())


def _encode_label_lists(
    source: str, name: str, column: pa.ChunkedArray, separator: str
) -> tuple[tuple[str, ...], NDArray[np.int8]]:
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        separator = "json"
        cells = [
            None if cell is None else json.dumps(cell, default=str) for cell in column.to_pylist()
        ]
        column = pa.chunked_array([pa.array(cells, pa.string())])
    codes, texts = encode_texts(column)
    lists = [
        _parse_label_list(source, name, text, separator, row)
        for text, row in zip(texts, _first_rows(codes, len(texts)), strict=True)
    ]
    _check_separator(source, name, separator, texts)
    label_names = tuple(sorted({label for labels in lists for label in labels}))
    column_index = {label: j for j, label in enumerate(label_names)}
    check_fits_memory(source, (len(texts) + len(codes), len(label_names)), 1)
    y_of_text = np.zeros((len(texts) + 1, len(label_names)), dtype=np.int8)  # last row: missing
    for code, labels in enumerate(lists):
        y_of_text[code, [column_index[label] for label in labels]] = 1
    return label_names, y_of_text[codes]


def _first_rows(codes: NDArray[np.int64], n_codes: int) -> list[int]:
    """Return the first row of each code, 0 for a code that no row has."""
    used, rows = np.unique(codes, return_index=True)
    row_by_code = dict(zip(used.tolist(), rows.tolist(), strict=True))
    return [row_by_code.get(code, 0) for code in range(n_codes)]


def _check_separator(source: str, name: str, separator: str, texts: list[str]) -> None:
    """Raise UserError if no cell has the separator but some have another common one."""
    if separator == "json" or any(separator in text for text in texts):
        return
    for mark, option in {"[": "json", ";": ";", ",": ",", "|": "|"}.items():
        example = next((text for text in texts if mark in text), None)
        if example is not None:
            raise UserError(
                f"{source}: expected labels separated by {separator!r} in column {name!r}. "
                f"Received: no cell with it, but {example[:60]!r}. Give "
                f"\"dataset.label_separator='{option}'\""
            )


def _parse_yes_no(value: object) -> int:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        return _SPELLINGS.get(value.strip().lower(), _INVALID)
    if isinstance(value, bool | int | float | np.generic) and value in (0, 1):
        return int(value)
    return _INVALID


def _check_binary(source: str, name: str, y: NDArray[np.int8], values: NDArray[Any]) -> None:
    if not (y == _INVALID).any():
        return
    row = int((y == _INVALID).argmax())
    value = values[row].item() if isinstance(values[row], np.generic) else values[row]
    if value is None or value != value:
        _raise_missing_label(source, name, row)
    raise UserError(
        f"{source}: expected labels of value 0 or 1 (or true/false, yes/no). Received: "
        f"{str(value)[:60]!r} in label {name!r}, row {row} (the first is 0)."
    )


def _raise_missing_label(source: str, name: str, row: int) -> None:
    raise UserError(
        f"{source}: expected labels of value 0 or 1 (or true/false, yes/no). Received: a missing "
        f"value in label {name!r}, row {row} (the first is 0)."
    )
