"""Read CSV, TSV and Parquet files."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from pipeline.config import TableConfig
from pipeline.dataset.builder import build_dataset
from pipeline.dataset.column_roles import ColumnRoles, assign_roles
from pipeline.dataset.csv_file import CsvFile
from pipeline.dataset.dataset import Dataset
from pipeline.dataset.files import find_file
from pipeline.errors import UserError

_FORMATS = {".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".parquet": "parquet", ".pq": "parquet"}
_SEPARATORS = {"csv": ",", "tsv": "\t"}


def load(config: TableConfig) -> Dataset:
    """Read a CSV, TSV or Parquet file.

    Raises:
        UserError: If the file cannot be read, a configured column does not exist, or a value does
            not suit its column; the message names the column and the row.
    """
    path = find_file(config.path)
    name = config.name or path.name.removesuffix(".gz").rpartition(".")[0] or path.name
    file_format = config.format or _guess_format(path)
    file: CsvFile | ParquetFile
    if file_format == "parquet":
        file = ParquetFile(path)
    else:
        file = CsvFile(path, config, config.separator or _SEPARATORS[file_format])
    roles = assign_roles(config, file.names)
    return build_dataset(name, str(path), roles, file.read(roles))


def _guess_format(path: Path) -> str:
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    if suffix not in _FORMATS:
        raise UserError(
            f"{path}: expected a file that ends in {', '.join(_FORMATS)} (or .gz behind it). "
            f"Received: {suffix or 'no ending'!r}. Name its format, such as dataset.format=csv"
        )
    return _FORMATS[suffix]


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
        except (pa.ArrowException, OSError) as error:
            raise self._format_error(error) from error
        self.names: list[str] = self._file.schema_arrow.names

    def read(self, roles: ColumnRoles) -> pa.Table:
        """Read the columns that have a role.

        Raises:
            UserError: If the file is damaged.
        """
        try:
            return self._file.read(columns=list(roles.used))
        except (pa.ArrowException, OSError) as error:
            raise self._format_error(error) from error

    def _format_error(self, error: Exception) -> UserError:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return UserError(f"{self._path}: expected a complete Parquet file. Received: {reason}")
