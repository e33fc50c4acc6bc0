"""Infer the kind and the format of a column of texts that are numbers, dates or times."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pipeline.config import format_setting
from pipeline.dataset.column_roles import ColumnRoles
from pipeline.errors import UserError
from pipeline.preprocessing import Column, TableSchema
from pipeline.preprocessing.column_values import EXPECTED, PARSERS, UNITS, Kind
from pipeline.preprocessing.date_formats import (
    DATE_FORMATS,
    DAY_FIRST,
    MONTH_FIRST,
    date_formats,
    has_short_year_first,
    is_date,
    is_iso_date,
)
from pipeline.preprocessing.value_formats import (
    NumberText,
    has_digits_of,
    normalise,
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


_TIMES: dict[Kind, re.Pattern[str]] = {
    "time": re.compile(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[AaPp][Mm])?"),
    "duration": re.compile(
        r"([-+]?\d+ days?,? )?[-+]?\d+:\d{2}:\d{2}(\.\d+)?"
        r"|-?P(?=.)(\d+D)?(T(\d+H)?(\d+M)?([\d.]+S)?)?"
        r"|(?=.)(\d+ ?(h|hr|hours?) ?)?(\d+ ?(m|min|minutes?) ?)?(\d+ ?(s|sec|seconds?))?"
    ),
}
_N = r"[-+]?(?:\d[\d,.]*|\.\d+)"  # a number among other signs
_NUMBER = re.compile(r"[-+]?(?:\d+(?:[.,]\d+)?|\.\d+)(?:[eE][-+]?\d+)?")
_QUANTITY = re.compile(
    rf"{_NUMBER.pattern}|(?:[<>≤≥≦≧~≈±=]|<=|>=|about |ca\.? |under |over |up to ) ?{_N}.{{0,9}}"
    rf"|{_N} ?\+|{_N} ?± ?{_N}|{_N} (?:or (?:more|less|over|under)|and (?:over|above))"
    rf"|(?:\d+ )?\d+ ?[/\u2044] ?\d+|[½⅓⅔¼¾⅛]|{_N} ?[:x\u00d7] ?{_N}|{_N} ?x"
    rf"|\d+['\u2032] ?(?:\d+ ?[\"\u2033]?)?|{_N} ?[°º].{{0,15}}|{_N}[-+]{_N}?[ij]"
    rf"|[\[(]{_N}(?:[,;]? +{_N}|[,;]{_N})+ ?[\])]|[='\"]+{_N}['\"]*"
    rf"|{_N} ?(?:%|‰|[kKMBbn]{{1,2}})|10[⁰¹²³⁴-⁹]+",
    re.I,
)
_RANGE = re.compile(rf"{_N} ?(?:-|\u2013|to) ?{_N}")


class _Reading(NamedTuple):
    """One way to read a column of numbers: its format, thousands separator and decimal mark."""

    format: str
    thousands: str
    decimal: str


def infer_formatted(
    source: str, roles: ColumnRoles, name: str, texts: Iterable[str]
) -> Column | None:
    """Return the column if all texts are dates, times or numbers in one format, else None.

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
        return None
    stripped = [normalise(text) for text in present]
    if all(map(is_iso_date, stripped)):
        return Column(name, "datetime")
    if all(map(is_date, stripped)):
        form = _infer_date_format(source, roles, name, stripped)
        return Column(name, "datetime", format=form) if form else None
    readings = _number_readings(present, roles.decimal)
    if len(readings) > 1:
        readings = _decide(roles, present, readings)
    if len(readings) > 1:
        one, other = readings[:2]
        text = next(it for it in present if len({_value(r, it) for r in readings}) > 1)
        raise UserError(
            f"{source}: expected numbers that can be read in one way in column {name!r}. Received: "
            f"{text!r}, which is {_value(one, text):.15g} with {_setting(one)} and "
            f"{_value(other, text):.15g} with {_setting(other)}. Give one of them, or make the "
            f"column a category: {_as_category(name)}"
        )
    if readings:
        return Column(name, format=readings[0].format)
    for kind, pattern in _TIMES.items():
        if all(pattern.fullmatch(it) and PARSERS[kind](it) is not None for it in stripped):
            return Column(name, kind)
    return None


