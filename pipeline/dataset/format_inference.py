"""Infer the format of a column of texts that are numbers or dates."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pipeline.dataset.column_roles import ColumnRoles
from pipeline.errors import UserError
from pipeline.preprocessing import TableSchema
from pipeline.preprocessing.value_formats import (
    DATE_FORMATS,
    DAY_FIRST,
    MONTH_FIRST,
    NumberText,
    date_formats,
    has_digits_of,
    is_date,
    number_format,
    parse_formatted,
    split_number,
)

_STYLES = [(mark, decimal) for mark in ("", *",. '_") for decimal in ".," if mark != decimal]
# Units that may follow a number without a blank, or differ within a column.
_UNITS = frozenset(
    "% ‰ ° °C °F k K M bn g m s h L l kg mg μg ng lb lbs oz cm mm km μm nm ft yd sec "  # noqa: SIM905
    "min hr hrs day days week month year yr yrs hour minute second ml mL cl dl gal Hz "
    "kHz MHz GHz mV kV mA kW kWh MW kJ cal kcal Pa kPa hPa MPa bar mbar psi mmHg bpm "
    "mol mmol mmol/L mg/dL g/dL km/h mph m/s px dpi kB KB MB GB TB m2 m3 km2 sqm sqft "
    "sq ft ha acre ppm ppb dB Nm hp cc rpm mpg $ £ € ¥ ₹ ₽ ₩ ₺ ¢ USD EUR GBP JPY CHF "
    "CAD AUD SEK NOK DKK PLN CZK INR kr zł Kč Ft".split()
)


class _Reading(NamedTuple):
    """One way to read a column of numbers: its format, thousands separator and decimal mark."""

    format: str
    thousands: str
    decimal: str


def infer_format(source: str, roles: ColumnRoles, name: str, texts: Iterable[str]) -> str:
    """Return the format that all texts of a column follow, empty if they follow none.

    Texts that the table's decimal mark suffices for have no format either.

    Args:
        source: Origin of the column, for messages.
        roles: Settings that decide where texts can be read in two ways.
        name: Name of the column.
        texts: Its distinct texts, without missing ones.

    Raises:
        UserError: If the texts can be read as different numbers or dates; the message says which
            setting decides.
    """
    present = [text for text in texts if text.strip()]
    spelling = TableSchema((), decimal=roles.decimal)
    if all(it.isascii() and "+" not in it[:1] and _is_plain(spelling, it) for it in present):
        return ""
    if all(map(is_date, present)):
        return _infer_date_format(source, roles, name, present)
    readings = _number_readings(present, roles.decimal)
    if len(readings) > 1:
        readings = _decide(roles, present, readings)
    if len(readings) > 1:
        one, other = readings[:2]
        text = next(it for it in present if len({_value(r, it) for r in readings}) > 1)
        raise UserError(
            f"{source}: expected numbers that can be read in one way in column {name!r}. Received: "
            f"{text!r}, which is {_value(one, text):.15g} with {_setting(one)} and "
            f"{_value(other, text):.15g} with {_setting(other)}. Give one of them, or declare the "
            "column in dataset.categorical."
        )
    return readings[0].format if readings else ""


def looks_like_number(text: str) -> bool:
    """Return whether a text looks like a number with a common unit or currency, or like a date."""
    if is_date(text):
        return True
    number = split_number(text)
    return (
        number is not None
        and (not number.suffix or number.suffix.strip() in _UNITS)
        and any(has_digits_of(number.digits, *style) for style in _STYLES)
    )


def has_decimal_comma(texts: Iterable[str]) -> bool:
    """Return whether the distinct texts of a column are numbers with a decimal comma only."""
    readings = _number_readings([text for text in texts if text.strip()], ".")
    return len(readings) == 1 and readings[0].decimal == ","


def describe_formats(formats: Mapping[str, str]) -> tuple[str, ...]:
    """Return a note for each format; `formats` has formats by column."""
    names: dict[str, list[str]] = {}
    for name, form in formats.items():
        names.setdefault(form, []).append(repr(name))
    return tuple(
        f"{', '.join(columns[:5])}{f' and {len(columns) - 5} more' if columns[5:] else ''} read as "
        + (
            f"dates such as {form}, in seconds since 1970"
            if form in DATE_FORMATS
            else f"numbers such as {form}"
        )
        + "; dataset.categorical makes them categories"
        for form, columns in names.items()
    )


def _infer_date_format(source: str, roles: ColumnRoles, name: str, texts: Sequence[str]) -> str:
    if all(text.strip()[4:5] == "-" for text in texts):  # ISO 8601
        return ""
    common = set(DATE_FORMATS)
    for text in texts:
        common &= set(date_formats(text))
    if {DAY_FIRST, MONTH_FIRST} <= common:
        if roles.dayfirst is None:
            example = next(text for text in texts if text.strip()[4:5] != "-")
            raise UserError(
                f"{source}: expected dates that can be read in one way in column {name!r}. "
                f"Received: no day above 12, such as {example!r}. Give dataset.dayfirst=true or "
                "dataset.dayfirst=false, write dates as 2026-01-31, or declare the column in "
                "dataset.categorical."
            )
        return DAY_FIRST if roles.dayfirst else MONTH_FIRST
    return min(common, default="")


def _is_plain(spelling: TableSchema, text: str) -> bool:
    return spelling.parse_number(text) is not None


def _number_readings(texts: Sequence[str], decimal: str) -> list[_Reading]:
    """Return the ways to read all texts as numbers that lead to different values."""
    numbers = []
    for text in texts:
        number = split_number(text)
        if number is None:
            return []
        numbers.append(number)
    if not numbers or not _have_one_unit(numbers):
        return []
    prefix, suffix = numbers[0].prefix, numbers[0].suffix
    readings: dict[tuple[float | None, ...], _Reading] = {}
    for style in sorted(_STYLES, key=lambda it: (it[1] != decimal, it[0] != "")):
        if all(has_digits_of(number.digits, *style) for number in numbers):
            form = number_format(prefix, suffix, *style)
            values = tuple(parse_formatted(form, text) for text in texts)
            readings.setdefault(values, _Reading(form, *style))
    return list(readings.values())


def _have_one_unit(numbers: Sequence[NumberText]) -> bool:
    units = {(number.prefix, number.suffix.strip()) for number in numbers}
    if len(units) > 1:
        return False
    return all(
        not number.suffix or number.suffix[0] == " " or number.suffix in _UNITS
        for number in numbers
    )


def _decide(roles: ColumnRoles, texts: Sequence[str], readings: list[_Reading]) -> list[_Reading]:
    """Return the readings that the settings allow, or in which commas are between thousands.

    Where some numbers have a comma before three digits and the others none, it is no decimal mark.
    """
    if roles.thousands:
        readings = [it for it in readings if it.thousands == roles.thousands] or readings
    if roles.decimal_is_given:
        readings = [it for it in readings if it.decimal == roles.decimal] or readings
    elif any("," not in text for text in texts):
        readings = [it for it in readings if it.thousands == ","] or readings
    return readings


def _value(reading: _Reading, text: str) -> float:
    value = parse_formatted(reading.format, text)
    return float("nan") if value is None else value


def _setting(reading: _Reading) -> str:
    key, mark = (
        ("thousands", reading.thousands) if reading.thousands else ("decimal", reading.decimal)
    )
    return f"\"dataset.{key}='{mark}'\""
