"""Convert yes/no columns and label lists to a binary label matrix."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.dataset.column_roles import ColumnRoles
from pipeline.dataset.features import Texts
from pipeline.errors import UserError

_SPELLINGS = {
    **dict.fromkeys(("1", "1.0", "true", "t", "yes", "y"), 1),
    **dict.fromkeys(("0", "0.0", "false", "f", "no", "n"), 0),
}
_OTHER = -1


def to_binary(source: str, name: str, values: NDArray[Any], first_row: int = 0) -> NDArray[np.int8]:
    """Return a label's values as 0 and 1, of shape (n_samples,).

    Args:
        source: Where the values came from, for the message.
        name: Name of the label.
        values: Numbers, booleans, texts or bytes, of shape (n_samples,).
        first_row: Row number of the first value, for the message.

    Raises:
        UserError: If a value is neither a yes nor a no.
    """
    if values.dtype.kind in "biuf":
        y = np.where(values == 1, 1, np.where(values == 0, 0, _OTHER)).astype(np.int8)
    else:
        known: dict[object, int] = {}
        y = np.fromiter(
            (known[v] if v in known else known.setdefault(v, _spelt(v)) for v in values.tolist()),
            dtype=np.int8,
            count=len(values),
        )
    _check_binary(source, name, y, values, first_row)
    return y


def codes_to_binary(
    source: str, name: str, codes: NDArray[np.int64], texts: Sequence[object], first_row: int = 0
) -> NDArray[np.int8]:
    """Return a label's values as 0 and 1, where each is given as its place in `texts`.

    Args:
        source: Where the values came from, for the message.
        name: Name of the label.
        codes: Place of each row's value in `texts`, of shape (n_samples,); negative if missing.
        texts: The values that occur.
        first_row: Row number of the first value, for the message.

    Raises:
        UserError: If a value that occurs is neither a yes nor a no.
    """
    spelt = np.array([*map(_spelt, texts), _OTHER], dtype=np.int8)
    y = spelt[np.where(codes < 0, len(texts), codes)]
    if (y == _OTHER).any():
        values = np.array([*texts, None], dtype=object)[np.where(codes < 0, -1, codes)]
        _check_binary(source, name, y, values, first_row)
    return y


def raise_missing_label(source: str, name: str, row: int) -> None:
    """Raise UserError for a label without a value."""
    raise UserError(
        f"{source}: expected labels of value 0 or 1 (or true/false, yes/no). Received: a missing "
        f"value in label {name!r}, row {row} (the first is 0)."
    )


def listed(source: str, name: str, text: str, separator: str, row: int) -> tuple[str, ...]:
    """Return the labels that one cell lists; none if it is blank.

    Args:
        source: Where the cell came from, for the message.
        name: Name of the column.
        text: The cell: labels between separators, or a JSON list.
        separator: What stands between labels, or `json`.
        row: Row number, for the message.
    """
    if separator != "json":
        return tuple(filter(None, map(str.strip, text.split(separator))))
    try:
        found = json.loads(text or "[]")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(f, str | int) and f != "" for f in found):
        raise UserError(
            f"{source}: expected a JSON list of labels. Received: {text[:60]!r} in column "
            f"{name!r}, row {row} (the first is 0)."
        )
    return tuple(map(str, found))


def _spelt(value: object) -> int:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        return _SPELLINGS.get(value.strip().lower(), _OTHER)
    if isinstance(value, bool | int | float | np.generic) and value in (0, 1):
        return int(value)
    return _OTHER


def _check_binary(
    source: str, name: str, y: NDArray[np.int8], values: NDArray[Any], first_row: int
) -> None:
    if not (y == _OTHER).any():
        return
    row = int((y == _OTHER).argmax())
    value = values[row].item() if isinstance(values[row], np.generic) else values[row]
    if value is None or value != value:
        raise_missing_label(source, name, first_row + row)
    raise UserError(
        f"{source}: expected labels of value 0 or 1 (or true/false, yes/no). Received: "
        f"{str(value)[:60]!r} in label {name!r}, row {first_row + row} (the first is 0)."
    )


class NamedLabels:
    """Labels that have a column each."""

    def __init__(self, source: str, columns: ColumnRoles) -> None:
        """Start without rows.

        Args:
            source: File or data set, for messages.
            columns: Roles of the columns.
        """
        self._source, self._names = source, columns.labels
        self._blocks: list[NDArray[np.int8]] = []

    def add(self, batch: pa.RecordBatch, row: int) -> None:
        """Add the rows of a batch; `row` is the number of its first."""
        block = np.empty((batch.num_rows, len(self._names)), dtype=np.int8)
        for j, name in enumerate(self._names):
            block[:, j] = self._column(name, batch.column(name), row)
        self._blocks.append(block)

    def matrix(self) -> tuple[tuple[str, ...], NDArray[np.int8]]:
        """Return label names and the matrix of shape (n_samples, n_labels), values {0, 1}."""
        return self._names, np.concatenate(self._blocks)

    def _column(self, name: str, column: pa.Array, row: int) -> NDArray[np.int8]:
        kind = column.type
        if column.null_count and not pa.types.is_dictionary(kind):
            missing = column.is_null().to_numpy(zero_copy_only=False)
            raise_missing_label(self._source, name, row + int(missing.argmax()))
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
            numbers = column.to_numpy(zero_copy_only=False)
            return to_binary(self._source, name, numbers, row)
        encoded = column if pa.types.is_dictionary(kind) else column.dictionary_encode()
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        texts = encoded.dictionary.to_pylist()
        return codes_to_binary(self._source, name, codes, texts, row)


class ListedLabels:
    """Labels that one column lists; a blank cell lists none."""

    def __init__(self, source: str, columns: ColumnRoles) -> None:
        """Start without rows.

        Args:
            source: File or data set, for messages.
            columns: Roles of the columns.
        """
        self._source, self._name = source, str(columns.label_list)
        self._separator = columns.label_separator
        self._texts = Texts()
        self._codes: list[NDArray[np.int64]] = []
        self._found: list[tuple[str, ...]] = []

    def add(self, batch: pa.RecordBatch, row: int) -> None:
        """Add the rows of a batch; `row` is the number of its first."""
        column = batch.column(self._name)
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            self._separator = "json"
            column = pa.array([None if v is None else _json(v) for v in column.to_pylist()])
        codes = self._texts.codes(as_text(column))
        for text in self._texts.list[len(self._found) :]:
            place = row + int((codes == len(self._found)).argmax())
            self._found.append(listed(self._source, self._name, text, self._separator, place))
        self._codes.append(codes)

    def matrix(self) -> tuple[tuple[str, ...], NDArray[np.int8]]:
        """Return label names and the matrix of shape (n_samples, n_labels), values {0, 1}."""
        self._check_separator()
        names = tuple(sorted({label for labels in self._found for label in labels}))
        place = {name: j for j, name in enumerate(names)}
        rows = np.zeros((len(self._found) + 1, len(names)), dtype=np.int8)  # the last: none
        for code, labels in enumerate(self._found):
            rows[code, [place[label] for label in labels]] = 1
        return names, rows[np.concatenate(self._codes)]

    def _check_separator(self) -> None:
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


def as_text(column: pa.Array) -> pa.Array:
    """Return a column as texts; a dictionary stays encoded."""
    return column if pa.types.is_dictionary(column.type) else column.cast(pa.string())


def check_not_nested(source: str, columns: ColumnRoles, schema: pa.Schema) -> None:
    """Raise UserError if a cell of a used column can hold several values."""
    for name in {*columns.used} - {*columns.features, columns.label_list}:
        if pa.types.is_nested(schema.field(name).type):
            raise UserError(
                f"{source}: expected one value in each cell. Received: {schema.field(name).type} "
                f"in column {name!r}, from row 0 on."
            )
