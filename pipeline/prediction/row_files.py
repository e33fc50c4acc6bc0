"""Open a file of raw rows by the ending of its name."""

import atexit
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from pipeline.dataset.arrow_files import READERS
from pipeline.dataset.csv_marks import find_separator
from pipeline.dataset.excel import write_csv
from pipeline.dataset.files import find_file
from pipeline.dataset.table import FORMATS as TABLE_FORMATS
from pipeline.dataset.zip_archive import extract_table, is_zip
from pipeline.errors import UserError
from pipeline.model.loaded_model import LoadedModel
from pipeline.prediction.batch import RowFile
from pipeline.prediction.line_files import ArffFile, SvmlightFile
from pipeline.prediction.table_files import ArrowRows, CsvFile, ParquetFile

STDIN = "-"
FORMATS = {
    **TABLE_FORMATS,
    ".arff": "arff",
    **dict.fromkeys((".svm", ".svmlight", ".libsvm"), "svmlight"),
}


def open_rows(
    path: str, file_format: str | None, model: LoadedModel, reading: Mapping[str, Any]
) -> RowFile:
    """Open a file of raw rows.

    Args:
        path: Path of the file; `-` for CSV from the standard input.
        file_format: One of `FORMATS`; None for that of the path's ending.
        model: The model, which needs some of the columns.
        reading: As of `describe_reading`.

    Raises:
        UserError: If it cannot be read.
    """
    schema = model.schema
    if path == STDIN:
        if file_format not in (None, "csv", "tsv"):
            raise UserError(
                "-: expected CSV or TSV from the standard input. Received: --format "
                f"{file_format}. Write the rows to a file"
            )
        stream = pa.PythonFile(sys.stdin.buffer, mode="r")
        return CsvFile(path, stream, file_format or "csv", schema, reading)
    file = find_file(path)
    is_excel = file_format == "excel" or file.suffix.lower() in (".xlsx", ".xlsm")
    folder = TemporaryDirectory()
    atexit.register(folder.cleanup)
    if is_zip(file) and not is_excel:
        file = extract_table(file, Path(folder.name), set(FORMATS))
    suffix = Path(file.name.lower().removesuffix(".gz")).suffix
    file_format = file_format or FORMATS.get(suffix)
    if file_format == "excel":
        sheet = Path(folder.name) / "sheet.csv"
        options = {"decimal": schema.decimal, "header": reading.get("header", True)}
        write_csv(file, sheet, sheet=reading.get("sheet"), **options)
        reading = {**reading, "separator": ",", "encoding": "utf-8", "quoting": "minimal"}
        file, file_format = sheet, "csv"
    if file_format == "csv" and not reading.get("separator"):
        mark = find_separator(file, reading.get("encoding") or "utf-8")
        reading = {**reading, "separator": mark}
    if file_format in ("csv", "tsv"):
        return CsvFile(path, pa.OSFile(str(file)), file_format, schema, reading)
    if file_format in ("jsonl", "feather"):
        return ArrowRows(path, READERS[file_format](file), len(schema.columns))
    if file_format == "parquet":
        return ParquetFile(path, file, len(schema.columns))
    if file_format == "arff":
        return ArffFile(path, file, len(schema.columns))
    if file_format == "svmlight":
        return SvmlightFile(path, file, schema.names, model.label_names)
    raise UserError(
        f"{path}: expected a file that ends in {', '.join(FORMATS)} (or .gz or .zip), or - for "
        f"CSV from the standard input. Received: {suffix or 'no ending'!r}. Name its format, such "
        "as --format csv"
    )
