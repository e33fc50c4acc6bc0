"""Build a `Dataset` from a table, a data frame or arrays."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.dataset.column_roles import ColumnRoles, check_disjoint_roles, check_unique_columns
from pipeline.dataset.dataset import TEST, TRAIN, Dataset
from pipeline.dataset.features import Features, LossyError, Texts, narrowed
from pipeline.dataset.label_columns import (
    ListedLabels,
    NamedLabels,
    as_text,
    check_not_nested,
    to_binary,
)
from pipeline.errors import UserError

_WORDS = {"train": TRAIN, "test": TEST}


def read_folds(
    values: Sequence[object], where: str, rows: Sequence[int] | None = None
) -> NDArray[np.int64]:
    """Return the fold in which each row is tested; -1 trains always.

    Args:
        values: For each row the number of its fold, or the word train or test.
        where: The column, for the message.
        rows: The row of each value, for the message; None: its place.

    Raises:
        UserError: If a value is neither.
    """
    places = range(len(values)) if rows is None else rows
    folds = [_fold(value, row, where) for row, value in zip(places, values, strict=True)]
    return np.array(folds, dtype=np.int64)


Batches = tuple[pa.Schema, Iterator[pa.RecordBatch]]


def assemble(
    name: str,
    source: str,
    columns: ColumnRoles,
    read: Callable[[], Batches],
    warnings: tuple[str, ...] = (),
) -> Dataset:
    """Return the data set that a table holds, as float32 if nothing is lost by it.

    A table with a value that float32 cannot hold (`is_lossy`) is read again, into float64.

    Args:
        name: Name of the data set.
        source: Where the table came from, for messages.
        columns: The parts that its columns play.
        read: Opens the table and returns its schema and its batches.
        warnings: What is known to be odd about it.

    Raises:
        UserError: If a value cannot be what it should be; it is named by column and row.
    """
    try:
        return _assemble(name, source, columns, *read(), np.float32, warnings)
    except LossyError:
        return _assemble(name, source, columns, *read(), np.float64, warnings)


def _assemble(
    name: str,
    source: str,
    columns: ColumnRoles,
    schema: pa.Schema,
    batches: Iterator[pa.RecordBatch],
    dtype: type,
    warnings: tuple[str, ...],
) -> Dataset:
    check_not_nested(source, columns, schema)
    features = Features(source, columns, schema, dtype)
    labels = (
        ListedLabels(source, columns)
        if columns.label_list is not None
        else NamedLabels(source, columns)
    )
    groups, folds, ids = Texts(), Texts(), Texts()
    group_codes: list[NDArray[np.int64]] = []
    fold_codes: list[NDArray[np.int64]] = []
    row = 0
    for batch in batches:
        labels.add(batch, row)
        features.add(batch)
        if columns.group is not None:
            group_codes.append(_codes(source, "group", columns.group, groups, batch, row))
        if columns.fold is not None:
            fold_codes.append(_codes(source, "fold", columns.fold, folds, batch, row))
        if columns.id is not None:
            _add_ids(source, columns.id, ids, batch, row)
        row += batch.num_rows
    if not row:
        raise UserError(f"{source}: expected at least one row. Received: none.")
    label_names, y = labels.matrix()
    X = features.matrix()
    categories, odd = features.categories(X)
    return Dataset(
        name=name,
        X=X,
        y=y,
        feature_names=columns.features,
        label_names=label_names,
        categories=categories,
        groups=np.concatenate(group_codes) if group_codes else None,
        fold=_folds(source, str(columns.fold), folds, fold_codes) if fold_codes else None,
        ids=np.array(ids.list, dtype=np.str_) if columns.id is not None else None,
        source=source,
        warnings=(*warnings, *odd),
    )


def _codes(
    source: str, key: str, name: str, texts: Texts, batch: pa.RecordBatch, first_row: int
) -> NDArray[np.int64]:
    codes = texts.codes(as_text(batch.column(name)))
    _check_no_missing(source, f"dataset.{key}", name, codes, first_row)
    return codes


def _folds(
    source: str, name: str, texts: Texts, codes: list[NDArray[np.int64]]
) -> NDArray[np.int64]:
    place = np.concatenate(codes)
    first_rows = [int((place == code).argmax()) for code in range(len(texts.list))]
    return read_folds(texts.list, f"{source}, column {name!r}", first_rows)[place]


def _check_no_missing(
    source: str, key: str, name: str, codes: NDArray[np.int64], first_row: int
) -> None:
    if (codes < 0).any():
        raise UserError(
            f"{source}: expected a value in every row of the column of {key}. Received: a missing "
            f"value in column {name!r}, row {first_row + int((codes < 0).argmax())} (the first "
            "is 0)."
        )


def _add_ids(source: str, name: str, ids: Texts, batch: pa.RecordBatch, first_row: int) -> None:
    known = len(ids.known)
    codes = _codes(source, "id", name, ids, batch, first_row)
    if len(ids.known) - known < len(codes):
        order = np.arange(known, known + len(codes))
        row = int((codes != order).argmax())
        raise UserError(
            f"{source}: expected ids that occur once. Received: {ids.list[codes[row]]!r} again in "
            f"column {name!r}, row {first_row + row} (the first is 0). If such rows belong "
            "together, name the column in dataset.group."
        )


def dataset_of_frame(
    name: str, source: str, frame: Any, labels: Iterable[str], warnings: tuple[str, ...] = ()
) -> Dataset:
    """Return the data set of one data frame that holds features and labels.

    Args:
        name: Name of the data set.
        source: Where the frame came from, for messages.
        frame: A pandas data frame, or any that Arrow can take over.
        labels: Names of the columns that are labels; the others are features.
        warnings: What is known to be odd about it.
    """
    table = _to_arrow(source, frame)
    labels = tuple(labels)
    features = tuple(name for name in table.column_names if name not in set(labels))
    columns = ColumnRoles(features=features, labels=labels, typed=True)

    def read() -> Batches:
        return table.schema, iter(table.to_batches())

    try:
        return assemble(name, source, columns, read, warnings)
    except pa.ArrowException as error:
        raise UserError(f"{source}: expected numbers and texts. Received: {error}") from error


def dataset_of_parts(name: str, source: str, X: Any, y: Any) -> Dataset:
    """Return the data set of features and labels; each an array, a sparse matrix or a data frame.

    Args:
        name: Name of the data set.
        source: Where they came from, for messages.
        X: Features of shape (n_samples, n_features).
        y: Labels of shape (n_samples, n_labels).
    """
    if hasattr(y, "to_frame") and not hasattr(y, "columns"):  # a pandas series
        y = y.to_frame()
    if not _is_frame(X) and not _is_frame(y):
        return dataset_of_arrays(name, source, X, y)
    tables = [_to_arrow(source, X, "x"), _to_arrow(source, y, "y")]
    check_disjoint_roles(source, {"X": tables[0].column_names, "y": tables[1].column_names})
    _check_lengths(source, *(table.num_rows for table in tables))
    labels = tables[1].column_names
    for label in labels:
        tables[0] = tables[0].append_column(label, tables[1].column(label))
    return dataset_of_frame(name, source, tables[0], labels)


def dataset_of_arrays(
    name: str,
    source: str,
    X: Any,
    y: Any,
    *,
    feature_names: Iterable[str] | None = None,
    label_names: Iterable[str] | None = None,
    groups: NDArray[np.int64] | None = None,
) -> Dataset:
    """Return the data set of two arrays; columns without names are x0, x1, ... and y0, y1, ...

    Args:
        name: Name of the data set.
        source: Where the arrays came from, for messages.
        X: Numbers of shape (n_samples, n_features).
        y: Yes and no in any spelling, of shape (n_samples, n_labels).
        feature_names: One for each column of `X`.
        label_names: One for each column of `y`.
        groups: Group of each row.
    """
    X, y = _matrix(source, "X", X), _matrix(source, "y", y)
    if X.dtype.kind not in "biuf":
        raise UserError(f"{source}: expected X of numbers. Received: an array of {X.dtype}.")
    _check_lengths(source, len(X), len(y))
    names = {"X": _names("x", X, feature_names), "y": _names("y", y, label_names)}
    for key, array in (("X", X), ("y", y)):
        if len(names[key]) != array.shape[1]:
            raise UserError(
                f"{source}: expected one name for each of {array.shape[1]} columns of {key}. "
                f"Received: {len(names[key])}."
            )
    labels = [to_binary(source, label, y[:, j]) for j, label in enumerate(names["y"])]
    return Dataset(
        name=name,
        X=_floats(source, X),
        y=np.column_stack(labels) if labels else np.empty((len(X), 0), dtype=np.int8),
        feature_names=names["X"],
        label_names=names["y"],
        groups=groups,
        source=source,
    )


def _floats(source: str, X: NDArray[Any]) -> NDArray[np.floating]:
    if X.dtype == np.float32 or not X.size:
        return np.ascontiguousarray(X, dtype=np.float32)
    if X.dtype.kind in "iu" and X.dtype.itemsize == 8 and (X.max() > 2**53 or X.min() < -(2**53)):
        raise UserError(
            f"{source}: expected whole numbers up to 2**53 in X. Received: {X.min()} to {X.max()}."
        )
    return np.ascontiguousarray(narrowed(X.astype(np.float64)))


def _is_frame(part: Any) -> bool:
    return hasattr(part, "columns") or hasattr(part, "__arrow_c_stream__")


def _to_arrow(source: str, part: Any, prefix: str = "") -> pa.Table:
    """Return a frame, or an array as a frame, with names that are texts."""
    try:
        if isinstance(part, pa.Table):
            table = part
        elif hasattr(part, "iloc"):  # pandas
            frame = part.set_axis([str(name) for name in part.columns], axis=1)
            check_unique_columns(source, list(frame.columns))
            table = pa.Table.from_pandas(frame, preserve_index=False)
        elif _is_frame(part):
            table = pa.table(part)
        else:
            array = _matrix(source, "y" if prefix == "y" else "X", part)
            columns = [pa.array(array[:, j].tolist()) for j in range(array.shape[1])]
            table = pa.table(columns, names=list(_names(prefix, array, None)))
    except (pa.ArrowException, TypeError) as error:
        raise UserError(
            f"{source}: expected columns of one type each. Received: {error}"
        ) from error
    check_unique_columns(source, table.column_names)
    return table


def _matrix(source: str, key: str, part: Any) -> NDArray[Any]:
    if hasattr(part, "toarray"):  # sparse
        part = part.toarray()
    try:
        array = np.asarray(part)
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


def _names(prefix: str, array: NDArray[Any], names: Iterable[str] | None) -> tuple[str, ...]:
    if names is None:
        return tuple(f"{prefix}{j}" for j in range(array.shape[1]))
    return tuple(map(str, names))


def _check_lengths(source: str, n_features: int, n_labels: int) -> None:
    if n_features != n_labels:
        raise UserError(
            f"{source}: expected X and y of equal length. Received: {n_features} and {n_labels} "
            "rows."
        )


def _fold(value: object, row: int, where: str) -> int:
    text = str(value).strip().lower()
    if text in _WORDS:
        return _WORDS[text]
    try:
        number = float(text)
    except ValueError:
        number = np.nan
    if not number.is_integer() or number < TRAIN:
        raise UserError(
            f"{where}: expected the number of a fold, from -1 (always trains), or the word train "
            f"or test. Received: {value!r} in row {row}."
        )
    return int(number)
