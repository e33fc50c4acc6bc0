"""Features block by block: numbers as they are, texts as places among their categories."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.dataset.column_roles import ColumnRoles
from pipeline.dataset.dataset import MAX_SHOWN
from pipeline.errors import UserError

_EXACT_FLOAT32 = 2**24  # integers up to here are exact in float32
_EXACT_FLOAT64 = 2**53


class LossyError(Exception):
    """A value that float32 cannot hold."""


def is_lossy(block: NDArray[np.floating], narrow: NDArray[np.float32]) -> bool:
    """Return whether float32 loses whole numbers or range: then a table is kept as float64.

    Above 2**24 (a timestamp, say) every value has to survive, also in its last digit; below, no
    value may vanish to 0. Else the 24 bits of float32 are enough, for that is what is trained on.

    Args:
        block: Values; infinite and missing ones are no loss.
        narrow: The same as float32.
    """
    top, bottom = np.fmax.reduce(block, axis=None), np.fmin.reduce(block, axis=None)
    if max(top, -bottom) > _EXACT_FLOAT32:
        large = np.abs(block) > _EXACT_FLOAT32
        return not np.array_equal(block[large], narrow[large])
    return bool(np.count_nonzero(block) != np.count_nonzero(narrow))


def narrowed(X: NDArray[np.float64]) -> NDArray[np.floating]:
    """Return the table as float32, or as it is where that would lose something."""
    with np.errstate(over="ignore", under="ignore"):
        narrow = X.astype(np.float32)
    return X if is_lossy(X, narrow) else narrow


class Texts:
    """Numbers for texts, by the order in which they are seen."""

    def __init__(self) -> None:
        """Start without any."""
        self.known: dict[str, int] = {}

    def codes(self, column: pa.Array) -> NDArray[np.int64]:
        """Return the number of each text, -1 where it is missing."""
        encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        texts = encoded.dictionary.cast(pa.string()).to_pylist()
        new = [self.known.setdefault(text, len(self.known)) for text in texts]
        places = encoded.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)
        codes: NDArray[np.int64] = np.array([*new, -1], dtype=np.int64)[places]
        return codes

    @property
    def list(self) -> list[str]:
        """The texts in the order of their numbers."""
        return list(self.known)


class Features:
    """Gathers the features of a table from its record batches."""

    def __init__(self, source: str, columns: ColumnRoles, schema: pa.Schema, dtype: type) -> None:
        """Start without any row.

        Args:
            source: Where the table came from, for messages.
            columns: The parts that the columns play.
            schema: Names and types of the columns.
            dtype: float32 or float64.
        """
        self._source, self._columns, self._dtype = source, columns, dtype
        self._texts = {
            name: Texts() for name in columns.features if self._is_text(name, schema.field(name))
        }
        self._blocks: list[NDArray[np.floating]] = []
        self._n_rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Append the rows of a batch.

        Raises:
            LossyError: If float32 was asked for and a number does not fit.
        """
        block: NDArray[np.floating] = np.empty((batch.num_rows, len(self._columns.features)))
        for j, name in enumerate(self._columns.features):
            if name in self._texts:
                codes = self._texts[name].codes(batch.column(name))
                block[:, j] = np.where(codes < 0, np.nan, codes)
            else:
                block[:, j] = self._numbers(name, batch.column(name))
        if self._dtype is np.float32:
            with np.errstate(over="ignore", under="ignore"):
                narrow = block.astype(np.float32)
            if is_lossy(block, narrow):
                raise LossyError
            block = narrow
        self._blocks.append(block)
        self._n_rows += len(block)

    def matrix(self) -> NDArray[np.floating]:
        """Return all rows; each block is let go as soon as it is copied."""
        shape = self._n_rows, len(self._columns.features)
        X: NDArray[np.floating] = np.empty(shape, dtype=self._dtype)
        end = self._n_rows
        while self._blocks:
            block = self._blocks.pop()
            X[end - len(block) : end] = block
            end -= len(block)
        return X

    def categories(
        self, X: NDArray[np.floating]
    ) -> tuple[tuple[tuple[str, ...] | None, ...], tuple[str, ...]]:
        """Put categories into alphabetical order, in `X` too; return them and what is odd."""
        found: list[tuple[str, ...] | None] = [None] * X.shape[1]
        odd = []
        for j, name in enumerate(self._columns.features):
            if name not in self._texts:
                continue
            texts = self._texts[name].list
            numbers = self._mostly_numbers(name, texts, X[:, j])
            if numbers is None:
                found[j] = tuple(sorted(texts))
                numbers = np.argsort(np.argsort(np.array(texts, dtype=object))).astype(np.float64)
                if len(texts) > max(100, len(X) // 2):
                    odd.append(
                        f"feature {name!r} has {len(texts)} categories in {len(X)} rows: an id or "
                        "free text? Then leave it out"
                    )
            X[:, j] = np.append(numbers, np.nan)[np.nan_to_num(X[:, j], nan=-1).astype(np.int64)]
        return (tuple(found) if any(found) else ()), tuple(odd)

    def _is_text(self, name: str, field: pa.Field) -> bool:
        kind = field.type
        if pa.types.is_dictionary(kind) or _is_string(kind):
            return True
        if pa.types.is_temporal(kind) and name in self._columns.numeric:
            return False
        if name in self._columns.categorical and not pa.types.is_nested(kind):
            return True
        if not _is_number(kind):
            dates = "as a number (seconds since 1970) in dataset.numeric, or "
            raise UserError(
                f"{self._source}: expected features that are numbers or texts. Received: {kind} in "
                f"column {name!r}, from row 0 on. Leave it out, or in a table declare it "
                f"{dates if pa.types.is_temporal(kind) else ''}as a category in "
                "dataset.categorical."
            )
        return False

    def _numbers(self, name: str, column: pa.Array) -> NDArray[np.number]:
        if pa.types.is_temporal(column.type):
            return _seconds(column)
        if pa.types.is_boolean(column.type):
            column = column.cast(pa.uint8())
        elif pa.types.is_decimal(column.type) or pa.types.is_null(column.type):
            column = column.cast(pa.float64())
        elif pa.types.is_integer(column.type) and column.type.bit_width == 64:
            self._check_exact(name, column)
        numbers: NDArray[np.number] = column.to_numpy(zero_copy_only=False)
        return numbers

    def _check_exact(self, name: str, column: pa.Array) -> None:
        numbers = column.fill_null(0).to_numpy(zero_copy_only=False)
        bad = (numbers > _EXACT_FLOAT64) | (numbers < -_EXACT_FLOAT64)
        if bad.any():
            row = int(bad.argmax())
            raise UserError(
                f"{self._source}: expected whole numbers up to 2**53. Received: {numbers[row]} in "
                f"column {name!r}, row {self._n_rows + row} (the first is 0). If it is an id, "
                "leave it out; in a table, name it in dataset.id or dataset.categorical."
            )

    def _mostly_numbers(
        self, name: str, texts: list[str], codes: NDArray[np.floating]
    ) -> NDArray[np.float64] | None:
        """Return the numbers behind the texts, or None if they are categories."""
        declared = name in self._columns.numeric
        if not declared and (self._columns.typed or name in self._columns.categorical):
            return None
        numbers = [_as_number(text) for text in texts]
        others = [i for i, number in enumerate(numbers) if number is None]
        alike = sum(_as_number(text.replace(",", ".")) is not None for text in texts)
        if not declared and (not others or 2 * alike < len(texts)):
            return None
        if others:
            row = int(np.isin(codes, others).argmax())
            raise UserError(
                f"{self._source}: expected numbers in column {name!r}. Received: "
                f"{texts[int(codes[row])][:60]!r} in row {row} (the first is 0), one of "
                f"{len(others)} such texts among {len(texts)} different values: "
                f"{_shown(texts[i] for i in others[:MAX_SHOWN])}. Mend it, name it in "
                "dataset.missing, give \"dataset.decimal=','\" if it has a decimal comma, or "
                "declare the column in dataset.categorical."
            )
        return np.array(numbers, dtype=np.float64)


def _seconds(column: pa.Array) -> NDArray[np.float64]:
    """Return dates since 1970, times since midnight and durations, all in seconds."""
    kind = pa.timestamp("us")
    if pa.types.is_duration(column.type):
        kind = pa.duration("us")
    elif pa.types.is_time(column.type):
        kind = pa.time64("us")
    whole = column.cast(kind, safe=False).cast(pa.int64())
    micros = whole.cast(pa.float64(), safe=False)
    seconds: NDArray[np.float64] = micros.to_numpy(zero_copy_only=False) / 1e6
    return seconds


def _is_string(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_number(kind: pa.DataType) -> bool:
    types = pa.types
    known = (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean, types.is_null)
    return any(is_known(kind) for is_known in known)


def _as_number(text: str) -> float | None:
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _shown(texts: Iterable[str]) -> str:
    return ", ".join(repr(text[:20]) for text in texts)
