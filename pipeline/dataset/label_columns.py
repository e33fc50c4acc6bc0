"""Convert yes/no columns and label lists to a binary label matrix."""

import json
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.dataset.column_roles import ColumnRoles, select_columns
from pipeline.dataset.files import LEAVE_OUT, check_fits_memory
from pipeline.dataset.label_lists import read_label_lists
from pipeline.dataset.label_values import (
    DEFAULTS,
    INVALID,
    MASKED,
    MAX_SHOWN,
    UNKNOWN,
    LabelValues,
)
from pipeline.errors import UserError
from pipeline.preprocessing import encode_texts


def encode_labels(
    source: str, roles: ColumnRoles, table: pa.Table
) -> tuple[tuple[str, ...], NDArray[np.int8], tuple[str, ...]]:
    """Encode the labels of a table.

    Args:
        source: Origin of the table, for messages.
        roles: Roles of the columns.
        table: At least one row.

    Returns:
        Label names, the indicator matrix of shape (n_samples, n_labels), values {0, 1} and -2 where
        a label is not known, and notes about how label lists were read.

    Raises:
        UserError: If a value is missing and that is refused, neither yes nor no, or no list of
            labels.
    """
    if roles.label_list_column is not None:
        if roles.label_values.is_masked:
            raise UserError(
                "dataset.missing_labels: expected refuse with dataset.label_list_column, because a "
                "list gives every label of its row. Received: mask. Labels that are not known need "
                "a column for each label (dataset.labels)."
            )
        column = table.column(roles.label_list_column)
        return _encode_label_lists(source, roles, roles.label_list_column, column)
    y = np.empty((table.num_rows, len(roles.labels)), dtype=np.int8)
    for j, name in enumerate(roles.labels):
        y[:, j] = _encode_label(source, name, table.column(name), roles.label_values)
    return roles.labels, y, ()


def to_binary(
    source: str, name: str, values: NDArray[Any], label_values: LabelValues = DEFAULTS
) -> NDArray[np.int8]:
    """Return a label's values as 0 and 1, and -2 where it is not known, of shape (n_samples,).

    Args:
        source: Origin of the values, for the message.
        name: Name of the label.
        values: Numbers, booleans, texts or bytes, of shape (n_samples,).
        label_values: Values that mean yes and no.

    Raises:
        UserError: If a value is neither yes nor no, nor means that the label is not known.
    """
    if values.dtype.kind in "biuf" and label_values in (DEFAULTS, MASKED):
        y = np.full(len(values), INVALID, dtype=np.int8)
        if label_values.is_masked:
            y[np.isnan(values)] = UNKNOWN
        y[values == 0] = 0
        y[values == 1] = 1
    elif values.dtype.kind in "biuf":
        distinct, codes = np.unique(values, return_inverse=True)
        y = np.array([*map(label_values.parse, distinct)], dtype=np.int8)[codes]
    else:
        items = values.tolist()
        parsed = {item: label_values.parse(item) for item in set(items)}
        y = np.array([parsed[item] for item in items], dtype=np.int8)
    _check_binary(source, name, y, values, label_values)
    return y


def codes_to_binary(
    source: str,
    name: str,
    codes: NDArray[np.int64],
    texts: Sequence[object],
    label_values: LabelValues = DEFAULTS,
) -> NDArray[np.int8]:
    """Return a label's values as `to_binary`, given as indices into their distinct values.

    Args:
        source: Origin of the values, for the message.
        name: Name of the label.
        codes: Index of each row's value in `texts`, of shape (n_samples,); negative if missing.
        texts: The distinct values; those that no row has may be anything.
        label_values: Values that mean yes and no.

    Raises:
        UserError: If the value of a row is missing or neither yes nor no.
    """
    parsed = np.array([*map(label_values.parse, (*texts, None))], dtype=np.int8)
    codes = np.where(codes < 0, len(texts), codes)
    y = parsed[codes]
    if (y == INVALID).any():
        values = np.array([*texts, None], dtype=object)[codes]
        _check_binary(source, name, y, values, label_values)
    return y


def _encode_label(
    source: str, name: str, column: pa.ChunkedArray, label_values: LabelValues
) -> NDArray[np.int8]:
    types, kind = pa.types, column.type
    is_number = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
    if is_number and not column.null_count:
        return to_binary(source, name, column.to_numpy(), label_values)
    encoded = column if types.is_dictionary(kind) else column.dictionary_encode()
    encoded = encoded.unify_dictionaries().combine_chunks()
    codes = encoded.indices.cast(pa.int64()).fill_null(-1).to_numpy()
    return codes_to_binary(source, name, codes, encoded.dictionary.to_pylist(), label_values)


def _encode_label_lists(
    source: str, roles: ColumnRoles, name: str, column: pa.ChunkedArray
) -> tuple[tuple[str, ...], NDArray[np.int8], tuple[str, ...]]:
    separator = roles.label_separator
    if pa.types.is_nested(column.type):
        separator = separator and "json"
        values = column.to_pylist()
        if pa.types.is_map(column.type):
            values = [cell and dict(cell) for cell in values]
        cells = [None if cell is None else json.dumps(cell, default=str) for cell in values]
        column = pa.chunked_array([pa.array(cells, pa.string())])
    codes, texts = encode_texts(column)
    rows = _first_rows(codes, len(texts))
    lists, reading = read_label_lists(source, name, texts, rows, separator, roles.label_values)
    listed = sorted({label for labels in lists for label in labels})
    patterns = [
        pattern
        for pattern in roles.dropped_labels
        if not roles.may_lack_labels or any(fnmatchcase(it, pattern) for it in listed)
    ]
    dropped = set(select_columns(source, "drop", patterns, listed))
    label_names = tuple(label for label in listed if label not in dropped)
    lists = [[label for label in labels if label not in dropped] for labels in lists]
    column_index = {label: j for j, label in enumerate(label_names)}
    check_fits_memory(source, (len(texts) + len(codes), len(label_names)), 1, LEAVE_OUT)
    y_of_text = np.zeros((len(texts) + 1, len(label_names)), dtype=np.int8)  # last row: missing
    for code, labels in enumerate(lists):
        y_of_text[code, [column_index[label] for label in labels]] = 1
    notes = [f"column {name!r} read {reading}: {len(label_names)} labels"]
    if roles.label_separator is not None:
        notes = []
    spellings = {" ".join(label.lower().split()): label for label in label_names}
    pairs = [(it, spellings[" ".join(it.lower().split())]) for it in label_names]
    notes += [
        f"labels {one!r} and {other!r} of column {name!r} differ in capitals or blanks alone: one "
        "label? Then write them alike"
        for one, other in pairs
        if one != other
    ][:MAX_SHOWN]
    return label_names, y_of_text[codes], tuple(notes)


def _first_rows(codes: NDArray[np.int64], n_codes: int) -> list[int]:
    """Return the first row of each code, 0 for a code that no row has."""
    used, rows = np.unique(codes, return_index=True)
    row_by_code = dict(zip(used.tolist(), rows.tolist(), strict=True))
    return [row_by_code.get(code, 0) for code in range(n_codes)]


def _check_binary(
    source: str, name: str, y: NDArray[np.int8], values: NDArray[Any], label_values: LabelValues
) -> None:
    if (y == INVALID).any():
        row = int((y == INVALID).argmax())
        value = values[row].item() if isinstance(values[row], np.generic) else values[row]
        raise label_values.error(source, name, value, row, set(values.tolist()))
