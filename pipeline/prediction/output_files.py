"""Write predictions in batches: CSV, Parquet and JSON lines."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from pipeline.errors import UserError

OUTPUT_FORMATS = {
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
LIST_SEPARATOR = "|"  # of the labels of a row in CSV


class Writer(Protocol):
    """Writes tables of the same columns behind each other."""

    def write(self, table: pa.Table) -> None:
        """Write a table; the first one may be empty."""


def check_output(path: Path | None) -> None:
    """Raise UserError if the ending of a file is unknown."""
    if path and path.suffix.lower() not in OUTPUT_FORMATS:
        raise UserError(
            f"-o: expected a file that ends in {', '.join(OUTPUT_FORMATS)}. Received: {path}."
        )


@contextmanager
def open_output(path: Path | None) -> Iterator[Writer]:
    """Open a file for predictions, or CSV on the standard output.

    The file is written under a temporary name, and renamed once it is complete.

    Raises:
        UserError: If it cannot be written.
    """
    if path is None:
        yield _CsvWriter(pa.PythonFile(sys.stdout.buffer, mode="w"))
        sys.stdout.flush()
        return
    temporary = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = pa.OSFile(str(temporary), mode="wb")
    except OSError as error:
        raise UserError(
            f"-o: expected a file that can be written. Received: {path} ({error})"
        ) from error
    try:
        with stream:
            writer = _WRITERS[OUTPUT_FORMATS[path.suffix.lower()]](stream)
            yield writer
            writer.close()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class _CsvWriter:
    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._writer: Any = None

    def write(self, table: pa.Table) -> None:
        for j, field in enumerate(table.schema):
            if pa.types.is_list(field.type):
                texts = pc.binary_join(table.column(j), LIST_SEPARATOR)
                table = table.set_column(j, field.name, texts)
        if self._writer is None:
            self._writer = pa.csv.CSVWriter(self._stream, table.schema)
        self._writer.write_table(table)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class _ParquetWriter:
    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._writer: Any = None

    def write(self, table: pa.Table) -> None:
        if self._writer is None:
            self._writer = pa.parquet.ParquetWriter(self._stream, table.schema)
        if table.num_rows:
            self._writer.write_table(table)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class _JsonWriter:
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, table: pa.Table) -> None:
        if table.num_rows:
            options = {"orient": "records", "lines": True, "date_format": "iso"}
            frame = table.to_pandas()
            text = frame.to_json(**options, double_precision=9, force_ascii=False)
            self._stream.write(text.encode())

    def close(self) -> None:
        """Write nothing more."""


_WRITERS: dict[str, Any] = {"csv": _CsvWriter, "parquet": _ParquetWriter, "jsonl": _JsonWriter}
