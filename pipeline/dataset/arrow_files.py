"""Read Parquet, Feather and JSON-lines files with Arrow."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
import pyarrow.dataset
import pyarrow.json
import pyarrow.parquet

from pipeline.dataset.column_roles import ColumnRoles
from pipeline.dataset.files import MAP, available_memory, check_fits_memory, size_error
from pipeline.dataset.mapped_files import map_table
from pipeline.errors import UserError

_ARROW_ERRORS = (pa.ArrowException, OSError, UnicodeError)
_BYTES_PER_CELL = 12  # of Arrow's table and the matrix
_ROWS_OF_TEXTS = 8192  # that are read at a time
_CELLS_AT_ONCE = 2**22  # of a file whose table is memory-mapped


class ParquetFile:
    """A Parquet file.

    Attributes:
        names: Names of the columns.
    """

    def __init__(self, path: Path) -> None:
        """Read the names of the columns.

        Raises:
            UserError: If the file is damaged or no Parquet file.
        """
        self._path = path
        try:
            self._file = pa.parquet.ParquetFile(path)
        except _ARROW_ERRORS as error:
            raise _format_error(path, "complete Parquet file", error) from error
        self.names: list[str] = self._file.schema_arrow.names

    def exceeds(self, roles: ColumnRoles, n_bytes: int) -> bool:
        """Return whether Arrow's table and the matrix would take more memory."""
        n_rows: int = self._file.metadata.num_rows
        return n_rows * len(roles.used) * _BYTES_PER_CELL > n_bytes

    def read(self, roles: ColumnRoles, path: Path | None = None) -> pa.Table:
        """Read the columns that have a role.

        Args:
            roles: Roles of the columns.
            path: File for the table, which is then memory-mapped; None for the memory.

        Raises:
            UserError: If the file is damaged, or the table would not fit into memory.
        """
        try:
            if path is not None:
                table = map_table(path, self._batches(roles))
                if table is not None:
                    return table.select(list(roles.used))
            shape = (self._file.metadata.num_rows, len(roles.used))
            check_fits_memory(str(self._path), shape, _BYTES_PER_CELL, MAP)
            used = [self._file.schema_arrow.field(name) for name in dict.fromkeys(roles.used)]
            texts = [field.name for field in used if not _has_fixed_width(field.type)]
            fixed = self._file.read([field.name for field in used if field.name not in texts])
            varying = self._read_texts(texts) if texts else fixed
            columns = {
                field.name: (varying if field.name in texts else fixed).column(field.name)
                for field in used
            }
            return _validated(pa.table(columns))
        except _ARROW_ERRORS as error:
            raise _format_error(self._path, "complete Parquet file", error) from error

    def _batches(self, roles: ColumnRoles) -> Iterator[pa.RecordBatch]:
        # Arrow would read the columns of a whole row group at once, but for mapped ones.
        with pa.parquet.ParquetFile(self._path, memory_map=True, pre_buffer=False) as file:
            n_rows = max(1, _CELLS_AT_ONCE // len(roles.used))
            for batch in file.iter_batches(n_rows, columns=list(dict.fromkeys(roles.used))):
                batch.validate(full=True)
                yield batch

    def _read_texts(self, names: list[str]) -> pa.Table:
        """Read columns of texts in batches; a text of many rows may be stored once."""
        limit, n_bytes, batches = available_memory() // 2, 0, []
        for batch in self._file.iter_batches(_ROWS_OF_TEXTS, columns=names):
            batches.append(batch)
            n_bytes += batch.nbytes
            if n_bytes > limit:
                received = f"more than {limit / 2**30:,.1f} GiB of text"
                raise size_error(str(self._path), received, MAP)
        schema = pa.schema([self._file.schema_arrow.field(name) for name in names])
        return pa.Table.from_batches(batches, None if batches else schema)


class FeatherFile:
    """A Feather file, which is Arrow's file format.

    Attributes:
        names: Names of the columns.
    """

    def __init__(self, path: Path) -> None:
        """Read the names of the columns.

        Raises:
            UserError: If the file is damaged or no Feather file.
        """
        self._path = path
        try:
            self._file = pa.dataset.dataset(path, format="feather")
            self.names: list[str] = self._file.schema.names
        except _ARROW_ERRORS as error:
            raise _format_error(path, "complete Feather file", error) from error

    def exceeds(self, roles: ColumnRoles, n_bytes: int) -> bool:
        """Return whether Arrow's table and the matrix would take more memory."""
        try:
            return bool(self._file.count_rows() * len(roles.used) * _BYTES_PER_CELL > n_bytes)
        except _ARROW_ERRORS as error:
            raise _format_error(self._path, "complete Feather file", error) from error

    def read(self, roles: ColumnRoles, path: Path | None = None) -> pa.Table:
        """Read the columns that have a role, as `ParquetFile.read` does."""
        try:
            if path is not None:
                table = map_table(path, self._batches(roles))
                if table is not None:
                    return table
            shape = (self._file.count_rows(), len(roles.used))
            check_fits_memory(str(self._path), shape, _BYTES_PER_CELL, MAP)
            return _validated(self._file.to_table(columns=list(roles.used)))
        except _ARROW_ERRORS as error:
            raise _format_error(self._path, "complete Feather file", error) from error

    def _batches(self, roles: ColumnRoles) -> Iterator[pa.RecordBatch]:
        options = {"batch_readahead": 1, "fragment_readahead": 1, "cache_metadata": False}
        for batch in self._file.to_batches(columns=list(roles.used), **options):
            batch.validate(full=True)
            yield batch


class JsonLinesFile:
    """A file of one JSON object per line; a key that a line omits is missing there.

    Attributes:
        names: Names of the columns.
    """

    def __init__(self, path: Path) -> None:
        """Read the file; one that ends in .gz is gzipped.

        Raises:
            UserError: If a line is no object, a key has values of several types, or the table would
                not fit into memory.
        """
        self._path = path
        try:
            self._check_memory()
            self._table = _validated(pa.json.read_json(path))
            self.names: list[str] = self._table.column_names
        except _ARROW_ERRORS as error:
            raise _format_error(path, "JSON object in each line", error) from error
        types = self._table.schema.types
        if self._table.num_rows == 1 and all(map(pa.types.is_nested, types)):
            raise self._layout_error("one object that holds the columns")

    def _layout_error(self, received: str) -> UserError:
        return UserError(
            f"{self._path}: expected a JSON object in each line. Received: {received}. Write it "
            f"anew: pandas.read_json({self._path.name!r}).to_json('t.jsonl', orient='records', "
            "lines=True)"
        )

    def exceeds(self, roles: ColumnRoles, n_bytes: int) -> bool:
        """Return False: the table has been read, and is not memory-mapped."""
        return False

    def read(self, roles: ColumnRoles, path: Path | None = None) -> pa.Table:
        """Return the columns that have a role.

        Raises:
            UserError: If the table is to be memory-mapped.
        """
        if path is not None:
            raise UserError(
                "dataset.memory_map: expected a CSV, TSV, Parquet, Feather or Excel file, which "
                f"can be memory-mapped. Received: {self._path}. Write it anew: pandas.read_json("
                f"{self._path.name!r}, lines=True).to_parquet('t.parquet')"
            )
        return self._table.select(list(roles.used))

    def _check_memory(self) -> None:
        """Raise UserError if the texts, or the columns of the first lines, would not fit."""
        limit, n_bytes, n_lines = available_memory() // 2, 0, 0
        with pa.input_stream(str(self._path)) as file:
            start = file.read(2**20)
            content = start
            while content:
                n_bytes, n_lines = n_bytes + len(content), n_lines + content.count(b"\n")
                if n_bytes > limit:
                    received = f"more than {limit / 2**30:,.1f} GiB of text"
                    raise size_error(str(self._path), received)
                content = file.read(2**24)
        if start.lstrip().startswith(b"["):
            raise self._layout_error("a JSON list")
        lines = start.split(b"\n")[:-1] or [start]
        names = pa.json.read_json(pa.BufferReader(b"\n".join(lines) + b"\n")).column_names
        check_fits_memory(str(self._path), (n_lines, len(names)), _BYTES_PER_CELL)


def _has_fixed_width(kind: pa.DataType) -> bool:
    return bool(pa.types.is_primitive(kind) or pa.types.is_dictionary(kind))


def _validated(table: pa.Table) -> pa.Table:
    """Return a table whose texts are valid; Arrow itself crashes on those of a damaged file."""
    table.validate(full=True)
    return table


def _format_error(path: Path, expected: str, error: Exception) -> UserError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UserError(f"{path}: expected a {expected}. Received: {reason}")


ArrowFile: TypeAlias = ParquetFile | FeatherFile | JsonLinesFile
READERS: dict[str | None, type[ArrowFile]] = {
    "parquet": ParquetFile,
    "feather": FeatherFile,
    "jsonl": JsonLinesFile,
}
