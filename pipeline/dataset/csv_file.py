"""A CSV or TSV file, read block after block by Arrow.

Block-wise, a file of gigabytes needs little more memory than its features, and Arrow parses the
next blocks meanwhile. The types of columns are those of the first block; where a later one
contradicts them, the file is read once more, whole, which takes some three times its size.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from pipeline.dataset.builder import Batches
from pipeline.dataset.column_roles import ColumnRoles
from pipeline.dataset.dataset import Dataset
from pipeline.dataset.files import read_bytes
from pipeline.errors import UserError

_BLOCK = 2**21  # bytes; the fastest of 1, 2, 4 and 8 MB
_ARROW_ERRORS = (pa.ArrowException, OSError, UnicodeError, LookupError)
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class CsvFile:
    """A text file of separated values, its first block found to be readable."""

    def __init__(
        self,
        path: Path,
        *,
        separator: str,
        decimal: str,
        encoding: str,
        header: bool,
        missing: tuple[str, ...],
    ) -> None:
        """Read the names of the columns.

        Args:
            path: Where it is; gzipped if it ends in .gz.
            separator: What stands between values.
            decimal: What stands before the decimals of a number.
            encoding: Of the text.
            header: Whether the first line names the columns.
            missing: Texts that stand for a missing value.

        Raises:
            UserError: If it is not such a file.
        """
        self._path, self._separator, self._encoding = path, separator, encoding
        self._decimal, self._header, self._missing = decimal, header, missing
        self.names: list[str] = []
        self._check_text()
        try:
            with self._open(None) as reader:
                self.names = reader.schema.names
        except _ARROW_ERRORS as error:
            raise self._format_error(error) from error
        self._check_separator()

    def batches(self, columns: ColumnRoles) -> Batches:
        """Return the types that the first block has, and the rows; Arrow may raise on the way."""
        reader = self._open(columns)
        if any(map(pa.types.is_binary, reader.schema.types)):
            raise pa.ArrowInvalid("invalid UTF8 data")
        return reader.schema, iter(reader)

    def whole(self, columns: ColumnRoles) -> Batches:
        """Return the types that all rows have, and the rows."""
        table = pa.csv.read_csv(self._path, *self._options(columns, threads=True))
        if any(map(pa.types.is_binary, table.schema.types)):
            raise pa.ArrowInvalid("invalid UTF8 data")
        return table.schema, iter(table.to_batches())

    def refusing(self, first: Callable[[], Dataset], second: Callable[[], Dataset]) -> Dataset:
        """Return what one of two ways of reading returns; word what Arrow raises in the second."""
        try:
            return first()
        except _ARROW_ERRORS:
            try:
                return second()
            except _ARROW_ERRORS as error:
                raise self._format_error(error) from error

    def _open(self, columns: ColumnRoles | None) -> pa.csv.CSVStreamingReader:
        return pa.csv.open_csv(self._path, *self._options(columns, threads=True))

    def _options(self, columns: ColumnRoles | None, *, threads: bool) -> Iterator[object]:
        single = (columns.label_list, columns.group, columns.id) if columns else ()
        texts = {*(columns.categorical if columns else ()), *single} - {None}
        yield pa.csv.ReadOptions(
            use_threads=threads,
            block_size=_BLOCK,
            encoding=self._encoding,
            autogenerate_column_names=not self._header,
        )
        yield pa.csv.ParseOptions(delimiter=self._separator, newlines_in_values=True)
        yield pa.csv.ConvertOptions(
            include_columns=list(columns.used) if columns else None,
            column_types=dict.fromkeys(texts, pa.string()),
            null_values=list(self._missing),
            strings_can_be_null=True,
            decimal_point=self._decimal,
        )

    def _check_text(self) -> None:
        with self._path.open("rb") as file:
            start = file.read(2**16)
        if self._path.name.lower().endswith(".gz"):
            if not start.startswith(b"\x1f\x8b"):
                raise UserError(f"{self._path}: expected gzip behind .gz. Received: another kind.")
            return
        wide = re.match("utf.?(16|32)", self._encoding.lower())
        if start.startswith(_UTF16) and not wide:
            raise UserError(
                f"{self._path}: expected text in {self._encoding}. Received: UTF-16, by its first "
                "bytes. Give dataset.encoding=utf-16"
            )
        if b"\0" in start and not wide:
            raise UserError(
                f"{self._path}: expected text. Received: a zero byte at {start.index(0)}: a binary "
                "file."
            )

    def _check_separator(self) -> None:
        others = [mark for mark in ",;\t|" if mark in self.names[0]]
        if len(self.names) == 1 and others:
            raise UserError(
                f"{self._path}: expected values separated by {self._separator!r}. Received: one "
                f"column, {self.names[0][:60]!r}. Give \"dataset.separator='{others[0]}'\""
            )

    def _format_error(self, error: Exception) -> UserError:
        """Return Arrow's complaint with the line and the column that it is about."""
        reason = str(error)
        if isinstance(error, LookupError):
            return UserError(
                f"{self._path}: expected dataset.encoding that Python knows. Received: "
                f"{self._encoding!r}."
            )
        if isinstance(error, UnicodeError) or "UTF8" in reason:
            return self._undecodable(reason)
        ragged = re.search(r"Expected (\d+) columns, got (\d+)", reason)
        if ragged:
            return UserError(
                f"{self._path}: expected {ragged[1]} columns, as in the first line. Received: "
                f"{ragged[2]} in {self._ragged_line()}."
            )
        if isinstance(error, OSError) and not isinstance(error, pa.ArrowException):
            return UserError(f"{self._path}: expected a file that can be read. Received: {reason}.")
        return UserError(
            f"{self._path}: expected values separated by {self._separator!r}. Received: {reason}"
        )

    def _ragged_line(self) -> str:
        """Return the line of a row with too many or too few values, read in order to find it."""
        options = list(self._options(None, threads=False))
        try:
            pa.csv.read_csv(self._path, *options)
        except pa.ArrowInvalid as error:
            found = re.search(r"Row #(\d+): Expected \d+ columns, got \d+: ?(.*)", str(error), re.S)
            if found:
                text = found[2].strip().partition("\n")[0]
                return f"line {found[1]}, column {self._last_column(text)}: {text[:60]!r}"
        return "a line that could not be found again"

    def _last_column(self, text: str) -> str:
        """Return the name of the column that a line's text ends in, or its number."""
        names = self.names or self._first_line().split(self._separator)
        place = min(text.count(self._separator), len(names) - 1)
        return repr(names[place].strip('"'))

    def _first_line(self) -> str:
        first = read_bytes(self._path).partition(b"\n")[0].rstrip(b"\r")
        return first.decode(self._encoding, "replace") if self._header else ""

    def _undecodable(self, reason: str) -> UserError:
        content = read_bytes(self._path)
        try:
            content.decode(self._encoding)
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            start = content.rfind(b"\n", 0, error.start) + 1
            before = content[start : error.start].decode(self._encoding, "replace")
            column = self._last_column(before)
            reason = f"byte 0x{content[error.start]:02x} in line {line}, column {column}"
        except LookupError:
            pass
        return UserError(
            f"{self._path}: expected text in {self._encoding}. Received: {reason}. Give "
            "dataset.encoding, such as latin-1, or save the file as UTF-8."
        )
