"""Read ARFF and svmlight files of raw rows in batches of lines."""

import io
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.datasets import load_svmlight_file

from pipeline.dataset.arff_parser import ArffTable, parse_arff
from pipeline.dataset.arff_tokens import BLANKS
from pipeline.errors import UserError
from pipeline.prediction.batch import BadRow, Batch, OnBad, rows_per_batch

NUMBERED = re.compile(r"[xy](\d+)")  # name of a feature or label of svmlight files
Line = tuple[int, str]  # number in the file, from 1, and text


class _LineFile(ABC):
    """A text file with one row per line, gzipped if its name ends in .gz."""

    comment: str

    def __init__(self, source: str, path: Path, n_columns: int) -> None:
        self.source, self._n_rows_at_once = source, rows_per_batch(n_columns)
        self.n_rows: int | None = None
        self.names: Sequence[str] = ()
        self._raw, self._size = pa.OSFile(str(path)), path.stat().st_size
        is_gzip = path.name.lower().endswith(".gz")
        stream = pa.CompressedInputStream(self._raw, "gzip") if is_gzip else self._raw
        self._text = io.TextIOWrapper(stream, encoding="utf-8-sig")
        self._lines: Iterator[Line] = self._read_lines()

    def fraction_read(self) -> float | None:
        """Return how much of the file is read, from 0 to 1."""
        return float(self._raw.tell() / self._size)

    def batches(self, columns: Sequence[str], on_bad: OnBad) -> Iterator[Batch]:
        """Yield an empty batch, then all rows with these columns."""
        yield Batch(np.empty(0, np.int64), self._parse([], columns))
        next_row = 0
        while lines := list(islice(self._lines, self._n_rows_at_once)):
            rows = np.arange(next_row, next_row + len(lines))
            next_row += len(lines)
            for part, table in self._parse_good(rows, lines, columns, on_bad):
                yield Batch(part, table)

    @abstractmethod
    def _parse(self, lines: list[Line], columns: Sequence[str]) -> pa.Table:
        """Parse lines; raises ValueError for a bad one."""

    def _read_lines(self) -> Iterator[Line]:
        """Yield numbers and texts of lines, but no comments and blank lines."""
        number = 0
        try:
            for number, line in enumerate(self._text, start=1):
                text = line.strip(BLANKS)
                if text and not text.startswith(self.comment):
                    yield number, text
        except (UnicodeError, OSError, EOFError) as error:
            raise UserError(
                f"{self.source}: expected text in UTF-8. Received: {error}, behind line {number}."
            ) from error

    def _parse_good(
        self, rows: NDArray[np.int64], lines: list[Line], columns: Sequence[str], on_bad: OnBad
    ) -> Iterator[tuple[NDArray[np.int64], pa.Table]]:
        """Parse lines, in halves if one of them is bad."""
        try:
            table = self._parse(lines, columns)
        except ValueError as error:
            if len(lines) == 1:
                reason = str(error).removeprefix(f"{self.source}: ")
                reason = f"{reason[:1].upper()}{reason[1:]}"
                on_bad(BadRow(int(rows[0]), None, reason, lines[0][1]))
                return
            half = len(lines) // 2
            for part in (slice(half), slice(half, None)):
                yield from self._parse_good(rows[part], lines[part], columns, on_bad)
        else:
            yield rows, table


class ArffFile(_LineFile):
    """An ARFF file; its nominal attributes are texts."""

    comment = "%"

    def __init__(self, source: str, path: Path, n_columns: int) -> None:
        """Read the header."""
        super().__init__(source, path, n_columns)
        header = []
        for _, text in self._lines:
            header.append(text)
            if text.lower().startswith("@data"):
                break
        self._header = "\n".join(header)
        first = list(islice(self._lines, 1))
        if not first:
            raise UserError(f"{source}: expected at least one row behind @data. Received: none.")
        # A sparse row has any attribute, as one that it omits is 0.
        self._example = self._parse_text("{}")
        self.names = [attribute.name for attribute in self._example.attributes]
        self._lines = chain(first, self._lines)

    def _parse(self, lines: list[Line], columns: Sequence[str]) -> pa.Table:
        if lines:
            try:
                table = self._parse_text("\n".join(text for _, text in lines))
            except UserError as error:
                number = self._header.count("\n") + 2  # of the first line behind the header
                raise ValueError(
                    str(error).replace(f"line {number}", f"line {lines[0][0]}")
                ) from error
        else:
            table = self._example
        arrays = {}
        for name in columns:
            j = self.names.index(name)
            attribute, values = table.attributes[j], table.values[: len(lines), j]
            missing = np.isnan(values)
            if attribute.kind == "nominal":
                codes = pa.array(np.where(missing, 0, values).astype(np.int32), mask=missing)
                texts = pa.array(attribute.categories, pa.string())
                arrays[name] = pa.DictionaryArray.from_arrays(codes, texts)
            else:
                arrays[name] = pa.array(values, mask=missing)
        return pa.table(arrays)

    def _parse_text(self, rows: str) -> ArffTable:
        return parse_arff(self.source, f"{self._header}\n{rows}")


class SvmlightFile(_LineFile):
    """An svmlight file; feature 3 is named x3, label 3 is named y3, and an omitted feature is 0."""

    comment = "#"

    def __init__(self, source: str, path: Path, features: Sequence[str], labels: Sequence[str]):
        """Open the file; it has any feature, and any label if its first row has one."""
        super().__init__(source, path, len(features))
        first = list(islice(self._lines, 1))
        self._lines = chain(first, self._lines)
        has_labels = bool(first) and ":" not in first[0][1].split()[0]
        names = [*features, *(labels if has_labels else ())]
        self.names = [name for name in names if NUMBERED.fullmatch(name)]

    def _parse(self, lines: list[Line], columns: Sequence[str]) -> pa.Table:
        content = "\n".join(text for _, text in lines).encode()
        features, labels_of_rows = None, []
        if lines:
            try:
                features, labels_of_rows = load_svmlight_file(
                    io.BytesIO(content), multilabel=True, zero_based=True
                )
            except (ValueError, OverflowError, IndexError) as error:
                raise ValueError(
                    "Expected <label>,<label> <feature>:<value> ... Received: "
                    f"{lines[0][1][:60]!r} in line {lines[0][0]} ({error})."
                ) from error
            features = features.tocsc()
        arrays = {}
        values: NDArray[np.generic]
        for name in columns:
            number = int(name[1:])
            if name.startswith("y"):
                values = np.array([number in labels for labels in labels_of_rows], np.int8)
            elif features is None or number >= features.shape[1]:
                values = np.zeros(len(lines))
            else:
                values = features[:, [number]].toarray()[:, 0]
            arrays[name] = pa.array(values)
        return pa.table(arrays)
