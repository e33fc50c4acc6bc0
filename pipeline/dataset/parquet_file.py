"""A Parquet file, read batch after batch."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from pipeline.dataset.assemble import Batches
from pipeline.dataset.columns import Columns
from pipeline.dataset.record import Dataset
from pipeline.errors import UserError


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
            raise self._refusal(error) from error
        self.names: list[str] = self._file.schema_arrow.names

    def batches(self, columns: Columns) -> Batches:
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

    def _read(self, columns: Columns) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._file.iter_batches(columns=list(columns.used))
        except (pa.ArrowException, OSError) as error:
            raise self._refusal(error) from error

    def _refusal(self, error: Exception) -> UserError:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return UserError(f"{self._path}: expected a whole Parquet file. Received: {reason}")
