"""Read CSV and TSV files with Arrow."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

from pipeline.config import TableConfig
from pipeline.dataset.column_roles import ColumnRoles
from pipeline.dataset.files import MAP, available_memory, read_bytes, size_error
from pipeline.dataset.mapped_files import map_table
from pipeline.errors import UserError

_BLOCK_SIZE = 2**20  # bytes; larger blocks need more memory and are no faster
_ARROW_ERRORS = (pa.ArrowException, OSError, UnicodeError, LookupError)
_MAX_GZIP_RATIO = 1032  # of a file to its gzipped form
_BYTES_PER_CHARACTER = 4  # at most: a number of one digit and its separator take 8 bytes
_MAGIC = {
    b"\x1f\x8b": "a gzip file. End its name in .gz",
    b"PAR1": "a Parquet file. Give dataset.format=parquet",
    b"ARROW1": "a Feather file. Give dataset.format=feather",
    b"\xd0\xcf\x11\xe0": "an old workbook of Excel (.xls). Save it as .xlsx",
    b"%PDF": "a PDF file",
}
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class CsvFile:
    """A text file of separated values.

    Attributes:
        names: Names of the columns.
        separator: Text between two values.
    """

    def __init__(self, path: Path, config: TableConfig, separator: str) -> None:
        """Read the names of the columns; a file that ends in .gz is gzipped.

        Raises:
            UserError: If the file is no such text.
        """
        self._path, self._config, self.separator = path, config, separator
        self.names: list[str] = []
        self._check_text()
        try:
            self.names = self._read_schema(None).names
        except _ARROW_ERRORS as error:
            raise self._format_error(error) from error
        self._check_separator()

    def exceeds(self, roles: ColumnRoles, n_bytes: int) -> bool:
        """Return whether the table and the matrix would take more memory.

        The table has the texts, or 8 bytes for each cell. The lines are counted only if the size of
        the file leaves a doubt.
        """
        limit = n_bytes * 2 // 3  # the matrix takes half as much
        is_gzip = self._path.name.lower().endswith(".gz")
        size = self._path.stat().st_size * (_MAX_GZIP_RATIO if is_gzip else 1)
        if _BYTES_PER_CHARACTER * size <= limit:
            return False
        return any(size > limit for size in self._sizes(len(roles.used)))

    def read(self, roles: ColumnRoles, path: Path | None = None) -> pa.Table:
        """Read the columns that have a role, memory-mapped from a new file if its path is given.

        Raises:
            UserError: If a line cannot be read, or the table would not fit into memory.
        """
        try:
            table = None if path is None else self._map(roles, path)
            table = self._read(roles) if table is None else table
            if roles.label_values.reads_blanks:
                table = self._read_blank_labels(roles, table)
            if any(map(pa.types.is_binary, table.schema.types)):
                raise pa.ArrowInvalid("invalid UTF8 data")
        except _ARROW_ERRORS as error:
            raise self._format_error(error) from error
        return table

    def _map(self, roles: ColumnRoles, path: Path) -> pa.Table | None:
        """Return the memory-mapped table, with the types that `_read` gives it."""
        try:
            return map_table(path, self._batches(roles, self._read_schema(roles)))
        except _ARROW_ERRORS:
            return map_table(path, self._batches(roles, self._infer_schema(roles)))

    def _batches(self, roles: ColumnRoles, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        with pa.csv.open_csv(self._path, *self._options(roles, schema)) as reader:
            yield from reader

    def _infer_schema(self, roles: ColumnRoles) -> pa.Schema:
        """Infer the types of the columns from all rows, as many columns at a time as fit."""
        names, limit = list(roles.used), available_memory() // 4
        n_at_once = max(1, len(names) * limit // max(self._sizes(len(names)), default=1))
        fields = []
        for start in range(0, len(names), n_at_once):
            read, parse, convert = self._options(roles)
            convert.include_columns = names[start : start + n_at_once]
            fields += pa.csv.read_csv(self._path, read, parse, convert).schema
        return pa.schema(fields)

    def _read(self, roles: ColumnRoles) -> pa.Table:
        available = available_memory()
        if self.exceeds(roles, available):
            received = f"more than {available * 2 / 3 / 2**30:,.1f} GiB of values"
            raise size_error(str(self._path), received, MAP)
        # With the types of the first block, Arrow needs half the time and memory that it needs to
        # infer them from all rows, which only helps where a later row contradicts the first ones.
        try:
            schema = self._read_schema(roles)
            return pa.csv.read_csv(self._path, *self._options(roles, schema))
        except _ARROW_ERRORS:
            return pa.csv.read_csv(self._path, *self._options(roles))

    def _read_blank_labels(self, roles: ColumnRoles, table: pa.Table) -> pa.Table:
        """Return the table with labels in which only a blank cell is missing, and not NA or ?."""
        read, parse, convert = self._options(roles)
        convert.include_columns = list(roles.labels)
        convert.column_types = dict.fromkeys(roles.labels, pa.string())
        convert.null_values = [""]
        labels = pa.csv.read_csv(self._path, read, parse, convert)
        for name in roles.labels:
            table = table.set_column(table.column_names.index(name), name, labels.column(name))
        return table

    def _read_schema(self, roles: ColumnRoles | None) -> pa.Schema:
        """Return the names and types of the columns in the first block of the file."""
        with pa.csv.open_csv(self._path, *self._options(roles)) as reader:
            return reader.schema

    def _options(
        self,
        roles: ColumnRoles | None,
        schema: pa.Schema | None = None,
        *,
        use_threads: bool = True,
    ) -> Iterator[Any]:
        texts = (
            {
                *roles.categorical,
                *roles.text,
                *roles.formats,
                roles.label_list_column,
                roles.group_column,
                roles.id_column,
            }
            if roles
            else set()
        )
        yield pa.csv.ReadOptions(
            use_threads=use_threads,
            block_size=_BLOCK_SIZE,
            encoding=self._config.encoding,
            autogenerate_column_names=not self._config.header,
        )
        has_quotes = self._config.quoting == "minimal"
        yield pa.csv.ParseOptions(
            delimiter=self.separator,
            quote_char='"' if has_quotes else False,
            newlines_in_values=has_quotes,
        )
        yield pa.csv.ConvertOptions(
            include_columns=list(roles.used) if roles else None,
            column_types=schema or dict.fromkeys(texts - {None}, pa.string()),
            null_values=list(self._config.na_values),
            strings_can_be_null=True,
            decimal_point=roles.decimal if roles else self._config.decimal or ".",
        )

    def _sizes(self, n_columns: int) -> Iterator[int]:
        """Yield the bytes of the table's texts, or of its cells, as far as they have been read."""
        n_bytes = n_lines = 0
        with pa.input_stream(str(self._path)) as file:
            while content := file.read(2**24):
                n_bytes, n_lines = n_bytes + len(content), n_lines + content.count(b"\n")
                yield max(n_bytes, 8 * n_lines * n_columns)

    def _check_text(self) -> None:
        with self._path.open("rb") as file:
            start = file.read(2**16)
        if self._path.name.lower().endswith(".gz"):
            if not start.startswith(b"\x1f\x8b"):
                raise UserError(
                    f"{self._path}: expected a gzip file, as its name ends in .gz. Received: a "
                    "file of another format."
                )
            return
        is_wide = re.match("utf.?(16|32)", self._config.encoding.lower())
        if start.startswith(_UTF16_MARKS) and not is_wide:
            raise UserError(
                f"{self._path}: expected text in {self._config.encoding}. Received: UTF-16, by its "
                "first bytes. Give dataset.encoding=utf-16"
            )
        binary = next((it for mark, it in _MAGIC.items() if start.startswith(mark)), None)
        if binary is None and b"\0" in start and not is_wide:
            binary = f"a zero byte at {start.index(0)}: a binary file"
            if len(start) < 2 * start.count(b"\0") + 4:
                order = "be" if start.startswith(b"\0") else "le"
                binary = f"zeros in turn, as UTF-16 has. Give dataset.encoding=utf-16-{order}"
        if binary:
            raise UserError(f"{self._path}: expected text. Received: {binary}.")

    def _check_separator(self) -> None:
        if len(self.names) > 1:
            return
        name = self.names[0]
        others = [mark for mark in ",;\t|" if mark in name] or [" "] * (" " in name.strip())
        way = f"Give \"dataset.separator='{others[0]}'\"" if others else "Write it with separators"
        if re.search(r"\S(  +| *\t *)\S", name) and others == [" "]:
            way = f"Write it anew: pandas.read_csv({self._path.name!r}, sep=r'\\s+')"
            way += ".to_csv('t.csv', index=False)"
        elif name.lstrip().startswith("<"):
            way = "It is a page of the web: download the file behind it"
        raise UserError(
            f"{self._path}: expected values separated by {self.separator!r}. Received: one "
            f"column, {name[:60]!r}. {way}"
        )

    def _format_error(self, error: Exception) -> UserError:
        """Return Arrow's error as one that names the line and the column."""
        reason = str(error)
        if isinstance(error, LookupError):
            return UserError(
                f"{self._path}: expected a dataset.encoding that Python has. Received: "
                f"{self._config.encoding!r}."
            )
        if isinstance(error, UnicodeError) or "UTF8" in reason:
            return self._format_encoding_error(reason)
        ragged = re.search(r"Expected (\d+) columns, got (\d+)", reason)
        if ragged:
            line = self._find_ragged_line()
            hint = self._explain_first_line(int(ragged[1]), int(ragged[2]), line)
            return UserError(
                f"{self._path}: expected {ragged[1]} columns, as in the first line. Received: "
                f"{ragged[2]} in {line}.{hint}"
            )
        if isinstance(error, OSError) and not isinstance(error, pa.ArrowException):
            return UserError(f"{self._path}: expected a file that can be read. Received: {reason}.")
        return UserError(
            f"{self._path}: expected values separated by {self.separator!r}. Received: {reason}"
        )

    def _explain_first_line(self, expected: int, received: int, line: str) -> str:
        """Return a hint if the second line already differs from the first."""
        if not line.startswith("line 2,") or not self._config.header or received < expected:
            return ""
        if received == expected + 1 and not self._first_line().startswith("sep="):
            return (
                " If the rows have a first column without a name, as R writes, or a separator at "
                "their end, add a name to the first line."
            )
        return f" If the first line, {self._first_line()[:40]!r}, has no names, delete it."

    def _find_ragged_line(self) -> str:
        """Return the first line with too many or too few values; only one thread counts lines."""
        read, parse, convert = self._options(None, use_threads=False)
        convert.include_columns = self.names[:1]
        convert.column_types = dict.fromkeys(self.names[:1], pa.binary())  # which never fails
        try:
            with pa.csv.open_csv(self._path, read, parse, convert) as reader:
                for _ in reader:
                    pass
        except pa.ArrowInvalid as error:
            match = re.search(r"Row #(\d+): Expected \d+ columns, got \d+: ?(.*)", str(error), re.S)
            if match:
                text = match[2].strip().partition("\n")[0]
                return f"line {match[1]}, column {self._last_column(text)}: {text[:60]!r}"
        return "a line that could not be found again"

    def _last_column(self, text: str) -> str:
        """Return the name of the column in which a line's text ends."""
        names = self.names or self._first_line().split(self.separator)
        column_index = min(text.count(self.separator), len(names) - 1)
        return repr(names[column_index].strip('"'))

    def _first_line(self) -> str:
        line = read_bytes(self._path).partition(b"\n")[0].rstrip(b"\r")
        return line.decode(self._config.encoding, "replace") if self._config.header else ""

    def _format_encoding_error(self, reason: str) -> UserError:
        content = read_bytes(self._path)
        try:
            content.decode(self._config.encoding)
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            start = content.rfind(b"\n", 0, error.start) + 1
            before = content[start : error.start].decode(self._config.encoding, "replace")
            column = self._last_column(before)
            reason = f"byte 0x{content[error.start]:02x} in line {line}, column {column}"
        except LookupError:
            pass
        encoding = "cp1252" if re.search(rb"[\x80-\x9f]", content) else "latin-1"
        return UserError(
            f"{self._path}: expected text in {self._config.encoding}. Received: {reason}. Give its "
            f"encoding, such as dataset.encoding={encoding}, or save the file as UTF-8."
        )