def may_be_formatted(text: str) -> bool:
    """Return at once whether a text may be a date, a time or a number in some format."""
    start = text[:1]
    return (
        (start.isnumeric() and any(it.fullmatch(text) for it in _TIMES.values()))
        or start in ("P", "-")
        or is_date(normalise(text))
        or split_number(text) is not None
    )


def is_quantity(text: str) -> bool:
    """Return whether a text is a number that cannot be read, such as <5, 1/2, 5+ or 52°31'N."""
    return len(text) <= 40 and _QUANTITY.fullmatch(text.strip()) is not None


def find_quantities(columns: Sequence[Column]) -> tuple[str, ...]:
    """Return a warning for each column of categories that are numbers, or ranges of them."""
    warnings = []
    for column in columns:
        texts = [text.strip() for text in column.categories]
        if not texts or not all(is_quantity(it) or _RANGE.fullmatch(it) for it in texts):
            continue
        is_plain = all(map(_NUMBER.fullmatch, texts))
        remedy = "write plain numbers"
        if is_plain:
            remedy = f"give {format_setting('dataset.numeric', [column.name])}"
        if is_plain or not all(map(_RANGE.fullmatch, texts)):
            example = next(filter(is_quantity, texts))
            warnings.append(
                f"feature {column.name!r} has numbers in texts as categories, such as {example!r}: "
                f"if their order matters, {remedy}, else give {_as_category(column.name)}"
            )
    return tuple(warnings)


def looks_like_number(text: str) -> bool:
    """Return whether a text looks like a number with a common unit or currency, or like a date."""
    if is_date(normalise(text)):
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


def describe_formats(roles: ColumnRoles, columns: Iterable[Column]) -> tuple[str, ...]:
    """Return a note for each kind and format in which columns are read without being declared."""
    names: dict[str, list[str]] = {}
    for column in columns:
        reading = f"numbers such as {column.format}"
        if column.format.endswith("%"):
            reading += " (12% is 12)"
        if column.kind in UNITS:
            expected = EXPECTED[column.kind]
            expected = f"dates such as {column.format}" if column.format else expected
            reading = f"{expected}, in {UNITS[column.kind]}"
            if column.kind != "duration":
                reading += ", or in parts (preprocessing.datetime)"
        if column.format or (column.kind in UNITS and column.name not in roles.numeric):
            names.setdefault(reading, []).append(column.name)
    return tuple(
        f"{', '.join(map(repr, those[:5]))}{f' and {len(those) - 5} more' if those[5:] else ''} "
        f"read as {reading}"
        + ("" if roles.typed else f"; {_as_category(*those[:5])} makes them categories")
        for reading, those in names.items()
    )


def _as_category(*names: str) -> str:
    return format_setting("dataset.categorical", list(names))


def _infer_date_format(source: str, roles: ColumnRoles, name: str, texts: Sequence[str]) -> str:
    common = set(DATE_FORMATS)
    for text in texts:
        common &= set(date_formats(text))
    readings = common & {DAY_FIRST, MONTH_FIRST}
    if not readings:
        return min(common, key=DATE_FORMATS.index, default="")
    if roles.dayfirst is None:
        given = [f"dataset.dayfirst={'true' if it == DAY_FIRST else 'false'}" for it in readings]
        reason = "no day above 12" if len(readings) > 1 else ""
        if has_short_year_first(texts):
            reason = "the first or the last number may be the year"
        if reason:
            example = next(text for text in texts if text[4:5] != "-")
            raise UserError(
                f"{source}: expected dates that can be read in one way in column {name!r}. "
                f"Received: {reason}, such as {example!r}. Give {' or '.join(sorted(given))}, "
                f"write dates as 2026-01-31, or make the column a category: {_as_category(name)}"
            )
    given_format = DAY_FIRST if roles.dayfirst else MONTH_FIRST
    return given_format if given_format in readings else min(readings)


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
