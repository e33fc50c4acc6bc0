"""Parse texts of numbers and dates in a format that is given by an example.

The example is a number that shows the thousands separator, the decimal mark and the currency or
unit, such as "$1,234.5" or "1234,5 kg"; or the date "31/12/2026" or "12/31/2026".

Logged models carry this file, so it imports nothing of Manyfold.
"""

import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import NamedTuple

DAY_FIRST, MONTH_FIRST, YEAR_FIRST = "31/12/2026", "12/31/2026", "2026/12/31"
NAMED_MONTH = "31 Dec 2026"
DATE_FORMATS = (DAY_FIRST, MONTH_FIRST, YEAR_FIRST, NAMED_MONTH)
_ORDERS = {DAY_FIRST: (3, 2, 1), MONTH_FIRST: (3, 1, 2), YEAR_FIRST: (1, 2, 3)}
_MARKS = ",.' _"  # between groups of thousands; blanks of other widths become this one
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH_NAMES = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december", "sept",
)  # fmt: skip
_SYMBOLS = "$£€¥₹₽₩₺₪₫₴₦₱฿₡₲₵₸₿¢"
_CURRENCIES = (
    "USD|EUR|GBP|JPY|CHF|CAD|AUD|NZD|CNY|RMB|INR|BRL|MXN|RUB|SEK|NOK|DKK|PLN|CZK|HUF|TRY|ZAR|KRW|"
    r"SGD|HKD|ILS|THB|IDR|MYR|PHP|AED|SAR|VND|NGN|EGP|UAH|Rs\.?|kr\.?|Fr\.?"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(
    rf"(?P<open>\()?(?P<sign>[-+]?) ?(?P<prefix>[A-Z]{{0,3}}[{_SYMBOLS}]|{_CURRENCIES})? ?"
    rf"(?P<inner>[-+]?)(?P<digits>\d+(?:[{_MARKS}]\d+)*|[.,]\d+)"
    r"(?:(?:[eE]| ?[x\u00d7*\u00b7] ?10\^?)(?P<exponent>[-+]?\d{1,3}))?"
    r"(?P<suffix> ?[^\d\s.,()+-](?:[^()]{0,30}[^\s()-])?)?(?P<trailing>-?)(?P<close>\))?",
)
_EXAMPLE = re.compile(
    r"(?P<prefix>.*?)1(?P<thousands>\D?)234(?P<decimal>[.,])5(?P<suffix>.*)", re.S
)
_TIME = r"(?:[T ,]+(\d{1,2}):(\d{2})(?::(\d{2})(\.\d{1,6})?)?(?: ?([AaPp])\.?[Mm]\.?)?)?"
_DATE = re.compile(rf"(\d{{1,4}})([/.-])(\d{{1,2}})\2(\d{{4}}|\d{{1,2}}){_TIME}")
_NAMED = re.compile(
    rf"(?:(\d{{1,2}})[ -])?([A-Za-z]{{3,9}})\.?(?:[ -](\d{{1,2}}))?,?[ -](\d{{4}}){_TIME}"
)


class NumberText(NamedTuple):
    """The parts of a text of a number.

    Attributes:
        sign: 1 or -1.
        digits: Digits, thousands separators and decimal mark.
        exponent: Power of ten.
        prefix: Currency before the digits.
        suffix: Currency or unit behind the digits, in the singular; a blank before it counts.
    """

    sign: int
    digits: str
    exponent: int
    prefix: str
    suffix: str


def normalise(text: str) -> str:
    """Return a text with one blank for those of all widths, one minus and one apostrophe."""
    if text.isascii():
        return text.strip()
    text = unicodedata.normalize("NFKC", text).strip()
    return re.sub("[\N{MINUS SIGN}\N{EN DASH}\N{HYPHEN}\N{FIGURE DASH}]", "-", text).replace(
        "\N{RIGHT SINGLE QUOTATION MARK}", "'"
    )


def split_number(text: str) -> NumberText | None:
    """Return the parts of a text of a number, None if it is none.

    A minus sign may stand before or behind the number or be a pair of brackets.
    """
    match = _NUMBER.fullmatch(normalise(text))
    if match is None or (match["open"] is None) != (match["close"] is None):
        return None
    signs = [match[it] for it in ("sign", "inner", "trailing", "open") if match[it]]
    if len(signs) > 1:
        return None
    suffix = match["suffix"] or ""
    if len(suffix) > 3 and suffix.endswith("s"):
        suffix = suffix[:-1]
    return NumberText(
        sign=-1 if signs and signs[0] in "-(" else 1,
        digits=match["digits"],
        exponent=int(match["exponent"] or 0),
        prefix=match["prefix"] or "",
        suffix=suffix,
    )


def number_format(prefix: str, suffix: str, thousands: str, decimal: str) -> str:
    """Return the example of a format of numbers."""
    return f"{prefix}1{thousands}234{decimal}5{suffix}"


@cache
def _parts(example: str) -> tuple[str, str, str, str]:
    match = _EXAMPLE.fullmatch(example)
    if match is None:
        raise ValueError(f"Expected a format such as 1,234.5. Received: {example!r}.")
    return match["prefix"], match["suffix"], match["thousands"], match["decimal"]


@cache
def _digits_pattern(thousands: str, decimal: str) -> re.Pattern[str]:
    mark = re.escape(thousands)
    group = rf"{mark}\d{{2,3}}" if thousands == "," else rf"{mark}\d{{3}}"  # lakhs have pairs
    groups = rf"|[1-9]\d{{0,2}}(?:{group})*{mark}\d{{3}}" if thousands else ""
    return re.compile(rf"(?:\d+{groups})?(?:{re.escape(decimal)}\d*)?")


def has_digits_of(digits: str, thousands: str, decimal: str) -> bool:
    """Return whether digits follow a thousands separator, which may be empty, and decimal mark."""
    return _digits_pattern(thousands, decimal).fullmatch(digits) is not None


def parse_formatted(example: str, text: str) -> float | None:
    """Return the number, or the seconds since 1970, that a text spells in a format, else None.

    A date may also be in ISO 8601, as it is in JSON.
    """
    return (_parse_date if example in DATE_FORMATS else _parse_number)(example, text)


def _parse_number(example: str, text: str) -> float | None:
    number, (prefix, suffix, thousands, decimal) = split_number(text), _parts(example)
    if number is None or (number.prefix, number.suffix.strip()) != (prefix, suffix.strip()):
        return None
    if not has_digits_of(number.digits, thousands, decimal):
        return None
    digits = number.digits.replace(thousands, "") if thousands else number.digits
    value = float(f"{digits.replace(decimal, '.')}e{number.exponent}")
    return number.sign * value


def _parse_date(example: str, text: str) -> float | None:
    text = normalise(text)
    if "-" in text[4:5]:
        try:
            return _to_seconds(datetime.fromisoformat(text))
        except ValueError:
            pass
    parts = _named_date(text) if example == NAMED_MONTH else _numeric_date(text, example)
    return None if parts is None else _build_date(*parts)


def date_formats(text: str) -> Iterator[str]:
    """Yield the formats of dates in which a text can be read."""
    return (it for it in DATE_FORMATS if _parse_date(it, text) is not None)


def is_date(text: str) -> bool:
    """Return whether a text looks like a date, valid or not."""
    text = normalise(text)
    return _DATE.fullmatch(text) is not None or _named_date(text) is not None


def _numeric_date(text: str, example: str) -> tuple[int, int, int, tuple[str | None, ...]] | None:
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    texts = (match[1], match[3], match[4])
    year, month, day = (texts[it - 1] for it in _ORDERS[example])
    if len(day) > 2 or len(year) not in ((4,) if example == YEAR_FIRST else (2, 4)):
        return None
    century = 0 if len(year) == 4 else 2000 if int(year) < 69 else 1900  # as strptime
    return int(year) + century, int(month), int(day), match.groups()[4:]


def _named_date(text: str) -> tuple[int, int, int, tuple[str | None, ...]] | None:
    match = _NAMED.fullmatch(text)
    if match is None or (match[1] is None) == (match[3] is None):
        return None
    name = match[2].lower()
    if name not in _MONTHS and name not in _MONTH_NAMES:
        return None
    return int(match[4]), _MONTHS.index(name[:3]) + 1, int(match[1] or match[3]), match.groups()[4:]


def _build_date(year: int, month: int, day: int, time: tuple[str | None, ...]) -> float | None:
    hour, minute, second, fraction, half = time
    hours = int(hour or 0)
    if half is not None:
        if not 1 <= hours <= 12:
            return None
        hours = hours % 12 + (12 if half in "pP" else 0)
    microsecond = round(float(fraction or 0) * 1e6)
    try:
        return _to_seconds(
            datetime(year, month, day, hours, int(minute or 0), int(second or 0), microsecond)
        )
    except ValueError:
        return None


def _to_seconds(value: datetime) -> float:
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    return (aware - _EPOCH).total_seconds()
