"""Build a `Dataset` from an Arrow table, a data frame or arrays."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.dataset.column_roles import (
    ColumnRoles,
    check_disjoint_roles,
    check_not_nested,
    check_unique_columns,
)
from pipeline.dataset.dataset import TEST, TRAIN, Dataset
from pipeline.dataset.files import check_fits_memory
from pipeline.dataset.format_inference import describe_formats
from pipeline.dataset.label_columns import encode_labels, to_binary
from pipeline.dataset.label_values import DEFAULTS, UNKNOWN, LabelValues
from pipeline.dataset.schema_inference import encode_matrix, infer_schema
from pipeline.errors import UserError
from pipeline.preprocessing import Column, encode_texts

_FOLD_NUMBERS = {"train": TRAIN, "test": TEST}


def build_dataset(
    name: str,
    source: str,
    roles: ColumnRoles,
    table: pa.Table,
    warnings: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> Dataset:
    """Build a data set from a table.

    Args:
        name: Name of the data set.
        source: Origin of the table, for messages.
        roles: Roles of the columns.
        table: All columns that have a role.
        warnings: Warnings of the reader.
        notes: Notes of the reader.

    Raises:
        UserError: If the table has no rows, or a value does not suit its column; the message names
            the column and the row.
    """
    check_not_nested(source, roles, table.schema)
    if not table.num_rows:
        raise UserError(f"{source}: expected at least one row. Received: none.")
    group, fold, row_id = roles.group_column, roles.fold_column, roles.id_column
    try:
        label_names, y, label_notes = encode_labels(source, roles, table)
        schema, feature_warnings = infer_schema(source, roles, table)
        X, exact = schema.encode_with_exact(table, schema.exact_names)
        return Dataset(
            name=name,
            X=X,
            y=np.maximum(y, 0),
            label_mask=y != UNKNOWN,
            schema=schema,
            label_names=label_names,
            groups=None
            if group is None
            else encode_column(source, "group_column", group, table)[0],
            fold=None if fold is None else read_folds(source, fold, table),
            ids=None if row_id is None else read_ids(source, row_id, table),
            source=source,
            warnings=(*warnings, *feature_warnings),
            notes=(*notes, *label_notes, *describe_formats(roles, schema.columns)),
            exact=exact,
        )
    except pa.ArrowException as error:
        raise UserError(
            f"{source}: expected columns of numbers, texts and dates. Received: {error}"
        ) from error


def encode_column(
    source: str, key: str, name: str, table: pa.Table
) -> tuple[NDArray[np.int64], list[str]]:
    """Return the code of each row and the texts of a column that may not have missing values."""
    codes, texts = encode_texts(table.column(name))
    if (codes < 0).any():
        raise UserError(
            f"{source}: expected a value in every row of the column of dataset.{key}. Received: a "
            f"missing value in column {name!r}, row {int((codes < 0).argmax())} (the first is 0)."
        )
    return codes, texts


def read_folds(source: str, name: str, table: pa.Table) -> NDArray[np.int64]:
    """Return the fold that tests each row, -1 if it always trains."""
    codes, texts = encode_column(source, "fold_column", name, table)
    folds = [parse_fold(text) for text in texts]
    if None in folds:
        code = folds.index(None)
        raise UserError(
            f"{source}, column {name!r}: expected the number of a fold, from -1 (always trains), "
            f"or the word train or test. Received: {texts[code]!r} in row "
            f"{int((codes == code).argmax())} (the first is 0)."
        )
    return np.array(folds, dtype=np.int64)[codes]


def read_ids(source: str, name: str, table: pa.Table) -> NDArray[np.str_]:
    """Return the ids of the rows, which must be unique."""
    codes, texts = encode_column(source, "id_column", name, table)
    _, rows = np.unique(codes, return_index=True)
    if len(rows) < len(codes):
        row = int(np.setdiff1d(np.arange(len(codes)), rows)[0])
        raise UserError(
            f"{source}: expected ids that occur once. Received: {texts[codes[row]]!r} again in "
            f"column {name!r}, row {row} (the first is 0). If such rows belong together, name the "
            "column in dataset.group_column."
        )
    return np.array(texts, dtype=np.str_)[codes]


def parse_fold(text: str) -> int | None:
    """Return the fold that `train`, `test` or a number means, -1 to always train, else None."""
    text = text.strip().lower()
    if text in _FOLD_NUMBERS:
        return _FOLD_NUMBERS[text]
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if number.is_integer() and number >= TRAIN else None


def dataset_from_frame(
    name: str,
    source: str,
    frame: Any,
    labels: Iterable[str],
    warnings: tuple[str, ...] = (),
    label_values: LabelValues = DEFAULTS,
) -> Dataset:
    """Build a data set from one data frame that holds features and labels.

    Args:
        name: Name of the data set.
        source: Origin of the frame, for messages.
        frame: A pandas data frame, an Arrow table, or any frame that Arrow can convert.
        labels: Names of the label columns; the others are features.
        warnings: Warnings of the reader.
        label_values: Values that mean yes and no, and that a label is not known.
    """
    table = _to_arrow(source, frame)
    labels = dict.fromkeys(labels)
    features = tuple(name for name in table.column_names if name not in labels)
    roles = ColumnRoles(features, tuple(labels), typed=True, label_values=label_values)
    return build_dataset(name, source, roles, table, warnings)


def dataset_from_features_and_labels(
    name: str, source: str, X: Any, y: Any, label_values: LabelValues = DEFAULTS
) -> Dataset:
    """Build a data set from features and labels; each an array, a sparse matrix or a data frame.

    Args:
        name: Name of the data set.
        source: Origin of the values, for messages.
        X: Features of shape (n_samples, n_features).
        y: Labels of shape (n_samples, n_labels).
        label_values: Values that mean yes and no, and that a label is not known.
    """
    if hasattr(y, "to_frame") and not hasattr(y, "columns"):  # a pandas series
        y = y.to_frame()
    if not _is_frame(X) and not _is_frame(y):
        return dataset_from_arrays(name, source, X, y, label_values=label_values)
    features, labels = _to_arrow(source, X, "X"), _to_arrow(source, y, "y")
    check_disjoint_roles(source, {"X": features.column_names, "y": labels.column_names})
    _check_equal_length(source, features.num_rows, labels.num_rows)
    for label in labels.column_names:
        features = features.append_column(label, labels.column(label))
    return dataset_from_frame(
        name, source, features, labels.column_names, label_values=label_values
    )


def dataset_from_arrays(
    name: str,
    source: str,
    X: Any,
    y: Any,
    *,
    feature_names: Iterable[str] | None = None,
    label_names: Iterable[str] | None = None,
    groups: NDArray[np.int64] | None = None,
    label_values: LabelValues = DEFAULTS,
) -> Dataset:
    """Build a data set from two arrays; default names are x0, x1, ... and y0, y1, ...

    Args:
        name: Name of the data set.
        source: Origin of the arrays, for messages.
        X: Numbers of shape (n_samples, n_features).
        y: Yes and no in any spelling, of shape (n_samples, n_labels).
        feature_names: One for each column of `X`.
        label_names: One for each column of `y`.
        groups: Group of each row.
        label_values: Values that mean yes and no, and that a label is not known.
    """
    X, y = _to_matrix(source, "X", X), _to_matrix(source, "y", y)
    if X.dtype.kind not in "biuf":
        raise UserError(f"{source}: expected X of numbers. Received: an array of {X.dtype}.")
    _check_equal_length(source, len(X), len(y))
    features = _column_names(source, "X", X, feature_names)
    labels = _column_names(source, "y", y, label_names)
    columns = [to_binary(source, it, y[:, j], label_values) for j, it in enumerate(labels)]
    y = np.column_stack(columns) if columns else np.empty((len(X), 0), dtype=np.int8)
    X, schema = encode_matrix(source, [Column(name) for name in features], X)
    return Dataset(
        name=name,
        X=X,
        y=np.maximum(y, 0),
        label_mask=y != UNKNOWN,
        schema=schema,
        label_names=labels,
        groups=groups,
        source=source,
    )


def _is_frame(values: Any) -> bool:
    return hasattr(values, "columns") or hasattr(values, "__arrow_c_stream__")


def _to_arrow(source: str, values: Any, key: str = "X") -> pa.Table:
    """Convert a frame or an array to an Arrow table with texts as column names."""
    try:
        if isinstance(values, pa.Table):
            table = values
        elif hasattr(values, "iloc"):  # pandas
            frame = values.set_axis([str(name) for name in values.columns], axis=1)
            check_unique_columns(source, list(frame.columns))
            table = pa.Table.from_pandas(frame, preserve_index=False)
        elif _is_frame(values):
            table = pa.table(values)
        else:
            array = _to_matrix(source, key, values)
            columns = [pa.array(array[:, j].tolist()) for j in range(array.shape[1])]
            table = pa.table(columns, names=list(_column_names(source, key, array, None)))
    except (pa.ArrowException, TypeError) as error:
        raise UserError(
            f"{source}: expected columns of one type each. Received: {error}"
        ) from error
    check_unique_columns(source, table.column_names)
    return table


def _to_matrix(source: str, key: str, values: Any) -> NDArray[Any]:
    if hasattr(values, "toarray"):  # sparse
        check_fits_memory(source, values.shape, values.dtype.itemsize + 12)  # float64 and float32
        values = values.toarray()
    try:
        array = np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise UserError(f"{source}: expected {key} as a matrix. Received: {error}") from error
    if key == "y" and array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise UserError(
            f"{source}: expected {key} of shape (n_samples, n_columns). Received: an array of "
            f"shape {array.shape}."
        )
    return array


def _column_names(
    source: str, key: str, array: NDArray[Any], names: Iterable[str] | None
) -> tuple[str, ...]:
    if names is None:
        return tuple(f"{key.lower()}{j}" for j in range(array.shape[1]))
    names = tuple(map(str, names))
    if len(names) != array.shape[1]:
        raise UserError(
            f"{source}: expected one name for each of {array.shape[1]} columns of {key}. Received: "
            f"{len(names)}."
        )
    return names


def _check_equal_length(source: str, n_rows_X: int, n_rows_y: int) -> None:
    if n_rows_X != n_rows_y:
        raise UserError(
            f"{source}: expected X and y of equal length. Received: {n_rows_X} and {n_rows_y} rows."
        )
