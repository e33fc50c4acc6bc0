"""Build a `Dataset` from an Arrow table, a data frame or arrays."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.dataset.column_roles import (
    ColumnRoles,
    check_column_exists,
    check_disjoint_roles,
    check_not_nested,
    check_unique_columns,
)
from pipeline.dataset.dataset import Dataset, Times
from pipeline.dataset.files import check_fits_memory
from pipeline.dataset.format_inference import describe_formats
from pipeline.dataset.label_columns import encode_labels, to_binary
from pipeline.dataset.label_values import DEFAULTS, UNKNOWN, LabelValues
from pipeline.dataset.mapped_files import encode_table
from pipeline.dataset.matrix import encode_matrix
from pipeline.dataset.row_columns import encode_column, read_folds, read_ids, read_weights
from pipeline.dataset.schema_inference import infer_schema
from pipeline.dataset.times import read_times
from pipeline.errors import UserError
from pipeline.preprocessing import Column


def build_dataset(
    name: str,
    source: str,
    roles: ColumnRoles,
    table: pa.Table,
    warnings: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
    matrix_path: Path | None = None,
) -> Dataset:
    """Build a data set from a table.

    Args:
        name: Name of the data set.
        source: Origin of the table, for messages.
        roles: Roles of the columns.
        table: All columns that have a role.
        warnings: Warnings of the reader.
        notes: Notes of the reader.
        matrix_path: File for the matrix, which is then memory-mapped; None for the memory.

    Raises:
        UserError: If the table has no rows, or a value does not suit its column; the message names
            the column and the row.
    """
    check_not_nested(source, roles, table.schema)
    if not table.num_rows:
        raise UserError(f"{source}: expected at least one row. Received: none.")
    group, fold, row_id = roles.group_column, roles.fold_column, roles.id_column
    times, time_notes = None, list[str]()
    weight = roles.weight_column
    try:
        label_names, y, label_notes = encode_labels(source, roles, table)
        schema, feature_warnings = infer_schema(source, roles, table)
        X, exact = encode_table(schema, table, matrix_path)
        if roles.time_column is not None:
            values = table.column(roles.time_column)
            times, form = read_times(source, roles, roles.time_column, values)
            time_notes = [f"times {roles.time_column!r} read as dates such as {form}"] * bool(form)
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
            times=times,
            sample_weight=None
            if weight is None
            else read_weights(source, weight, table, schema.decimal),
            source=source,
            warnings=(*warnings, *feature_warnings),
            notes=(
                *notes,
                *label_notes,
                *time_notes,
                *describe_formats(roles, schema.columns),
            ),
            exact=exact,
        )
    except pa.ArrowException as error:
        raise UserError(
            f"{source}: expected columns of numbers, texts and dates. Received: {error}"
        ) from error


def dataset_from_frame(
    name: str,
    source: str,
    frame: Any,
    labels: Iterable[str],
    warnings: tuple[str, ...] = (),
    label_values: LabelValues = DEFAULTS,
    time_column: str | None = None,
    weight_column: str | None = None,
    text_columns: Iterable[str] = (),
) -> Dataset:
    """Build a data set from one data frame that holds features and labels.

    Args:
        name: Name of the data set.
        source: Origin of the frame, for messages.
        frame: A pandas data frame, an Arrow table, or any frame that Arrow can convert.
        labels: Names of the label columns; the others are features.
        warnings: Warnings of the reader.
        label_values: Values that mean yes and no, and that a label is not known.
        time_column: Name of the column of times, which is no feature, or None.
        weight_column: Name of the column of weights of rows, which is no feature, or None.
        text_columns: Names of the features that are free text.
    """
    table = _to_arrow(source, frame)
    labels = dict.fromkeys(labels)
    others = {*labels, time_column, weight_column}
    features = tuple(name for name in table.column_names if name not in others)
    roles = ColumnRoles(
        *(features, tuple(labels)),
        time_column=time_column,
        weight_column=weight_column,
        text=frozenset(text_columns),
        typed=True,
        label_values=label_values,
    )
    return build_dataset(name, source, roles, table, warnings)


def dataset_from_features_and_labels(
    name: str,
    source: str,
    X: Any,
    y: Any,
    label_values: LabelValues = DEFAULTS,
    text_columns: Iterable[str] = (),
) -> Dataset:
    """Build a data set from features and labels; each an array, a sparse matrix or a data frame.

    Args:
        name: Name of the data set.
        source: Origin of the values, for messages.
        X: Features of shape (n_samples, n_features).
        y: Labels of shape (n_samples, n_labels).
        label_values: Values that mean yes and no, and that a label is not known.
        text_columns: Names of the columns of `X` that are free text.

    Raises:
        UserError: If they are not the features and labels of a multi-label table.
    """
    text_columns = tuple(text_columns)
    if hasattr(y, "to_frame") and not hasattr(y, "columns"):  # a pandas series
        y = y.to_frame()
    if text_columns and not _is_frame(X):
        raise UserError(
            f"text_columns: expected X as a data frame. Received: {type(X).__name__}, whose "
            "columns have no names."
        )
    if not _is_frame(X) and not _is_frame(y):
        return dataset_from_arrays(name, source, X, y, label_values=label_values)
    features, labels = _to_arrow(source, X, "X"), _to_arrow(source, y, "y")
    for text_column in text_columns:
        check_column_exists(source, "text_columns", text_column, features.column_names)
    check_disjoint_roles(source, {"X": features.column_names, "y": labels.column_names})
    _check_equal_length(source, features.num_rows, labels.num_rows)
    for label in labels.column_names:
        features = features.append_column(label, labels.column(label))
    return dataset_from_frame(
        *(name, source, features, labels.column_names),
        label_values=label_values,
        text_columns=text_columns,
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
    sample_weight: NDArray[np.float32] | None = None,
    label_values: LabelValues = DEFAULTS,
    times: Times | None = None,
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
        sample_weight: Weight of each row.
        label_values: Values that mean yes and no, and that a label is not known.
        times: Time of each row.
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
        times=times,
        sample_weight=sample_weight,
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
