"""Convert the values of one column: numbers, dates, times, durations and texts.

Logged models carry this file, so it imports nothing of Manyfold.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, time
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.preprocessing.date_formats import parse_iso_date

# The largest absolute value of a number: float32 ends at 3e38, and training squares numbers.
LARGEST = float(np.float32(1e30))
HEXADECIMAL = re.compile("0[xX][0-9a-fA-F]{1,16}")  # Arrow reads such integers
BOOLEANS = {"true": 1.0, "false": 0.0}

Kind = Literal["number", "datetime", "time", "duration", "category", "text"]


def canonical(text: str, decimal: str = ".") -> str:
    """Return one text for all spellings of a value: 8 and 8.0, TRUE and true, or a date."""
    text = text.strip()
    if text.lower() in BOOLEANS:
        return text.lower()
    for number in (text, text.replace(decimal, ".")):
        try:
            return f"{float(number):.15g}"
        except ValueError:
            continue
    for kind in (datetime, time):
        try:
            return kind.fromisoformat(text).isoformat()
        except ValueError:
            continue
    return text


def encode_texts(values: pa.ChunkedArray) -> tuple[NDArray[np.int64], list[str]]:
    """Encode a column as texts.

    Returns:
        The code of each row, -1 where the value is missing, and the texts by code: in the order of
        a dictionary column's own dictionary, else of their first occurrence.
    """
    types, kind = pa.types, values.type
    if types.is_timestamp(kind):  # pandas has other resolutions than Arrow
        values = values.cast(pa.timestamp("us", kind.tz), safe=False)
    elif types.is_time(kind):
        values = values.cast(pa.time64("us"), safe=False)
    elif types.is_duration(kind):
        values = values.cast(pa.duration("us"), safe=False)
    if not pa.types.is_dictionary(values.type):
        texts = values if is_text(values.type) else values.cast(pa.string())
        values = texts.dictionary_encode()
    values = values.unify_dictionaries()
    codes = [chunk.indices.cast(pa.int64()).fill_null(-1).to_numpy() for chunk in values.chunks]
    if not codes:
        return np.empty(0, dtype=np.int64), []
    return np.concatenate(codes), values.chunk(0).dictionary.cast(pa.string()).to_pylist()


def is_text(kind: pa.DataType) -> bool:
    """Return whether an Arrow type is a text, or a dictionary of texts."""
    types = pa.types
    if types.is_dictionary(kind):
        return is_text(kind.value_type)
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def check_size(name: str, values: NDArray[Any]) -> None:
    """Raise ValueError if a number of a column is infinite or too large to train with."""
    if len(values) and max(np.fmax.reduce(values), -np.fmin.reduce(values)) > LARGEST:
        invalid = np.abs(values) > LARGEST
        row, n = int(invalid.argmax()), int(invalid.sum())
        raise ValueError(
            f"Expected finite numbers up to {LARGEST:g} in size. Received: {values[row]:g} in "
            f"column {name!r}, row {row} (the first is 0){f', one of {n} such values' * (n > 1)}."
        )


def to_arrow(values: "pd.Series[Any]", decimal: str = ".") -> pa.ChunkedArray:
    """Return a column of a data frame; as texts if its values are of several types."""
    try:
        is_plain = isinstance(values.dtype, np.dtype) and values.dtype.kind in "iuf"
        array = pa.array(values.to_numpy() if is_plain else values, from_pandas=True)  # is faster
    except (pa.ArrowException, TypeError, OverflowError):
        array = pa.array([_to_text(value, decimal) for value in values], pa.string())
    return array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])


def _to_text(value: Any, decimal: str) -> str | None:
    if isinstance(value, float):
        return None if np.isnan(value) else str(value).replace(".", decimal)
    return None if value is None or value is pd.NA or value is pd.NaT else str(value)


def to_numbers(name: str, values: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return a column of numbers or booleans as numbers; `name` is for the message."""
    types, kind = pa.types, values.type
    if types.is_dictionary(kind):
        values, kind = values.cast(kind.value_type), kind.value_type
    if types.is_boolean(kind):
        values = values.cast(pa.uint8())
    elif types.is_decimal(kind) or types.is_null(kind):
        values = values.cast(pa.float64())
    elif not (types.is_integer(kind) or types.is_floating(kind)):
        raise ValueError(f"Expected numbers in column {name!r}. Received: {kind}.")
    numbers: NDArray[np.float64] = values.to_numpy().astype(np.float64, copy=False)
    return numbers


def to_seconds(name: str, kind: Kind, values: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return a column of dates, times or durations in seconds.

    Numbers are refused: they may be seconds, or milliseconds as in the JSON that pandas writes.
    """
    types = pa.types
    is_kind = {
        "datetime": types.is_timestamp(values.type) or types.is_date(values.type),
        "time": types.is_time(values.type),
        "duration": types.is_duration(values.type),
    }
    if types.is_null(values.type):
        return np.full(len(values), np.nan)
    if not is_kind[kind]:
        raise ValueError(f"Expected {EXPECTED[kind]} in column {name!r}. Received: {values.type}.")
    integers = values.cast(MICROSECONDS[kind], safe=False).cast(pa.int64())
    integers = integers.cast(pa.float64(), safe=False)
    seconds: NDArray[np.float64] = integers.to_numpy() / 1e6
    return seconds


def from_seconds(kind: Kind, seconds: NDArray[np.float64]) -> Any:
    """Return dates, times or durations; numbers as they are."""
    if kind == "number":
        return seconds
    missing = np.isnan(seconds)
    integers = np.round(np.where(missing, 0, seconds) * 1e6).astype(np.int64)
    return pa.array(integers, mask=missing).cast(MICROSECONDS[kind]).to_pandas()


def to_texts(values: pa.ChunkedArray, codes: NDArray[np.float64]) -> NDArray[np.object_]:
    """Return a column as texts, "" where its code is missing."""
    texts: NDArray[np.object_] = values.cast(pa.string()).to_numpy().astype(object)
    texts[np.isnan(codes)] = ""
    return texts


def _parse_time(text: str) -> float | None:
    for layout in ("%I:%M %p", "%I:%M:%S %p") if text[-1:] in "mM" else ():
        with suppress(ValueError):
            text = datetime.strptime(text, layout).time().isoformat()
    try:
        value = time.fromisoformat(f"0{text}" if text[1:2] == ":" else text)
    except ValueError:
        return None
    return value.hour * 3600 + value.minute * 60 + value.second + value.microsecond / 1e6


def _parse_duration(text: str) -> float | None:
    try:
        return float(pd.Timedelta(text.replace(",", "")).total_seconds())
    except ValueError:
        return None


PARSERS: dict[Kind, Callable[[str], float | None]] = {
    "datetime": parse_iso_date,
    "time": _parse_time,
    "duration": _parse_duration,
}
MICROSECONDS = {
    "datetime": pa.timestamp("us"),
    "time": pa.time64("us"),
    "duration": pa.duration("us"),
}
UNITS = {"datetime": "seconds since 1970", "time": "seconds since midnight", "duration": "seconds"}
EXPECTED = {
    "number": "numbers",
    "datetime": "dates such as 2026-01-31 or 2026-01-31 12:30:00",
    "time": "times such as 12:30:00",
    "duration": "durations such as 1 days 12:30:00",
}
