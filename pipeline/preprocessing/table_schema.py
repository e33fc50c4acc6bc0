"""Encode raw rows as a matrix of numbers and category codes, for training and for serving alike.

Logged models carry this file, so it imports nothing of Manyfold.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.preprocessing.column_values import (
    BOOLEANS,
    EXPECTED,
    HEXADECIMAL,
    LARGEST,
    MICROSECONDS,
    PARSERS,
    Kind,
    canonical,
    check_size,
    encode_texts,
    is_text,
    to_arrow,
    to_numbers,
    to_seconds,
)
from pipeline.preprocessing.value_formats import parse_formatted

FORMAT = 1  # of the schema's JSON; models of another format are refused
MAX_SHOWN = 5

Rows: TypeAlias = pa.Table | pd.DataFrame | NDArray[Any]


@dataclass(frozen=True)
class Column:
    """A feature column.

    Attributes:
        name: Name of the column.
        kind: Kind of its values. Dates and times (since 1970), times of day (since midnight) and
            durations become seconds.
        categories: Texts of the categories, by code; empty for other kinds.
        offset: Value that is subtracted from each number, so that float32 keeps the digits of
            numbers that are large against their spread, such as seconds since 1970.
        format: Example of the texts of numbers or dates, such as "$1,234.5"; empty if plain.
    """

    name: str
    kind: Kind = "number"
    categories: tuple[str, ...] = ()
    offset: float = 0.0
    format: str = ""


@dataclass(frozen=True)
class TableSchema:
    """The feature columns of a table, and the spelling of their values.

    Attributes:
        columns: Feature columns, in the order of the matrix.
        na_values: Texts that mean a missing value; those that are numbers also match numbers.
        decimal: Decimal mark of numbers in texts.
    """

    columns: tuple[Column, ...]
    na_values: tuple[str, ...] = ()
    decimal: str = "."

    @classmethod
    def of_numbers(cls, names: Iterable[str]) -> "TableSchema":
        """Return the schema of a table whose features are all numbers, without offsets."""
        return cls(tuple(Column(name) for name in names))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TableSchema":
        """Return the schema of `as_dict`.

        Raises:
            ValueError: If another version of Manyfold wrote it in another format.
        """
        if values.get("format") != FORMAT:
            raise ValueError(
                f"Expected a schema of format {FORMAT}. Received: format {values.get('format')}, "
                "of a model that another version of Manyfold logged. Load it with that version, or "
                "train it again."
            )
        columns = [
            {**column, "categories": tuple(column["categories"])} for column in values["columns"]
        ]
        return cls(
            tuple(Column(**column) for column in columns),
            tuple(values["na_values"]),
            values["decimal"],
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the schema as JSON types."""
        return {"format": FORMAT, **asdict(self)}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def formats(self) -> dict[str, str]:
        """Format of each column that has one, by name."""
        return {column.name: column.format for column in self.columns if column.format}

    @property
    def categories(self) -> tuple[tuple[str, ...] | None, ...]:
        """Categories of each column, None if it is numeric; empty if all are numeric."""
        by_column = [
            column.categories if column.kind == "category" else None for column in self.columns
        ]
        return tuple(by_column) if any(names is not None for names in by_column) else ()

    @property
    def is_categorical(self) -> NDArray[np.bool_]:
        """True for each categorical column, of shape (n_columns,)."""
        return np.array([column.kind == "category" for column in self.columns], dtype=bool)

    @property
    def offsets(self) -> NDArray[np.float64]:
        """Offset of each column, of shape (n_columns,)."""
        return np.array([column.offset for column in self.columns], dtype=np.float64)

    def encode(self, rows: Rows) -> NDArray[np.float32]:
        """Return numbers less their offset and category codes, NaN where missing.

        Args:
            rows: Named columns in any order, others are ignored; or an array of numbers and
                category codes in the order of `columns`.

        Returns:
            Matrix of shape (n_rows, n_columns). An unknown category counts as missing.

        Raises:
            ValueError: If a column is missing, or a value does not suit its column; the message
                names column, row and value.
        """
        if isinstance(rows, np.ndarray):
            return self._encode_array(rows)
        names = rows.column_names if isinstance(rows, pa.Table) else map(str, rows.columns)
        position = {name: index for index, name in enumerate(names)}
        absent = [name for name in self.names if name not in position]
        if absent:
            raise ValueError(
                f"Expected the columns of the features. Received: none named "
                f"{_first(absent)}, but {_first(list(position))}."
            )
        series = [] if isinstance(rows, pa.Table) else [values for _, values in rows.items()]
        X = np.empty((len(rows), len(self.columns)), dtype=np.float32)
        for j, column in enumerate(self.columns):
            if isinstance(rows, pa.Table):
                values = self.encode_column(column, rows.column(position[column.name]))
            else:
                array = to_arrow(series[position[column.name]], self.decimal)
                values = self.encode_column(column, array)
            X[:, j] = values - column.offset if column.offset else values
        return X

    def decode(self, X: NDArray[np.float32]) -> pd.DataFrame:
        """Return rows that `encode` turns into `X`: numbers, dates and texts of categories."""
        frame = {}
        for column, values in zip(self.columns, X.T, strict=True):
            if column.kind == "category":
                texts = [
                    None if np.isnan(code) else column.categories[int(code)] for code in values
                ]
                frame[column.name] = pd.Series(texts, dtype=object)
            else:
                numbers = values.astype(np.float64) + column.offset
                frame[column.name] = pd.Series(from_seconds(column.kind, numbers))
        return pd.DataFrame(frame)

    def encode_column(self, column: Column, values: pa.ChunkedArray) -> NDArray[np.float64]:
        """Return a column as numbers with their offset, or as category codes; NaN where missing."""
        if column.kind == "category":
            return self._to_codes(column, values)
        if is_text(values.type):
            numbers = self._parse_texts(column, values)
        elif column.kind == "number":
            numbers = to_numbers(column.name, values)
        else:
            numbers = to_seconds(column.name, column.kind, values)
        if self._na_numbers:
            numbers = np.where(np.isin(numbers, self._na_numbers), np.nan, numbers)
        check_size(column.name, numbers)
        return numbers

    def parse_number(self, text: str) -> float | None:
        """Return the number that a text spells, or None if it spells none."""
        if self.decimal != ".":
            if "." in text:
                return None
            text = text.replace(self.decimal, ".")
        try:
            return None if "_" in text else float(text)
        except ValueError:
            return float(int(text, 16)) if HEXADECIMAL.fullmatch(text.strip()) else None

    def is_missing(self, text: str) -> bool:
        """Return whether a text means a missing value, as a text or as a number."""
        return text in self.na_values or self.parse_number(text) in self._na_numbers

    @cached_property
    def _na_numbers(self) -> list[float]:
        numbers = map(self.parse_number, self.na_values)
        finite = [number for number in numbers if number is not None and np.isfinite(number)]
        rounded = map(float, np.array(finite, dtype=np.float32))  # as a Parquet file may hold them
        return [*finite, *rounded]

    @cached_property
    def _codes(self) -> dict[str, dict[str, int]]:
        """Code of each category's text and, where unambiguous, of its canonical spelling."""
        codes = {}
        for column in self.columns:
            spellings = [canonical(text, self.decimal) for text in column.categories]
            counts = Counter(spellings)
            codes[column.name] = {
                text: code for code, text in enumerate(spellings) if counts[text] == 1
            } | {text: code for code, text in enumerate(column.categories)}
        return codes

    def _encode_array(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        if rows.ndim != 2 or rows.shape[1] != len(self.columns):
            raise ValueError(
                f"Expected rows of {len(self.columns)} features. Received: an array of shape "
                f"{rows.shape}."
            )
        with np.errstate(over="ignore", under="ignore"):
            X = np.ascontiguousarray(rows, dtype=np.float32)
        shifted = np.flatnonzero(self.offsets)
        if len(shifted):
            X = X.copy() if X is rows else X
            X[:, shifted] = rows[:, shifted].astype(np.float64) - self.offsets[shifted]
        if X.size and max(np.fmax.reduce(X, axis=None), -np.fmin.reduce(X, axis=None)) > LARGEST:
            for name, values in zip(self.names, rows.T, strict=True):
                check_size(name, values)
        return X

    def _to_codes(self, column: Column, values: pa.ChunkedArray) -> NDArray[np.float64]:
        codes, texts = encode_texts(values)
        codes_by_spelling, code_of_text = self._codes[column.name], []
        for text in texts:
            code = codes_by_spelling.get(text)  # even of "?": in ARFF, a quoted one is a category
            if code is None and not self.is_missing(text):
                code = codes_by_spelling.get(canonical(text, self.decimal))
            code_of_text.append(np.nan if code is None else code)
        return np.array([*code_of_text, np.nan])[codes]

    def _parse_texts(self, column: Column, values: pa.ChunkedArray) -> NDArray[np.float64]:
        """Parse a column of texts; a blank text is missing, as it is no number of any kind."""
        codes, texts = encode_texts(values)
        parser = self.make_parser(column)
        numbers = [
            np.nan if not text.strip() or self.is_missing(text) else parser(text.strip())
            for text in texts
        ]
        if None in numbers:
            code, expected = numbers.index(None), EXPECTED[column.kind]
            if column.format:
                expected = f"{expected.partition(' such')[0]} such as {column.format}"
            raise ValueError(
                f"Expected {expected} in column {column.name!r}. Received: "
                f"{texts[code][:60]!r} in row {int((codes == code).argmax())} (the first is 0)."
            )
        return np.array([*numbers, np.nan], dtype=np.float64)[codes]

    def make_parser(self, column: Column) -> Callable[[str], float | None]:
        """Return a function that parses a text of a column; it returns None for an invalid one."""
        if column.format:
            return partial(parse_formatted, column.format)
        return PARSERS.get(column.kind, self._parse_number_or_boolean)

    def _parse_number_or_boolean(self, text: str) -> float | None:
        return BOOLEANS.get(text.lower(), self.parse_number(text))


def from_seconds(kind: Kind, seconds: NDArray[np.float64]) -> Any:
    """Return dates, times or durations; numbers as they are."""
    if kind == "number":
        return seconds
    missing = np.isnan(seconds)
    integers = np.round(np.where(missing, 0, seconds) * 1e6).astype(np.int64)
    return pa.array(integers, mask=missing).cast(MICROSECONDS[kind]).to_pandas()


def _first(names: list[str]) -> str:
    """Return the first names of a list, and the number of the others."""
    shown = ", ".join(map(repr, names[:MAX_SHOWN]))
    return f"{shown} and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else shown
