"""Find the separator and the decimal mark of a CSV file."""

import gzip
import re
import zlib
from pathlib import Path

import pyarrow as pa

from pipeline.dataset.column_roles import ColumnRoles
from pipeline.dataset.format_inference import has_decimal_comma
from pipeline.preprocessing import TableSchema, encode_texts, is_text

_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")


def find_separator(path: Path, encoding: str) -> str:
    """Return a comma, or the mark that the first line has in its place: a semicolon, tab or bar."""
    line = re.sub(r'"[^"]*"', "", _read_first_line(path, encoding))
    for mark in ";\t|":
        cells = [cell.strip() for cell in line.split(mark)]
        if cells[1:] and all("," not in it or _DECIMAL_COMMA.fullmatch(it) for it in cells):
            return mark
    return ","


def has_decimal_commas(roles: ColumnRoles, table: pa.Table) -> bool:
    """Return whether a feature that Arrow reads as texts has numbers with decimal commas."""
    spelling = TableSchema((), roles.na_values)
    for name in roles.features:
        if name not in roles.categorical and is_text(table.schema.field(name).type):
            texts = encode_texts(table.column(name))[1]
            if has_decimal_comma(text for text in texts if not spelling.is_missing(text)):
                return True
    return False


def _read_first_line(path: Path, encoding: str) -> str:
    is_gzip = path.name.lower().endswith(".gz")
    try:
        with gzip.open(path) if is_gzip else path.open("rb") as file:
            return file.read(2**16).decode(encoding, "replace").partition("\n")[0]
    except (OSError, EOFError, zlib.error, LookupError):
        return ""  # reading the table explains it
