"""Load a table: a file of any format, unpacked if it is in an archive or a workbook."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import pyarrow as pa

from pipeline.config import TableConfig
from pipeline.config.schema_data import TableFormat
from pipeline.dataset.arrow_files import READERS, ArrowFile
from pipeline.dataset.builder import build_dataset
from pipeline.dataset.column_roles import ColumnRoles, assign_roles
from pipeline.dataset.csv_file import CsvFile
from pipeline.dataset.csv_marks import find_separator, has_decimal_commas
from pipeline.dataset.dataset import Dataset
from pipeline.dataset.excel import write_csv
from pipeline.dataset.files import MAP, available_memory, check_fits_memory, find_file
from pipeline.dataset.multiline_cells import find_multiline_cells
from pipeline.dataset.table_cache import MATRIX, load_mapped, table_key
from pipeline.dataset.zip_archive import extract_table, is_workbook, is_zip
from pipeline.errors import UserError
from pipeline.runtime import core_fraction

FORMATS: dict[str, TableFormat] = {
    **{".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".parquet": "parquet", ".pq": "parquet"},
    **{".feather": "feather", ".arrow": "feather", ".jsonl": "jsonl", ".ndjson": "jsonl"},
    **{".json": "jsonl", ".xlsx": "excel", ".xlsm": "excel"},
}
_DATASET_OPTIONS = {
    **{".arff": "arff", ".npz": "npz"},
    **dict.fromkeys((".svm", ".svmlight", ".libsvm"), "svmlight"),
}
_READERS = {  # of pandas
    **{".xls": "read_excel", ".ods": "read_excel", ".xlsb": "read_excel", ".pkl": "read_pickle"},
    **{".pickle": "read_pickle", ".sav": "read_spss", ".dta": "read_stata", ".orc": "read_orc"},
    **{".sas7bdat": "read_sas", ".xpt": "read_sas", ".h5": "read_hdf", ".hdf5": "read_hdf"},
    **{".xml": "read_xml", ".fwf": "read_fwf"},
}
_ARCHIVES = (".tar", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zip", ".zst")
AUTOMATIC_FRACTION = 0.5  # of the memory; jobs of a parallel sweep share it as the cores
_SHEET = "sheet of a workbook.csv"
_SEPARATORS = {"csv": ",", "tsv": "\t"}
_File: TypeAlias = CsvFile | ArrowFile


def load(config: TableConfig, formats: Mapping[str, str] | None = None) -> Dataset:
    """Read a CSV, TSV, Parquet, Feather, JSON-lines or Excel file, or one of them in a zip archive.

    Args:
        config: The file and the roles of its columns.
        formats: Formats of columns that are given, as those of the training rows are to test rows.

    Raises:
        UserError: If the file cannot be read, a configured column does not exist, or a value does
            not suit its column; the message names the column and the row.
    """
    path = find_file(config.path)
    name = config.name or re.sub(r"(\.zip|\.gz)$", "", path.name).rpartition(".")[0] or path.stem
    with TemporaryDirectory() as folder:
        file, config = _unpack(path, config, Path(folder))
        try:
            return _load(name, path, file, config, formats)
        except UserError as error:
            raise UserError(str(error).replace(str(file), str(path))) from error


def _unpack(path: Path, config: TableConfig, folder: Path) -> tuple[Path, TableConfig]:
    """Return the file to read, which is in the folder if it was in an archive or a workbook."""
    file, file_format = path, config.format
    if is_zip(path) and path.suffix.lower() not in (".xlsx", ".xlsm"):
        if not is_workbook(path):
            file = extract_table(path, folder, set(FORMATS))
        elif file_format != "excel":
            raise UserError(
                f"{path}: expected a file of the format that its name or dataset.format says. "
                "Received: an Excel workbook. Give dataset.format=excel"
            )
    file_format = file_format or _guess_format(path, file)
    if file_format != "excel":
        return file, replace(config, format=file_format)
    text = folder / _SHEET
    write_csv(file, text, sheet=config.sheet, decimal=config.decimal or ".", header=config.header)
    return text, replace(config, format="csv", separator=",", encoding="utf-8", quoting="minimal")


def _load(
    name: str, path: Path, source: Path, config: TableConfig, formats: Mapping[str, str] | None
) -> Dataset:
    """Read a file that is neither an archive nor a workbook; `path` is where it came from."""
    file, notes, warnings = _open(source, config)
    roles = assign_roles(config, file.names)
    if formats is not None:
        roles = replace(roles, formats=formats, may_lack_labels=True)
    is_mapped = config.memory_map
    if is_mapped is None:
        limit = AUTOMATIC_FRACTION * core_fraction() * available_memory()
        is_mapped = file.exceeds(roles, int(limit))

    def build(folder: Path | None) -> Dataset:
        table_path = None if folder is None else folder / "table.arrow"
        table, decimal, more_notes = _read(file, roles, config, table_path)
        more_warnings: tuple[str, ...] = ()
        if folder is None:
            shape = (table.num_rows, len(roles.features))
            check_fits_memory(str(path), shape, 8, MAP)
        if isinstance(file, CsvFile) and config.quoting == "minimal" and source.name != _SHEET:
            header, encoding = config.header, config.encoding
            texts = find_multiline_cells(source, table, header=header, encoding=encoding)
            more_warnings = tuple(text.replace(str(source), str(path)) for text in texts)
        return build_dataset(
            *(name, str(path), decimal, table, warnings + more_warnings, notes + more_notes),
            matrix_path=None if folder is None else folder / MATRIX,
        )

    return load_mapped(table_key(path, config, formats), build) if is_mapped else build(None)


def _open(source: Path, config: TableConfig) -> tuple[_File, tuple[str, ...], tuple[str, ...]]:
    """Return a file of which the names of the columns are read, notes and warnings."""
    if config.format in READERS:
        return READERS[config.format](source), (), ()
    notes: tuple[str, ...] = ()
    separator = config.separator or _SEPARATORS[str(config.format)]
    if config.separator is None and config.format == "csv":
        separator = find_separator(source, config.encoding)
        if separator != ",":
            notes = (f"columns are separated by {separator!r} (dataset.separator)",)
    file = CsvFile(source, config, separator)
    return file, notes, _check_header(config, file.names)


def _read(
    file: _File, roles: ColumnRoles, config: TableConfig, path: Path | None
) -> tuple[pa.Table, ColumnRoles, tuple[str, ...]]:
    """Return the table, roles with its decimal mark, and a note if the table itself has one."""
    table = file.read(roles, path)
    may_differ = isinstance(file, CsvFile) and file.separator != "," and config.decimal is None
    if not may_differ or not has_decimal_commas(roles, table):
        return table, roles, ()
    roles = replace(roles, decimal=",", decimal_is_given=True)
    return file.read(roles, path), roles, ("numbers have decimal commas (dataset.decimal=',')",)


def _check_header(config: TableConfig, names: list[str]) -> tuple[str, ...]:
    """Return a warning if the names of the columns look like values of a first row."""
    numbers = [name for name in names if re.fullmatch(r"[-+]?\d*\.?\d+(e[-+]?\d+)?", name, re.I)]
    counted = [str(n) for n in range(len(names) + 1)]  # as pandas names columns
    if not config.header or len(numbers) < len(names) or names in (counted[:-1], counted[1:]):
        return ()
    return (
        f"the names of the columns are numbers, such as {names[0]!r}: if line 1 is a row, give "
        "dataset.header=false",
    )


def _guess_format(path: Path, file: Path) -> TableFormat:
    suffix = Path(file.name.lower().removesuffix(".gz")).suffix
    if suffix not in FORMATS:
        way = "If it is text with separators, give dataset.format=csv"
        if suffix in _DATASET_OPTIONS:
            way = f"Give dataset={_DATASET_OPTIONS[suffix]}"
        elif suffix in _READERS:
            way = f"Write it anew: pandas.{_READERS[suffix]}({file.name!r}).to_parquet('t.parquet')"
        elif suffix in _ARCHIVES:
            way = "Extract it first"
        raise UserError(
            f"{path}: expected a file that ends in {', '.join(FORMATS)} (or .gz or .zip behind "
            f"it). Received: {suffix or 'no ending'!r}"
            f"{f' of {file.name}' if path != file else ''}. {way}"
        )
    return FORMATS[suffix]
