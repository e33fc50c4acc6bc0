"""Read CSV, TSV and Parquet files of raw rows in batches."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from pipeline.dataset.arrow_files import ArrowFile
from pipeline.dataset.column_roles import ColumnRoles, check_unique_columns
from pipeline.errors import UserError
from pipeline.prediction.batch import BadRow, Batch, OnBad, rows_per_batch
from pipeline.preprocessing import TableSchema

CSV_BLOCK = 2**22  # bytes
HEADER = 2**16  # bytes that hold the first line
_ARROW_ERRORS = (pa.ArrowException, OSError, UnicodeError, LookupError, EOFError)


class ParquetFile:
    """A Parquet file."""

    def __init__(self, source: str, path: Path, n_columns: int) -> None:
        """Read the names of the columns."""
        self.source, self._n_columns, self._n_read = source, n_columns, 0
        try:
            # With a buffer, a column of a large row group is not read at once.
            self._file = pa.parquet.ParquetFile(path, buffer_size=2**20)
        except _ARROW_ERRORS as error:
            raise self._error(error) from error
        self.names: Sequence[str] = self._file.schema_arrow.names
        self.n_rows: int | None = self._file.metadata.num_rows
        check_unique_columns(source, list(self.names))

    def batches(self, columns: Sequence[str], on_bad: OnBad) -> Iterator[Batch]:
        """Yield an empty batch, then all rows with these columns."""
        fields = [self._file.schema_arrow.field(name) for name in columns]
        yield Batch(np.empty(0, np.int64), pa.schema(fields).empty_table())
        size = rows_per_batch(max(self._n_columns, len(columns)))
        groups = range(self._file.num_row_groups)  # one by one, as Arrow keeps what it has read
        batches = chain.from_iterable(
            self._file.iter_batches(size, [group], list(columns), use_threads=False)
            for group in groups
        )
        while True:
            try:
                batch = next(batches, None)
                if batch is not None:
                    batch.validate(full=True)  # Arrow crashes on invalid texts
            except _ARROW_ERRORS as error:
                raise self._error(error) from error
            if batch is None:
                return
            rows = np.arange(self._n_read, self._n_read + batch.num_rows)
            self._n_read += batch.num_rows
            yield Batch(rows, pa.Table.from_batches([batch]))

    def fraction_read(self) -> float | None:
        """Return how much of the file is read, from 0 to 1."""
        return self._n_read / self.n_rows if self.n_rows else None

    def _error(self, error: Exception) -> UserError:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return UserError(f"{self.source}: expected a complete Parquet file. Received: {reason}")


class ArrowRows:
    """A JSON-lines or Feather file, which is read at once."""

    def __init__(self, source: str, file: ArrowFile, n_columns: int) -> None:
        """Take the names of the columns."""
        self.source, self._file, self._n_columns = source, file, n_columns
        self.names: Sequence[str] = file.names
        self.n_rows: int | None = None
        check_unique_columns(source, file.names)

    def batches(self, columns: Sequence[str], on_bad: OnBad) -> Iterator[Batch]:
        """Yield an empty batch, then all rows with these columns."""
        table = self._file.read(ColumnRoles(tuple(columns), ()))
        self.n_rows = table.num_rows
        yield Batch(np.empty(0, np.int64), table.slice(0, 0))
        size = rows_per_batch(max(self._n_columns, len(columns)))
        for start in range(0, table.num_rows, size):
            batch = table.slice(start, size)
            yield Batch(np.arange(start, start + batch.num_rows), batch)

    def fraction_read(self) -> float | None:
        """Return None, as the file is read before the first batch."""


class CsvFile:
    """A text file of separated values, gzipped if its name ends in .gz.

    All values are read as texts, which `TableSchema.encode` parses. Columns of numbers are
    converted before if each text is a number as Arrow and Python agree on it, which is faster.
    """

    def __init__(
        self,
        source: str,
        raw: pa.NativeFile,
        file_format: str,
        schema: TableSchema,
        reading: Mapping[str, Any],
    ) -> None:
        """Read the names of the columns."""
        self.source, self._raw, self._schema = source, raw, schema
        self.n_rows: int | None = None
        self._size = raw.size() if raw.seekable() else None
        self._encoding = reading.get("encoding") or "utf-8"
        self._has_header = reading.get("header", True)
        self._has_quotes = reading.get("quoting", "minimal") == "minimal"
        self._separator = reading.get("separator") or ("\t" if file_format == "tsv" else ",")
        self._kind_names = {column.name: column.kind for column in schema.columns}
        is_gzip = source.lower().endswith(".gz")
        self._stream = pa.CompressedInputStream(raw, "gzip") if is_gzip else raw
        self.names: Sequence[str] = self._read_names()
        check_unique_columns(source, list(self.names))

    def batches(self, columns: Sequence[str], on_bad: OnBad) -> Iterator[Batch]:
        """Yield an empty batch, then all rows with these columns."""
        empty = pa.schema([(name, pa.string()) for name in columns]).empty_table()
        yield Batch(np.empty(0, np.int64), empty)
        bad: list[int] = []  # numbers of rows without a value for each column
        first = 2 if self._has_header else 1  # what Arrow calls the first row

        def skip(row: pa.csv.InvalidRow) -> str:
            bad.append(row.number - first)
            reason = f"Expected {row.expected_columns} columns. Received: {row.actual_columns}"
            on_bad(BadRow(bad[-1], None, f"{reason} in row 0 (the first is 0).", row.text))
            return "skip"

        next_row, reader = 0, None
        while True:
            try:
                if reader is None:
                    reader = self._open(columns, skip)
                batch = next(reader, None)
            except StopIteration:
                return
            except _ARROW_ERRORS as error:
                if str(error).startswith("Empty CSV"):
                    return
                raise self._error(error) from error
            if batch is None:
                return
            rows = _next_rows(next_row, batch.num_rows, bad)
            next_row = int(rows[-1]) + 1 if len(rows) else next_row
            table = pa.Table.from_batches([batch])
            yield Batch(rows, self._to_numbers(table))

    def fraction_read(self) -> float | None:
        """Return how much of the file is read, from 0 to 1; None for the standard input."""
        return self._raw.tell() / self._size if self._size else None

    def _open(self, columns: Sequence[str], skip: Callable[[Any], str]) -> Any:
        stream = pa.PythonFile(_Joined(self._start, self._stream), mode="r")
        names = None if self._has_header else list(self.names)
        return pa.csv.open_csv(
            stream,
            pa.csv.ReadOptions(
                use_threads=False,  # else Arrow does not number the rows
                block_size=CSV_BLOCK,
                encoding=self._encoding,
                column_names=names,
            ),
            pa.csv.ParseOptions(
                delimiter=self._separator,
                quote_char='"' if self._has_quotes else False,
                newlines_in_values=self._has_quotes,
                invalid_row_handler=skip,
            ),
            pa.csv.ConvertOptions(
                include_columns=list(columns),
                column_types=dict.fromkeys(columns, pa.string()),
                strings_can_be_null=False,
            ),
        )

    def _read_names(self) -> list[str]:
        try:
            self._start = self._stream.read(HEADER)
            text = self._start.decode(self._encoding, "ignore").lstrip("\ufeff")
        except _ARROW_ERRORS as error:
            raise self._error(error) from error
        lines = csv.reader(
            io.StringIO(text, newline=""),
            delimiter=self._separator,
            quoting=csv.QUOTE_MINIMAL if self._has_quotes else csv.QUOTE_NONE,
        )
        try:
            first = next((line for line in lines if line), [])
        except csv.Error as error:
            raise self._error(error) from error
        if not first:
            raise UserError(f"{self.source}: expected a line of column names. Received: no text.")
        return first if self._has_header else [f"f{j}" for j in range(len(first))]

    def _to_numbers(self, table: pa.Table) -> pa.Table:
        """Convert columns of numbers where Arrow can; the others stay texts."""
        for j, name in enumerate(table.column_names):
            if self._kind_names.get(name) == "number":
                numbers = _parse_numbers(table.column(j), self._schema)
                table = table if numbers is None else table.set_column(j, name, numbers)
        return table

    def _error(self, error: Exception) -> UserError:
        if isinstance(error, UserError):
            return error
        return UserError(
            f"{self.source}: expected text in {self._encoding} of values separated by "
            f"{self._separator!r}. Received: {error}"
        )


class _Joined(io.RawIOBase):
    """The first bytes of a stream, which were read before, and the others."""

    def __init__(self, start: bytes, rest: Any) -> None:
        self._start, self._rest = start, rest

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self._start:
            start, self._start = self._start[:size], self._start[size:]
            return start
        return bytes(self._rest.read(size))


def _next_rows(start: int, n: int, bad: Sequence[int]) -> NDArray[np.int64]:
    """Return the numbers of the next n rows from a start, without those of bad rows."""
    size = n
    while True:
        rows = np.setdiff1d(np.arange(start, start + size), bad)
        if len(rows) >= n:
            return rows[:n]
        size += n - len(rows)


def _parse_numbers(texts: pa.ChunkedArray, schema: TableSchema) -> pa.ChunkedArray | None:
    """Return texts as numbers; None if Arrow takes one for none, as it knows fewer spellings."""
    blank = pa.array(["", *schema.na_values], pa.string())
    texts = pc.if_else(pc.is_in(texts, value_set=blank), pa.scalar(None, pa.string()), texts)
    if schema.decimal != ".":
        if pc.any(pc.match_substring(texts, ".")).as_py():
            return None
        texts = pc.replace_substring(texts, schema.decimal, ".")
    try:
        return pc.cast(texts, pa.float64())
    except pa.ArrowInvalid:
        return None
