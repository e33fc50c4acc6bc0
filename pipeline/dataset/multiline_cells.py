"""Find quoted cells of a CSV file that span lines: texts, or a stray quote that swallows rows."""

import io
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.preprocessing.column_values import is_text

_BLOCK_SIZE = 2**24  # bytes


def find_multiline_cells(
    path: Path, table: pa.Table, *, header: bool, encoding: str
) -> tuple[str, ...]:
    """Return a warning if quoted cells span lines, with the number of lines.

    Counting line ends costs little against reading; only if there are more than rows, the lines
    that are not blank are counted.

    Args:
        path: Path of the file; one that ends in .gz is gzipped.
        table: Its rows, in the columns that have a role.
        header: Whether the first row has the names of the columns.
        encoding: Encoding of the file.
    """
    n_rows = table.num_rows + header
    is_wide = "16" in encoding or "32" in encoding
    if not is_wide and _count_line_ends(path) == n_rows:
        return ()
    n_lines = _count_lines(path, encoding)
    if n_lines <= n_rows:
        return ()
    first = next(_multiline_texts(table), "")
    return (
        f"quoted cells span lines: {n_lines} lines of {path} are {table.num_rows} rows"
        f"{' and the names of the columns' if header else ''}{first}. If a quote in a text "
        "swallows rows, give dataset.quoting=none",
    )


def _count_line_ends(path: Path) -> int:
    n, last = 0, b"\n"
    with pa.input_stream(str(path)) as file:
        while content := file.read(_BLOCK_SIZE):
            n, last = n + content.count(b"\n"), content[-1:]
    return n + (last != b"\n")


def _count_lines(path: Path, encoding: str) -> int:
    """Return the number of lines that are not blank, whatever ends them."""
    with (
        pa.input_stream(str(path)) as file,
        io.TextIOWrapper(io.BufferedReader(file), encoding=encoding, errors="replace") as text,
    ):
        return sum(line != "\n" for line in text)


def _multiline_texts(table: pa.Table) -> Iterator[str]:
    """Yield where a cell with a line break is, with its number of lines."""
    for name in table.column_names:
        column = table.column(name)
        if not is_text(column.type):
            continue
        texts = column.cast(pa.string())
        row = pc.index(pc.match_substring_regex(texts, "[\r\n]"), True).as_py()
        if row >= 0:
            n = len(texts[row].as_py().splitlines())
            yield f"; the first in column {name!r}, row {row} (the first is 0), has {n} lines"
