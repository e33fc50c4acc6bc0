"""Write a sheet of an Excel workbook as CSV text, so that one reader has all options."""

import csv
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from pipeline.dataset.files import available_memory, size_error
from pipeline.errors import UserError

# What openpyxl lets pass of a damaged file, beside errors of its own and of XML.
_DAMAGED = (
    *(OSError, KeyError, ValueError, TypeError, EOFError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)
_BYTES_PER_BYTE = 8  # of memory that openpyxl takes for the XML of texts and formats


def write_csv(path: Path, file: Path, *, sheet: str | None, decimal: str, header: bool) -> None:
    """Write a sheet of an .xlsx file as CSV: dates in ISO format, formulas as their last values.

    Rows are streamed; blank ones and blank columns on the right are left out.

    Args:
        path: Path of the workbook.
        file: Path of the CSV file.
        sheet: Name of the sheet; None if there is one with rows.
        decimal: Decimal mark of the numbers to write.
        header: Whether the first row has the names of the columns, which then are as many.

    Raises:
        UserError: If openpyxl is missing, the file is no such workbook, it has no such sheet or
            several, or its text would not fit into memory.
    """
    try:
        openpyxl = import_module("openpyxl")
    except ImportError as error:
        raise UserError(
            f"{path}: expected openpyxl, which reads Excel files. Received: {error}. Install it: "
            "pip install 'manyfold[excel]'"
        ) from error
    try:
        _check_texts_fit(path)
        with path.open("rb") as content, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and extensions without meaning here
            book = openpyxl.load_workbook(content, read_only=True, data_only=True)
            _write(path, file, _find_sheet(path, book, sheet), decimal, header=header)
    except UserError:
        raise
    except Exception as error:
        is_own = type(error).__module__.startswith(("openpyxl", "xml"))
        if not (is_own or isinstance(error, _DAMAGED)):
            raise
        raise UserError(
            f"{path}: expected a complete .xlsx workbook of Excel. Received: {error}. Save it as "
            ".xlsx, or as CSV."
        ) from error


def _check_texts_fit(path: Path) -> None:
    """Raise UserError if the texts of a workbook would not fit, which openpyxl keeps in memory."""
    limit = available_memory() // _BYTES_PER_BYTE
    with zipfile.ZipFile(path) as opened:
        n_bytes = sum(it.file_size for it in opened.infolist() if "sheets/" not in it.filename)
    if n_bytes > limit:
        raise size_error(str(path), f"{n_bytes / 2**30:,.1f} GiB of texts and formats")


def _find_sheet(path: Path, book: Any, name: str | None) -> Any:
    sheets = {sheet.title: sheet for sheet in book.worksheets}
    if name is None:
        filled = [title for title, sheet in sheets.items() if next(_rows(sheet), None)]
        if len(filled) == 1:
            return sheets[filled[0]]
        received = f"{len(filled)} sheets with rows"
    elif name in sheets:
        return sheets[name]
    else:
        received = f"dataset.sheet={name}"
    raise UserError(
        f"{path}: expected the name of a sheet in dataset.sheet. Received: {received}. Available: "
        f"{', '.join(sheets)}."
    )


def _rows(sheet: Any) -> Iterator[list[Any]]:
    """Yield the rows that are not blank, without blank cells at their end."""
    sheet.reset_dimensions()  # of formatted columns, to which openpyxl would fill up each row
    for cells in sheet.iter_rows(values_only=True):
        row = list(cells)
        while row and row[-1] is None:
            row.pop()
        if row:
            yield row


def _write(path: Path, file: Path, sheet: Any, decimal: str, *, header: bool) -> None:
    limit, width = available_memory() // 3, 0
    with file.open("w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target, quoting=csv.QUOTE_MINIMAL)
        if not header:
            width = max(map(len, _rows(sheet)), default=0)
        for number, row in enumerate(_rows(sheet)):
            width = width or len(row)
            if len(row) > width:
                raise UserError(
                    f"{path}: expected {width} columns, as in the first row of the sheet "
                    f"{sheet.title!r}. Received: {len(row)} in row {number + 1}. Delete rows above "
                    "the names of the columns, and notes beside the table."
                )
            texts = [_format(cell, decimal) for cell in row]
            writer.writerow(texts + [""] * (width - len(texts)))
            if target.tell() > limit:
                raise size_error(str(path), f"more than {limit / 2**30:,.1f} GiB of text")


def _format(cell: Any, decimal: str) -> str:
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        if cell.time() == time():
            return cell.date().isoformat()
        return cell.isoformat(sep=" ")
    if isinstance(cell, date | time):
        return cell.isoformat()
    if isinstance(cell, timedelta):
        days, rest = divmod(cell, timedelta(days=1))
        return f"{days} days {(datetime.min + rest).time().isoformat()}"
    if isinstance(cell, float):
        return (
            str(int(cell))
            if cell.is_integer() and abs(cell) < 2**53
            else (repr(cell).replace(".", decimal))
        )
    return str(cell)
