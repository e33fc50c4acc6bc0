"""A data set from Arrow's record batches, read one after the other."""

import json
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.dataset.columns import Columns
from pipeline.dataset.features import Features, LossyError, Texts
from pipeline.dataset.folds import read_folds
from pipeline.dataset.labels import indicator, indicator_of_codes, listed, refuse_missing_label
from pipeline.dataset.record import Dataset
from pipeline.errors import UserError

Batches = tuple[pa.Schema, Iterator[pa.RecordBatch]]


def assemble(
    name: str,
    source: str,
    columns: Columns,
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
    columns: Columns,
    schema: pa.Schema,
    batches: Iterator[pa.RecordBatch],
    dtype: type,
    warnings: tuple[str, ...],
) -> Dataset:
    _refuse_nested(source, columns, schema)
    features = Features(source, columns, schema, dtype)
    labels = _Listed(source, columns) if columns.label_list is not None else _Named(source, columns)
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


class _Named:
    """Labels that have a column each."""

    def __init__(self, source: str, columns: Columns) -> None:
        self._source, self._names = source, columns.labels
        self._blocks: list[NDArray[np.int8]] = []

    def add(self, batch: pa.RecordBatch, row: int) -> None:
        block = np.empty((batch.num_rows, len(self._names)), dtype=np.int8)
        for j, name in enumerate(self._names):
            block[:, j] = self._column(name, batch.column(name), row)
        self._blocks.append(block)

    def matrix(self) -> tuple[tuple[str, ...], NDArray[np.int8]]:
        return self._names, np.concatenate(self._blocks)

    def _column(self, name: str, column: pa.Array, row: int) -> NDArray[np.int8]:
        kind = column.type
        if column.null_count and not pa.types.is_dictionary(kind):
            missing = column.is_null().to_numpy(zero_copy_only=False)
            refuse_missing_label(self._source, name, row + int(missing.argmax()))
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
            numbers = column.to_numpy(zero_copy_only=False)
            return indicator(self._source, name, numbers, row)
        encoded = column if pa.types.is_dictionary(kind) else column.dictionary_encode()
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        texts = encoded.dictionary.to_pylist()
        return indicator_of_codes(self._source, name, codes, texts, row)


class _Listed:
    """Labels that one column lists; a blank cell lists none."""

    def __init__(self, source: str, columns: Columns) -> None:
        self._source, self._name = source, str(columns.label_list)
        self._separator = columns.label_separator
        self._texts = Texts()
        self._codes: list[NDArray[np.int64]] = []
        self._found: list[tuple[str, ...]] = []

    def add(self, batch: pa.RecordBatch, row: int) -> None:
        column = batch.column(self._name)
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            self._separator = "json"
            column = pa.array([None if v is None else _json(v) for v in column.to_pylist()])
        codes = self._texts.codes(_as_text(column))
        for text in self._texts.list[len(self._found) :]:
            place = row + int((codes == len(self._found)).argmax())
            self._found.append(listed(self._source, self._name, text, self._separator, place))
        self._codes.append(codes)

    def matrix(self) -> tuple[tuple[str, ...], NDArray[np.int8]]:
        self._refuse_other_separator()
        names = tuple(sorted({label for labels in self._found for label in labels}))
        place = {name: j for j, name in enumerate(names)}
        rows = np.zeros((len(self._found) + 1, len(names)), dtype=np.int8)  # the last: none
        for code, labels in enumerate(self._found):
            rows[code, [place[label] for label in labels]] = 1
        return names, rows[np.concatenate(self._codes)]

    def _refuse_other_separator(self) -> None:
        """Refuse to take `a;b` for one label where no cell at all has the separator."""
        texts = self._texts.list
        if self._separator == "json" or any(self._separator in text for text in texts):
            return
        for mark, option in {"[": "json", ";": ";", ",": ",", "|": "|"}.items():
            found = [text for text in texts if mark in text]
            if found:
                raise UserError(
                    f"{self._source}: expected labels separated by {self._separator!r} in column "
                    f"{self._name!r}. Received: none with it, but {found[0][:60]!r}. Give "
                    f"\"dataset.label_separator='{option}'\""
                )


def _json(values: list[object]) -> str:
    return json.dumps(values, default=str)


def _as_text(column: pa.Array) -> pa.Array:
    return column if pa.types.is_dictionary(column.type) else column.cast(pa.string())


def _refuse_nested(source: str, columns: Columns, schema: pa.Schema) -> None:
    for name in {*columns.used} - {*columns.features, columns.label_list}:
        if pa.types.is_nested(schema.field(name).type):
            raise UserError(
                f"{source}: expected one value in each cell. Received: {schema.field(name).type} "
                f"in column {name!r}, from row 0 on."
            )


def _codes(
    source: str, key: str, name: str, texts: Texts, batch: pa.RecordBatch, first_row: int
) -> NDArray[np.int64]:
    codes = texts.codes(_as_text(batch.column(name)))
    _refuse_missing(source, f"dataset.{key}", name, codes, first_row)
    return codes


def _folds(
    source: str, name: str, texts: Texts, codes: list[NDArray[np.int64]]
) -> NDArray[np.int64]:
    place = np.concatenate(codes)
    first_rows = [int((place == code).argmax()) for code in range(len(texts.list))]
    return read_folds(texts.list, f"{source}, column {name!r}", first_rows)[place]


def _refuse_missing(
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
