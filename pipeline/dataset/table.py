"""Read CSV, TSV and Parquet files."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from pipeline.config import TableConfig
from pipeline.dataset.builder import Batches, assemble
from pipeline.dataset.column_roles import (
    ColumnRoles,
    column_roles,
)
from pipeline.dataset.csv_file import CsvFile
from pipeline.dataset.dataset import Dataset
from pipeline.dataset.files import readable
from pipeline.errors import UserError

_ENDINGS = {".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".parquet": "parquet", ".pq": "parquet"}
_SEPARATORS = {"csv": ",", "tsv": "\t"}


def read_table(config: TableConfig) -> Dataset:
    """Return the table of a CSV, TSV or Parquet file.

    Raises:
        UserError: If the file cannot be read, a column that is asked for does not exist, or a value
            cannot be what its column should hold; named by column and row.
    """
    path = readable(config.path)
    kind = config.format or _kind(path)
    name = config.name or path.name.removesuffix(".gz").rpartition(".")[0] or path.name
    if kind == "parquet":
        parquet = ParquetFile(path)
        columns = column_roles(config, parquet.names)
        return parquet.refusing(
            lambda: assemble(name, str(path), columns, lambda: parquet.batches(columns))
        )
    csv = CsvFile(
        path,
        separator=config.separator or _SEPARATORS[kind],
        decimal=config.decimal,
        encoding=config.encoding,
        header=config.header,
        missing=config.missing,
    )
    columns = column_roles(config, csv.names)
    return csv.refusing(
        lambda: assemble(name, str(path), columns, lambda: csv.batches(columns)),
        lambda: assemble(name, str(path), columns, lambda: csv.whole(columns)),
    )


def _kind(path: Path) -> str:
    ending = Path(path.name.lower().removesuffix(".gz")).suffix
    if ending not in _ENDINGS:
        raise UserError(
            f"{path}: expected a file that ends in {', '.join(_ENDINGS)} (or .gz behind it). "
            f"Received: {ending or 'no ending'!r}. Say what it is: dataset.format=csv"
        )
    return _ENDINGS[ending]


class ParquetFile:
    """A Parquet file that was found to be one."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            UserError: If it is damaged or no Parquet file.
        """
        self._path = path
        try:
            self._file = pa.parquet.ParquetFile(path)
        except (pa.ArrowException, OSError) as error:
            raise self._format_error(error) from error
        self.names: list[str] = self._file.schema_arrow.names

    def batches(self, columns: ColumnRoles) -> Batches:
        """Return the types of the columns and their rows."""
        fields = [self._file.schema_arrow.field(name) for name in columns.used]
        return pa.schema(fields), self._read(columns)

    def refusing(self, read: Callable[[], Dataset]) -> Dataset:
        """Return what reading returns; word what Arrow raises where it cannot convert a type."""
        try:
            return read()
        except pa.ArrowException as error:
            raise UserError(
                f"{self._path}: expected columns of numbers, texts and dates. Received: {error}"
            ) from error

    def _read(self, columns: ColumnRoles) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._file.iter_batches(columns=list(columns.used))
        except (pa.ArrowException, OSError) as error:
            raise self._format_error(error) from error

    def _format_error(self, error: Exception) -> UserError:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return UserError(f"{self._path}: expected a whole Parquet file. Received: {reason}")
