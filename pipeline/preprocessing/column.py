"""A feature column, and the spelling of missing values and numbers in texts.

Logged models carry this file, so it imports nothing of Manyfold.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.preprocessing.column_values import (
    BOOLEANS,
    EXPECTED,
    HEXADECIMAL,
    PARSERS,
    UNITS,
    Kind,
    encode_texts,
)
from pipeline.preprocessing.value_formats import parse_formatted


@dataclass(frozen=True)
class Column:
    """A feature column.

    Attributes:
        name: Name of the column.
        kind: Kind of its values. Dates and times (since 1970), times of day (since midnight) and
            durations become seconds.
        categories: Texts of the categories, by code; empty for other kinds.
        offset: Value that is subtracted from each number, so that float32 keeps the digits of
            numbers that are large against their spread, such as seconds since 1970.
        format: Example of the texts of numbers or dates, such as "$1,234.5"; empty if plain.
    """

    name: str
    kind: Kind = "number"
    categories: tuple[str, ...] = ()
    offset: float = 0.0
    format: str = ""


class Spelling:
    """The spelling of values in texts.

    Attributes:
        na_values: Texts that mean a missing value; those that are numbers also match numbers.
        decimal: Decimal mark of numbers in texts.
    """

    na_values: tuple[str, ...]
    decimal: str

    def parse_number(self, text: str) -> float | None:
        """Return the number that a text spells, or None if it spells none."""
        if self.decimal != ".":
            if "." in text:
                return None
            text = text.replace(self.decimal, ".")
        try:
            return None if "_" in text else float(text)
        except ValueError:
            return float(int(text, 16)) if HEXADECIMAL.fullmatch(text.strip()) else None

    def is_missing(self, text: str) -> bool:
        """Return whether a text means a missing value, as a text or as a number."""
        return text in self.na_values or self.parse_number(text) in self.na_numbers

    @cached_property
    def na_numbers(self) -> list[float]:
        """Numbers that mean a missing value."""
        numbers = map(self.parse_number, self.na_values)
        finite = [number for number in numbers if number is not None and np.isfinite(number)]
        rounded = map(float, np.array(finite, dtype=np.float32))  # as a Parquet file may hold them
        return [*finite, *rounded]

    def parse_texts(self, column: Column, values: pa.ChunkedArray) -> NDArray[np.float64]:
        """Parse a column of texts; a blank text is missing, as it is no number of any kind."""
        codes, texts = encode_texts(values)
        parser = self.make_parser(column)
        missing = {"", "NaT"} if column.kind in UNITS else {""}  # as pandas writes a missing date
        numbers = [
            np.nan if text.strip() in missing or self.is_missing(text) else parser(text.strip())
            for text in texts
        ]
        if None in numbers:
            code, expected = numbers.index(None), EXPECTED[column.kind]
            if column.format:
                expected = f"{expected.partition(' such')[0]} such as {column.format}"
            raise ValueError(
                f"Expected {expected} in column {column.name!r}. Received: "
                f"{texts[code][:60]!r} in row {int((codes == code).argmax())} (the first is 0)."
            )
        return np.array([*numbers, np.nan], dtype=np.float64)[codes]

    def make_parser(self, column: Column) -> Callable[[str], float | None]:
        """Return a function that parses a text of a column; it returns None for an invalid one."""
        if column.format:
            return partial(parse_formatted, column.format)
        return PARSERS.get(column.kind, self._parse_number_or_boolean)

    def _parse_number_or_boolean(self, text: str) -> float | None:
        return BOOLEANS.get(text.lower(), self.parse_number(text))
