"""Columns of the matrix that are computed from the values of another column.

Logged models carry this file, so it imports nothing of Manyfold.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.preprocessing.text_columns import TextCounts

DAY = 86_400.0  # seconds
DAYS = "days"  # the part that the column of the date itself holds
_FIRST_WEEKDAY = 3  # 1 January 1970 was a Thursday; Monday is 0


@dataclass(frozen=True)
class DateParts:
    """Parts of the dates or times of a column: numbers, or sine and cosine of a cycle.

    Attributes:
        source: Name of the column.
        parts: Of `PARTS`, and `days` if the date itself remains a number.
    """

    source: str
    parts: tuple[str, ...]

    @property
    def replaces_source(self) -> bool:
        """True if the column itself is no input of the model."""
        return DAYS not in self.parts

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(
            f"{self.source} {part}{cycle}"
            for part in self.parts
            if part != DAYS
            for cycle in ((" sine", " cosine") if PARTS[part][1] else ("",))
        )

    @property
    def n_columns(self) -> int:
        """Number of columns."""
        return len(self.names)

    def describe(self) -> tuple[str, ...]:
        """Return how each column is computed from the seconds of its source."""
        texts = []
        for part in self.parts:
            if part == DAYS:
                continue
            period = PARTS[part][1]
            origin = {"month": " (January is 0)", "weekday": " (Monday is 0)"}.get(part, "")
            quantity = f"the {part} of {self.source!r}{origin}"
            texts += (
                [f"{cycle} of 2 pi / {period} times {quantity}" for cycle in ("sine", "cosine")]
                if period
                else [quantity]
            )
        return tuple(texts)

    def transform(self, seconds: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the columns, of shape (n_rows, n_names), for seconds since 1970 or midnight."""
        columns = []
        for part in self.parts:
            if part == DAYS:
                continue
            read, period = PARTS[part]
            values = read(seconds)
            if period:
                angle = values * (2 * np.pi / period)
                columns += [np.sin(angle), np.cos(angle)]
            else:
                columns.append(values)
        return np.array(columns, dtype=np.float32).reshape(len(columns), len(seconds)).T


def _to_calendar(seconds: NDArray[np.float64]) -> NDArray[np.datetime64]:
    days = np.floor(np.nan_to_num(seconds) / DAY).astype(np.int64)
    return days.astype("datetime64[D]")


def _only_present(seconds: NDArray[np.float64], values: NDArray[Any]) -> NDArray[np.float64]:
    return np.where(np.isnan(seconds), np.nan, values)


def _year(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    years = _to_calendar(seconds).astype("datetime64[Y]").astype(np.int64) + 1970
    return _only_present(seconds, years)


def _month(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    months = _to_calendar(seconds).astype("datetime64[M]").astype(np.int64) % 12
    return _only_present(seconds, months)


def _weekday(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    days = _to_calendar(seconds).astype(np.int64)
    return _only_present(seconds, (days + _FIRST_WEEKDAY) % 7)


def _hour(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.mod(seconds, DAY) / 3600


PARTS: Mapping[str, tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], int | None]] = {
    "year": (_year, None),
    "month": (_month, 12),
    "weekday": (_weekday, 7),
    "hour": (_hour, 24),
}
"""Function of seconds since 1970, and length of the cycle, of each part of a date."""

Derived: TypeAlias = DateParts | TextCounts


def derived_from_dict(values: Mapping[str, Any]) -> Derived:
    """Return derived columns of their JSON."""
    if "analyzer" in values:
        shortest, longest = values["ngram_range"]
        vocabulary = tuple(values["vocabulary"])
        return TextCounts(
            values["source"],
            values["analyzer"],
            (shortest, longest),
            vocabulary,
            values["n_buckets"],
        )
    return DateParts(values["source"], tuple(values["parts"]))
